"""Where an attack goes: a port of loopback, for so long and by so many connections, and no more."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

LONGEST, MOST = 15.0, 12_000  # seconds, connections
PAUSE = 2.0  # seconds between two looks at what is held
HERE, THERE = "127.0.0.1", "127.0.0.9"  # where the gateway listens, and who attacks it
MODEL = "qwen2.5:1.5b"


class Over(Exception):
    """The attack's time or its connections are used up."""


@dataclass
class Target:
    """A gateway on this machine; ValueError for another one, or for an attack without an end."""

    api: int = 0
    page: int = 0
    token: str = ""
    host: str = HERE
    seconds: float = LONGEST
    connections: int = MOST
    got: Counter[str] = field(default_factory=Counter)
    """What the attack was answered: statuses, and how often no connection came about."""

    def __post_init__(self) -> None:
        """Its time begins."""
        if not ip_address(self.host).is_loopback:
            raise ValueError(f"{self.host} is not this machine")
        if not (self.seconds <= LONGEST and self.connections <= MOST):
            raise ValueError(f"at most {LONGEST} s and {MOST} connections")
        self.end = time.monotonic() + self.seconds

    @property
    def left(self) -> float:
        """Seconds; never none, for a socket would wait for ever then."""
        return max(0.1, self.end - time.monotonic())

    def open(self, port: int, source: str = THERE) -> socket.socket:
        """One connection more, or Over."""
        self.connections -= 1
        if self.connections < 0 or time.monotonic() > self.end:
            raise Over
        return socket.create_connection((self.host, port), 5, source_address=(source, 0))

    def rounds(self, pause: float, seconds: float = LONGEST) -> Iterator[int]:
        """Numbers, until the time is over, or so much of it."""
        number, end = 0, min(self.end, time.monotonic() + seconds)
        while time.monotonic() < end:
            yield number
            number += 1
            time.sleep(max(0.0, min(pause, end - time.monotonic())))

    def head(self, line: str, *more: str) -> bytes:
        """A request's head with the token, where there is one."""
        known = [f"Authorization: Bearer {self.token}"] if self.token else []
        return "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *known, *more, "", ""]).encode()

    def post(self, path: str, body: bytes | dict[str, object]) -> bytes:
        """A whole request; an object is a question to the model."""
        if isinstance(body, dict):
            body = json.dumps({"model": MODEL} | body).encode()
        return self.head(f"POST {path}", f"Content-Length: {len(body)}") + body

    def ask(self, port: int, raw: bytes) -> bytes:
        """The beginning of what comes back, noted; nothing if it is refused without a word."""
        answer = b""
        with suppress(OSError), self.open(port) as one:
            one.sendall(raw)
            answer = one.recv(65536)
        self.note(answer)
        return answer

    def note(self, answer: bytes) -> None:
        """Count a status."""
        found = re.match(rb"HTTP/1\.[01] (\d+)", answer)
        self.got[found[1].decode() if found else "closed"] += 1

    def hold(self, port: int, raw: bytes, count: int, reads: bool = True) -> None:
        """So many connections that have sent this and no more; one that ends is opened anew."""
        mine: list[socket.socket] = []
        for _ in self.rounds(PAUSE):
            if reads:
                mine = [one for one in mine if self._stays(one)]
            for _ in range(count - len(mine)):
                try:
                    mine.append(self.open(port))
                    mine[-1].sendall(raw)
                    mine[-1].setblocking(False)
                except OSError:
                    self.got["closed"] += 1
        self.got["held"] = len(mine)
        for one in mine:
            one.close()

    def _stays(self, one: socket.socket) -> bool:
        try:
            answer = one.recv(65536)
        except BlockingIOError:
            return True
        except OSError:
            answer = b""
        self.note(answer)
        if not answer:
            one.close()
        return bool(answer)


def cookie(answer: bytes) -> str:
    """The first that an answer sets."""
    found = re.search(rb"(?i)^set-cookie: ([^;\r]+)", answer, re.M)
    return found[1].decode() if found else ""
