"""A certificate for each host, of the site's own authority, or of an ACME one, where no ready one is named."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import Host, State
from pyinfra.operations import python, systemd

from ollama_stack import authority
from ollama_stack.config.settings import Settings
from ollama_stack.facts.docker import InitSystem
from ollama_stack.facts.gateway import CertificateIssuer, ShownIssuer
from ollama_stack.facts.memory import known, still_true
from ollama_stack.operations import certificate, packages
from ollama_stack.rules import refuse
from ollama_stack.stack.certificates import (
    OWN,
    Authority,
    for_others,
    issue,
    names,
    new_authority,
    unfit,
)


def have_certificate(settings: Settings, site: str) -> str:
    """PEM of this host's certificate, the kept one while it is good; "" where the controller makes none.

    ``site``: the inventory's name: two of them may call two hosts the same. Only a run that changes hosts keeps what is made: a plan leaves nothing behind.
    """
    if not (settings.gateway_enabled and settings.gateway_tls):
        return ""
    if settings.gateway_tls == "acme":
        _from_authority(settings)
        return ""
    called = names(settings, host.name, host.data.get("ssh_hostname") or "")
    return own_certificate(settings, site, host.name, called)


def own_certificate(settings: Settings, site: str, owner: str, called: list[str]) -> str:
    """PEM of the site's own authority for these names, the kept one while it is good.

    ``owner``: the host, or the cluster, whose it is.
    """
    folder, name = authority.folder_of(settings.gateway_tls_folder), f"{site}.{owner}"
    if not for_others(settings, called):
        logger.warning(
            f"[{host.name}] gateway_tls_names: the certificate is for {' and '.join(called)} alone, and the "
            "host lets others in; name what students call it"
        )
    try:
        there, kept = authority.read(folder), authority.kept(folder, name)
    except ValueError as error:
        refuse({host.name: [f"gateway_tls: {error}"]})
    if not there:
        _refuse_a_second(settings, folder)
    signer, now = there or _first(host.state, folder, site), datetime.now(timezone.utc)
    why = unfit(kept, called, signer.certificate, now) if kept else "there is none yet"
    if not why:
        return kept
    host.log(f"certificate for {', '.join(called)}: {why}")
    made = issue(signer, called, now)

    def keep(state: State, host: Host) -> bool:  # its text is in no argument, so in no log
        return _kept(host, folder, signer, name, made)

    first = "" if there else " and the site's certificate authority"
    python.call(name=f"Make the certificate{first}", function=keep)
    return made


def _from_authority(settings: Settings) -> None:
    """A certificate that never leaves the host, which renews it by its own timer."""
    if known(InitSystem) != "systemd":
        fault = "gateway_tls: acme needs systemd, whose timer renews; set gateway_tls = own, or gateway_tls_cert"
        refuse({host.name: [fault]})
    packages.installed(
        name="Install the ACME client", packages=["certbot"], proxy=settings.proxy, _retries=1
    )
    certificate.ordered(
        name="Have a certificate of the ACME authority",
        folder=settings.ollama_dir,
        called=settings.gateway_tls_names,
        directory=settings.gateway_acme_directory,
        email=settings.gateway_acme_email,
    )
    systemd.service(name="Renew it in time", service="certbot.timer", running=True, enabled=True)


def _refuse_a_second(settings: Settings, folder: Path) -> None:
    """No other checkout makes another authority without a word: every device would lose its trust."""
    if settings.cluster:
        signer = known(ShownIssuer, address=settings.url.partition("://")[2])
        gone = f"docker stack rm {settings.ollama_project} on a manager, which ends what serves until you deploy"
    else:
        path = f"{settings.gateway_dir}/tls.pem"
        signer, gone = known(CertificateIssuer, path=path), f"remove {path} on the host"
    if signer.startswith(OWN):
        fault = (
            f"gateway_tls: this host has a certificate of {signer}, and {folder} has no authority; copy that folder "
            f"from the machine that deployed before, or, to begin anew, {gone}; then every client has to trust "
            "the new ca.crt"
        )
        refuse({host.name: [fault]})


@cache
def _first(run: State, folder: Path, site: str) -> Authority:
    """The authority that the hosts of a run share, before one of them keeps it."""
    return new_authority(site, datetime.now(timezone.utc))


def _kept(host: Host, folder: Path, signer: Authority, name: str, made: str) -> bool:
    still_true(host)  # nothing is changed there
    try:
        if authority.keep(folder, signer, name, made):
            logger.warning(
                f"{folder} has a new authority: keep a copy of it, and have every client trust "
                f"{folder / authority.CERTIFICATE} (docs/tls.md)"
            )
    except ValueError as error:
        logger.error(f"    [{host.name}] gateway_tls: {error}")
        return False
    return True
