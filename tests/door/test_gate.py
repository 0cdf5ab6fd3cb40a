"""The load step of the ready pipelines (docs/ci) before a gateway that something is wrong with: it ends the job.

A throttled host ends it at the audit before (OLS-305), as a certificate does that ends soon (OLS-610).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from ollama_stack import ROOT, authority
from ollama_stack.config.settings import read_settings
from ollama_stack.stack.certificates import LIFE, issue, new_authority
from ollama_stack.stack.rendering import gateway_files
from tests.door.conftest import Door, Opener, until
from tests.door.double import Handler
from tests.door.test_load import inventory
from tests.door.test_places import held
from tests.unit.conftest import group_data
from tests.unit.test_pipelines import PROGRAM, lines


class Hung(Handler):
    """Takes a question, and says nothing."""

    def do_GET(self) -> None:
        while not self._left():
            time.sleep(0.1)

    do_POST = do_GET


def gate(folder: Path, door: Door, **own: Any) -> tuple[int, dict[str, Any]]:
    """The exit status, and what the artefact says of the host; a class of three seconds."""
    (line,) = (line for line in lines("github") if "ollama-stack load" in line)
    program = folder / "ollama-stack"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    for ours, here in {
        ".venv/bin/ollama-stack": str(program),
        "reports/": f"{folder}/",
        "--minutes 3": "--minutes 0.05",
    }.items():
        assert ours in line
        line = line.replace(ours, here)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", line],
        cwd=ROOT,
        env=os.environ | {"INVENTORY": inventory(folder, door, **own)},
    )
    (host,) = json.loads((folder / "load.json").read_text())["hosts"]
    return done.returncode, host


def test_a_hung_one_ends_it(opened: Opener, tmp_path: Path) -> None:
    door = opened()
    door.ollama.RequestHandlerClass = Hung
    code, host = gate(tmp_path, door)
    assert (code, host["verdict"]) == (2, "unmeasured")
    assert host["reasons"][0].startswith(f"{door.url} does not answer (ReadTimeout); deploy it, or")


def test_a_full_queue_ends_it(opened: Opener, tmp_path: Path) -> None:
    door = opened()
    with held(door) as mine:
        mine += [door.start() for _ in range(18)]
        until(lambda: door.places() == (3, 15))
        code, host = gate(tmp_path, door)
    assert (code, host["verdict"], set(host["figures"]["ends"])) == (1, "broken", {"refused"})
    assert host["reasons"][0].startswith("slo_success: 0.0% were answered")


def test_a_certificate_that_has_ended_ends_it(tmp_path: Path) -> None:
    then = datetime.now(timezone.utc) - LIFE - timedelta(days=1)
    site, own = new_authority("school", then), {"gateway_tls": "own"}
    certificate = issue(site, ["127.0.0.1"], then)
    authority.keep(tmp_path / "tls", site, "class-1", certificate)
    settings = read_settings(group_data("all", "medium") | own)
    (tmp_path / "door").mkdir()
    door = Door(tmp_path / "door", own, files=gateway_files(settings, {}, certificate)[1])
    try:
        code, host = gate(tmp_path, door, **own, gateway_tls_folder=str(tmp_path / "tls"))
    finally:
        door.end()
    assert (code, host["verdict"]) == (2, "unmeasured")
    assert f"certificate that ended on {then + LIFE:%Y-%m}" in host["reasons"][0]
