"""What init does not write, and what it says instead."""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import pytest

from ollama_stack import ROOT
from ollama_stack.init.files import NewFile, create_all
from tests.unit.commands import command
from tests.unit.init.running import ENOUGH, command_error, files, init


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        (
            "../school",
            "NAME: '../school' cannot name an inventory; take small letters, digits and _",
        ),
        ("a/b", "NAME: 'a/b' cannot"),
        ("my-school", "NAME: 'my-school' cannot"),
        ("2b", "NAME: '2b' cannot"),
        ("class", "NAME: 'class' cannot"),
        ("", "NAME: '' cannot"),
        ("school.py", "NAME: 'school.py' cannot"),
        ("high", "NAME: high is a group of group_data/; take another name, as school"),
    ],
)
def test_a_name_that_no_inventory_can_have(site: Path, name: str, fault: str) -> None:
    assert command_error(init(name, *ENOUGH)).startswith(fault)
    assert files(site) == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--host", "-x"], "host: '-x' is not understood; write it like 10.0.0.5, class-1.school"),
        (["--host", "ops@10.0.0.5"], "host: 'ops@10.0.0.5' is not understood"),
        (["--host", "10.0.0.256"], "host: '10.0.0.256' is not understood"),
        (["--host", "a=b=c"], "host: 'a=b=c' is not understood"),
        (["--host", "=10.0.0.5"], "host: '=10.0.0.5' is not understood"),
        (["--host", "class-2="], "host: 'class-2=' is not understood"),
        (["--host", "x\"'; y"], "host: 'x\"\\';' is not understood"),
        (["--host", "class-*"], "host: 'class-*' is not understood"),
        (["--host", "@local"], "host: @local is this machine; inventories/local.py is for that"),
        (["--host", "class-1=10.0.0.9"], "host: class-1 is there 2 times; leave it in once"),
        (["--host", "class-2=10.0.0.5"], "host: 10.0.0.5 is there 2 times; leave it in once"),
        (
            ["--host", "school"],
            "host: school is the name of a group; call it otherwise, as school-1=",
        ),
        (
            ["--host", "high=10.0.0.7"],
            "host: high is the name of a group; call it otherwise, as high",
        ),
        (["--students", "0"], "students: '0' is no number of students; write one from 1 to 9999"),
        (["--students", "-3"], "students: '-3' is no number"),
        (["--students", "many"], "students: 'many' is no number"),
        (["--students", "1e9"], "students: '1e9' is no number"),
        (["--user", "ops; reboot"], "user: 'ops; reboot' is no user's name; write it like root or"),
        (["--key", "none"], "key: key file none is not there; make one with ssh-keygen -t ed25519"),
        (
            ["--key", "half.pub"],
            "key: key file half.pub is no private key of OpenSSH's; name the half without",
        ),
        (
            ["--lan", "--tls", "acme"],
            "tls: acme is for public names, and 10.0.0.5 is none; write the",
        ),
        (
            ["--lan", "--tls", "no.pem"],
            "tls: 'no.pem' is no file; take own, acme, or the path of a",
        ),
        (["--key", "a\nb"], "key: 'a\\nb' is no path; name the file of a private key"),
    ],
)
def test_an_odd_answer_is_refused_in_a_sentence(
    site: Path, arguments: list[str], fault: str
) -> None:
    (site / "half.pub").touch()
    assert command_error(init("school", *ENOUGH, *arguments)).startswith(fault)
    assert files(site) == ["half.pub"]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "there is no terminal to ask at; say --host, --students, --lan or --no-lan"),
        (ENOUGH[:2], "there is no terminal to ask at; say --students, --lan or --no-lan"),
        ([*ENOUGH, "--api"], "--api is for the school's network; say --lan with it"),
        ([*ENOUGH, "--tls", "own"], "--tls is for the school's network; say --lan with it"),
        (
            ["--host", "ai.school.example", "--students", "9", "--lan", "--tls", "acme"],
            "--tls acme: agree to https://letsencrypt.org/repository/ by --agree-tos, or take --tls",
        ),
    ],
)
def test_without_a_terminal_what_is_missing_is_a_mistyped_command(
    arguments: list[str], fault: str
) -> None:
    done = command("tests.unit.alone", "init", "no_school", *arguments)
    assert (done.returncode, done.stdout) == (3, "")
    assert f"Error: {fault}" in done.stderr
    assert not (ROOT / "inventories/no_school.py").exists()


def test_a_refusal_is_one_sentence_without_a_traceback() -> None:
    done = command("tests.unit.alone", "init", "example", *ENOUGH)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "inventories/example.py is already there and stays as it is; take another name, or move it "
        "away first\n"
    )


def test_at_a_terminal_every_question_is_asked_until_it_is_understood(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_stack.init.prompts.at_a_terminal", lambda: True)
    typed = ["no host!", "class-1=10.0.0.5, 10.0.0.6", "ops", "", "many", "12", "y", "", "n"]
    done = init("school", input="\n".join(typed) + "\n")
    assert done.exit_code == 0, done.output
    assert "Error: host: 'host!' is not understood" in done.output
    assert "Error: students: 'many' is no number" in done.output
    written = runpy.run_path(str(site / "inventories/school.py"))["medium"]
    assert [name for name, _ in written] == ["class-1", "10.0.0.6"]
    assert (written[1][1]["ssh_user"], written[1][1]["app_bind"]) == ("ops", "0.0.0.0")


def test_whoever_stops_answering_has_written_nothing(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ollama_stack.init.prompts.at_a_terminal", lambda: True)
    assert init("school", input="10.0.0.5\n").exit_code == 1
    assert files(site) == []


def test_whoever_was_faster_keeps_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/school.py").write_text("theirs")
    monkeypatch.setattr("ollama_stack.init.files.refuse_taken", lambda *_: None)
    new = [NewFile("secrets/a.token", "x", 0o600), NewFile("inventories/school.py", "ours", 0o644)]
    with pytest.raises(ValueError, match=r"inventories/school\.py is already there and stays"):
        create_all(tmp_path, new)
    assert (tmp_path / "inventories/school.py").read_text() == "theirs"
    assert files(tmp_path) == ["inventories/school.py"]
    assert not (tmp_path / "secrets").exists()


def test_modes_are_those_declared_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        create_all(tmp_path, [NewFile("a.py", "", 0o644)])
    finally:
        os.umask(before)
    assert oct((tmp_path / "a.py").stat().st_mode)[-3:] == "644"
