"""A signed apt repository on Docker's bridge with packages of Docker's names (lab/apt/build.sh)."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from typing_extensions import override

from lab import images
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, unpacked

ADDRESS = ("172.17.0.1", 5080)
VERSIONS = ("20.10.24", "20.10.25")  # by name; what is in them is one and the same engine


@dataclass(frozen=True)
class Repository:
    """``docker_repository`` and its key; ``forged`` is signed by somebody else."""

    url: str
    forged: str
    key_sha256: str


class _Quiet(SimpleHTTPRequestHandler):
    @override
    def log_message(self, format: str, *args: object) -> None: ...


def acquire_lines() -> str:
    """How this machine's apt reaches its registries; an apt in a container reaches them so, too."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)  # noqa: S607
    return "\n".join(line for line in dump.stdout.splitlines() if line.startswith("Acquire::"))


@contextmanager
def docker_ce(folder: Path, codename: str) -> Iterator[Repository]:
    """Build it in a throw-away server of the lab, and serve it from ``folder`` until the end."""
    (compose,) = unpacked(COMPOSE_PLUGIN).glob("*.data/scripts/docker-compose")
    script = (images.HERE / "apt" / "build.sh").read_text()
    subprocess.run(  # noqa: S603 no shell
        [
            *("docker", "run", "--rm", "--interactive", "--env", f"VERSIONS={' '.join(VERSIONS)}"),
            *("--volume", f"{folder}:/out", "--volume", f"{compose}:/compose:ro"),
            *(images.server(codename).name, "sh", "-c", script),
        ],
        input=acquire_lines(),
        text=True,
        check=True,
    )
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(ADDRESS, handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = "http://{}:{}".format(*ADDRESS)
        key = sha256((folder / "debian" / "gpg").read_bytes()).hexdigest()
        yield Repository(url, f"{url}/forged", key)
        server.shutdown()
