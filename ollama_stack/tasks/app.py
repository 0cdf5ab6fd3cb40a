"""The companion app: its secrets on the host, and the token by which the gateway knows it."""

from __future__ import annotations

from secrets import token_hex

from pyinfra import host

from ollama_stack import tokens
from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.facts.ollama import APP
from ollama_stack.operations import secrets
from ollama_stack.settings import Settings

USER = 10001  # as in app/Dockerfile; on a host it is nobody's
GATEWAY_TOKEN = "gateway.token"  # noqa: S105 a file's name


def have_secrets(settings: Settings) -> str | None:
    """SHA-256 of the app's token for the gateway; None if the host has, and is to have, none.

    They stay when the app is switched off: a release that has it may come back.
    """
    known = host.get_fact(TokenDigest, path=f"{settings.app_dir}/{GATEWAY_TOKEN}")
    own = {name: token_hex(32) for name in ("cookie.key", GATEWAY_TOKEN, "teacher.token")}
    if settings.app_enabled:
        secrets.kept(
            name="Have the app's secrets",
            folder=settings.app_dir,
            secrets=own,
            owner=USER,
            reader=APP,
        )
        return known or tokens.digest(own[GATEWAY_TOKEN])
    return known
