"""Secrets that a host has for itself, and who may pass the gateway."""

from __future__ import annotations

from hashlib import sha256
from secrets import token_hex
from typing import NamedTuple

from pyinfra.operations import files

from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings
from ollama_stack.containers import APP
from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.facts.memory import known
from ollama_stack.operations import secrets

GATEWAY_TOKEN = "gateway.token"  # noqa: S105 a file's name
APP_SECRETS = ("cookie.key", GATEWAY_TOKEN, "teacher.token")


class Secrets(NamedTuple):
    """What is known of a host's secrets without their texts."""

    tokens: dict[str, str]
    """Names of all tokens by their SHA-256."""
    app: dict[str, str]
    """SHA-256 of the app's secrets by the names of their files; none without an app."""


def have_secrets(settings: Settings) -> Secrets:
    """Have the host's own secrets; what a deploy has to know of them."""
    digests = tokens.digests(settings.gateway_tokens)
    there = known(TokenDigest, path=f"{settings.app_dir}/{GATEWAY_TOKEN}")
    app = _of_app(settings)
    # It stays when the app is switched off: a release that has it may come back.
    if token := there or app.get(GATEWAY_TOKEN):
        digests[token] = tokens.APP
    if settings.token_header_file:
        path, own = settings.token_header_file, token_hex(32)
        digests[known(TokenDigest, path=path) or tokens.digest(own)] = tokens.LOCAL
        secrets.local_token(name="Have a token for smoke and audit", path=path, token=own)
    return Secrets(digests, app)


def _of_app(settings: Settings) -> dict[str, str]:
    """SHA-256 of the files with the app's secrets, which are there then."""
    if not settings.app_enabled:
        return {}
    there = known(FileDigests, folder=settings.app_dir)
    own = {name: token_hex(32) for name in APP_SECRETS}
    secrets.kept(
        name="Have the app's secrets",
        folder=settings.app_dir,
        secrets=own,
        owner=APP.user,
        reader=APP.name,
    )
    return {
        name: there[name].split()[0] if name in there else sha256(text.encode()).hexdigest()
        for name, text in own.items()
    }


def forget_secrets(settings: Settings) -> None:
    """What a lock that is no longer declared would leave on the host."""
    if not settings.token_header_file:
        files.file(
            name="Remove the host's own token", path=settings.local_token_file, present=False
        )
