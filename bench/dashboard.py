"""Grafana's dashboard over a made lesson, drawn by Grafana's own components. ``make dashboard``.

Prometheus answers the dashboard's own queries. Writes docs/pictures/dashboard.png.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal

import httpx

from bench.browser_pages import chromium
from lab import plain
from lab.packages import cache, have, program
from ollama_stack import ROOT
from ollama_stack.reports.metrics import write_metrics
from ollama_stack.reports.status import HostStatus, Now, Status

DASHBOARD = ROOT / "templates" / "monitoring" / "dashboard.json"
SOURCES = Path(__file__).parent / "grafana"
PICTURE = ROOT / "docs" / "pictures" / "dashboard.png"
END = datetime(2026, 9, 15, 12, 7, tzinfo=timezone.utc)
START = END - timedelta(hours=3)
STEP = 30
TIMES = range(int(START.timestamp()), int(END.timestamp()) + 1, STEP)
FULL = 90
"""The minute from which room-2's queue is full."""
KILLED, HANGS = 125, 140
"""Those in which room-3's kernel kills, and it hangs."""
ALARMS = (
    ("CertificateEnds", "room-2", "warning"),
    ("HostUnreachable", "room-3", "critical"),
    ("LongWait", "room-2", "warning"),
    ("QueueFull", "room-2", "warning"),
)


def host(number: int, minute: float) -> HostStatus:
    """One of three hosts, the first of them calm, in a minute of the lesson."""
    name = f"room-{number}"
    if number == 3 and minute >= HANGS:
        return HostStatus(host=name, reached=False, state="unreachable")
    begins = {1: math.inf, 2: FULL - 30, 3: HANGS - 30}[number]
    crowd = max(0.0, min(1.0, (minute - begins) / 30))
    wave = 1 + math.sin(minute / 7 + 3 * number) / 3
    waiting = min(15, round(2 * wave + 14 * crowd))
    full = waiting == 15
    killed = number == 3 and minute >= KILLED
    now = Now(
        cpus=min(3.9, 1.6 * wave + 2.4 * crowd),
        cpus_limit=4,
        throttled=0.02 * wave + 0.1 * crowd,
        memory=round((4.1 + 0.3 * wave + crowd) * 2**30),
        memory_limit=6 * 2**30,
        killed=int(killed),
        disk_used=0.4 + number / 10 + minute / 6000,
        models={"a": END, "b": END} if crowd else {"a": END},
        in_flight=min(3, round(2 * wave + 2 * crowd)),
        in_flight_limit=3,
        waiting=waiting,
        waiting_limit=15,
        answered=round(22 * wave + 10 * crowd),
        refused=round(19 * wave) if full else 0,
        failed=2 if killed else 0,
        wait_p50=1.5 * wave + 40 * crowd,
        wait_p95=6 * wave + 130 * crowd,
        wait_limit=120,
        lesson=True,
        certificate_end=END + timedelta(days=17 if number == 2 else 61),
    )
    return HostStatus(host=name, state="degraded" if full else "serving", now=now)


def lesson(folder: Path) -> str:
    """What our exporter would have written of it; the alarms at its end are made as well."""
    lines = []
    for moment in TIMES:
        hosts = [host(number, (moment - TIMES[0]) / 60) for number in (1, 2, 3)]
        looked = datetime.fromtimestamp(moment - 12, timezone.utc)
        write_metrics(Status(time=looked, inventory="x.py", hosts=hosts), str(folder / "now"))
        told = (folder / "now").read_text().splitlines()
        lines += [f"{line} {moment}" for line in told if not line.startswith("#")]
    for alarm, name, severity in ALARMS:
        labels = f'alertname="{alarm}",alertstate="firing",host="{name}",severity="{severity}"'
        lines.append(f"ALERTS{{{labels}}} 1 {TIMES[-1]}")
    return "\n".join([*lines, "# EOF", ""])


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """One that remembers the lesson: its API's address."""
    (folder / "lesson").write_text(lesson(folder))
    promtool = program("prometheus", "usr/bin/promtool")
    fill = [promtool, "tsdb", "create-blocks-from", "openmetrics", "lesson", "data"]
    subprocess.run(fill, cwd=folder, check=True, capture_output=True)  # noqa: S603 our own arguments
    (folder / "none.yml").touch()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    options = f"--config.file=none.yml --storage.tsdb.path=data --storage.tsdb.retention.time=100y --web.listen-address={address}"
    command = [program("prometheus", "usr/bin/prometheus"), *options.split()]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stderr=log)  # noqa: S603 see above
    try:
        until_ready(f"http://{address}/-/ready")
        yield f"http://{address}/api/v1"
    finally:
        process.terminate()
        process.wait()


def until_ready(address: str) -> None:
    """Wait until Prometheus answers; TimeoutError after half a minute."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            if plain.get(address).status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError(f"Prometheus does not answer at {address}")


def ask(api: str, target: dict[str, Any]) -> list[dict[str, Any]]:
    """A query's frames, as Grafana's data source makes them."""
    query = target["expr"].replace("$host", ".*").replace("$__range", f"{TIMES[-1] - TIMES[0]}s")
    instant = target.get("instant", False)
    times = TIMES[-1:] if instant else TIMES
    asked = {"query": query, "time": times[-1], "start": times[0], "end": times[-1], "step": STEP}
    verb = "query" if instant else "query_range"
    reply = plain.get(f"{api}/{verb}", params=asked).raise_for_status()
    found = reply.json()["data"]["result"]
    if target.get("format") == "table":
        return [table(found, target["refId"])] if found else []
    return [line(series, times, target) for series in found]


def line(series: dict[str, Any], times: range, target: dict[str, Any]) -> dict[str, Any]:
    """A frame of one series, with a gap where it says nothing."""
    points = {at: float(figure) for at, figure in series.get("values") or [series["value"]]}
    name = target["legendFormat"]
    for label, value in series["metric"].items():
        name = name.replace(f"{{{{{label}}}}}", value)
    figures = column("Value", "number", [points.get(at) for at in times])
    figures |= {"labels": series["metric"], "config": {"displayNameFromDS": name} if name else {}}
    return {
        "refId": target["refId"],
        "fields": [column("Time", "time", [1000 * at for at in times]), figures],
    }


def table(found: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A frame with a row for each series."""
    labels = sorted({label for series in found for label in series["metric"]})
    texts = [
        column(one, "string", [series["metric"].get(one) for series in found]) for one in labels
    ]
    times = column("Time", "time", [1000 * series["value"][0] for series in found])
    figures = column("Value", "number", [float(series["value"][1]) for series in found])
    return {"refId": name, "fields": [times, *texts, figures]}


def column(name: str, kind: str, values: list[Any]) -> dict[str, Any]:
    """One field of a frame."""
    return {"name": name, "type": kind, "values": values}


def panels() -> list[dict[str, Any]]:
    """The dashboard's, each with what Prometheus says."""
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    with tempfile.TemporaryDirectory() as folder, prometheus(Path(folder)) as api:
        for panel in found:
            panel["frames"] = [frame for target in panel["targets"] for frame in ask(api, target)]
    return found


def page() -> Path:
    """The page that draws, with Grafana's components from npm: fetched once, half a gigabyte."""
    lock = hashlib.sha256((SOURCES / "package-lock.json").read_bytes()).hexdigest()
    folder = cache() / f"grafana-{lock[:12]}"
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
    if not (folder / "node_modules" / ".package-lock.json").exists():
        have("npm", "npm")
        install = "npm ci --ignore-scripts --no-audit --no-fund --loglevel=error"
        subprocess.run(install.split(), cwd=folder, check=True)  # noqa: S603 our own arguments
    subprocess.run(["npm", "run", "--silent", "bundle"], cwd=folder, check=True)  # noqa: S607 see above
    return folder / "page.html"


def draw(scheme: Literal["dark", "light"], picture: Path) -> None:
    """The whole dashboard as a PNG."""
    drawn = page()
    told = {"panels": panels(), "from": 1000 * TIMES[0], "to": 1000 * TIMES[-1], "scheme": scheme}
    (drawn.parent / "drawn.js").write_text(f"drawn = {json.dumps(told)}")
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": 1500, "height": 900})
        shown.goto(drawn.as_uri())
        shown.wait_for_selector("body[data-drawn]")
        shown.screenshot(path=picture, full_page=True)


if __name__ == "__main__":
    draw("dark", PICTURE)
