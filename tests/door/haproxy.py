"""A real HAProxy of Debian's, unpacked into a folder of its own and run on loopback."""

from __future__ import annotations

import atexit
import os
import random
import socket
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path

from lab.packages import MMDEBSTRAP, alone, have
from ollama_stack.pinned_wheels import cache

RELEASE = os.environ.get("DOOR_RELEASE", "trixie")  # bookworm's branch, 2.6, is too old
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
CLAIMS: deque[socket.socket] = deque()


@atexit.register
def _release() -> None:
    while CLAIMS:
        CLAIMS.pop().close()


def unpacked(release: str = RELEASE) -> list[str]:
    """The command that runs HAProxy; its packages come from this machine's own apt sources, once."""
    folder = cache() / f"haproxy-{release}"
    with alone():
        _have(folder, release)
    libraries = folder / LIBRARIES
    loader = libraries / "ld-linux-x86-64.so.2"
    return [*map(str, (loader, "--library-path", libraries, folder / "usr/sbin/haproxy"))]


def _have(folder: Path, release: str) -> None:
    if not folder.is_dir():
        have("mmdebstrap", "mmdebstrap")
        with tempfile.TemporaryDirectory(dir=cache(), ignore_cleanup_errors=True) as temp:
            _unpack(Path(temp), release)
            (Path(temp) / "root").rename(folder)


def _unpack(temp: Path, release: str) -> None:
    target = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", target, "Created-By: Packages"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    ours = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if line)  # fmt: skip
    here = ours["VERSION_CODENAME"]
    # Sid has neither updates nor an index that is still good on a mirror that rests.
    sources = [line for line in known if release != "sid" or line.split()[2] == here]
    (temp / "sources.list").write_text("\n".join(sources).replace(here, release) + "\n")
    command = [*MMDEBSTRAP.split(), "--variant=extract", "--include=haproxy"]
    command += ['--aptopt=Acquire::Check-Valid-Until "false"', release]
    command += [str(temp / "root"), str(temp / "sources.list")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TMPDIR": str(temp)})  # fmt: skip
    assert done.returncode == 0, f"HAProxy cannot be unpacked: {done.stderr[-300:]}"


def free_ports(count: int) -> list[int]:
    """Ports that nobody has, and that no test of another process takes before somebody listens there.

    HAProxy opens its ports with SO_REUSEPORT: a second gateway at the same port would get half of the requests.
    They are below those that the kernel gives to connections, one of which may have it by then.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = random.randrange(12_000, 32_768)  # noqa: S311 no secret
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0ollama-stack-port-{port}")
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            claim.close()
            continue
        CLAIMS.append(claim)
        ports.append(port)
    for _ in range(len(CLAIMS) - 64):
        CLAIMS.popleft().close()  # long listened at
    return ports


class Process:
    """HAProxy with a configuration; what it logs is in ``log``."""

    def __init__(self, binary: list[str], folder: Path, port: int) -> None:
        self.log = folder / "log"
        command = [*binary, "-db", "-f", str(folder / "haproxy.cfg")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < end, "HAProxy does not listen"
                time.sleep(0.02)

    @property
    def memory(self) -> int:
        """Resident bytes."""
        return self._read("VmRSS")

    @property
    def peak(self) -> int:
        """The most of them so far."""
        return self._read("VmHWM")

    def _read(self, name: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split(f"{name}:")[1].split()[0]) * 1024

    def end(self) -> None:
        """End this process and no other."""
        self.process.kill()
        self.process.wait()
