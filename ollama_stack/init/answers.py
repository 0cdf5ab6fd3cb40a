"""Pure: what somebody says of new hosts, understood or refused in one sentence with a way out."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from keyword import iskeyword
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ollama_stack.config.settings import PROFILES
from ollama_stack.config.types import HostName
from ollama_stack.private_key import key_fault

GROUPS = ("all", *PROFILES)
"""Names that group_data/ has already given away."""

_HOST_NAME: TypeAdapter[str] = TypeAdapter(HostName)


@dataclass(frozen=True)
class NewHost:
    """One host: what reports call it, and the address it is reached at if that is another one."""

    name: str
    address: str = ""


@dataclass(frozen=True)
class Answers:
    """All that an inventory is made of."""

    name: str
    hosts: tuple[NewHost, ...]
    user: str
    key: str
    """Path of a private key on this machine; "" for the SSH agent's keys and those in ~/.ssh."""
    students: int
    """At once, on each host."""
    lan: bool
    """Whether students open the page from the school's network."""
    api: bool
    """Whether programs of that network reach the API, with tokens."""
    tls: str = "own"
    """Whose certificates the page has: "own", "acme", or the path of a ready PEM."""


def inventory_name(text: str) -> str:
    """A name that a file of Python can have, and no group has."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", text) or iskeyword(text):
        raise ValueError(
            f"NAME: {text!r} cannot name an inventory; take small letters, digits and _, as in school_2"
        )
    if text in GROUPS:
        raise ValueError(f"NAME: {text} is a group of group_data/; take another name, as school")
    return text


def hosts(texts: Iterable[str], inventory: str) -> tuple[NewHost, ...]:
    """Each entry is ADDRESS or NAME=ADDRESS; commas and blanks separate entries, too."""
    found = tuple(_host(entry) for text in texts for entry in re.split(r"[\s,]+", text) if entry)
    if not found:
        raise ValueError("host: there is none; write it like 10.0.0.5 or class-1=10.0.0.5")
    _refuse_twice(host.name for host in found)
    _refuse_twice(host.address or host.name for host in found)
    for host in found:
        if host.name in (*GROUPS, inventory):
            raise ValueError(
                f"host: {host.name} is the name of a group; call it otherwise, as {host.name}-1="
                f"{host.address or host.name}"
            )
    return found


def _host(entry: str) -> NewHost:
    name, given, address = entry.rpartition("=")
    if entry == "@local":
        raise ValueError("host: @local is this machine; inventories/local.py is for that")
    if not _is_address(address) or (given and not _is_name(name)):
        raise ValueError(
            f"host: {entry!r} is not understood; write it like 10.0.0.5, class-1.school.lan or "
            "class-1=10.0.0.5"
        )
    return NewHost(name, address) if given else NewHost(address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:  # of figures alone it would be an address, and is none
        return _is_name(text) and not text.rpartition(".")[2].isdigit()
    return "%" not in text


def _is_name(text: str) -> bool:
    try:
        _HOST_NAME.validate_python(text)
    except ValidationError:
        return False
    return len(text) <= 253


def _refuse_twice(names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if times > 1:
            raise ValueError(f"host: {name} is there {times} times; leave it in once")


def login(text: str) -> str:
    """The name of a user, as systems and directories have them."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}", text):
        raise ValueError(f"user: {text!r} is no user's name; write it like root or ops")
    return text


def private_key(text: str, here: Path) -> str:
    """A key file that is there, as the inventory is to name it; "" stays "".

    ``here``: the folder in which a path that is not absolute begins.
    """
    if not text:
        return ""
    if not text.isprintable():
        raise ValueError(f"key: {text!r} is no path; name the file of a private key")
    path = here / os.path.expanduser(text)  # noqa: PTH111 no error without a home
    if fault := key_fault(path, text):
        raise ValueError(f"key: {fault}")
    return text if text.startswith("~") else str(path)


def tls(text: str, here: Path, hosts: Iterable[NewHost]) -> str:
    """The way to https, as the inventory is to name it; with acme every host has a public name."""
    if text == "own":
        return text
    if text == "acme":
        for host in hosts:
            if not _is_public(host.address or host.name):
                raise ValueError(
                    f"tls: acme is for public names, and {host.address or host.name} is none; write the "
                    "host like class-1=ai.school.example, or take own"
                )
        return text
    path = here / os.path.expanduser(text)  # noqa: PTH111 no error without a home
    if not text.isprintable() or not path.is_file():
        raise ValueError(f"tls: {text!r} is no file; take own, acme, or the path of a ready PEM")
    return text if text.startswith("~") else str(path)


def _is_public(address: str) -> bool:
    return "." in address and not address.rpartition(".")[2].isdigit() and ":" not in address


def students(text: str) -> int:
    """How many ask at once."""
    if not re.fullmatch(r"[1-9][0-9]{0,3}", text):
        raise ValueError(
            f"students: {text!r} is no number of students; write one from 1 to 9999, as 12"
        )
    return int(text)
