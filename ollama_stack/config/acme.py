"""What an ACME authority would refuse, or may not be asked, by the settings alone."""

from __future__ import annotations

from collections.abc import Iterator

from ollama_stack.config.settings import Settings

PORT = 80  # at which an authority looks whose a name is (RFC 8555, 8.3)


def faults(settings: Settings) -> Iterator[str]:
    """Faults, as ``setting: problem; way out``."""
    if settings.gateway_tls != "acme":
        return
    if not settings.gateway_tls_names:
        yield "gateway_tls_names: acme gives certificates for names; say what this host is called in public"
    for setting in ("ollama_port", "app_port", "gateway_metrics_port"):
        if getattr(settings, setting) == PORT:
            yield f"{setting}: acme needs port {PORT} for itself; take another, or set gateway_tls = own"
    for name in settings.gateway_tls_names:
        if "." not in name or name.replace(".", "").isdigit():
            yield (
                f"gateway_tls_names: {name} is no public name, and with acme the certificate is for these "
                "alone; take it out, or set gateway_tls = own"
            )
    if not settings.gateway_acme_agreed:
        yield (
            f"gateway_acme_agreed: {settings.gateway_acme_directory} has terms of service; read them, then set "
            "gateway_acme_agreed = True"
        )
