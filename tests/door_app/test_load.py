"""The verb load through the page: Locust's students before a real gateway and the app itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from ollama_stack import ROOT
from tests.door.conftest import Door


def test_a_class_asks_the_page_as_browsers_do(students: Door, tmp_path: Path) -> None:
    data = {
        "app_enabled": True,
        "app_port": students.page,
        "gateway_metrics_port": students.metrics,
    }
    (tmp_path / "hosts.py").write_text(f"medium = [('@local', {data!r})]")
    words = [sys.executable, "-m", "ollama_stack.cli", "load", str(tmp_path / "hosts.py")]
    words += ["--through", "page", "--scenario", "burst", "--students", "5", "--minutes", "0.05"]
    done = subprocess.run([*words, "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    (host,) = report["hosts"]
    assert report["through"] == "page"
    questions = host["questions"]
    assert {question["end"] for question in questions} == {"answered"}
    assert len(questions) >= 5
    waits = sorted(question["wait"] for question in questions[:5])
    # Two are answered at once, each in a second and a half.
    assert waits[1] < 1 < waits[2] < 10
    assert all(question["wait"] <= question["first"] < question["took"] for question in questions)
    assert host["places"], "nobody has looked at the gateway"
