"""What Prometheus is told, and when it calls: its own tools read our files."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from lab.packages import program
from ollama_stack import ROOT
from ollama_stack.config.monitoring import read_monitor
from ollama_stack.reports.health import WORST_FIRST
from ollama_stack.reports.metrics import refuse_others, write_metrics
from ollama_stack.reports.status import HostStatus, Now, Status
from ollama_stack.stack.monitoring import configurations

FILES = ROOT / "templates" / "monitoring"
NOW = datetime(2026, 11, 28, 20, tzinfo=timezone.utc)
WELL = Now.model_validate(
    {"cpus": 1.5, "cpus_limit": 2, "throttled": 0.01, "memory": 2**30, "memory_limit": 3 * 2**30}
    | {"killed": 0, "disk_used": 0.5, "models": {"m": NOW}, "in_flight": 1, "in_flight_limit": 3}
    | {"waiting": 2, "waiting_limit": 15, "answered": 9, "refused": 8, "failed": 7}
    | {"wait_p50": 1.5, "wait_p95": 6, "wait_limit": 120, "certificate_end": NOW}
)
HOSTS = [
    HostStatus(host='a"b', now=WELL),
    HostStatus(host="idle", now=WELL.model_copy(update={"wait_p50": None, "models": None})),
    HostStatus(host="gone", reached=False, state="unreachable", problems=["No route"]),
]


@pytest.fixture
def lines(tmp_path: Path) -> list[str]:
    path = tmp_path / "ollama.prom"
    write_metrics(Status(time=NOW, inventory="x.py", hosts=HOSTS), str(path))
    assert [path] == list(tmp_path.iterdir())
    return path.read_text().splitlines()


def promtool(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    promtool = program("prometheus", "usr/bin/promtool")
    return subprocess.run(
        [promtool, *arguments], input=stdin, cwd=FILES, capture_output=True, text=True
    )


def test_a_file_of_others_stays_as_it_is(lines: list[str], tmp_path: Path) -> None:
    refuse_others(str(tmp_path / "ollama.prom"))
    refuse_others(str(tmp_path / "none"))
    other = tmp_path / "school.py"
    other.write_text("low = []")
    with pytest.raises(ValueError, match=r"--metrics: .*school\.py is no file of ours and stays"):
        refuse_others(str(other))
    with socket.socket(socket.AF_UNIX) as one:
        # As a device, it would be read for ever and replaced.
        one.bind(str(tmp_path / "one"))
        with pytest.raises(ValueError, match=r"--metrics: .*one is no file of ours and stays"):
            refuse_others(str(tmp_path / "one"))


def test_what_a_host_did_not_say_has_no_line(lines: list[str]) -> None:
    found = [line for line in lines if not line.startswith("#")]
    assert 'ollama_state{host="gone",state="unreachable"} 1.0' in found
    assert 'ollama_state{host="gone",state="serving"} 0.0' in found
    assert 'ollama_killed{host="idle"} 0.0' in found
    assert [line for line in found if '"gone"' in line and "ollama_state" not in line] == []
    assert r'ollama_wait_p50{host="a\"b"} 1.5' in found
    assert r'ollama_models{host="a\"b"} 1.0' in found
    assert not any(line.startswith(("ollama_wait_p50{host=\"idle", "ollama_models{host=\"idle")) for line in found)  # fmt: skip
    (looked,) = (line.split()[1] for line in found if line.startswith("ollama_looked_at "))
    assert float(looked) == NOW.timestamp()


def test_prometheus_reads_it(lines: list[str]) -> None:
    checked = promtool("check", "metrics", stdin="\n".join(lines) + "\n")
    assert "error while" not in checked.stderr, checked.stderr


def test_rules_and_graphs_name_what_is_written(lines: list[str]) -> None:
    written = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    rules = (FILES / "ollama.rules.yml").read_text()
    expressions = [*re.findall(r"expr: (.*)", rules), (FILES / "dashboard.json").read_text()]
    asked = set(re.findall(r"\bollama_\w+", " ".join(expressions)))
    assert asked <= written
    assert written <= asked | {"ollama_cpus"}


def test_every_alarm_is_seen_red_and_green() -> None:
    done = promtool("test", "rules", "ollama.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    rules, tests = ((FILES / f"ollama.{kind}.yml").read_text() for kind in ("rules", "test"))
    alarms = re.findall(r"- alert: (\w+)", rules)
    assert len(alarms) == 11
    for alarm in alarms:
        assert re.search(rf"alertname: {alarm}\n +exp_alerts:", tests), alarm


def test_the_configurations_are_understood(tmp_path: Path) -> None:
    for path, text in configurations(read_monitor({})).items():
        (tmp_path / Path(path).name).write_text(text)
    done = promtool("check", "config", str(tmp_path / "prometheus.yml"))
    assert done.returncode == 0, done.stdout + done.stderr
    amtool = program("prometheus-alertmanager", "usr/bin/amtool")
    command = [amtool, "check-config", *(str(FILES / name) for name in ("alertmanager.yml", "quiet.yml"))]  # fmt: skip
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_dashboard_is_what_grafana_takes() -> None:
    panels = json.loads((FILES / "dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["targets"] and panel["title"] for panel in panels)
    # Where a figure has no bounds of its own, Grafana's turns red at 80.
    own = [panel["fieldConfig"]["defaults"] for panel in panels if panel["type"] == "stat"]
    assert all("thresholds" in one or "mappings" in one for one in own)


def test_the_dashboard_names_every_state_by_its_number() -> None:
    first = json.loads((FILES / "dashboard.json").read_text())["panels"][0]
    (states,) = first["fieldConfig"]["defaults"]["mappings"]
    shown = {int(number): one["text"] for number, one in states["options"].items()}
    assert shown == dict(enumerate(reversed(WORST_FIRST)))
    assert len({one["color"] for one in states["options"].values()}) == len(WORST_FIRST)
    asked = re.findall(r'(?:(\d) \* )?ollama_state\{host=~"\$host", state="(\w+)"\}', first["targets"][0]["expr"])  # fmt: skip
    assert {int(number or 1): state for number, state in asked} | {0: "serving"} == shown
