"""What tests need on this machine: Debian's programs, and npm's packages, pinned by hash.

Which servers they come from is apt's and npm's own affair.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ollama_stack.pinned_wheels import cache

# With mounts of its own: killed, it leaves no /proc of this machine's in a folder that the next run removes.
MMDEBSTRAP = "unshare --mount mmdebstrap --quiet"
SHA512 = {
    "axe-core@4.14.1": "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "ollama@0.6.4": "KzM6b5Sq0TgipeMTdImuELr/V4eNqrTf37PRzUTHCPPieFmboYw6qPn+pX7+lg0nSP1jsKwy4AFkiQFXhqHeZA==",
    "whatwg-fetch@3.6.20": "EqhiFU6daOA8kpjOWTL0olhVOF3i7OrFzSYiGsEMB8GcXS+RrzauAERX65xMeNWVqxA6HXH2m69Z9LaKKdisfg==",
}  # fmt: skip


def have(program: str, package: str) -> None:
    """Have a program, from Debian's packages if it is not there yet."""
    if not shutil.which(program):
        apt = "apt-get -o DPkg::Lock::Timeout=900"
        install = f"{apt} install --yes --quiet --no-install-recommends {package}"
        command = ["sh", "-ec", f"{install} || {{ {apt} update --quiet; {install}; }}"]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 our own arguments


def program(package: str, path: str) -> str:
    """A program out of Debian's package, unpacked and not installed: nothing is started by that."""
    if found := shutil.which(Path(path).name):
        return found
    there = cache() / "debian" / package
    with alone():
        _have(package, path, there)
    return str(there / path)


def _have(package: str, path: str, there: Path) -> None:
    if not (there / path).exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=there.parent) as folder:
            get = f"apt-get download {package} || {{ apt-get update --quiet; apt-get download {package}; }}"
            command = ["sh", "-ec", f"{{ {get}; }} && dpkg -x {package}_*.deb {package}"]
            subprocess.run(command, check=True, capture_output=True, cwd=folder)  # noqa: S603 our own arguments
            shutil.rmtree(there, ignore_errors=True)
            (Path(folder) / package).rename(there)


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time fills the cache; others wait for it."""
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def modules(*pins: str) -> Path:
    """A folder ``node_modules`` with these packages, fetched once; ValueError if one is not as pinned."""
    folder = cache() / "+".join(pins)
    with alone():
        if not folder.is_dir():
            have("npm", "npm")
            with tempfile.TemporaryDirectory(dir=cache()) as temp:
                for pin in pins:
                    _unpack(pin, Path(temp))
                (Path(temp) / "new").rename(folder)
    return folder / "node_modules"


def _unpack(pin: str, temp: Path) -> None:
    command = ["npm", "pack", "--silent", pin, "--pack-destination", str(temp)]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 our own arguments
    (packed,) = temp.glob("*.tgz")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    if digest != SHA512[pin]:
        raise ValueError(f"{pin} is not the pinned one: sha512-{digest}")
    with tarfile.open(packed) as archive:
        archive.extractall(temp, filter="data")
    packed.unlink()
    home = temp / "new" / "node_modules" / pin.split("@")[0]
    home.parent.mkdir(parents=True, exist_ok=True)
    (temp / "package").rename(home)
