"""Secrets that a host has for itself."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

from pyinfra import host
from pyinfra.api import FileUploadCommand, QuoteString, StringCommand, operation

from ollama_stack.facts.docker import Engine
from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.facts.memory import known
from ollama_stack.shell import Commands, renamed


@operation()
def kept(folder: str, secrets: Mapping[str, str], owner: int, reader: str) -> Commands:
    """Have files in ``folder`` with secrets, ``owner``'s alone; one that is there keeps its text.

    ``owner``: as the containers number users. ``reader``: the container that has the folder mounted.
    Where somebody removed the folder, it still has the old one until it is restarted.
    """
    owner += known(Engine).user_offset
    found = known(FileDigests, folder=folder)
    wanted = f"600 {owner}"
    if {name: found.get(name, "").partition(" ")[2] for name in secrets} == dict.fromkeys(
        secrets, wanted
    ):
        host.noop(f"{folder} already has its secrets")
        return
    yield StringCommand("mkdir -p --mode=755", QuoteString(folder))
    for name, text in secrets.items():
        path = f"{folder}/{name}"
        if name in found:
            yield StringCommand(f"chown {owner}:{owner}", QuoteString(path))
            yield StringCommand("chmod 600", QuoteString(path))
        else:
            yield from written(f"{path}.new", text, str(owner))
            yield renamed(f"{path}.new", path)
    if not found:
        container = QuoteString(reader)
        yield StringCommand(
            "! docker container inspect", container, ">/dev/null 2>&1 || docker restart", container
        )


@operation()
def local_token(path: str, token: str) -> Commands:
    """Have a header file with a token of the host's own, root's alone; one that is there is kept."""
    if known(TokenDigest, path=path):
        host.noop("the host already has its own token")
        return
    yield from written(f"{path}.new", f"Authorization: Bearer {token}\n", "0")
    yield renamed(f"{path}.new", path)


def written(path: str, text: str, owner: str) -> Commands:
    """A file whose text is in no log, diff or argv, and never readable by others for a moment."""
    upload, place = QuoteString(host.get_temp_filename(path)), QuoteString(path)
    # Where sudo is used, pyinfra uploads as the ordinary user first: into a file of its own.
    yield StringCommand("rm -f", upload, "&& umask 077 && set -C && : >", upload, _sudo=False)
    yield StringCommand("rm -f", place, "&& install -m 600 /dev/null", place)
    yield FileUploadCommand(StringIO(text), path, remote_temp_filename=host.get_temp_filename(path))
    yield StringCommand("chown", f"{owner}:{owner}", place, "&& chmod 600", place)
    yield StringCommand("rm -f", upload)
