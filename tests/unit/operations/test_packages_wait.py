"""Who else changes packages is waited for, and named."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ollama_stack.operations import packages

pytestmark = pytest.mark.process

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
    command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process.pid
        process.kill()


def waited(
    folder: Path, patience: int, locks: str = "/proc/locks"
) -> subprocess.CompletedProcess[str]:
    script = packages.WAIT.read_text().replace(" /var/", f" {folder}/var/")
    script = script.replace("sleep 1\n", "sleep 0.1\n").replace("/proc/locks", locks)
    return subprocess.run(["sh", "-c", script, "w", str(patience)], capture_output=True, text=True)


LOCKS = [
    *("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock"),
    "var/cache/apt/archives/lock",
]


@pytest.mark.parametrize("lock", LOCKS)
def test_who_changes_packages_is_waited_for_and_named(lock: str, tmp_path: Path) -> None:
    begun = time.monotonic()
    with held(tmp_path / lock, 0.6) as pid:
        done = waited(tmp_path, 60)
        assert done.returncode == 0
        comm = Path(f"/proc/{pid}/comm")
        name = comm.read_text().strip() if comm.exists() else "python"
        assert f"(process {pid}), which is changing packages" in done.stdout
        assert name[:6] in done.stdout
        assert done.stdout.count("waiting") == 1
    assert time.monotonic() - begun > 0.5


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


def test_a_lock_of_another_disk_s_file_with_the_same_number_is_not_waited_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / LOCKS[0]
    path.parent.mkdir(parents=True)
    path.touch()
    table = tmp_path / "locks"
    table.write_text(f"1: POSIX  ADVISORY  WRITE {os.getpid()} 00:17:{path.stat().st_ino} 0 EOF\n")
    done = waited(tmp_path, 0, str(table))
    assert (done.returncode, done.stdout) == (0, "")
