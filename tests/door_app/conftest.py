"""The app as it runs, gunicorn and all, on loopback before a double for Ollama; minutes at most."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.worker import listen
from ollama_stack.config.settings import read_settings
from tests.door.conftest import Door
from tests.unit.conftest import group_data

ROOT = Path(__file__).parents[2]
CHUNKS, BEAT = 6, 0.25  # of an answer, and seconds between two


class Speaker(BaseHTTPRequestHandler):
    """Answers as Ollama does: a line of JSON for each word, slowly."""

    def do_POST(self) -> None:
        self._hear(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        for number in range(CHUNKS):
            self._say(response=f"word{number} ", done=False)
            time.sleep(BEAT)
        self._say(response="", done=True, done_reason="stop", eval_count=CHUNKS)

    def _hear(self, body: bytes) -> None:
        pass

    def _say(self, **line: object) -> None:
        self.wfile.write(json.dumps(line).encode() + b"\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


def free_port() -> int:
    """A port that nobody has, and that the kernel gives to no connection meanwhile."""
    while True:
        found = random.randrange(10000, 30000)  # noqa: S311 no secret
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", found))
            return found


@contextmanager
def running(command: list[str], up: Callable[[], bool], **more: object) -> Iterator[int]:
    """A process of our own until the end; AssertionError with what it said if it does not come up."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )  # type: ignore[call-overload]
    try:
        end = time.monotonic() + 60
        while not up():
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                raise AssertionError(process.communicate()[0])
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def answers(port: int, host: str = "127.0.0.1") -> bool:
    try:
        socket.create_connection((host, port), 1).close()
    except OSError:
        return False
    return True


@dataclass
class App:
    """Where it listens, and with which settings it was told to."""

    port: int
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def started(folder: Path, ollama: str, **more: str) -> Iterator[App]:
    """The app with its own gunicorn.conf.py, but for the port."""
    for name in ("cookie.key", "gateway.token", "teacher.token"):
        (folder / name).write_text(f"{name:0<64}")
    environment = {
        "OLLAMA_HOST": ollama,
        "APP_QUESTIONS_PER_MINUTE": "100",
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_MAX_QUEUE": "3",
        "APP_MODEL": "double",
        "APP_THREADS": "8",
        "APP_SECRETS": str(folder),
    } | more
    port = free_port()
    binds = [argument for address in listen(port) for argument in ("--bind", address)]
    command = [sys.executable, "-m", "gunicorn", "--config", "app/gunicorn.conf.py", *binds]
    with running(command, lambda: answers(port), cwd=ROOT, env=os.environ | environment):
        yield App(port, environment)


@pytest.fixture(scope="session")
def ollama() -> Iterator[str]:
    """A double for Ollama behind its gateway."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Speaker) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def app(ollama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with started(tmp_path_factory.mktemp("app"), ollama) as found:
        yield found


@pytest.fixture(scope="session")
def students(ollama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """The gateway with the app itself behind it, as a class meets them."""
    threads = str(read_settings(group_data("all", "medium")).app_threads)
    with started(tmp_path_factory.mktemp("behind"), ollama, APP_THREADS=threads) as app:
        door = Door(tmp_path_factory.mktemp("students"), {"app_enabled": True}, app.port)
        yield door
        door.end()
