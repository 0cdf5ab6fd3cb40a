"""The gateway's files: what they are called, and the token of the host's own."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import operation

from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.facts.memory import known
from ollama_stack.operations.secrets import written
from ollama_stack.shell import Commands, renamed


@operation()
def local_token(path: str, token: str) -> Commands:
    """Have a header file with a token of the host's own, root's alone; one that is there is kept."""
    if known(TokenDigest, path=path):
        host.noop("the host already has its own token")
        return
    yield from written(f"{path}.new", f"Authorization: Bearer {token}\n", "0")
    yield renamed(f"{path}.new", path)
