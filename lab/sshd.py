"""A real sshd on loopback whose logins are this machine: the way of a fleet, without one."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADDRESSES = tuple(f"127.0.0.{number}" for number in range(11, 21))


def _run(*arguments: str | Path) -> None:
    subprocess.run([str(argument) for argument in arguments], check=True, capture_output=True)  # noqa: S603 ours


@dataclass(frozen=True)
class Sshd:
    """A running sshd, on every one of ADDRESSES, and who may log in with its one key."""

    folder: Path
    port: int

    @property
    def key(self) -> Path:
        """The private key."""
        return self.folder / "key"

    def data(self, address: str, user: str = "root") -> dict[str, Any]:
        """How an inventory reaches it."""
        return {
            "ssh_hostname": address,
            "ssh_port": self.port,
            "ssh_user": user,
            "ssh_key": str(self.key),
            "ssh_known_hosts_file": str(self.folder / "known_hosts"),
        }

    def inventory(self, hosts: Sequence[tuple[str, dict[str, Any]]]) -> Path:
        """An inventory with the lab's settings; its group is its file's name."""
        path = self.folder / "lab.py"
        path.write_text(f"medium = {list(hosts)!r}\n")
        return path


@contextmanager
def sshd(folder: Path, environment: str = "", port: int = 2222) -> Iterator[Sshd]:
    """Run it; its keys and its log are in ``folder``. ``environment``: NAME=value of every login."""
    if not shutil.which("sshd", path="/usr/sbin"):
        _run("apt-get", "install", "--yes", "--quiet", "openssh-server")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for name in ("host_key", "key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    (folder / "config").write_text(
        f"Port {port}\n"
        + "".join(f"ListenAddress {address}\n" for address in ADDRESSES)
        + f"HostKey {folder}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/key.pub\nPasswordAuthentication no\nMaxSessions 100\n"
        "Subsystem sftp internal-sftp\n" + (f"SetEnv {environment}\n" if environment else "")
    )
    folder.chmod(0o755)  # sshd reads the key as the one who logs in
    server = subprocess.Popen(  # noqa: S603 ours
        [
            *("setpriv", "--pdeathsig", "TERM"),  # it ends with this process, however that ends
            *("/usr/sbin/sshd", "-D", "-E", str(folder / "log"), "-f", str(folder / "config")),
        ]
    )
    try:
        end = time.monotonic() + 10
        while "listening" not in _text(folder / "log"):
            if server.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"sshd does not start: {_text(folder / 'log')}")
            time.sleep(0.05)
        yield Sshd(folder, port)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def user(name: str, *groups: str) -> Iterator[str]:
    """A user of this machine who can log in with a key alone, and is gone afterwards."""
    remove_user(name)
    extra = ["--groups", ",".join(groups)] if groups else []
    _run("useradd", "--no-create-home", "--shell", "/bin/sh", "--password", "*", *extra, name)
    try:
        yield name
    finally:
        remove_user(name)


def remove_user(name: str) -> None:
    """Also one that a killed run has left."""
    subprocess.run(["/usr/sbin/userdel", "--force", name], capture_output=True)  # noqa: S603 ours


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
