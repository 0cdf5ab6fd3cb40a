"""The site's own authority and what it signs: judged as strict clients judge it, by its names and its days."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID

from ollama_stack.config.settings import read_settings
from ollama_stack.stack.certificates import (
    AUTHORITY_LIFE,
    Authority,
    covers,
    for_others,
    issue,
    names,
    names_in,
    new_authority,
    read_authority,
    signed,
    unfit,
)
from tests.unit.conftest import group_data

NOW = datetime(2026, 11, 28, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
NAMES = ["ai.school.example", "10.0.0.5", "localhost", "127.0.0.1"]


@pytest.fixture(scope="module")
def ours() -> Authority:
    return new_authority("school", NOW)


@pytest.fixture(scope="module")
def pem(ours: Authority) -> str:
    return issue(ours, NAMES, NOW)


def leaf(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def trusted(pem: str, authority: Authority, name: str, now: datetime) -> bool:
    """As a browser has it: chain, name, days, and every extension."""
    subject: x509.DNSName | x509.IPAddress = x509.DNSName(name)
    if name[0].isdigit():
        subject = x509.IPAddress(ip_address(name))
    store = verification.Store([authority.certificate])
    verifier = verification.PolicyBuilder().store(store).time(now).build_server_verifier(subject)
    try:
        verifier.verify(leaf(pem), [])
    except verification.VerificationError:
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_a_strict_client_that_trusts_the_authority_trusts_each_name(
    name: str, ours: Authority, pem: str
) -> None:
    assert trusted(pem, ours, name, NOW)


def test_a_strict_client_trusts_no_other_name_authority_or_day(ours: Authority, pem: str) -> None:
    assert not trusted(pem, ours, "evil.example", NOW)
    assert not trusted(pem, ours, "10.0.0.6", NOW)
    assert not trusted(pem, new_authority("school", NOW), NAMES[0], NOW)
    assert not trusted(pem, ours, NAMES[0], NOW + timedelta(days=397))


def test_a_client_whose_clock_is_late_trusts_it_too(ours: Authority, pem: str) -> None:
    assert trusted(pem, ours, NAMES[0], NOW - timedelta(hours=23))


def test_no_device_refuses_it_for_living_too_long(pem: str) -> None:
    life = leaf(pem).not_valid_after_utc - leaf(pem).not_valid_before_utc
    assert timedelta(days=396) < life <= timedelta(days=397)


def test_it_serves_and_signs_nothing(ours: Authority, pem: str) -> None:
    found = leaf(pem).extensions
    serves = found.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(serves) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = found.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    own = found.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = found.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    theirs = ours.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    assert issuer.key_identifier == theirs.digest != own.digest


def test_the_authority_names_its_site_and_makes_no_other(ours: Authority) -> None:
    subject = ours.certificate.subject.rfc4514_string()
    assert subject == "CN=Ollama CA 2026-11-28 school,O=school"
    found = ours.certificate.extensions
    constraints = found.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)  # fmt: skip
    usage = found.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert new_authority("s" * 200, NOW)


def test_every_certificate_has_a_number_and_a_key_of_its_own(ours: Authority, pem: str) -> None:
    other = leaf(issue(ours, NAMES, NOW))
    assert other.serial_number != leaf(pem).serial_number
    assert other.public_key() != leaf(pem).public_key()


def test_no_certificate_outlives_its_authority(ours: Authority) -> None:
    late = NOW + AUTHORITY_LIFE - timedelta(days=100)
    pem = issue(ours, NAMES, late)
    assert leaf(pem).not_valid_after_utc == ours.certificate.not_valid_after_utc
    assert unfit(pem, NAMES, ours.certificate, NOW + AUTHORITY_LIFE - DAY) == ""


@pytest.mark.parametrize(
    ("days", "why"), [(0, ""), (365, ""), (367, "the kept one ends on 2027-12-29"), (-2, "the kept one begins on 2026-11-27")]
)  # fmt: skip
def test_it_is_made_anew_in_its_last_month(days: int, why: str, ours: Authority, pem: str) -> None:
    assert unfit(pem, NAMES, ours.certificate, NOW + days * DAY) == why


def test_what_is_not_as_wanted_is_made_anew(ours: Authority, pem: str) -> None:
    def why(text: str, wanted: list[str] = NAMES) -> str:
        return unfit(text, wanted, ours.certificate, NOW)

    assert why(pem, [*reversed(NAMES)]) == ""
    assert (
        why(pem, [*NAMES, "b.example"]) == f"the host is now called {', '.join(NAMES)}, b.example"
    )
    assert why(pem, NAMES[:1]) == "the host is now called ai.school.example"
    foreign = issue(new_authority("school", NOW), NAMES, NOW)
    assert why(foreign) == "the kept one is of another authority"
    mixed = pem.partition("-----BEGIN PRIVATE")[0] + foreign[foreign.index("-----BEGIN PRIVATE") :]
    assert why(mixed) == "the key of the kept one is another's"
    for broken in ("", "rubbish", pem[:-300], pem[300:]):
        assert why(broken) == "the kept one is no PEM of a certificate and its key"


def test_an_authority_is_read_back_whole(ours: Authority, pem: str) -> None:
    again = read_authority(ours.pem, ours.key_pem)
    assert signed(leaf(issue(again, NAMES, NOW)), ours.certificate)
    with pytest.raises(ValueError, match="has a key that is not its certificate's"):
        read_authority(ours.pem, new_authority("school", NOW).key_pem)
    for certificate, key in ((ours.pem[:-99], ours.key_pem), (ours.pem, ""), ("", ours.key_pem)):
        with pytest.raises(ValueError, match="is no PEM of a certificate and an EC key"):
            read_authority(certificate, key)


def test_no_key_is_in_a_repr(ours: Authority) -> None:
    secret = ours.key_pem.splitlines()[1]
    assert secret not in repr(ours)
    assert "BEGIN PRIVATE KEY" in ours.key_pem


@pytest.mark.parametrize(
    ("own", "host", "ssh_hostname", "found"),
    [
        ({}, "@local", "", ["127.0.0.1", "localhost"]),
        ({}, "Class-1.school.example", "10.0.0.7", ["class-1.school.example", "10.0.0.7", "127.0.0.1", "localhost"]),
        ({"ollama_bind": "0.0.0.0"}, "10.0.0.7", "fd00::7", ["10.0.0.7", "fd00::7", "localhost", "127.0.0.1"]),
        ({"ollama_bind": "10.0.0.8"}, "@ssh/web-1", "", ["web-1", "10.0.0.8", "localhost", "127.0.0.1"]),
        ({"app_bind": "10.0.0.9"}, "class_1", "", ["127.0.0.1", "localhost"]),
        (
            {"app_enabled": True, "app_bind": "10.0.0.9", "app_hosts": ["ask.lan"], "gateway_hosts": ["ai.lan"]},
            "a", "", ["ai.lan", "a", "127.0.0.1", "10.0.0.9", "ask.lan", "localhost"],
        ),
        ({"gateway_tls_names": ["ai.lan", "192.0.2.1"]}, "a", "", ["ai.lan", "192.0.2.1", "a", "127.0.0.1", "localhost"]),
    ],
)  # fmt: skip
def test_a_host_has_the_names_that_students_use(
    own: dict[str, Any], host: str, ssh_hostname: str, found: list[str]
) -> None:
    settings = read_settings(group_data("all", "medium") | own)
    assert names(settings, host, ssh_hostname) == found


@pytest.mark.parametrize(
    ("own", "host", "good"),
    [
        ({}, "@local", True),
        ({"ollama_bind": "0.0.0.0"}, "@local", False),
        ({"ollama_bind": "0.0.0.0"}, "web-1", True),
        ({"ollama_bind": "0.0.0.0", "gateway_tls_names": ["10.0.0.5"]}, "@local", True),
        ({"app_enabled": True, "app_bind": "0.0.0.0"}, "@local", False),
        ({"app_enabled": True, "app_bind": "10.0.0.5"}, "@local", True),
    ],
)
def test_an_open_host_needs_a_name_for_others(own: dict[str, Any], host: str, good: bool) -> None:
    settings = read_settings(group_data("all", "medium") | own)
    assert for_others(settings, names(settings, host)) is good


def test_what_has_no_names_has_none(ours: Authority) -> None:
    assert names_in(ours.certificate) == set()


@pytest.mark.parametrize(
    ("name", "covered"),
    [("a.b.example", True), ("c.example", True), ("b.example", False), ("x.a.b.example", False), ("10.0.0.5", True)],
)  # fmt: skip
def test_a_star_is_one_label(name: str, covered: bool) -> None:
    assert covers({"*.b.example", "c.example", "10.0.0.5"}, name) is covered
