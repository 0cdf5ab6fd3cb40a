"""What a host says of itself, by real shells on this machine; Docker and the gateway are doubles."""

from __future__ import annotations

import io
import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console

from lab.sshd import ADDRESSES, sshd
from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target
from ollama_stack.reports import status as report
from ollama_stack.reports.health import Seen, problems
from ollama_stack.reports.status import HostStatus, Release, Status, find_status, host_status
from ollama_stack.reports.status_table import EVERY, show_status, watch_status
from tests.door.haproxy import free_ports
from tests.unit.conftest import group_data

pytestmark = pytest.mark.process

RECORD = '{"version": "v", "at": "2026-11-28T08:00:00", "by": "ops", "commit": "0123456789"}'
SEVEN = Release.model_validate(
    json.loads(RECORD) | {"number": 7, "in_place": True, "unconfirmed": False, "returned": ""}
)
LINE = (
    '{"time":"T","client":"10.0.0.9","token":"","route":"/api/chat","model":"m","status":%s,'
    '"wait_ms":%s,"total_ms":9,"bytes":1,"end":"%s"}'
)
MODELS = {"models": [{"name": "m", "expires_at": "2026-11-28T20:00:00.123456789Z"}]}
METRICS = """haproxy_backend_current_queue{proxy="generations"} 2
haproxy_backend_current_queue{proxy="share-one"} 1
haproxy_backend_current_queue{proxy="others"} 5
haproxy_server_current_sessions{proxy="generations",server="ollama"} 3
haproxy_server_current_sessions{proxy="others",server="ollama"} 4
"""


KERNEL = {
    "{pid}/cgroup": "0::/ollama",
    "ollama/cpu.stat": "usage_usec 5000000\nthrottled_usec 100000\n",
    "ollama/memory.stat": "inactive_file 500\n",
    "ollama/memory.events": "oom_kill 0\n",
    "ollama/memory.current": "1073741824\n",
}


class House:
    """A folder as a host has it, and programs that answer for Docker and the gateway."""

    def __init__(self, folder: Path) -> None:
        self.ollama, self.bin, self.kernel = (folder / name for name in ("ollama", "bin", "kernel"))
        self.kernel.mkdir()
        for name, text in KERNEL.items():
            path = self.kernel / name.format(pid=os.getpid())
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        current = self.ollama / "releases" / "7"
        current.mkdir(parents=True)
        self.bin.mkdir()
        (current / "release.json").write_text(RECORD + "\n")
        for place in (self.ollama, current):
            (place / "docker-compose.yml").write_text("services: {}\n")
        (self.ollama / "releases" / "current").symlink_to("7")
        self.states = {name: self.state(name) for name in ("ollama", "ollama-gateway")}
        self.log = [LINE % (200, wait, "--") for wait in (0, 1000, 2000, 30000)]
        self.models, self.metrics = json.dumps(MODELS), METRICS
        self.program("df", "echo head; echo /dev/a 100 1 99")

    def move(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the kernel says here is another house's."""
        monkeypatch.setattr("ollama_stack.facts.now.SAMPLE", 0.05)
        for name in ("PROC", "CGROUPS"):
            monkeypatch.setattr(f"ollama_stack.facts.now.{name}", str(self.kernel))

    @staticmethod
    def state(name: str, **more: Any) -> dict[str, Any]:
        running = {"Running": True, "Pid": os.getpid(), "Health": {"Status": "healthy"}}
        return {"Name": f"/{name}", "State": running | more}

    def look(self, monkeypatch: pytest.MonkeyPatch) -> HostStatus:
        self.prepare()
        self.move(monkeypatch)
        monkeypatch.setenv("PATH", f"{self.bin}:{os.environ['PATH']}")
        return host_status(Target("@local", ("medium",), self.data))

    @property
    def data(self) -> dict[str, Any]:
        return group_data("all", "medium") | {"ollama_dir": str(self.ollama)}

    def prepare(self) -> None:
        answers = {
            "inspect": "\n".join(map(json.dumps, self.states.values())),
            "logs": "\n".join(self.log),
            "exec": f"HTTP/1.0 200 OK\r\n\r\n{self.models}",
        }
        for name, text in answers.items():
            (self.bin / name).write_text(text + "\n")
        (self.bin / "metrics").write_text(self.metrics)
        self.program(
            "docker",
            f"""case "$*" in
*.State.Pid*) echo {os.getpid()};;
*NetworkSettings*) ;;
"ps "*) echo an-id;;
"logs "*app) echo "No such container" >&2; exit 1;;
*) cat {self.bin}/"$1";;
esac""",
        )
        self.program("curl", f"cat {self.bin}/metrics")

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_a_host_tells_all_by_one_command(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    found = house.look(monkeypatch)
    assert (found.state, found.problems, found.release) == ("serving", [], SEVEN)
    now = found.now
    assert now is not None
    assert (now.cpus, now.throttled, now.memory) == (0, 0, 2**30 - 500)
    assert (now.cpus_limit, now.memory_limit) == (2, 3 * 2**30)
    assert now.models == {"m": datetime(2026, 11, 28, 20, tzinfo=timezone.utc)}
    assert now.disk_used == 0.01
    assert (now.in_flight, now.waiting) == (3, 3)
    assert (now.answered, now.refused, now.failed) == (4, 0, 0)
    assert (now.wait_p50, now.wait_p95) == (1, 30)


def broken(house: House, what: str) -> None:
    if what == "hung":
        house.models = ""
    elif what == "dead":
        dead = {"Running": False, "Status": "exited", "ExitCode": 137, "OOMKilled": True}
        house.states["ollama"] = house.state("ollama", **dead)
    elif what == "sick":
        house.states["ollama"] = house.state("ollama", Health={"Status": "unhealthy"})
    elif what == "no gateway":
        del house.states["ollama-gateway"]
    elif what == "silent gateway":
        house.metrics = ""
    elif what == "full":
        house.metrics = METRICS.replace('"generations"} 2', '"generations"} 14')
    elif what == "refused":
        house.log += [LINE % (503, -1, "LR")] * 9 + [LINE % (429, -1, "LR"), LINE % (-1, 0, "CD")]
    elif what == "failed":
        house.log += [LINE % (503, 120000, "sQ"), LINE % (200, 0, "SD"), LINE % (504, 0, "sH")]
        house.log += [LINE % (200, 0, "CD"), LINE % (503, 5, "CQ")]  # these have left
    elif what == "late":
        house.log += [LINE % (200, 80000, "--")]
    elif what == "no disk":
        house.program("df", "echo head; echo /dev/a 100 1 99; echo /dev/b 100 93 7")
    elif what == "changed":
        (house.ollama / "docker-compose.yml").write_text("services: {a: {}}\n")
    elif what == "half-way":
        (house.ollama / "releases" / "unconfirmed").touch()
    elif what == "returned":
        (house.ollama / "releases" / "returned").write_text("2026: the run\n")
    elif what == "torn":
        (house.ollama / "releases" / "7" / "release.json").write_text("{}\n")


@pytest.mark.parametrize(
    ("what", "state", "problem"),
    [
        ("hung", "down", "Ollama does not answer: docker logs ollama"),
        ("dead", "down", "ollama does not run: exited, exit code 137, killed for memory"),
        ("sick", "down", "ollama fails its health check: docker logs ollama"),
        ("no gateway", "down", "there is no container ollama-gateway: deploy"),
        (
            "silent gateway",
            "down",
            "the gateway does not answer: docker logs ollama-gateway; or is curl not on the host?",
        ),
        ("full", "degraded", "the queue is full: 15 wait (ollama_max_queue)"),
        (
            "refused",
            "degraded",
            "10 questions were refused in the last 5 minutes: no place was free",
        ),
        ("failed", "degraded", "3 of 7 questions failed in the last 5 minutes"),
        (
            *("late", "degraded"),
            "one question in 20 waited 80 s or more in the last 5 minutes; the bound is 30 s (slo_p95_wait)",
        ),
        ("no disk", "degraded", "93% of the disk are taken: docker system df, or a larger one"),
        ("changed", "degraded", "the host's files are no longer the release's: deploy"),
        (
            *("half-way", "degraded"),
            "a change has begun that is not confirmed yet: wait for its run, or deploy again",
        ),
        ("returned", "degraded", "came back to release 7 automatically: 2026: the run"),
        ("torn", "degraded", "releases/current/release.json is not understood"),
    ],
)
def test_what_is_wrong_is_said_in_words(
    house: House, what: str, state: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(house, what)
    found = house.look(monkeypatch)
    assert found.state == state
    assert problem in found.problems


def test_a_log_line_in_a_model_s_name_counts_for_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.log += [(LINE % (200, 1, "--")).replace('"m"', json.dumps(LINE % (500, 7, "SD")))]
    house.log += ["{" + (LINE % (500, 7, "SD")), (LINE % (500, 7, "SD")).replace("/api/chat", "/")]
    now = house.look(monkeypatch).now
    assert now is not None
    assert (now.answered, now.refused, now.failed) == (5, 0, 0)


def test_without_docker_the_release_is_told_all_the_same(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(House, "program", lambda self, name, script: None)
    path = house.bin / "docker"
    path.write_text("#!/bin/sh\nexit 1\n")
    path.chmod(0o755)
    found = house.look(monkeypatch)
    assert (found.state, found.release) == ("down", SEVEN)
    assert found.problems[0].startswith("Docker does not answer, or not this user:")


def ends(settings: dict[str, Any], life: int, left: int) -> list[str]:
    """What is said of a certificate for so many days, of which so many are left."""
    now = datetime.now(timezone.utc)
    begun = now - timedelta(days=life - left)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, begun, begun + timedelta(days=life))  # fmt: skip
    states = {container: House.state(container) for container in ("ollama", "ollama-gateway")}
    shown = Seen(states, None, {}, (0, 0), None, builder.sign(key, hashes.SHA256()), None)
    return problems(shown, read_settings(group_data("all", "medium") | settings), now)


def test_a_certificate_is_late_when_its_renewal_has_failed() -> None:
    acme = {"gateway_tls": "acme", "gateway_tls_names": ["a.example"], "gateway_acme_agreed": True}
    assert ends(acme, 90, 29) == ends(acme, 1, 1) == ends({"gateway_tls": "own"}, 397, 31) == []
    (late,) = ends(acme, 90, 22)
    assert late.endswith("the host has not renewed it; journalctl --unit certbot there says why")
    (late,) = ends({"gateway_tls": "own"}, 397, 29)
    assert late.endswith("deploy makes a new one")
    (over,) = ends({"gateway_tls_cert": "~/tls.pem"}, 90, -1)
    assert over.endswith("replace gateway_tls_cert, deploy")


def test_a_gateway_that_does_not_answer_is_one_problem() -> None:
    states = {container: House.state(container) for container in ("ollama", "ollama-gateway")}
    own = read_settings(group_data("all", "medium") | {"gateway_tls": "own"})
    now = datetime.now(timezone.utc)
    (silent,) = problems(Seen(states, None, {}, None, None, None), own, now)
    assert silent.startswith("the gateway does not answer: ")
    (bare,) = problems(Seen(states, None, {}, (0, 0), None, None), own, now)
    assert bare.startswith("the address shows no certificate: ")


def test_without_ssh_here_no_host_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Target, "shell", property(lambda self: ["/no/ssh"]))
    found = host_status(Target("a", ("low",), group_data("all", "low")))
    message = "/no/ssh cannot be started here (No such file or directory): install openssh-client"
    assert (found.state, found.reason) == ("unreachable", message)


def test_a_hung_host_is_a_line_and_no_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "PATIENCE", 3)
    monkeypatch.setattr(Target, "shell", property(lambda self: HUNG[self.name]))
    data = group_data("all", "low")
    status = find_status("x.py", [Target(name, ("low",), data) for name in HUNG])
    assert [host.reached for host in status.hosts] == [False] * 3
    assert [host.reason for host in status.hosts] == [
        "the host has said nothing for 3 s: it hangs, or its login does",
        "No route to host",
        "its login starts no shell",
    ]


HUNG = {
    "a": ["sleep", "600"],
    "b": ["sh", "-c", "echo No route to host >&2; exit 255"],
    "c": ["echo", "This account is not available."],
}


def test_ten_hosts_over_ssh_are_asked_at_once(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.prepare()
    house.move(monkeypatch)
    folder = tmp_path / "sshd"
    folder.mkdir()
    with sshd(folder, f"PATH={house.bin}:/usr/bin:/bin", free_ports(1)[0]) as server:
        targets = [
            Target(address, ("medium",), house.data | server.data(address)) for address in ADDRESSES
        ]
        status = find_status("x.py", targets)
    assert [(host.state, host.problems, host.release) for host in status.hosts] == [
        ("serving", [], SEVEN)
    ] * 10


def test_another_connector_is_a_line_too() -> None:
    found = host_status(Target("@docker/x", ("low",), group_data("all", "low")))
    assert found.reason == "@docker/x: only @local and SSH hosts are looked at"


def shown(*hosts: HostStatus, width: int = 250) -> list[str]:
    screen = io.StringIO()
    time = datetime(2026, 11, 28, 20, tzinfo=timezone.utc)
    status = Status(time=time, inventory="x.py", hosts=list(hosts))
    show_status(status, Console(file=screen, width=width))
    return screen.getvalue().splitlines()


def test_people_get_a_line_a_host_the_worst_first(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = house.look(monkeypatch)
    now = good.now
    assert now is not None
    later = datetime(2026, 11, 28, 20, tzinfo=timezone.utc) + timedelta(days=41)
    figures = {"cpus": 1.94, "throttled": 0.031, "memory": 2**31, "certificate_end": later}
    well = good.model_copy(update={"host": "well", "now": now.model_copy(update=figures)})
    slow = well.model_copy(
        update={"host": "slow", "state": "degraded", "problems": ["[it] is slow"]}
    )
    gone = HostStatus(host="gone", reached=False, state="unreachable", problems=["No route"])
    lines = shown(well, slow, gone)
    assert [line.split()[0] for line in lines[2:5]] == ["gone", "slow", "well"]
    row = "well serving 7, v 11-28 08:00 by ops 1.9/2 3% 2.0/3 m, 0 s left 3/3 3/15 0, 0 1.0, 30.0 s 41 days"
    assert " ".join(lines[4].split()) == row
    assert lines[-2:] == ["gone: No route", "slow: [it] is slow"]

    narrow = shown(well, slow, gone, width=80)
    assert max(map(len, narrow)) <= 80
    assert len(narrow) == len(lines), "a cell has two lines"
    row = "well serving 1.9/2 3% 2.0/3 3/3 3/15 0, 0 1.0, 30.0 s 41 days"
    assert " ".join(narrow[4].split()) == row
    assert " ".join(shown(well, width=50)[2].split()) == "well serving 1.9/2 3/3 3/15 1.0, 30.0 s"


def test_who_watches_sees_the_newest_until_he_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def find() -> Status:
        looks.append(len(looks))
        host = HostStatus(host=f"look-{len(looks)}")
        return Status(time=datetime.now(timezone.utc), inventory="x.py", hosts=[host])

    def sleep(seconds: float) -> None:
        assert seconds == EVERY
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("ollama_stack.reports.status_table.time.sleep", sleep)
    screen = io.StringIO()
    with pytest.raises(KeyboardInterrupt):
        watch_status(find, Console(file=screen, width=250, force_terminal=True))
    assert all(f"look-{number}" in screen.getvalue() for number in (1, 2, 3))
