"""Pure: the certificate authority of a site's own, and what it signs for each of its hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ollama_stack.config.settings import Settings

SKEW = timedelta(days=1)  # a client's clock may be that late
AUTHORITY_LIFE = timedelta(days=3652)
LIFE = timedelta(days=397)  # the day of skew included: Apple and browsers refuse more
RENEW = timedelta(days=30)  # before its end
LOCAL = ("localhost", "127.0.0.1")
OWN = "Ollama CA"  # an authority's common name begins so
LONGEST = 64  # letters of a common name (X.520)
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")
# What a file has that is no certificate, or no key of one.
NOT_UNDERSTOOD = (TypeError, ValueError, UnsupportedAlgorithm)


@dataclass(frozen=True)
class Authority:
    """The signing authority; its key is in no repr, log or diff."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        """What clients trust."""
        return _pem(self.certificate)

    @property
    def key_pem(self) -> str:
        """What nobody else may read."""
        return _key_pem(self.key)


def new_authority(site: str, now: datetime) -> Authority:
    """An authority that may sign certificates of hosts, and no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, site[:LONGEST])
    # The day tells it from the one that it may replace: clients have both for a time.
    common = f"{OWN} {now:%Y-%m-%d} {site}"[:LONGEST].strip()
    subject = x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common)])
    builder = _builder(subject, subject, key, now, now + AUTHORITY_LIFE)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs=True), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def read_authority(certificate: str, key: str) -> Authority:
    """The authority of two PEM texts; ValueError if they are not that, or not of one another."""
    try:
        known, private = x509.load_pem_x509_certificate(certificate.encode()), _key(key)
    except NOT_UNDERSTOOD as error:
        raise ValueError("is no PEM of a certificate and an EC key") from error
    if private.public_key() != known.public_key():
        raise ValueError("has a key that is not its certificate's")
    return Authority(known, private)


def issue(authority: Authority, names: list[str], now: datetime) -> str:
    """PEM of a new certificate for these names, and of its key."""
    key, issuer = ec.generate_private_key(ec.SECP256R1()), authority.certificate
    end = min(now - SKEW + LIFE, issuer.not_valid_after_utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:LONGEST])])
    builder = _builder(subject, issuer.subject, key, now, end)
    own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)
    alternative = x509.SubjectAlternativeName([_general(name) for name in names])
    serves = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    constraints = x509.BasicConstraints(ca=False, path_length=None)
    builder = builder.add_extension(constraints, critical=True)
    builder = builder.add_extension(_usage(signs=False), critical=True)
    for extension in (serves, alternative, signer):
        builder = builder.add_extension(extension, critical=False)
    return _pem(builder.sign(authority.key, hashes.SHA256())) + _key_pem(key)


def unfit(text: str, names: list[str], issuer: x509.Certificate, now: datetime) -> str:
    """Why a kept certificate with its key is to be made anew; "" if it is good."""
    try:
        kept, key = x509.load_pem_x509_certificate(text.encode()), _key(text)
    except NOT_UNDERSTOOD:
        return "the kept one is no PEM of a certificate and its key"
    if key.public_key() != kept.public_key():
        return "the key of the kept one is another's"
    if not signed(kept, issuer):
        return "the kept one is of another authority"
    if names_in(kept) != set(names):
        return f"the host is now called {', '.join(names)}"
    if now < kept.not_valid_before_utc:
        return f"the kept one begins on {kept.not_valid_before_utc:%Y-%m-%d}"
    end = kept.not_valid_after_utc
    if end - now < RENEW and (end < issuer.not_valid_after_utc or end <= now):
        return f"the kept one ends on {end:%Y-%m-%d}"
    return ""


def signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer has signed the certificate."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (TypeError, ValueError, InvalidSignature):
        return False
    return True


def names_in(certificate: x509.Certificate) -> set[str]:
    """The DNS names and addresses that a certificate is for."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    kinds = (x509.DNSName, x509.IPAddress)
    return {str(one.value).lower() for one in extension.value if isinstance(one, kinds)}


def names(settings: Settings, host: str, ssh_hostname: str = "") -> list[str]:
    """What a host may be called in a URL, by its inventory and its settings; the usual name first."""
    page = [settings.app_bind, *settings.app_hosts] if settings.app_enabled else []
    known = [*settings.gateway_tls_names, *settings.gateway_hosts, host.rpartition("/")[2]]
    known += [ssh_hostname, settings.ollama_bind, *page, *LOCAL]
    return list(dict.fromkeys(filter(None, map(_spelt, known))))


def for_others(settings: Settings, called: Iterable[str]) -> bool:
    """Whether students on other machines have a name for a host that lets them in."""
    binds = [settings.ollama_bind, *([settings.app_bind] if settings.app_enabled else [])]
    open_ones = [bind for bind in binds if not ip_address(bind).is_loopback]
    return not open_ones or any(name not in LOCAL for name in called)


def _spelt(name: str) -> str:
    """A DNS name or an address as certificates have it; "" for what is neither, as @local."""
    try:
        address = ip_address(name)
    except ValueError:
        name = name.lower()
        return name if len(name) < 254 and NAME.fullmatch(name) else ""
    return "" if address.is_unspecified else str(address)


def covers(found: Iterable[str], name: str) -> bool:
    """Whether a client that calls the host so finds its name among these; *.x is one label before x."""
    return name in found or f"*.{name.partition('.')[2]}" in found


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    """Of an authority, which ``signs`` certificates and revocations; or of a host."""
    never = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
    )
    never |= {"encipher_only": False, "decipher_only": False}
    return x509.KeyUsage(digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, **never)


def _key(text: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(text.encode(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("not an EC key")
    return key


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
