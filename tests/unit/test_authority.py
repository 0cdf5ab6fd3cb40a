"""The folder of the authority: made once, whole, its owner's alone; kept by runs that change hosts."""

from __future__ import annotations

import json
import re
import subprocess
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ollama_stack import authority
from ollama_stack.facts.gateway import CertificateIssuer
from ollama_stack.rules import faults, secret_faults, warnings
from ollama_stack.stack.certificates import AUTHORITY_LIFE, issue, new_authority, read_authority
from tests.unit.conftest import group_data
from tests.unit.test_plan import BARE, as_fakes, pyinfra

NOW = datetime.now(timezone.utc)
OWN: dict[str, Any] = {"gateway_tls": "own"}
WAY_OUT = "move the folder away to begin anew; then every client has to trust the new ca.crt"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "secrets" / "tls"


@pytest.fixture
def made(folder: Path) -> Path:
    """With an authority and one host's certificate."""
    ours = new_authority("school", NOW)
    authority.keep(folder, ours, "web-1", issue(ours, ["web-1"], NOW))
    return folder


def told(folder: Path, **own: Any) -> list[str]:
    data = group_data("all", "medium") | OWN | {"gateway_tls_folder": str(folder)} | own
    return secret_faults(data)


def modes(folder: Path) -> dict[str, str]:
    return {p.name: oct(p.stat().st_mode & 0o777) for p in [folder, *folder.rglob("*")]}


def test_an_authority_is_its_owner_s_alone_and_not_git_s(made: Path) -> None:
    found = modes(made)
    assert found.pop("ca.crt") == "0o644"
    assert found.pop(".gitignore") == "0o644"
    assert {found.pop("tls"), found.pop("hosts")} == {"0o700"}
    assert set(found) == {"ca.key", "web-1.pem", ".lock"}
    assert set(found.values()) == {"0o600"}
    assert (made / ".gitignore").read_text() == "*\n"


def test_what_a_killed_run_left_is_in_nobody_s_way(made: Path) -> None:
    left = made / "hosts" / ".web-1.pem.new"
    left.write_text("half")
    left.chmod(0o644)
    ours = authority.read(made)
    assert ours
    authority.keep(made, ours, "web-1", issue(ours, ["web-2"], NOW))
    assert modes(made)["web-1.pem"] == "0o600"
    assert not left.exists()


def test_an_authority_is_never_overwritten(made: Path) -> None:
    before = (made / "ca.key").read_text()
    other = new_authority("school", NOW)
    with pytest.raises(ValueError, match=r"another run has made the authority in \S+; run again"):
        authority.keep(made, other, "web-2", issue(other, ["web-2"], NOW))
    assert (made / "ca.key").read_text() == before
    assert not (made / "hosts" / "web-2.pem").exists()


def test_hosts_of_any_name_have_a_file_in_the_folder(made: Path) -> None:
    ours = authority.read(made)
    assert ours
    for host in ("@local", "../../etc/x", "@ssh/web-1", "ca"):
        authority.keep(made, ours, host, issue(ours, ["a"], NOW))
        assert authority.kept(made, host)
    assert len(list((made / "hosts").iterdir())) == 5
    assert authority.kept(made, "web-9") == ""


def test_a_whole_folder_has_no_faults_and_none_is_needed(made: Path, tmp_path: Path) -> None:
    assert told(made) == []
    assert told(tmp_path / "none") == []
    assert told(tmp_path / "none", gateway_enabled=False) == []


@pytest.mark.parametrize(
    ("gone", "problem"),
    [
        (["ca.key"], "has ca.crt and no ca.key; put ca.key back from a copy, or "),
        (["ca.crt"], "has ca.key and no ca.crt; put ca.crt back from a copy, or "),
        (
            ["ca.key", "ca.crt"],
            "has certificates of hosts and no authority; put ca.crt and ca.key back from a copy, or ",
        ),
    ],
)
def test_half_an_authority_is_refused(gone: list[str], problem: str, made: Path) -> None:
    for name in gone:
        (made / name).unlink()
    assert told(made) == [f"gateway_tls: {made} {problem}{WAY_OUT}"]


def test_an_authority_that_is_not_one_is_refused(made: Path) -> None:
    both = f"put ca.crt and ca.key back from a copy, or {WAY_OUT}"
    (made / "ca.key").write_text(new_authority("school", NOW).key_pem)
    assert told(made) == [f"gateway_tls: {made} has a key that is not its certificate's; {both}"]
    (made / "ca.key").write_text("")
    assert told(made) == [f"gateway_tls: {made} is no PEM of a certificate and an EC key; {both}"]
    (made / "ca.key").write_bytes(b"\xff")
    assert told(made) == [f"gateway_tls: {made} has a file that is no text; put a copy back"]


def test_a_key_that_others_may_read_is_refused(made: Path) -> None:
    (made / "ca.key").chmod(0o640)
    assert told(made) == [f"gateway_tls: {made}/ca.key is open to others; chmod 600 it"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert told(tmp_path / "file" / "tls") == [
        f"gateway_tls: {tmp_path}/file/tls cannot be made: {tmp_path}/file is no folder that this user "
        "may write in; set gateway_tls_folder to another one"
    ]


def test_a_folder_of_other_things_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "school.py").touch()
    assert told(tmp_path) == [
        f"gateway_tls: {tmp_path} has other files, as school.py; set gateway_tls_folder to a folder of "
        "its own"
    ]
    (fault,) = told(Path())
    assert f"{authority.ROOT} has other files" in fault


def test_an_empty_folder_may_be_there_already(folder: Path) -> None:
    (folder / "hosts").mkdir(parents=True)
    assert told(folder) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ours = new_authority("school", NOW)
    with pytest.raises(ValueError, match=r"cannot be written \(\w+\); check the path and its perm"):
        authority.keep(tmp_path / "file" / "tls", ours, "web-1", "")


@pytest.mark.parametrize(
    ("days", "fault", "warned"), [(400, False, False), (300, False, True), (-1, True, False)]
)
def test_an_end_is_told_a_year_before_and_refused_after(
    days: int, fault: bool, warned: bool, folder: Path
) -> None:
    ours = new_authority("school", NOW - AUTHORITY_LIFE + timedelta(days=days))
    authority.keep(folder, ours, "web-1", "")
    end = f"{NOW + timedelta(days=days):%Y-%m-%d}"
    over = f"gateway_tls: the authority in {folder} ended on {end}; {WAY_OUT}"
    soon = f"gateway_tls: the authority in {folder} ends on {end}; replace it before (docs/tls.md)"
    assert told(folder) == [over] * fault
    data = group_data("all", "medium") | OWN | {"gateway_tls_folder": str(folder)}
    assert fault or warnings(data) == [soon] * warned


def test_a_ready_certificate_and_one_of_our_own_are_one_too_many() -> None:
    data = group_data("all", "medium") | OWN
    assert faults(["medium"], data) == []
    assert faults(["medium"], data | {"gateway_tls_cert": "/tls.pem"}) == [
        "gateway_tls: own makes a certificate, and gateway_tls_cert = /tls.pem is a ready one; unset "
        "one of them"
    ]
    (fault,) = faults(["medium"], data | {"gateway_tls": "acme"})
    assert fault.startswith("gateway_tls: 'acme' is refused: input should be '' or 'own'")


def _begun(folder: str, host: str) -> str:
    """A run of its own, which has found no authority."""
    ours = new_authority("school", NOW)
    try:
        authority.keep(Path(folder), ours, host, issue(ours, [host], NOW))
    except ValueError as error:
        return str(error)
    return ours.pem


def test_of_many_first_runs_at_once_one_makes_the_authority(folder: Path) -> None:
    hosts = [f"web-{number}" for number in range(6)]
    with ProcessPoolExecutor(3, get_context("forkserver")) as pool:
        said = list(pool.map(_begun, [str(folder)] * len(hosts), hosts))
    (winner,) = (pem for pem in said if pem.startswith("-----BEGIN"))
    assert (folder / "ca.crt").read_text() == winner
    assert read_authority(winner, (folder / "ca.key").read_text())
    lost = {words for words in said if words != winner}
    assert lost == {f"another run has made the authority in {folder}; run again"}
    assert len(list((folder / "hosts").iterdir())) == 1


DEPLOY = """
from pyinfra import host
from ollama_stack.config.settings import read_settings
from ollama_stack.tasks.certificate import have_certificate

have_certificate(read_settings(host.data.dict()))
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
    words = r"certificate for class-1.school.example, 127.0.0.1, localhost: there is none yet"
    assert re.search(words, run.stderr)
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
    run = pyinfra(fakes, story, "-y", "-vvv")
    assert run.returncode == 0, run.stderr
    assert "PRIVATE" not in run.stdout + run.stderr
    words = f"{folder} has a new authority: keep a copy of it, and have every client trust {folder}/ca.crt"
    assert run.stderr.count(words) == 1
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
