"""The verb load through the page: Locust's students before a real gateway and the app itself."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from ollama_stack import ROOT
from ollama_stack.config.settings import read_settings
from tests.door.conftest import Door
from tests.door_app.conftest import Speaker, started
from tests.unit.conftest import group_data


class Listener(Speaker):
    """A double for Ollama that counts who asks which model, and how long the questions are."""

    asked: ClassVar[Counter[str]] = Counter()
    lengths: ClassVar[set[int]] = set()

    def _hear(self, body: bytes) -> None:
        question = json.loads(body)
        self.asked[question["model"]] += 1
        self.lengths.add(len(question["prompt"]))


def held(folder: Path, data: dict[str, Any]) -> Any:
    """The report of a class of five, three seconds long."""
    (folder / "hosts.py").write_text(f"medium = [('@local', {data!r})]")
    command = [sys.executable, "-m", "ollama_stack.cli", "load", str(folder / "hosts.py")]
    command += ["--through", "page", "--scenario", "burst", "--students", "5", "--minutes", "0.05"]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def test_a_class_asks_the_page_as_browsers_do(students: Door, tmp_path: Path) -> None:
    data = {
        "app_enabled": True,
        "app_port": students.page,
        "gateway_metrics_port": students.metrics,
    }
    report = held(tmp_path, data)
    (host,) = report["hosts"]
    assert report["through"] == "page"
    questions = host["questions"]
    assert {question["end"] for question in questions} == {"answered"}
    assert len(questions) >= 5
    waits = sorted(question["wait"] for question in questions[:5])
    # Two are answered at once, each in a second and a half.
    assert waits[2] - waits[1] > 0.7
    assert all(question["wait"] <= question["first"] < question["took"] for question in questions)
    assert host["places"], "nobody has looked at the gateway"


def test_where_students_choose_each_model_is_asked_as_long_questions_as_the_page_takes(
    tmp_path: Path,
) -> None:
    models = ["qwen2.5:1.5b", "another:1"]
    own: dict[str, Any] = {"app_enabled": True, "models": models, "app_models": models}
    own |= {"app_max_prompt": 40}
    threads = str(read_settings(group_data("all", "medium")).app_threads)
    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        env = {"APP_THREADS": threads, "APP_MODELS": ",".join(models), "APP_MAX_PROMPT": "40"}
        with started(tmp_path, f"http://127.0.0.1:{server.server_port}", **env) as app:
            door = Door(tmp_path, own, app.port)
            try:
                ports = {"app_port": door.page, "gateway_metrics_port": door.metrics}
                held(tmp_path, own | ports)
            finally:
                door.end()
        server.shutdown()
    assert Listener.asked.keys() == set(models)
    assert max(Listener.lengths) == 40
