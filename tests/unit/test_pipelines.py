"""The ready pipelines of docs/ci: their shell steps, run as far as a machine without hosts lets them."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from runpy import run_path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from ollama_stack import ROOT
from ollama_stack.cli import cli
from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target
from ollama_stack.load import ClassHour
from ollama_stack.load.aim import aim
from ollama_stack.rules import faults
from tests.unit.conftest import group_data
from tests.unit.test_report import FITS, GONE

pytestmark = pytest.mark.process

PIPELINES = {
    name: yaml.safe_load((ROOT / f"docs/ci/{name}.yml").read_text())
    for name in ("github", "gitlab")
}

PROGRAM = f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m ollama_stack.cli "$@"\n'


def lines(name: str) -> list[str]:
    """Each step's shell text, in order, without the last ones, which run always."""
    (job,) = (v for v in (PIPELINES[name].get("jobs") or PIPELINES[name]).values())
    if name == "gitlab":
        return [*job["before_script"], *job["script"]]
    return [step["run"] for step in job["steps"] if "run" in step and "if" not in step]


def verbs() -> Iterator[tuple[str, str, list[str]]]:
    """Pipeline, verb, options."""
    for name in PIPELINES:
        for verb, rest in re.findall(r"ollama-stack (\w+)(.*)", "\n".join(lines(name))):
            yield name, verb, re.findall(r"--[\w-]+", rest)


class Runner:
    """A folder as a runner checks it out, with a key of its own; the program is this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "inventories").mkdir()
        program = folder / ".venv/bin/ollama-stack"
        program.parent.mkdir(parents=True)
        program.write_text(PROGRAM)
        program.chmod(0o755)
        (folder / "Makefile").write_text(".venv/ok:\n\ttouch $@\n")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True
        )
        secrets = folder / "secrets.tgz"
        (folder / "ca.key").write_text("private")
        with tarfile.open(secrets, "w:gz") as archive:
            archive.add(folder / "ca.key", "secrets/tls/ca.key")
        key, packed = (folder / "key").read_text(), base64.b64encode(secrets.read_bytes()).decode()
        self.variables = {
            "SSH_KEY": key,
            "STAGING_SSH_KEY": key,
            "SITE_SECRETS": packed,
            "STAGING_SITE_SECRETS": packed,
            "INVENTORY": "inventories/staging.py",
            "GITHUB_ENV": str(folder / "github.env"),
        }

    def run(self, name: str, hosts: list[Any]) -> tuple[int, str, str]:
        """All steps in one shell, ended by the first that fails; the exit status, what it said, the agent's keys."""
        (self.folder / "inventories/staging.py").write_text(f"medium = {hosts!r}")
        script = "\n".join(
            ["trap 'ssh-add -L >agent.txt; ssh-agent -k >/dev/null' EXIT", *lines(name)]
        )
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.folder,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stderr, (self.folder / "agent.txt").read_text()


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    assert shutil.which("ssh-agent")
    return Runner(tmp_path)


@pytest.mark.parametrize(("name", "verb", "options"), list(verbs()))
def test_each_verb_and_option_exists(name: str, verb: str, options: list[str]) -> None:
    shown = CliRunner().invoke(cli, [verb, "--help"])
    assert shown.exit_code == 0, name
    assert set(options) <= set(re.findall(r"--[a-z][\w-]*", shown.output))


@pytest.mark.parametrize("name", PIPELINES)
def test_the_load_comes_after_plan_deploy_and_audit(name: str) -> None:
    order = [verb for pipeline, verb, _ in verbs() if pipeline == name]
    assert order == ["plan", "deploy", "audit", "load"]


def test_the_page_s_inventory_can_be_asked_from_the_runner(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/ci/README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "staging.py").write_text(dedent(code))
    ((name, own),) = run_path(str(tmp_path / "staging.py"))["medium"]
    own = group_data("all", "medium") | own | {"gateway_tls_folder": str(made)}
    assert not faults(["medium"], own)
    (token,) = re.findall(r"`(STAGING_CLASS_TOKEN)`", page)
    assert PIPELINES["github"]["jobs"]["staging"]["env"].keys() >= {token}
    monkeypatch.setenv(token, "0" * 64)
    settings = read_settings(own)
    assert settings.gateway_token_limits["class"] == {
        "parallel": settings.ollama_num_parallel,
        "queue": settings.ollama_max_queue,
    }
    task = aim(Target(name, ("medium",), own), settings, ClassHour(15, 3, "lesson"))
    assert (task.base, task.tokens) == ("https://10.0.9.5:11434", ["0" * 64])


def test_a_plan_that_fails_ends_the_job_before_anything_changes(runner: Runner) -> None:
    ended, _, _ = runner.run("gitlab", [FITS, GONE])
    assert ended == 2
    assert (runner.folder / "reports/plan.json").stat().st_size > 1000
    assert not (runner.folder / "reports/deploy.json").exists()


def test_a_deploy_that_fails_ends_the_job_before_the_audit(runner: Runner) -> None:
    ended, output, keys = runner.run("github", [FITS])  # a fake fits, and then answers no change
    assert ended == 1
    assert "Starting operation" in output
    assert not (runner.folder / "reports/audit").exists()
    assert keys.split()[1] == (runner.folder / "key.pub").read_text().split()[1]
    assert (runner.folder / "secrets/tls/ca.key").read_text() == "private"


def test_both_pipelines_take_the_same_steps() -> None:
    ours = [[line for line in lines(name) if "ollama-stack" in line] for name in PIPELINES]
    assert ours[0] == ours[1]


def test_an_audit_leaves_its_report_where_the_artefact_is(tmp_path: Path) -> None:
    (line,) = (line for line in lines("github") if "ollama-stack audit" in line)
    program, inventory = tmp_path / "ollama-stack", tmp_path / "staging.py"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    inventory.write_text("medium = [('away', {'ssh_hostname': '127.0.0.1', 'ssh_port': 1})]")
    line = line.replace(".venv/bin/ollama-stack", str(program))
    done = subprocess.run(
        ["bash", "-e", "-c", line.replace("reports/", f"{tmp_path}/reports/")],
        cwd=ROOT,
        env=os.environ | {"INVENTORY": str(inventory)},
    )
    assert done.returncode == 2
    kept = {path.name for path in (tmp_path / "reports/audit").iterdir()}
    assert kept == {"report.html", "report.json", "report.json.sha256", "junit.xml"}
    assert (
        PIPELINES["gitlab"]["staging"]["artifacts"]["reports"]["junit"] == "reports/audit/junit.xml"
    )
