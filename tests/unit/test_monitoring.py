"""The host that watches the others: what is refused of it, and which verbs leave it out."""

from __future__ import annotations

import json
import re
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ollama_stack import ROOT
from ollama_stack.check import monitoring_faults
from ollama_stack.config.monitoring import read_monitor
from ollama_stack.config.settings import read_settings
from ollama_stack.config.types import is_lesson
from ollama_stack.stack.monitoring import alertmanager, configurations, units
from ollama_stack.tasks.monitoring import PACKAGES
from tests.unit.commands import command
from tests.unit.conftest import group_data
from tests.unit.test_cli import front_door
from tests.unit.test_plan import BARE, as_fakes

pytestmark = pytest.mark.process

WATCH = {"id -un": "ops", "/run/systemd/system": "systemd", "-release": BARE["-release"]}


def watched(folder: Path, answers: dict[str, Any], *, serves: bool = False, **data: Any) -> str:
    """A server, and a host that watches it; or both in one."""
    path = Path(as_fakes("inventories/local.py", folder, BARE | answers))
    own = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": answers, "_sudo": False}
    watch = ("@fake/local", data) if serves else ("@fake/watch", own | data)
    path.write_text(f"{path.read_text()}\nmonitoring = [{watch!r}]\n")
    return str(path)


def planned(folder: Path, answers: dict[str, Any], *, serves: bool = False, **data: Any) -> Any:
    done = front_door("plan", watched(folder, answers, serves=serves, **data), "--json")
    return json.loads(done.stdout)


STEPS = [
    "Monitoring | Keep Debian's own services off",
    "Monitoring | Install Prometheus and its parts",
    "Monitoring | Watch the site's servers",
]


def test_the_plan_shows_what_watches(tmp_path: Path) -> None:
    server, watch = planned(tmp_path, WATCH)["hosts"]
    assert (server["host"], server["watches"], watch["watches"]) == ("@fake/local", False, True)
    assert (watch["host"], watch["verdict"], watch["changes"]) == ("@fake/watch", "fits", STEPS)
    assert not set(STEPS) & set(server["changes"])


def test_a_server_may_watch_the_others(tmp_path: Path) -> None:
    (both,) = planned(tmp_path, WATCH, serves=True)["hosts"]
    assert (both["verdict"], both["profile"], both["changes"][-3:]) == ("fits", "medium", STEPS)


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (
            {"/run/systemd/system": "none"},
            "monitoring: the host has no systemd, whose timer looks; take one that has",
        ),
        (
            {"-release": ["/etc//os-release", "ID=debian", 'VERSION_ID="10"', "---"]},
            "monitoring: debian 10 is not supported; take a host with one of debian 12, debian 13,",
        ),
        (
            {"sport = :9093": 'LISTEN 0 9 *:9093 *:* users:(("prometheus-aler",pid=7,fd=4))'},
            "monitoring_port: 9093, which is to be the alertmanager's, is taken by "
            '"prometheus-aler",pid=7,fd=4; set another, like 19090',
        ),
        (
            {"cd /opt/ollama-stack": "/opt/ollama-stack"},
            "monitoring_clone: /opt/ollama-stack is not there, or not for ops; clone this project to "
            "/opt/ollama-stack there and run make .venv/ok in it (docs/monitoring.md), or put @local into",
        ),
    ],
)
def test_a_host_that_cannot_watch_is_refused_before_any_server_changes(
    answers: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    inventory = watched(tmp_path, WATCH | answers)
    report = json.loads(front_door("plan", inventory, "--json").stdout)
    assert report["verdict"] == "refused"
    (fault,) = report["hosts"][1]["reasons"]
    assert fault.startswith(reason)
    done = front_door("deploy", inventory)
    assert done.returncode == 1
    assert f"@fake/watch: {reason}" in done.stderr
    assert "Starting operation" not in done.stderr


def test_a_port_that_is_ours_already_is_not_taken(tmp_path: Path) -> None:
    text = units(read_monitor({}), "ops", "/opt/ollama-stack", "x.py")
    ours = {path: unit.splitlines() for path, unit in text.items()}
    busy = {f"sport = :{port}": "LISTEN 0 9 *:1 *:*" for port in (9090, 9093, 9100)}
    assert planned(tmp_path, WATCH | ours | busy)["verdict"] == "fits"


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    monitor, inventory = read_monitor({}), watched(tmp_path, WATCH)
    own = units(monitor, "ops", "/opt/ollama-stack", inventory)
    texts = {**configurations(monitor), **own}
    there: dict[str, Any] = {path: text.splitlines() for path, text in texts.items()}
    there["for unit in"] = [Path(path).name for path in own if "status.service" not in path]
    there["cd /etc/ollama-stack/monitoring"] = (
        f"alertmanager.yml {sha256(alertmanager(monitor).encode()).hexdigest()} 600 110"
    )
    there["dpkg -l"] = [f"ii  {name}  1  amd64  x" for name in (*PACKAGES, "curl")]
    assert planned(tmp_path, WATCH | there)["hosts"][1]["changes"] == []


def test_a_monitoring_host_that_is_gone_is_unreachable(tmp_path: Path) -> None:
    path = Path(as_fakes("inventories/local.py", tmp_path, BARE))
    path.write_text(f"{path.read_text()}\nmonitoring = ['nobody.invalid']\n")
    done = front_door("plan", str(path), "--json")
    server, watch = json.loads(done.stdout)["hosts"]
    assert (server["verdict"], watch["verdict"], done.returncode) == ("fits", "unreachable", 2)
    assert watch["reasons"] == [
        "ssh_hostname: the name nobody.invalid does not resolve; correct it, or set ssh_hostname to "
        "the host's address"
    ]


def test_a_faulty_inventory_is_refused_with_all_that_is_wrong() -> None:
    hosts: dict[str, Any] = {
        "a": (["monitoring"], {"monitoring_port": 80, "monitoring_alertmanagr": "x"}),
        "b": (["low", "monitoring"], {"monitoring_alertmanager": "/none/calls.yml", "_sudo": True}),
        "c": (["low"], {}),
    }
    wrong = monitoring_faults(hosts)
    two = "monitoring: a, b are in it; one host watches a site"
    assert wrong["a"][:2] == [two, "monitoring_alertmanagr: no such setting; did you mean monitoring_alertmanager?"]  # fmt: skip
    assert wrong["a"][2].startswith("monitoring_port: 80 is refused: ")
    assert wrong["b"] == [
        two,
        "monitoring_alertmanager: /none/calls.yml cannot be read (No such file or directory); check its "
        "path, owner and mode",
    ]
    assert list(wrong) == ["a", "b"]


@pytest.mark.parametrize("verb", ["status", "rollback", "load", "sizing", "handout", "outdated"])
def test_who_serves_nobody_is_asked_nothing(verb: str, tmp_path: Path) -> None:
    done = front_door(verb, watched(tmp_path, WATCH), "--limit", "@fake/watch")
    assert done.returncode
    assert "@fake/watch watches others and serves no class; name a server\n" in done.stderr


def test_the_plain_story_of_servers_says_who_is_none(tmp_path: Path) -> None:
    run = command("pyinfra", watched(tmp_path, WATCH), "deploy.py", "--dry")
    assert run.returncode == 1
    assert "@fake/watch: profile: the host watches others and serves no class; ollama-stack" in run.stderr  # fmt: skip


def test_everything_listens_on_loopback_alone_and_is_short_of_memory_first() -> None:
    texts = units(read_monitor({"monitoring_port": 19090}), "ops", "/a b", "inventories/x.py")
    services = [text for text in texts.values() if "User=prometheus" in text]
    for port in ("19090", "19093", "19100"):
        assert sum(f"--web.listen-address=127.0.0.1:{port}\n" in text for text in services) == 1
    assert all("MemoryMax=" in text and "ProtectSystem=strict" in text for text in services)
    look = texts["/etc/systemd/system/ollama-stack-status.service"]
    assert "User=ops\n" in look
    assert 'ExecStart="/a b/.venv/bin/ollama-stack" status "inventories/x.py" --metrics' in look


def test_an_alarm_names_a_unit_that_is_there() -> None:
    monitor = read_monitor({})
    named = re.findall(r"systemctl status ([\w.-]+)", "".join(configurations(monitor).values()))
    assert named
    assert {*named} <= {Path(path).name for path in units(monitor, "ops", "/clone", "x.py")}


@pytest.mark.parametrize(
    ("moment", "lesson"),
    [
        ("2026-11-30 08:00", True),  # a Monday
        ("2026-11-30 07:59", False),
        ("2026-12-04 14:59", True),
        ("2026-12-04 15:00", False),
        ("2026-12-05 10:00", False),
    ],
)
def test_lessons_are_days_and_hours_of_the_machine_that_looks(moment: str, lesson: bool) -> None:
    assert is_lesson("mon-fri 08:00-15:00", datetime.fromisoformat(moment)) is lesson
    assert not is_lesson("", datetime.fromisoformat(moment))


@pytest.mark.parametrize("lessons", ["fri-mon 08:00-15:00", "mon-fri 15:00-08:00"])
def test_lessons_that_end_before_they_begin_are_refused(lessons: str) -> None:
    with pytest.raises(ValidationError, match="ends before it begins; write it like mon-fri"):
        read_settings(group_data("all", "medium") | {"lessons": lessons})


def test_the_example_of_who_is_called_is_what_the_setting_takes() -> None:
    example = ROOT / "templates" / "monitoring" / "alertmanager.yml"
    assert not monitoring_faults({"a": (["monitoring"], {"monitoring_alertmanager": str(example)})})
