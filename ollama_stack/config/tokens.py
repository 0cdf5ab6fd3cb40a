"""Secrets of the gateway, read on the controller; only their SHA-256 ever leaves it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

SHORTEST = 16  # characters
APP = "app"  # the companion app's, made on each host
UNREADABLE = (OSError, UnicodeDecodeError, RuntimeError)  # the last one: ~ of a user without a home
LOCAL = "local"  # the deploy's own, made on each host for smoke and audit


def secret(reference: str) -> str:
    """The secret behind ``env:NAME`` or ``file:PATH``; ValueError says what is wrong, not what it is."""
    kind, _, place = reference.partition(":")
    if kind == "env":
        if place not in os.environ:
            raise ValueError(f"the environment has no {place}; export it")
        found = os.environ[place]
    else:
        try:
            path = Path(place).expanduser()
            found = path.read_text().strip()
            open_to_others = path.stat().st_mode & 0o077
        except UNREADABLE as error:
            raise ValueError(_unreadable(place, error)) from error
        if open_to_others:
            raise ValueError(f"{place} is open to others; chmod 600 it")
    if len(found) < SHORTEST:
        raise ValueError(
            f"the secret in {place} is shorter than {SHORTEST} characters; make one with openssl rand -hex 32"
        )
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", found):
        raise ValueError(
            f"the secret in {place} has characters that no bearer token has (RFC 6750)"
        )
    return found


def _unreadable(place: str, error: Exception) -> str:
    return f"{place} cannot be read ({type(error).__name__}); check the path and its permissions"


def digest(token: str) -> str:
    """What the gateway knows of a token."""
    return sha256(token.encode()).hexdigest()


def faults(tokens: Mapping[str, str]) -> list[str]:
    """What is wrong with the secrets of a host, each as ``setting: problem; way out``."""
    wrong, names = [], dict[str, str]()
    for name, reference in tokens.items():
        try:
            other = names.setdefault(digest(secret(reference)), name)
        except ValueError as error:
            wrong.append(f"gateway_tokens.{name}: {error}")
            continue
        if other != name:
            wrong.append(f"gateway_tokens.{name}: has the secret of {other}; make another")
    return wrong


def digests(tokens: Mapping[str, str]) -> dict[str, str]:
    """Name by digest; the tokens must be free of faults."""
    return {digest(secret(reference)): name for name, reference in tokens.items()}


def certificate(path: str) -> str:
    """The PEM text of a certificate and its key; ValueError if it is not both."""
    try:
        text = Path(path).expanduser().read_text()
    except UNREADABLE as error:
        raise ValueError(_unreadable(path, error)) from error
    if "BEGIN CERTIFICATE" not in text or "PRIVATE KEY" not in text:
        raise ValueError(f"{path} needs a certificate and its private key, both in PEM")
    if "ENCRYPTED" in text:
        raise ValueError(f"{path} has an encrypted key, which nobody could unlock; decrypt it")
    return text
