"""The project's command lines, run for real: each in a fork of a process that has imported them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path
from typing import NoReturn

from ollama_stack import ROOT

# Without pyinfra_cli: its import replaces the sockets of whoever imports it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "tests.unit.entry_points",  # first: the next ones read what it keeps
        "click",
        *(f"gevent.{name}" for name in ("events", "select", "signal", "ssl", "threading", "time")),
        *(f"pyinfra.{name}" for name in ("api.connect", "api.connectors", "operations.server")),
        *(f"ollama_stack.reports.{name}" for name in ("plan_monitoring", "status_table")),
        *(f"ollama_stack.{name}" for name in ("bundle.file", "cluster.story", "tasks.monitoring")),
    ]
)


PDEATHSIG = 1  # of prctl


def command(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``python -m MODULE WORDS`` in the project's folder, its output kept; no terminal at its input."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_run, args=(module, arguments, dict(os.environ), *files))
        process.start()
        try:
            process.join()
        finally:
            process.kill()  # of a test that was interrupted
        texts = [path.read_text() for path in files]
    return subprocess.CompletedProcess([module, *arguments], process.exitcode or 0, *texts)


def _run(
    module: str, arguments: tuple[str, ...], environment: dict[str, str], stdout: Path, stderr: Path
) -> NoReturn:
    # It ends with the forkserver, and that with the test's process: no fork may hold what tells that of its life.
    ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    os.close(forkserver._forkserver._forkserver_alive_fd)  # type: ignore[attr-defined]
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, path in enumerate((stdout, stderr), 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(ROOT)
    sys.argv = [module, *arguments]
    # multiprocessing has replaced these; a command has them from its start.
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "rw"[n > 0]) for n in range(3))
    code: object = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
