"""The gateway before Ollama: its configuration."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ollama_stack import door, tokens
from ollama_stack.containers import ALIVE, APP, CONFIG, METRICS, OLLAMA, PROGRAMS, RUNTIME
from ollama_stack.settings import Settings

TEMPLATES = Path(__file__).parents[2] / "templates"


def gateway_files(settings: Settings, digests: dict[str, str]) -> tuple[str, dict[str, str]]:
    """A version, which the configuration says of itself, and the gateway's files by name.

    ``digests``: token names by their SHA-256.
    """
    secrets = {}
    if settings.gateway_tokens:
        secrets["tokens.map"] = "".join(f"{key} {name}\n" for key, name in digests.items())
    if settings.gateway_tls_cert:
        secrets["tls.pem"] = tokens.certificate(settings.gateway_tls_cert)
    looks = {name: (TEMPLATES / "gateway" / name).read_text() for name in PROGRAMS}
    draft = {CONFIG: render_haproxy(settings, version=""), **looks, **secrets}
    text = "".join(f"{name} {content}" for name, content in sorted(draft.items()))
    version = sha256(text.encode()).hexdigest()[:16]
    return version, {CONFIG: render_haproxy(settings, version), **looks, **secrets}


def render_haproxy(settings: Settings, version: str) -> str:
    """The HAProxy configuration."""
    templates = Environment(  # noqa: S701 not HTML
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return templates.get_template("gateway/haproxy.cfg.j2").render(
        s=settings,
        version=version,
        shares=door.shares(settings),
        half=door.half(settings),
        everybody_else=door.everybody_else(settings),
        body_seconds=door.body_seconds(settings),
        share_silence=door.share_silence(settings),
        origins=door.origins(settings),
        served=[settings.model_name, *settings.gateway_models],
        lua_words=door.lua_words(settings),
        ollama=OLLAMA,
        app=APP,
        ports={"metrics": METRICS, "runtime": RUNTIME, "alive": ALIVE},
        **door.LIMITS,
    )
