"""A cluster's gateways and the doors of its managers, in real HAProxys that know each other by name."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lab import plain
from tests.door.conftest import (
    OTHERS_ADDRESS,
    PATIENCE,
    PATIENT,
    SOON,
    bearer,
    question,
    status,
    until,
)
from tests.door.haproxy import Process, free_ports, unpacked
from tests.door.names import Names
from tests.door.test_cluster import Cluster, files

NAMES = {"gateway": "127.0.0.2", "gateway-2": "127.0.0.3", "gateway-3": "127.0.0.4"}


class Managers:
    """A gateway each, with a host of its own behind it, and two doors that know them by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.metrics, dns, *self.doors = free_ports(5)
        self.names = Names(dns, dict(NAMES))
        self.gateways = [self.gateway(name) for name in NAMES]
        # Who does not heed the end of a connection keeps it for longer than a test takes, and at the second for 1 s.
        self.processes = [
            self._door(dns, port, fin) for port, fin in zip(self.doors, ("10m", "1s"), strict=True)
        ]
        until(lambda: self.asked() == ["gateway"] * 2)

    def gateway(self, name: str) -> Cluster:
        """At the name's address."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        moved = {
            "    bind :11434": f"    bind {NAMES[name]}:{self.port}",
            "    bind :8404": f"    bind {NAMES[name]}:{self.metrics}\n    bind :8404",
            **PATIENT,
        }
        return Cluster(folder, 1, moved=moved)

    def _door(self, dns: int, port: int, fin: str) -> Process:
        folder, (health,) = self.folder / f"door-{port}", free_ports(1)
        folder.mkdir()
        text = files(3)["door.cfg"]
        for old, new in {
            ":53": f":{dns}",
            "127.0.0.11": "127.0.0.1",
            "bind :11434": f"bind 127.0.0.1:{port}",
            ":11434": f":{self.port}",
            "port 8404": f"port {self.metrics}",
            ":8406": f":{health}",
            "client-fin 30s": f"client-fin {fin}",
        }.items():
            text = text.replace(old, new)
        (folder / "haproxy.cfg").write_text(text)
        return Process(unpacked(), folder, port)

    def client(self, door: int, seconds: float = PATIENCE) -> httpx.Client:
        """Somebody who asks at a door, and would keep the connection."""
        url = f"http://127.0.0.1:{self.doors[door]}"
        return plain.Client(base_url=url, timeout=seconds, headers=bearer("one"))

    def behind(self, client: httpx.Client) -> str:
        """Whose gateway answers."""
        before = self._counts()
        answer = client.post("/api/generate", json=question())
        assert answer.status_code == 200, answer.text
        counts = zip(NAMES, before, self._counts(), strict=True)
        return next(name for name, old, new in counts if old != new)

    def _counts(self) -> list[int]:
        came = [gateway.doubles[0].came for gateway in self.gateways]
        return [sum(path == "/api/generate" for path, *_ in one) for one in came]

    def asked(self, seconds: float = PATIENCE) -> list[str]:
        """Which gateway answers, at each door."""
        found = []
        for door in range(len(self.doors)):
            with self.client(door, seconds) as client:
                found.append(self.behind(client))
        return found

    def end(self) -> None:
        for process in self.processes:
            process.end()
        for gateway in self.gateways:
            gateway.end()
        self.names.end()


@pytest.fixture
def managers(tmp_path: Path) -> Iterator[Managers]:
    there = Managers(tmp_path)
    yield there
    there.end()


def test_the_next_gateway_answers_when_the_first_one_dies_and_gives_back_without_a_cut(
    managers: Managers,
) -> None:
    first, second, _ = managers.gateways
    first.end()
    begun = time.monotonic()
    assert managers.asked() == ["gateway-2"] * 2
    assert time.monotonic() - begun < SOON
    with managers.client(0) as keeps, managers.client(1) as slow, ThreadPoolExecutor(1) as pool:
        assert managers.behind(keeps) == "gateway-2"
        second.doubles[0].second.clear()
        running = pool.submit(
            slow.post, "/api/generate", json=question(stream=True), headers=bearer("two")
        )
        until(lambda: second.at_work == [1])
        managers.gateways[0] = managers.gateway("gateway")
        until(lambda: managers.asked() == ["gateway"] * 2)
        assert managers.behind(keeps) == "gateway"
        assert second.at_work == [1]
        second.doubles[0].second.set()
        assert '"done": true' in running.result().text


def silent(managers: Managers, door: int) -> socket.socket:
    address = ("127.0.0.1", managers.doors[door])
    return socket.create_connection(address, PATIENCE, (OTHERS_ADDRESS, 0))


def refused(managers: Managers, door: int) -> socket.socket:
    """A connection of somebody else's that is answered, and whose end he does not heed."""
    one = silent(managers, door)
    one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return one


def test_one_address_has_no_more_of_a_door_than_of_a_gateway(
    managers: Managers, mine: list[socket.socket]
) -> None:
    most = managers.gateways[0].settings.gateway_source_connections
    mine += [refused(managers, 0) for _ in range(most)]
    assert {status(one) for one in mine} == {401}
    with pytest.raises(ConnectionError), refused(managers, 0) as one:
        status(one)
    with managers.client(0) as other:
        assert managers.behind(other) == "gateway"


def test_who_fills_his_part_of_a_gateway_by_several_doors_moves_nobody_to_another(
    managers: Managers, mine: list[socket.socket]
) -> None:
    first = managers.gateways[0]
    most = first.settings.gateway_source_connections
    mine += [silent(managers, 0) for _ in range(most)]
    until(lambda: f"conn_cur={most}" in first.source(OTHERS_ADDRESS))
    for _ in range(10):
        with suppress(ConnectionError), silent(managers, 1) as one:
            assert status(one) == 0
    assert managers.asked() == ["gateway"] * 2


def test_a_door_keeps_nobody_who_does_not_heed_the_end(
    managers: Managers, mine: list[socket.socket]
) -> None:
    held = Path(f"/proc/{managers.processes[1].process.pid}/fd")
    before = len(list(held.iterdir()))
    mine += [refused(managers, 1) for _ in range(30)]
    assert {status(one) for one in mine} == {401}
    # Its own look-ups and checks come and go.
    until(lambda: len(list(held.iterdir())) < before + 10)


def test_a_gateway_that_hangs_is_passed_over_and_the_last_one_takes_all(managers: Managers) -> None:
    first, second, _ = managers.gateways
    second.end()
    first.process.process.send_signal(signal.SIGSTOP)

    def last() -> bool:
        try:
            return managers.asked(seconds=1) == ["gateway-3"] * 2
        except httpx.TimeoutException:
            return False

    until(last)
    first.process.process.send_signal(signal.SIGCONT)
    until(lambda: managers.asked() == ["gateway"] * 2)
