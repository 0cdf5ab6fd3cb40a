"""A broken host is the first line of ``status``, and a live Prometheus with our own words calls somebody."""

from __future__ import annotations

import io
import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from rich.console import Console

from lab import plain
from lab.packages import program
from ollama_stack.config.monitoring import Monitor, read_monitor
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.facts.now import (
    Asked,
    DiskUsed,
    InMemory,
    LastMinutes,
    Load,
    OllamaLoad,
    Places,
    ShownCertificate,
    States,
)
from ollama_stack.paths import MONITORING_DIR, MONITORING_STATE
from ollama_stack.reports.metrics import write_metrics
from ollama_stack.reports.status import HostStatus, Status, report_of
from ollama_stack.reports.status_table import show_status
from ollama_stack.stack.certificates import LIFE, SKEW, issue, new_authority
from ollama_stack.stack.monitoring import alertmanager, configurations, units
from tests.door.conftest import Door, until
from tests.door.haproxy import free_ports
from tests.door.test_places import held
from tests.door.test_status import output
from tests.unit.conftest import group_data

NOW = datetime.now(timezone.utc)
PLAIN = read_settings(group_data("all", "medium") | {"lessons": ""})
OWN = PLAIN.model_copy(update={"gateway_tls": "own"})
UP = {"State": {"Running": True, "Status": "running", "ExitCode": 0}}
WELL: dict[Any, Any] = {
    States: {"ollama": UP, "ollama-gateway": UP},
    OllamaLoad: Load(cpus=0.1, throttled_seconds=0, memory=2**30, killed=0),
    InMemory: {"m": NOW},
    Places: (0, 0),
    LastMinutes: Asked(),
    DiskUsed: 0.5,
}


class Site:
    """Prometheus, Alertmanager and node_exporter as the units start them, but in a folder, and in a hurry."""

    def __init__(self, folder: Path, status: Status, running: ExitStack) -> None:
        self.folder, self.monitor = folder, _monitor()
        figures = folder / "state" / "figures" / "ollama.prom"
        figures.parent.mkdir(parents=True)
        write_metrics(status, str(figures))
        files = configurations(self.monitor)
        files[f"{MONITORING_DIR}/alertmanager.yml"] = alertmanager(self.monitor)
        for path, text in files.items():
            hurried = re.sub(r"for: \d+m", "for: 0s", text.replace("interval: 30s", "interval: 1s"))
            (folder / Path(path).name).write_text(hurried)
        for path, unit in units(self.monitor, "ops", "/clone", "x.py").items():
            if "User=prometheus" in unit:
                running.enter_context(self._started(Path(path).stem, unit))

    @contextmanager
    def _started(self, name: str, unit: str) -> Iterator[None]:
        (line,) = re.findall(r"^ExecStart=/usr/bin/(.*)$", unit, re.M)
        line = line.replace(MONITORING_DIR, str(self.folder))
        package, *options = shlex.split(line.replace(MONITORING_STATE, str(self.folder / "state")))
        with (self.folder / f"{name}.log").open("w") as log:
            binary = Path(program(package, f"usr/bin/{package}"))
            share = (
                binary.parents[1] / "share"
            )  # where the program alone looks for the package's own files
            there = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /usr/share && exec "$@"']
            process = subprocess.Popen([*there, share, binary, *options], stderr=log)
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    def firing(self) -> set[tuple[str, str]]:
        """Alarms and their hosts, as Alertmanager has them from Prometheus."""
        with suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{self.monitor.ports['alertmanager']}/api/v2/alerts"
            found = [alert["labels"] for alert in plain.get(url).json()]
            return {(labels["alertname"], labels.get("host", "")) for labels in found}
        return set()


def _monitor() -> Monitor:
    """With three ports that nobody has."""
    while True:
        (port,) = free_ports(1)
        with suppress(OSError, ValueError), ExitStack() as bound:
            found = read_monitor({"monitoring_port": port})
            for one in found.ports.values():
                bound.enter_context(socket.create_server(("127.0.0.1", one)))
            return found


def host(name: str, settings: Settings = PLAIN, **broken: Any) -> HostStatus:
    facts = {fact.__name__: fact for fact in (*WELL, ShownCertificate)}
    return report_of(
        name, settings, WELL | {facts[key]: value for key, value in broken.items()}, NOW
    )


def certificate(days: int) -> x509.Certificate:
    """That has so many days left."""
    then = NOW + timedelta(days=days) + SKEW - LIFE
    made = issue(new_authority("school", then), ["class-1"], then)
    return x509.load_pem_x509_certificate(made.encode())


def full(door: Door) -> tuple[int, int]:
    """What ``status`` reads of a real gateway whose queue is full."""
    look = Places().command(port=door.metrics, page=False)
    with held(door) as mine:
        mine += [door.start() for _ in range(30)]
        until(lambda: door.places() == (3, 15))
        return Places().process(output(door, look))


BROKEN = ["hung", "paused", "full", "ending", "ended", "killed", "throttled"]


def test_each_broken_host_comes_first_and_calls(tmp_path: Path, door: Door) -> None:
    hosts = [
        host("well", OWN, ShownCertificate=certificate(60)),
        HostStatus(host="hung", reached=False, state="unreachable", problems=["it hangs"]),
        host("paused", InMemory=None),  # as behind docker pause ollama
        host("full", Places=full(door)),
        host("ending", OWN, ShownCertificate=certificate(20)),
        host("ended", OWN, ShownCertificate=certificate(-1)),
        host("killed", OllamaLoad=Load(cpus=0, throttled_seconds=0, memory=1, killed=1)),
        host("throttled", OllamaLoad=Load(cpus=2, throttled_seconds=1, memory=1, killed=0)),
    ]
    for name in BROKEN:
        pair = [one for one in hosts if one.host in (name, "well")]
        assert first_line(Status(time=NOW, inventory="x.py", hosts=pair)).startswith(name), name
    expected = {
        ("HostUnreachable", "hung"),
        ("ServiceDown", "paused"),
        ("QueueFull", "full"),
        ("CertificateEnds", "ending"),
        ("ServiceDown", "ended"),
        ("CertificateEnds", "ended"),
        ("KilledForMemory", "killed"),
        ("Throttled", "throttled"),
    }
    with ExitStack() as running:
        site = Site(tmp_path, Status(time=NOW, inventory="x.py", hosts=hosts), running)
        with suppress(AssertionError):  # what is there instead says more
            until(lambda: site.firing() == expected, 30)
        assert site.firing() == expected


def first_line(status: Status) -> str:
    """Of the table, below its head: the first that begins with a host's name."""
    screen = io.StringIO()
    show_status(status, Console(file=screen, width=250))
    lines = [line.strip() for line in screen.getvalue().splitlines()]
    names = [host.host for host in status.hosts]
    return next(line for line in lines if line.split(" ")[0] in names)
