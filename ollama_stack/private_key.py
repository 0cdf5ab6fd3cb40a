"""Whether a file can be the private key of a login, before anybody connects with it."""

from __future__ import annotations

from pathlib import Path


def key_fault(path: Path, named: str) -> str:
    """The problem and the way out, "" if there is none; ``named``: the path as it was written."""
    try:
        head = path.read_bytes()[:65536]
    except (FileNotFoundError, NotADirectoryError):
        return (
            f"key file {named} is not there; make one with ssh-keygen -t ed25519, or name another"
        )
    except OSError as error:
        return f"key file {named} cannot be read ({error.strerror}); check its path, owner and mode"
    if b"PRIVATE KEY" not in head:
        return f"key file {named} is no private key of OpenSSH's; name the half without .pub, or another"
    return ""
