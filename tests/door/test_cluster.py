"""A cluster's gateway in a real HAProxy, with doubles of Ollama for its hosts."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab import plain
from ollama_stack.config import tokens
from ollama_stack.stack.cluster import members, stack
from tests.door.conftest import (
    SECRETS,
    TOKENS,
    Door,
    status,
    until,
)
from tests.door.double import Double, Handler
from tests.door.haproxy import free_ports, unpacked
from tests.unit.conftest import group_data

DIGESTS = {tokens.digest(secret): name for name, secret in SECRETS.items()}
OWN = TOKENS | {"cluster": "school", "ollama_bind": "0.0.0.0"}
PAGE = {"app_enabled": True, "app_bind": "0.0.0.0"}
PARALLEL, QUEUE = 2, 10  # of a host of profile low


def files(hosts: int, own: dict[str, object] | None = None) -> dict[str, str]:
    """The files of a gateway of so many hosts, by the names that the container has them by."""
    data = group_data("all", "low") | OWN | (own or {})
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
        text = plain.get(f"http://127.0.0.1:{self.metrics}/metrics").text
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


@pytest.mark.parametrize("own", [{}, PAGE], ids=["no page", "page"])
@pytest.mark.parametrize("hosts", [1, 3])
def test_haproxy_has_nothing_to_say_against_it(
    hosts: int, own: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APP", "app-2")
    for name, text in files(hosts, own).items():
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
