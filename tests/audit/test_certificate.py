"""TLS at the address: the certificate that clients are shown, its names, its days and who signed it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from cryptography import x509

from ollama_stack import authority
from ollama_stack.config.settings import Settings
from ollama_stack.stack import acme
from ollama_stack.stack.certificates import LOCAL, covers, names, names_in, signed
from tests.audit.control import Blocked, Finding, NotApplicable, Unreadable, control
from tests.audit.conversation import Output
from tests.audit.live import Live

CERTIFICATE_DAYS = 14
DAY = timedelta(days=1)


@control(
    "OLS-609", "The address speaks TLS alone where a certificate is declared", "high", "RFC 9325"
)
def test_the_address_speaks_tls_alone(live: Live) -> Finding:
    """A token in clear text is everybody's."""
    _secured(live)
    plain = live.settings.url.replace("https:", "http:")
    output = live.curl(f"curl -sS --noproxy '*' --max-time 10 {plain}/api/version")
    line = output.text.strip() or output.error.strip()
    if output.code in (7, 28):  # curl: refused, timed out
        raise Blocked("OLS-509")
    return output.reading(output.code == 0, line).equals(
        False, lambda clear: "answers in clear text" if clear else "no answer in clear text"
    )


@control(
    "OLS-610", "The certificate does not end soon", "high", "RFC 5280", "renew it, then {deploy}"
)
def test_the_certificate_does_not_end_soon(live: Live) -> Finding:
    """On the day it ends nobody gets in; with `own` a deploy renews it, with `acme` the host does so long before."""
    output, shown = _shown(live)
    least, now = timedelta(days=CERTIFICATE_DAYS), datetime.now(timezone.utc)
    if shown and live.settings.gateway_tls == "acme":
        least = acme.least(shown)
    left = shown.not_valid_after_utc - now if shown else timedelta()
    line = output.text.splitlines()[0] if shown else "no certificate"
    return output.reading(line, line).meets(f"more than {least / DAY:.3g} days", left > least)


@control(
    *("OLS-613", "The certificate has the names that students use", "high", "RFC 9525"),
    "name what students use in gateway_tls_names, have it in a certificate that is not ours, {deploy}",
)
def test_the_certificate_has_the_names_in_use(live: Live) -> Finding:
    """A client refuses an address that its certificate does not name, however good it is."""
    output, shown = _shown(live)
    if not shown:
        raise Blocked("OLS-610")
    found, (wanted, how) = names_in(shown), _wanted(live)
    covered = [name for name in wanted if covers(found, name)]
    enough = bool(covered) if how == "one of " else covered == wanted
    here = output.reading(found, ", ".join(sorted(found)) or "no subject alternative name")
    return here.meets(f"{how}{', '.join(wanted)}", enough, here.line)


@control(
    *("OLS-614", "The certificate is signed by the site's own authority", "high", "RFC 5280"),
)
def test_the_certificate_is_the_own_authority_s(live: Live) -> Finding:
    """Clients that trust its file refuse every other one."""
    if live.settings.gateway_tls != "own":
        raise NotApplicable("gateway_tls is not own")
    output, shown = _shown(live)
    if not shown:
        raise Blocked("OLS-610")
    try:
        issuer = authority.certificate(authority.folder_of(live.settings.gateway_tls_folder))
    except ValueError as error:
        raise Unreadable(f"gateway_tls: {error}") from error
    good, name = signed(shown, issuer), shown.issuer.rfc4514_string()
    line = f"issuer {name}{'' if good else ', and another key than the one in ca.crt'}"
    return output.reading(name, line).meets(issuer.subject.rfc4514_string(), good, line)


def _shown(live: Live) -> tuple[Output, x509.Certificate | None]:
    """What the address shows to whoever connects, as it is loaded and not as a file has it."""
    _secured(live)
    where = live.settings.url.removeprefix("https://")
    output = live.run(
        f"openssl s_client -connect {where} </dev/null 2>/dev/null | openssl x509 -enddate"
    )
    if "not found" in output.error:
        raise Unreadable("there is no openssl on the host; apt-get install openssl")
    has_one = "-----BEGIN CERTIFICATE-----" in output.text
    return output, x509.load_pem_x509_certificate(output.text.encode()) if has_one else None


def _wanted(live: Live) -> tuple[list[str], str]:
    """Names, and whether all of them are needed: the site knows best what its ready certificate is for."""
    settings: Settings = live.settings
    called = names(settings, live.target.name, live.target.data.get("ssh_hostname") or "")
    if settings.gateway_tls == "own":
        return called, ""
    if settings.gateway_tls_names:
        return [name for name in called if name in settings.gateway_tls_names], ""
    return [n for n in called if n not in LOCAL or n == settings.ollama_bind] or called, "one of "


def _secured(live: Live) -> None:
    if not (live.settings.gateway_enabled and live.settings.gateway_has_tls):
        raise NotApplicable("gateway_tls and gateway_tls_cert are empty")
    if live.settings.cluster and not live.manager:
        raise NotApplicable("the managers have the address")
