"""A site's proxy that looks into TLS, the only way out: tinyproxy, and the lab's mirror behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lab import images
from lab.operations import LABEL
from lab.repository import acquire_lines

NAME = "ollama-lab-proxy"
MIRROR = "172.17.0.1:5000"


def _docker(*arguments: str, given: str = "") -> str:
    done = subprocess.run(  # noqa: S603 no shell
        ["docker", *arguments],  # noqa: S607
        input=given,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"docker {arguments[0]}: {done.stderr}")
    return done.stdout


@dataclass(frozen=True)
class Proxy:
    """Where it is, and the certificate (PEM) under which it shows what is behind it."""

    url: str
    certificate: str

    def led_to(self, name: str) -> bool:
        """Whether somebody has come to a host's port 443 through it."""
        return f"CONNECT {name}:443 " in _docker("exec", NAME, "cat", "/proxy.log")


@contextmanager
def proxy(codename: str) -> Iterator[Proxy]:
    """Run it in a container of its own until the end."""
    script = (images.HERE / "proxy" / "start.sh").read_text()
    _docker("rm", "--force", NAME)
    _docker(
        *("run", "--detach", "--name", NAME, "--label", LABEL, images.server(codename).name),
        *("sleep", "infinity"),
    )
    try:
        arguments = ("exec", "--interactive", NAME, "sh", "-c", script, "start", MIRROR)
        address = _docker(*arguments, given=acquire_lines()).strip()
        yield Proxy(f"http://{address}:8888", _docker("exec", NAME, "cat", "/site.crt"))
    finally:
        _docker("rm", "--force", NAME)
