"""The verb load as a person calls it: Locust's students before a real gateway and a double of Ollama."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ollama_stack import ROOT
from tests.door.conftest import SECRETS, Door, Opener, until

SHORT = ("--minutes", "0.05")  # three seconds


@pytest.fixture(scope="module")
def door(opened: Opener) -> Door:
    """Its first class waits for its answers; nobody else has been there."""
    return opened()


def inventory(folder: Path, door: Door, **own: Any) -> str:
    """This machine, with the ports of a private gateway."""
    data = {"ollama_port": door.api, "gateway_metrics_port": door.metrics} | own
    path = folder / "hosts.py"
    path.write_text(f"medium = [('@local', {data!r})]")
    return str(path)


def kept(folder: Path, *names: str) -> dict[str, str]:
    """Tokens in files of their own."""
    for name in names:
        (folder / name).write_text(SECRETS[name])
        (folder / name).chmod(0o600)
    return {name: f"file:{folder / name}" for name in names}


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "ollama_stack.cli", "load", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    return done


def held_until(door: Door, true: Callable[[], bool]) -> None:
    """Nobody is answered before this has come true."""
    door.ollama.hold.clear()

    def release() -> None:
        try:
            until(true, 60)
            time.sleep(1.5)  # the class looks at the places every half second
        finally:
            door.ollama.hold.set()

    Thread(target=release).start()


def count(door: Door, status: int = 0, end: str = "") -> int:
    """Requests that the gateway has logged with this status, or this end of HAProxy's."""
    return sum(
        line.get("status") == status if status else line["end"].startswith(end)
        for line in door.lines()
    )


def measured(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (host,) = json.loads(done.stdout)["hosts"]
    return dict(host)


def test_a_class_that_is_answered_keeps_the_bounds(door: Door, tmp_path: Path) -> None:
    options = (inventory(tmp_path, door), *SHORT, "--scenario", "burst", "--students", "6")
    done = load(*options, "--report", str(tmp_path / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("@local: 100.0% answered (")
    assert first.endswith("the bounds are held")
    report = json.loads((tmp_path / "out" / "load.json").read_text())
    schema = json.loads((ROOT / "docs" / "load.schema.json").read_text())
    Draft202012Validator(schema).validate(report)
    (host,) = report["hosts"]
    assert host["places"], "the gateway's metrics were not read"
    assert {question["end"] for question in host["questions"]} == {"answered"}
    asked = [json.loads(body) for path, _, body in door.ollama.came if path == "/api/generate"]
    assert len(asked) == len(host["questions"]) >= 6
    assert all(16 <= one["options"]["num_predict"] <= 512 for one in asked)
    rows = list(csv.DictReader((tmp_path / "out" / "load.csv").read_text().splitlines()))
    assert len(rows) == len(asked)
    page = (tmp_path / "out" / "load.html").read_text()
    assert "100.0% answered" in page
    assert "<polyline" in page


def test_who_finds_no_place_breaks_the_bound(door: Door, tmp_path: Path) -> None:
    held_until(door, lambda: count(door, status=503) >= 12)
    options = ("--scenario", "burst", "--students", "30", "--json")
    done = load(inventory(tmp_path, door), *SHORT, *options)
    host = measured(done)
    assert done.returncode == 1
    assert host["figures"]["ends"]["refused"] >= 12
    assert (host["figures"]["most_in_flight"], host["figures"]["most_waiting"]) == (3, 15)
    assert host["reasons"][0].startswith("slo_success: ")


def test_waits_are_what_the_profile_bounds(door: Door, tmp_path: Path) -> None:
    place = inventory(tmp_path, door, slo_p95_wait=0.001)
    done = load(place, *SHORT, "--scenario", "burst", "--students", "2", "--json")
    assert done.returncode == 1
    host = measured(done)
    assert host["figures"]["goodput"] == 0
    assert [reason.partition(":")[0] for reason in host["reasons"]] == ["slo_p95_wait"]


def test_a_rude_client_and_those_who_leave_are_counted_apart(door: Door, tmp_path: Path) -> None:
    place = inventory(tmp_path, door)
    done = load(place, *SHORT, "--scenario", "rude", "--students", "2", "--json")
    assert measured(done)["figures"]["rude"]["answered"] >= 3
    assert measured(done)["figures"]["ends"]["answered"] <= 4
    held_until(door, lambda: count(door, end="C") >= 2)
    done = load(place, *SHORT, "--scenario", "leave", "--students", "10", "--json")
    found = measured(done)["figures"]
    assert found["ends"]["left"] >= 2
    assert found["success"] == 1
    assert found["asked"] == sum(found["ends"].values()) - found["ends"]["left"]


def test_students_have_the_tokens_of_the_class_and_nobody_sees_them(
    opened: Opener, tmp_path: Path
) -> None:
    names = kept(tmp_path, "admin", "one", "two")
    locked = opened(gateway_tokens=names)
    place = inventory(tmp_path, locked, gateway_tokens=names)
    command = [sys.executable, "-m", "ollama_stack.cli", "load", place, *SHORT, "--json"]
    command += ["--report", str(tmp_path / "out"), "--scenario", "burst", "--students", "4"]
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # others' processes may have these tokens
    )
    seen = ""
    while running.poll() is None:
        seen += "".join(visible(path) for path in of_session(running.pid))
    output = "".join(running.communicate())
    assert running.returncode == 0, output
    assert "ollama_stack.load.class_hour" in seen
    report = "".join(path.read_text() for path in (tmp_path / "out").iterdir())
    assert not [secret for secret in SECRETS.values() if secret in seen + output + report]
    tokens = {line["token"] for line in locked.lines() if line["route"] == "/api/generate"}
    assert tokens == {"one", "two"}


def test_a_killed_run_leaves_no_class_behind(door: Door, tmp_path: Path) -> None:
    door.ollama.hold.clear()
    command = [sys.executable, "-m", "ollama_stack.cli", "load", inventory(tmp_path, door)]
    try:
        running = subprocess.Popen(
            [*command, "--scenario", "burst"], cwd=ROOT, start_new_session=True
        )
        until(lambda: door.ollama.now > 0, 60)
        assert list(of_session(running.pid))
        running.kill()
        running.wait()
        until(lambda: not list(of_session(running.pid)), 20)
    finally:
        door.ollama.hold.set()


def of_session(leader: int) -> Iterator[Path]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(process.name)) == leader:
                yield process


def visible(process: Path) -> str:
    """A process's words and environment."""
    try:
        return (process / "cmdline").read_text() + (process / "environ").read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def test_what_cannot_be_measured_is_told(door: Door, opened: Opener, tmp_path: Path) -> None:
    warm = load(inventory(tmp_path, door), *SHORT, "--scenario", "cold")
    assert warm.returncode == 2
    assert "has a model in memory until" in warm.stdout
    locked = opened(gateway_tokens={"one": "env:A"})
    strange = inventory(tmp_path, locked, gateway_tokens=kept(tmp_path, "admin", "local"))
    done = load(inventory(tmp_path, locked), *SHORT)
    assert (done.returncode, "answers 401 to a look" in done.stdout) == (2, True), done.stdout
    gone = load(strange, *SHORT, "--limit", "nobody")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert gone.stderr.endswith("no host matches nobody\n")
