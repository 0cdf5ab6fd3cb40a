"""`make plan` on a serving host: what it measures is so, and what it says would change does."""

from __future__ import annotations

import json
import os
from typing import Any

from tests.lab.conftest import INVENTORY, generate, run, sh


def planned() -> dict[str, Any]:
    """The report on this machine, which must fit."""
    done = run(".venv/bin/ollama-stack", "plan", INVENTORY, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (host,) = json.loads(done.stdout)["hosts"]
    assert host["verdict"] == "fits"
    return dict(host)


def test_a_plan_says_what_the_host_is_and_that_nothing_would_change() -> None:
    generate()  # so that the model is in memory
    host = planned()
    assert host["changes"] == []
    measured = host["measured"]
    assert measured["cpus"] == os.cpu_count()
    assert measured["docker"] == sh("docker version --format '{{.Server.Version}}'").strip()
    assert measured["to_pull"] == {}
    assert host["memory"]["source"] == "the server"
    assert host["memory"]["terms"]["KV cache"] == 4 * 30 * 3 * 64 * 3 * 4096  # smollm2, 3 x 4096
