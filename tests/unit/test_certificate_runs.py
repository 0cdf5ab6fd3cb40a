"""Runs that make certificates: what they keep, refuse and say."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from ollama_stack import authority
from ollama_stack.facts.gateway import CertificateIssuer
from ollama_stack.stack.certificates import issue, new_authority
from tests.unit.test_plan import BARE, as_fakes, pyinfra

pytestmark = pytest.mark.process

NOW = datetime.now(timezone.utc)
OWN: dict[str, Any] = {"gateway_tls": "own"}


DEPLOY = """
import sys
from pyinfra import host
from ollama_stack.config.settings import read_settings
from ollama_stack.tasks.certificate import have_certificate
from ollama_stack.tasks.start import check_start

have_certificate(read_settings(host.data.dict()), check_start(sys.argv).site)
"""


@pytest.fixture
def fakes(tmp_path: Path, folder: Path) -> str:
    return as_fakes("inventories/example.py", tmp_path, BARE, **OWN, gateway_tls_folder=str(folder))


@pytest.fixture
def story(tmp_path: Path) -> str:
    path = tmp_path / "story.py"
    path.write_text(DEPLOY)
    return str(path)


def test_a_plan_tells_of_the_authority_and_makes_none(fakes: str, folder: Path) -> None:
    run = pyinfra(fakes, "deploy.py", "--dry", "--diff", "--json")
    assert run.returncode == 0, run.stderr
    operations = {op["name"]: op["hosts_with_change"] for op in json.loads(run.stdout)["plan"]}
    made = operations["Make the certificate and the site's certificate authority"]
    assert len(made) == 4
    message = r"certificate for class-1.school.example, 127.0.0.1, localhost: there is none yet"
    assert re.search(message, run.stderr)
    assert not folder.parent.exists()
    assert "gateway_tls_names" not in run.stderr
    assert "PRIVATE" not in run.stdout + run.stderr


def test_a_host_that_others_cannot_name_is_warned_of(tmp_path: Path, folder: Path) -> None:
    own = {"gateway_tls_folder": str(folder), "app_enabled": True, "app_bind": "0.0.0.0"}
    fakes = Path(as_fakes("inventories/local.py", tmp_path, BARE, **OWN, **own))
    fakes.write_text(fakes.read_text().replace("@fake/local", "@fake/_local"))
    (tmp_path / "story.py").write_text(DEPLOY)
    run = pyinfra(str(fakes), str(tmp_path / "story.py"), "--dry")
    assert run.returncode == 0, run.stderr
    assert (
        "gateway_tls_names: the certificate is for 127.0.0.1 and localhost alone, and the host lets "
        "others in; name what students call it"
    ) in run.stderr


def test_a_kept_certificate_that_cannot_be_read_ends_the_run(
    fakes: str, story: str, made: Path
) -> None:
    (made / "hosts" / "fakes.@fake%2Fclass-1.school.example.pem").mkdir()
    run = pyinfra(fakes, story, "-y")
    assert run.returncode == 1
    assert "@fake/class-1.school.example: gateway_tls: " in run.stderr
    assert "cannot be read (IsADirectoryError); check the path and its permissions" in run.stderr
    assert "Traceback" not in run.stderr


def test_another_checkout_makes_no_second_authority(
    tmp_path: Path, folder: Path, story: str
) -> None:
    ours = new_authority("school", NOW)
    pem = issue(ours, ["class-1"], NOW)
    first = pem[: pem.index("-----BEGIN PRIVATE")].splitlines()
    own = {"gateway_tls_folder": str(folder)}
    answers = {**BARE, "-END CERTIFICATE-": first}
    run = pyinfra(as_fakes("inventories/local.py", tmp_path, answers, **OWN, **own), story, "-y")
    assert run.returncode == 1
    assert "this host has a certificate of Ollama CA 20" in run.stderr
    assert f"and {folder} has no authority; copy that folder from the machine" in run.stderr
    assert not folder.exists()


def test_the_issuer_is_read_and_no_key(tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    path.write_text(issue(new_authority("school", NOW), ["class-1"], NOW))
    command = ["sh", "-c", str(CertificateIssuer().command(str(path)))]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "PRIVATE" not in shown
    assert CertificateIssuer().process(shown.splitlines()).startswith("Ollama CA 20")
    assert CertificateIssuer().process(["rubbish"]) == ""


def test_all_hosts_of_a_run_have_one_authority_and_the_next_run_changes_nothing(
    fakes: str, story: str, folder: Path
) -> None:
    run = pyinfra(fakes, story, "-y", "--debug-operations", "-vvv")
    assert run.returncode == 0, run.stderr
    assert not folder.exists()
    assert "PRIVATE" not in run.stdout + run.stderr
    run = pyinfra("--config", "config.py", fakes, story, "-y", "-vvv")
    assert run.returncode == 0, run.stderr
    assert "PRIVATE" not in run.stdout + run.stderr
    message = f"{folder} has a new authority: keep a copy of it, and have every client trust {folder}/ca.crt"
    assert run.stderr.count(message) == 1
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert {path.name for path in before} >= {
        "ca.key",
        "ca.crt",
        "fakes.@fake%2Fclass-1.school.example.pem",
    }
    assert len(before) == 8
    assert authority.certificate(folder).subject.rfc4514_string().endswith(" fakes,O=fakes")
    again = pyinfra(fakes, story, "-y", "--json")
    assert json.loads(again.stdout)["results"]["operations"] == []
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_two_first_runs_at_once_leave_one_authority(fakes: str, story: str, folder: Path) -> None:
    limits = ["@fake/class-1.school.example", "@fake/class-2.school.example"]
    with ThreadPoolExecutor(2) as pool:
        runs = list(pool.map(lambda limit: pyinfra(fakes, story, "-y", "--limit", limit), limits))
    for run in runs:
        late = f"gateway_tls: another run has made the authority in {folder}; run again"
        assert run.returncode == 0 or late in run.stderr, run.stderr
        assert "Traceback" not in run.stderr
    assert authority.read(folder)
    assert pyinfra(fakes, story, "-y").returncode == 0
    assert len(list((folder / "hosts").iterdir())) == 4
