"""The folder of the authority: made once, whole, its owner's alone; kept by runs that change hosts."""

from __future__ import annotations

import fcntl
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, wait
from datetime import datetime, timedelta, timezone
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from ollama_stack import authority
from ollama_stack.rules import faults, secret_faults, warnings
from ollama_stack.stack.certificates import AUTHORITY_LIFE, issue, new_authority, read_authority
from tests.unit.conftest import group_data

NOW = datetime.now(timezone.utc)
OWN: dict[str, Any] = {"gateway_tls": "own"}
WAY_OUT = "move the folder away to begin anew; then every client has to trust the new ca.crt"


def found(folder: Path, **own: Any) -> list[str]:
    data = group_data("all", "medium") | OWN | {"gateway_tls_folder": str(folder)} | own
    return secret_faults(data)


def modes(folder: Path) -> dict[str, str]:
    return {p.name: oct(p.stat().st_mode & 0o777) for p in [folder, *folder.rglob("*")]}


def test_an_authority_is_its_owner_s_alone_and_not_git_s(made: Path) -> None:
    listed = modes(made)
    assert listed.pop("ca.crt") == "0o644"
    assert listed.pop(".gitignore") == "0o644"
    assert {listed.pop("tls"), listed.pop("hosts")} == {"0o700"}
    assert set(listed) == {"ca.key", "web-1.pem", ".lock"}
    assert set(listed.values()) == {"0o600"}
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


@pytest.mark.parametrize("first", ["ca.key", "ca.crt", "hosts/web-1.pem"])
def test_a_reader_waits_for_a_run_that_is_half_way(made: Path, first: str) -> None:
    whole = {name: (made / name).read_text() for name in ("ca.key", "ca.crt", "hosts/web-1.pem")}
    for name in {*whole} - {first}:
        (made / name).unlink()
    with (made / ".lock").open("w") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reader = pool.submit(authority.read, made)
        assert not wait([reader], 0.1).done
        for name, text in whole.items():
            (made / name).touch(mode=0o600)
            (made / name).write_text(text)
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert reader.result(5)


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
    assert found(made) == []
    assert found(tmp_path / "none") == []
    assert found(tmp_path / "none", gateway_enabled=False) == []


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
    assert found(made) == [f"gateway_tls: {made} {problem}{WAY_OUT}"]


def test_an_authority_that_is_not_one_is_refused(made: Path) -> None:
    both = f"put ca.crt and ca.key back from a copy, or {WAY_OUT}"
    (made / "ca.key").write_text(new_authority("school", NOW).key_pem)
    assert found(made) == [f"gateway_tls: {made} has a key that is not its certificate's; {both}"]
    (made / "ca.key").write_text("")
    assert found(made) == [f"gateway_tls: {made} is no PEM of a certificate and an EC key; {both}"]
    (made / "ca.key").write_bytes(b"\xff")
    assert found(made) == [f"gateway_tls: {made} has a file that is no text; put a copy back"]


def test_a_key_that_others_may_read_is_refused(made: Path) -> None:
    (made / "ca.key").chmod(0o640)
    assert found(made) == [f"gateway_tls: {made}/ca.key is open to others; chmod 600 it"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert found(tmp_path / "file" / "tls") == [
        f"gateway_tls: {tmp_path}/file/tls cannot be made: {tmp_path}/file is no folder that this user "
        "may write in; set gateway_tls_folder to another one"
    ]


def test_a_folder_of_other_things_is_not_hidden_from_git(tmp_path: Path) -> None:
    (tmp_path / "school.py").touch()
    assert found(tmp_path) == [
        f"gateway_tls: {tmp_path} has other files, as school.py; set gateway_tls_folder to a folder of "
        "its own"
    ]
    (fault,) = found(Path())
    assert f"{authority.ROOT} has other files" in fault


def test_an_empty_folder_may_be_there_already(folder: Path) -> None:
    (folder / "hosts").mkdir(parents=True)
    assert found(folder) == []


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
    assert found(folder) == [over] * fault
    data = group_data("all", "medium") | OWN | {"gateway_tls_folder": str(folder)}
    assert fault or warnings(data) == [soon] * warned


def test_a_ready_certificate_and_one_of_our_own_are_one_too_many() -> None:
    data = group_data("all", "medium") | OWN
    assert faults(["medium"], data) == []
    assert faults(["medium"], data | {"gateway_tls_cert": "/tls.pem"}) == [
        "gateway_tls: own makes a certificate, and gateway_tls_cert = /tls.pem is a ready one; unset "
        "one of them"
    ]
    (fault,) = faults(["medium"], data | {"gateway_tls": "public"})
    assert fault.startswith("gateway_tls: 'public' is refused: input should be '', 'own' or 'acme'")


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
        answers = list(pool.map(_begun, [str(folder)] * len(hosts), hosts))
    (winner,) = (pem for pem in answers if pem.startswith("-----BEGIN"))
    assert (folder / "ca.crt").read_text() == winner
    assert read_authority(winner, (folder / "ca.key").read_text())
    lost = {answer for answer in answers if answer != winner}
    assert lost == {f"another run has made the authority in {folder}; run again"}
    assert len(list((folder / "hosts").iterdir())) == 1
