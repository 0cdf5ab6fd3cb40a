"""What the gateway's folder holds, and what the gateway itself runs with."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.oid import NameOID
from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.containers import GATEWAY, METRICS
from ollama_stack.facts.ollama import LOOK, address
from ollama_stack.stack.acme import LINEAGE, Kept

END = "-----END CERTIFICATE-----"


class TokenDigest(FactBase[str | None]):
    """SHA-256 of the token in a file, alone or in its header; None if there is none."""

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(
            *("test ! -s", QuoteString(path), "|| sed 's/.*Bearer //'", QuoteString(path)),
            "| tr -d '\\n' | sha256sum",
        )

    @override
    def process(self, output: list[str]) -> str | None:
        return output[0].split()[0] if output else None


class CertificateIssuer(FactBase[str]):
    """The issuer of the certificate in a PEM file, by common name; "" if there is none. No key is read."""

    default = str

    @override
    def command(self, path: str) -> StringCommand:
        first = "sed -n '/-BEGIN CERTIFICATE-/,$p; /-END CERTIFICATE-/q'"
        return StringCommand(first, QuoteString(path), "2>/dev/null || true")

    @override
    def process(self, output: list[str]) -> str:
        try:
            issuer = x509.load_pem_x509_certificate("\n".join(output).encode()).issuer
        except ValueError:
            return ""
        names = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value) if names else ""


class KeptCertificate(FactBase[Kept]):
    """What certbot keeps for the gateway in its folder; no key is shown."""

    default = Kept

    @override
    def command(self, folder: str, shown: str) -> StringCommand:
        """``shown``: the file that the gateway reads."""
        live = f"{folder}/live/{LINEAGE}"
        parts = [QuoteString(f"{live}/{part}.pem") for part in ("fullchain", "privkey")]
        return StringCommand(
            *("cat", QuoteString(f"{live}/cert.pem"), "2>/dev/null &&"),
            *("sed -n 's/^server = //p'", QuoteString(f"{folder}/renewal/{LINEAGE}.conf"), "&&"),
            *(
                "cat",
                *parts,
                "| cmp -s -",
                QuoteString(shown),
                "&& stat -c 'in place %a'",
                QuoteString(shown),
            ),
            "|| true",
        )

    @override
    def process(self, output: list[str]) -> Kept:
        text, last, rest = "\n".join(output).partition(END)
        try:
            certificate = x509.load_pem_x509_certificate(f"{text}{last}\n".encode())
        except ValueError:
            return Kept()
        directory, _, place = rest.strip().partition("\n")
        return Kept(certificate, directory, place == "in place 600")


class GatewayVersion(FactBase[str | None]):
    """Version of the configuration that the running gateway has loaded; None while it does not say."""

    @override
    def command(self) -> str:
        return (
            f'curl -fsS --noproxy "*" --max-time {LOOK} "http://{address(GATEWAY)}:{METRICS}/version" '
            "2>/dev/null || true"
        )
