"""The services that watch a site: ours alone, with nobody else's files, and started once."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from ollama_stack.config.monitoring import read_monitor
from ollama_stack.operations import monitoring
from ollama_stack.stack.monitoring import alertmanager, configurations, units
from tests.unit.harness import plan

MONITOR = read_monitor({})
UNITS = units(MONITOR, "ops", "/srv/ollama stack", "inventories/school.py")
CALLS = alertmanager(MONITOR)
DECLARED: dict[str, Any] = {"configurations": configurations(MONITOR), "alertmanager": CALLS}
DECLARED |= {"units": UNITS, "ports": [9090, 9093]}
NAMES = [path.rpartition("/")[2] for path in UNITS]
STARTED = [name for name in NAMES if name != "ollama-stack-status.service"]
THERE: dict[str, Any] = {
    path: text.splitlines() for path, text in {**DECLARED["configurations"], **UNITS}.items()
}
DIGEST = {"cd /etc/ollama-stack/monitoring": f"alertmanager.yml {sha256(CALLS.encode()).hexdigest()} 600 110"}  # fmt: skip
RUNS = {"for unit in": STARTED}


def test_a_second_run_changes_nothing() -> None:
    assert plan(monitoring.running, THERE | DIGEST | RUNS, **DECLARED) == []


@pytest.mark.parametrize(
    "otherwise",
    [
        *({path: ["# another"]} for path in THERE),
        {"cd /etc/ollama-stack/monitoring": "alertmanager.yml 0123 600 110"},
        {"for unit in": STARTED[1:]},
    ],
)
def test_what_is_otherwise_is_made_so_and_all_start_anew(otherwise: dict[str, Any]) -> None:
    commands = plan(monitoring.running, THERE | DIGEST | RUNS | otherwise, **DECLARED)
    look = commands.index(next(c for c in commands if c.startswith("systemctl start ollama-stack-status.service")))  # fmt: skip
    assert commands[look - 1] == "systemctl daemon-reload"
    assert commands[look + 1] == (
        f"systemctl enable --quiet {' '.join(STARTED)} && systemctl restart {' '.join(STARTED)}"
    )
    assert "127.0.0.1:9090/-/ready" in commands[-1]
    assert "127.0.0.1:9093/-/ready" in commands[-1]


def test_a_unit_of_somebody_else_s_is_refused() -> None:
    commands = plan(monitoring.running, **DECLARED)
    refused = [c for c in commands if "is not ours; move it away, and run again" in c]
    assert len(refused) == len(UNITS)
    assert commands[: len(UNITS)] == refused


def test_who_is_called_is_checked_and_in_no_command() -> None:
    secret = {"alertmanager": "smtp_auth_password: hunter2"}
    commands = plan(monitoring.running, **DECLARED | secret)
    assert not any("hunter2" in command for command in commands)
    check = next(i for i, c in enumerate(commands) if c.startswith("amtool check-config"))
    place = next(i for i, c in enumerate(commands) if " && mv /etc/ollama-stack/monitoring/alertmanager.yml.new" in c)  # fmt: skip
    assert check < place
    assert "monitoring_alertmanager: amtool does not understand the file" in commands[check]


def test_services_of_packages_to_come_stay_off_and_others_as_they_are() -> None:
    there = {"dpkg -l": "ii  prometheus  2.42.0  amd64  x"}
    packages = ["prometheus", "prometheus-alertmanager"]
    unit = "/etc/systemd/system/prometheus-alertmanager.service"
    assert plan(monitoring.unstarted, there, packages=packages) == [
        f"test -e {unit} -o -L {unit} || systemctl mask prometheus-alertmanager"
    ]
    assert plan(monitoring.unstarted, there, packages=["prometheus"]) == []
