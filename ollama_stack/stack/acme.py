"""Pure: a certificate of an ACME authority, which a host keeps and renews without a deploy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509

LINEAGE = "ollama-stack"  # as certbot calls what it keeps together
REST = 4  # a host renews with a third of the days left (older certbots: with 30 days); where less than a quarter is, it has failed for days


@dataclass(frozen=True)
class Kept:
    """What certbot keeps on a host: a certificate, who gave it, and whether the gateway has it."""

    certificate: x509.Certificate | None = None
    directory: str = ""
    in_place: bool = False


def least(certificate: x509.Certificate) -> timedelta:
    """What is always left of a certificate that is renewed in time."""
    return (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / REST


def to_order(kept: Kept, called: list[str], directory: str, now: datetime) -> str:
    """Why a host is to have another certificate; "" if its own is good, and renewed in time."""
    certificate = kept.certificate
    if certificate is None:
        return "there is none yet"
    if kept.directory != directory:
        return f"the kept one is of {kept.directory or 'an unknown authority'}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if set(names.get_values_for_type(x509.DNSName)) != set(called):
        return f"the host is now called {', '.join(called)}"
    end = certificate.not_valid_after_utc
    if end - now < least(certificate):
        return f"the kept one ends on {end:%Y-%m-%d}, and the host has not renewed it: journalctl --unit certbot"
    return ""
