"""The rendered configuration in a real HAProxy, between a client of the test's and a double of Ollama."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import plain
from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.stack.rendering import gateway_files
from tests.door.double import MODEL, Double
from tests.door.haproxy import Process, free_ports, unpacked
from tests.unit.conftest import group_data

SECRETS = {
    name: f"0123456789abcdef0123456789abcdef-{name}"
    for name in ("admin", "one", "two", "app", "local")
}
TOKENS = {"gateway_tokens": {"admin": "env:A", "one": "env:B", "two": "env:C"}}
OTHERS_ADDRESS = "127.0.0.9"  # of somebody who is not on this host
# What a client may be silent for, made long: who has to wait for silence to end waits for longer than SOON,
# and a busy machine delays nobody for so long.
PATIENT = {
    f"timeout {name} 5s": f"timeout {name} 40s"
    for name in ("client-hs", "http-request", "http-keep-alive")
}
SOON = 15.0  # seconds
PATIENCE = 60.0  # seconds for what must come


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {SECRETS[name]}"}


def question(**more: Any) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "hi", "stream": False, **more}


class Door:
    """A running gateway; ``files`` instead of those that the settings make."""

    def __init__(
        self,
        folder: Path,
        own: dict[str, Any],
        behind: int = 0,
        files: dict[str, str] | None = None,
        moved: dict[str, str] | None = None,
    ) -> None:
        """``behind``: the port of the app itself, instead of the double's; ``moved``: words for others."""
        self.settings: Settings = read_settings(group_data("all", "medium") | own)
        self.api, self.inner, self.page, self.metrics, self.health, self.runtime, *more = (
            free_ports(9)
        )
        within, app, ollama = more
        self.ollama, self.app = Double(ollama), Double(app)
        names = {tokens.digest(secret): name for name, secret in SECRETS.items()}
        files = files or gateway_files(self.settings, names)[1]
        moved = (moved or {}) | {
            "/usr/local/etc/haproxy": str(folder),
            "bind :11434": f"bind 127.0.0.1:{self.api}",
            "bind :11435": f"bind 127.0.0.1:{self.inner}",
            "dst_port 11435": f"dst_port {self.inner}",
            "bind :8080": f"bind 127.0.0.1:{self.page}",
            "bind :8404": f"bind 127.0.0.1:{self.metrics}",
            "127.0.0.1:8406": f"127.0.0.1:{self.health}",
            "127.0.0.1:8405": f"127.0.0.1:{self.runtime}",
            "127.0.0.1:11436": f"127.0.0.1:{within}",
            "ollama:11434": f"127.0.0.1:{ollama}",
            "app:8080": f"127.0.0.1:{behind or app}",
            " resolvers docker init-addr libc,none": "",
        }
        for name, text in files.items():
            for old, new in moved.items():
                text = text.replace(old, new)
            (folder / name).write_text(text)
        self.process = Process(unpacked(), folder, self.metrics)
        self.url = f"http://127.0.0.1:{self.api}"
        self.client = plain.Client(base_url=self.url, timeout=PATIENCE)

    def ask(self, path: str = "/api/generate", who: str = "", **more: Any) -> httpx.Response:
        """A question's answer."""
        headers = bearer(who) if who else {}
        return self.client.post(path, json=question(**more), headers=headers)

    def post(self, body: str | bytes, path: str = "/api/generate") -> httpx.Response:
        return self.client.post(path, content=body)

    def connect(self, port: int = 0, source: str = "127.0.0.1") -> socket.socket:
        """A connection to the API, or to another door."""
        address = ("127.0.0.1", port or self.api)
        return socket.create_connection(address, PATIENCE, (source, 0))

    def start(
        self, who: str = "", source: str = "127.0.0.1", port: int = 0, prompt: str = "hi"
    ) -> socket.socket:
        """A question that is sent, and whose answer nobody has read yet."""
        one, body = self.connect(port, source), json.dumps(question(prompt=prompt))
        head = "".join(f"{name}: {value}\r\n" for name, value in bearer(who).items()) if who else ""  # fmt: skip
        one.sendall(
            f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\n{head}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return one

    def places(self) -> tuple[int, int]:
        """How many are in flight and how many wait in the one queue of all."""
        text = plain.get(f"http://127.0.0.1:{self.metrics}/metrics").text
        names = ("haproxy_server_current_sessions", "haproxy_backend_current_queue")
        found = [re.search(rf'^{name}\{{proxy="generations".*\}} (\d+)', text, re.M) for name in names]  # fmt: skip
        flight, queue = (int(match[1]) for match in found if match)
        return flight, queue

    def source(self, address: str) -> str:
        """What is counted of an address."""
        with socket.create_connection(("127.0.0.1", self.runtime)) as runtime:
            runtime.sendall(f"show table sources key ::ffff:{address}\n".encode())
            return runtime.makefile().read()

    def lines(self) -> list[dict[str, Any]]:
        """What was logged of requests, each a line of JSON."""
        time.sleep(0.1)
        text = self.process.log.read_text()
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def end(self) -> None:
        self.client.close()
        self.process.end()
        for double in (self.ollama, self.app):
            double.hold.set()
            double.shutdown()
            double.server_close()


Opener = Callable[..., Door]


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ready PEM, for gateway_tls_cert."""
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -keyout key -out crt"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    (folder / "tls.pem").write_text((folder / "crt").read_text() + (folder / "key").read_text())
    return str(folder / "tls.pem")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opener]:
    """A gateway with settings of its own."""
    doors: list[Door] = []

    def open_one(moved: dict[str, str] | None = None, **own: Any) -> Door:
        doors.append(Door(tmp_path_factory.mktemp("door"), own, moved=moved))
        return doors[-1]

    yield open_one
    for door in doors:
        door.end()


@pytest.fixture(scope="module")
def door(opened: Opener) -> Door:
    """Without tokens, with the page."""
    return opened(app_enabled=True)


@pytest.fixture(scope="module")
def locked(opened: Opener) -> Door:
    """With tokens and the page."""
    return opened(app_enabled=True, **TOKENS)


@pytest.fixture
def patient(opened: Opener) -> Door:
    """The same, for each test; it ends a silent client's connection long after a test is over."""
    return opened(PATIENT, app_enabled=True, **TOKENS)


@pytest.fixture
def mine() -> Iterator[list[socket.socket]]:
    """Connections that are closed in the end."""
    kept: list[socket.socket] = []
    yield kept
    for one in kept:
        one.close()


def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait for what must come true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


def once(tried: Callable[[], float], below: float) -> bool:
    """Whether one of five tries took less: an attack delays each, a busy machine some."""
    return any(tried() < below for _ in range(5))


def status(one: socket.socket, seconds: float = PATIENCE) -> int:
    """The status that comes on a connection; 0 if it is closed without one."""
    one.settimeout(seconds)
    found = re.match(rb"HTTP/1\.[01] (\d+)", one.recv(65536))
    return int(found[1]) if found else 0
