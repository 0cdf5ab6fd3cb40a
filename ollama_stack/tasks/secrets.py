"""Secrets that a host has for itself, and who may pass the gateway."""

from __future__ import annotations

from secrets import token_hex

from pyinfra.operations import files

from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings
from ollama_stack.containers import APP
from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.facts.memory import known
from ollama_stack.operations import gateway, secrets

GATEWAY_TOKEN = "gateway.token"  # noqa: S105 a file's name


def have_secrets(settings: Settings) -> dict[str, str]:
    """The host's own secrets are there; returns the names of all tokens by their SHA-256."""
    digests = tokens.digests(settings.gateway_tokens)
    if app := _of_app(settings):
        digests[app] = tokens.APP
    if settings.token_header_file:
        path, own = settings.token_header_file, token_hex(32)
        digests[known(TokenDigest, path=path) or tokens.digest(own)] = tokens.LOCAL
        gateway.local_token(name="Have a token for smoke and audit", path=path, token=own)
    return digests


def _of_app(settings: Settings) -> str | None:
    """SHA-256 of the app's token for the gateway; None if the host has, and is to have, none.

    They stay when the app is switched off: a release that has it may come back.
    """
    there = known(TokenDigest, path=f"{settings.app_dir}/{GATEWAY_TOKEN}")
    own = {name: token_hex(32) for name in ("cookie.key", GATEWAY_TOKEN, "teacher.token")}
    if settings.app_enabled:
        secrets.kept(
            name="Have the app's secrets",
            folder=settings.app_dir,
            secrets=own,
            owner=APP.user,
            reader=APP.name,
        )
        return there or tokens.digest(own[GATEWAY_TOKEN])
    return there


def forget_secrets(settings: Settings) -> None:
    """What a lock that is no longer declared would leave on the host."""
    if not settings.token_header_file:
        files.file(
            name="Remove the host's own token", path=settings.local_token_file, present=False
        )
