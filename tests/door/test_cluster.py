"""A cluster's gateway in a real HAProxy, with doubles of Ollama for its hosts."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from ollama_stack.config import tokens
from ollama_stack.stack.cluster import members, stack
from tests.door.conftest import (
    OTHERS_ADDRESS,
    PATIENCE,
    PATIENT,
    SECRETS,
    SOON,
    TOKENS,
    Door,
    bearer,
    question,
    status,
    until,
)
from tests.door.double import Double, Handler
from tests.door.haproxy import Process, free_ports, unpacked
from tests.door.names import Names
from tests.unit.conftest import group_data

DIGESTS = {tokens.digest(secret): name for name, secret in SECRETS.items()}
OWN = TOKENS | {"cluster": "school", "ollama_bind": "0.0.0.0"}
PARALLEL, QUEUE = 2, 10  # of a host of profile low


def files(hosts: int) -> dict[str, str]:
    """The files of a gateway of so many hosts, by the names that the container has them by."""
    data = group_data("all", "low") | OWN
    there = members({f"host-{n}": (["low"], data) for n in range(hosts)}, "school")
    made = stack(there, DIGESTS)
    return {name.split("_")[1]: text for name, text in (made.configs | made.secrets).items()}


class Cluster(Door):
    """With a double for each host: Docker's DNS, and the door's word on who asks, are left out."""

    def __init__(
        self,
        folder: Path,
        hosts: int,
        handler: type[Handler] | None = None,
        moved: dict[str, str] | None = None,
    ) -> None:
        self.doubles = [Double(port, handler) for port in free_ports(hosts)]
        made = files(hosts)
        made["haproxy.cfg"] = re.sub(
            r"server-template (\S+) \d+ \S+ (.*) resolvers docker init-addr none",
            lambda line: "\n    ".join(
                f"server {line[1]}{number} 127.0.0.1:{double.server_port} {line[2]}"
                for number, double in enumerate(self.doubles, 1)
            ),
            made["haproxy.cfg"] if moved else made["haproxy.cfg"].replace(" accept-proxy", ""),
        )
        alone = {k: v for k, v in OWN.items() if k != "cluster"}
        super().__init__(folder, alone, files=made, moved=moved)

    def end(self) -> None:
        super().end()
        for double in self.doubles:
            double.hold.set()
            double.shutdown()
            double.server_close()

    def places_taken(self) -> tuple[int, int]:
        """In flight at the hosts, and waiting: in a token's own places, and in the one queue."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics}/metrics", trust_env=False).text
        queues = re.findall(r'^haproxy_backend_current_queue\{proxy="(\S+)"\} (\d+)', text, re.M)
        return sum(self.at_work), sum(int(count) for _, count in queues)

    @property
    def at_work(self) -> list[int]:
        return [double.now for double in self.doubles]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    there = Cluster(tmp_path, 3)
    yield there
    there.end()


@pytest.mark.parametrize("hosts", [1, 3])
def test_haproxy_has_nothing_to_say_against_it(hosts: int, tmp_path: Path) -> None:
    for name, text in files(hosts).items():
        # Docker's DNS alone knows the hosts' names, and HAProxy is told to start without them.
        (tmp_path / name).write_text(text.replace("/usr/local/etc/haproxy", str(tmp_path)))
    for config in ("haproxy.cfg", "door.cfg"):
        command = [*unpacked(), "-c", "-dW", "-dD", "-f", str(tmp_path / config)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr


def test_all_hosts_work_the_declared_number_waits_and_the_next_is_refused(cluster: Cluster) -> None:
    for double in cluster.doubles:
        double.hold.clear()
    places = 3 * (PARALLEL + QUEUE)  # of which a token has half
    asked = [cluster.start(("one", "two")[n % 2]) for n in range(places)]
    until(lambda: cluster.at_work == [PARALLEL] * 3)
    until(lambda: sum(cluster.places_taken()) == places)
    with cluster.start("local") as one_more:
        assert status(one_more) == 503
    for double in cluster.doubles:
        double.hold.set()
    assert Counter(map(status, asked)) == {200: places}
    for one in asked:
        one.close()
    assert all(double.most == PARALLEL for double in cluster.doubles)


def test_a_host_that_is_gone_costs_nobody_an_answer(cluster: Cluster) -> None:
    cluster.doubles[1].shutdown()
    cluster.doubles[1].server_close()
    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(lambda _: cluster.ask(who="one").status_code, range(20)))
    assert statuses == [200] * 20


def test_who_has_lost_the_model_is_passed_over(cluster: Cluster) -> None:
    cluster.doubles[0].status = 404
    assert {cluster.ask(who="one").status_code for _ in range(12)} == {200}


def test_nobody_changes_models_through_the_gateway(cluster: Cluster) -> None:
    answer = cluster.ask("/api/pull", who="admin")
    assert answer.status_code == 403
    assert "the models of a cluster are its deploy's affair" in answer.text


NAMES = {"gateway": "127.0.0.2", "gateway-2": "127.0.0.3", "gateway-3": "127.0.0.4"}


class Managers:
    """A gateway each, with a host of its own behind it, and two doors that know them by name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.metrics, dns, *self.doors = free_ports(5)
        self.names = Names(dns, dict(NAMES))
        self.gateways = [self.gateway(name) for name in NAMES]
        self.processes = [self._door(dns, port) for port in self.doors]
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

    def _door(self, dns: int, port: int) -> Process:
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
            "client-fin 30s": "client-fin 1s",
        }.items():
            text = text.replace(old, new)
        (folder / "haproxy.cfg").write_text(text)
        return Process(unpacked(), folder, port)

    def client(self, door: int, seconds: float = PATIENCE) -> httpx.Client:
        """Somebody who asks at a door, and would keep the connection."""
        url = f"http://127.0.0.1:{self.doors[door]}"
        return httpx.Client(base_url=url, timeout=seconds, trust_env=False, headers=bearer("one"))

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


def refused(managers: Managers) -> socket.socket:
    """A connection of somebody else's that is answered, and whose end he does not heed."""
    one = socket.create_connection(("127.0.0.1", managers.doors[0]), PATIENCE, (OTHERS_ADDRESS, 0))
    one.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return one


def test_one_address_has_no_more_of_a_door_than_of_a_gateway(
    managers: Managers, mine: list[socket.socket]
) -> None:
    most = managers.gateways[0].settings.gateway_source_connections
    mine += [refused(managers) for _ in range(most)]
    assert {status(one) for one in mine} == {401}
    with refused(managers) as one, pytest.raises(ConnectionResetError):
        status(one)
    with managers.client(0) as other:
        assert managers.behind(other) == "gateway"


def silent(managers: Managers, door: int) -> socket.socket:
    address = ("127.0.0.1", managers.doors[door])
    return socket.create_connection(address, PATIENCE, (OTHERS_ADDRESS, 0))


def test_who_fills_his_part_of_a_gateway_by_several_doors_moves_nobody_to_another(
    managers: Managers, mine: list[socket.socket]
) -> None:
    first = managers.gateways[0]
    most = first.settings.gateway_source_connections
    mine += [silent(managers, 0) for _ in range(most)]
    until(lambda: f"conn_cur={most}" in first.source(OTHERS_ADDRESS))
    for _ in range(10):
        with silent(managers, 1) as one, suppress(ConnectionResetError):
            assert status(one) == 0
    assert managers.asked() == ["gateway"] * 2


def test_a_door_keeps_nobody_who_does_not_heed_the_end(
    managers: Managers, mine: list[socket.socket]
) -> None:
    held = Path(f"/proc/{managers.processes[0].process.pid}/fd")
    before = len(list(held.iterdir()))
    mine += [refused(managers) for _ in range(30)]
    assert {status(one) for one in mine} == {401}
    until(lambda: len(list(held.iterdir())) < before + 10)  # its own look-ups and checks come and go


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
