"""Debian packages: what is installed, in which order, and who is waited for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.operations import packages
from tests.unit.harness import plan

DPKG = "ii  curl  7.88.1-10+deb12u14  amd64  transfers a URL"


def test_installed_packages_are_left_alone_without_a_refresh() -> None:
    assert plan(packages.installed, {"dpkg -l": DPKG}, packages=["curl"]) == []


def test_missing_packages_are_installed_after_one_refresh() -> None:
    commands = plan(packages.installed, {"dpkg -l": DPKG}, packages=["curl", "docker.io"])
    assert commands[0::2] == ["wait()"] * 3
    mend, refresh, install = commands[1::2]
    assert mend.endswith(" --configure --pending")
    assert refresh.endswith(" update")
    assert install.endswith(" install --no-install-recommends docker.io")


def steps() -> list[str]:
    """Every command that may be planned here."""
    return [
        *plan(packages.installed, packages=["docker.io"]),
        *plan(packages.repository, **REPOSITORY),
    ]


def test_every_step_of_apt_and_dpkg_waits_for_minutes() -> None:
    commands = steps()
    asked = [place for place, command in enumerate(commands) if "apt-get" in command]
    assert len(asked) == 3
    for place in asked:
        assert "-o DPkg::Lock::Timeout=900" in commands[place]
    for place in [p for p, command in enumerate(commands) if " dpkg " in command]:
        assert commands[place - 1] == "wait()"


def test_no_step_of_apt_and_dpkg_asks_a_question() -> None:
    """Nobody is there to answer; what somebody edited in a configuration stays."""
    for command in steps():
        if "apt-get" in command or " dpkg " in command:
            assert "DEBIAN_FRONTEND=noninteractive " in command
        if " install " in command or "--configure" in command:
            assert "--force-confold" in command


HOLD = """
import fcntl, sys, time
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextmanager
def held(path: Path, seconds: float) -> Iterator[int]:
    """A lock as apt and dpkg take it, by another process; its pid."""
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


def waited(folder: Path, patience: int) -> subprocess.CompletedProcess[str]:
    script = packages.WAIT.read_text().replace(" /var/", f" {folder}/var/")
    return subprocess.run(["sh", "-c", script, "w", str(patience)], capture_output=True, text=True)


LOCKS = [
    *("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock"),
    "var/cache/apt/archives/lock",
]


@pytest.mark.parametrize("lock", LOCKS)
def test_who_changes_packages_is_waited_for_and_named(lock: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with held(tmp_path / lock, 1.5) as pid:
        done = waited(tmp_path, 60)
        assert done.returncode == 0
        comm = Path(f"/proc/{pid}/comm")
        name = comm.read_text().strip() if comm.exists() else "python"
        assert f"(process {pid}), which is changing packages" in done.stdout
        assert name[:6] in done.stdout
        assert done.stdout.count("waiting") == 1
    assert time.monotonic() - begun > 1


def test_who_never_ends_is_named_with_the_way_out(tmp_path: Path) -> None:
    with held(tmp_path / LOCKS[0], 60) as pid:
        done = waited(tmp_path, 0)
    assert done.returncode == 1
    assert (
        f"(process {pid}) has been changing packages for more than 0 s; wait until" in done.stdout
    )


def test_nobody_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / LOCKS[0]
    path.parent.mkdir(parents=True)
    path.touch()  # dpkg leaves it there
    assert (waited(tmp_path, 0).returncode, waited(tmp_path, 0).stdout) == (0, "")


CE = "ii  docker-ce  5:28.5.2-1~debian.12~bookworm  amd64  an engine"


def test_a_pinned_version_is_installed_where_there_is_another() -> None:
    kept = {"dpkg -l": CE}
    assert plan(packages.installed, kept, packages=["docker-ce=5:28.5.2-*"]) == []
    assert plan(packages.installed, kept, packages=["docker-ce"]) == []
    *_, install = plan(packages.installed, kept, packages=["docker-ce=5:28.5.3-*"])
    assert install.endswith(" 'docker-ce=5:28.5.3-*'")


REPOSITORY: dict[str, Any] = {
    "url": "https://m.lan/docker/debian",
    "suite": "bookworm",
    "key_sha256": "1" * 64,
}
SOURCES = """Types: deb
URIs: https://m.lan/docker/debian
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/docker.asc"""


def test_a_repository_that_is_known_is_left_alone() -> None:
    known = {"docker.sources": SOURCES.splitlines(), "sha256sum": f"{'1' * 64}  {packages.KEYRING}"}
    assert plan(packages.repository, known, **REPOSITORY) == []
    for other in ({"key_sha256": "2" * 64}, {"suite": "trixie"}):
        assert plan(packages.repository, known, **REPOSITORY | other) != []


def test_apt_learns_of_a_repository_last() -> None:
    commands = plan(packages.repository, **REPOSITORY)
    first = {
        word: next(place for place, command in enumerate(commands) if word in command)
        for word in ("curl", "sha256sum --check", " update -o", "sources.list.d")
    }
    assert list(first.values()) == sorted(first.values())
    assert "sources.list.d" in commands[-1]
