"""A new inventory: what is refused, what is written, that deploys accept it, that it is all or nothing."""

from __future__ import annotations

import ast
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ollama_stack import ROOT
from ollama_stack.check import check
from ollama_stack.cli import cli
from ollama_stack.init.answers import Answers, NewHost
from ollama_stack.init.files import NewFile, create_all
from ollama_stack.init.text import inventory_text
from tests.unit.commands import command
from tests.unit.test_plan import pyinfra

ENOUGH = ("--host", "class-1=10.0.0.5", "--students", "12", "--no-lan")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder without inventories of ours."""
    (tmp_path / "inventories").mkdir()
    monkeypatch.setattr("ollama_stack.cli.ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def init(*words: str, **more: Any) -> Result:
    return CliRunner().invoke(cli, ["init", *words], **more)


def answered(**other: Any) -> Answers:
    usual = Answers("school", (NewHost("class-1", "10.0.0.5"),), "root", "", 12, False, False)
    return Answers(**{**vars(usual), **other})


def test_what_is_written_is_what_was_said(site: Path) -> None:
    (site / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    words = ("--host", "class-1=10.0.0.5", "--host", "hall.school.lan", "--user", "ops")
    done = init("school", *words, "--key", "key", "--students", "20", "--lan")
    assert done.exit_code == 0, done.output
    assert files(site) == ["inventories/school.py", "key"]
    written = runpy.run_path(str(site / "inventories/school.py"))
    every = {
        "ssh_user": "ops",
        "_sudo": True,
        "ssh_key": str(site / "key"),
        "students": 20,
        "app_enabled": True,
        "app_bind": "0.0.0.0",
        "gateway_tls": "own",
    }
    own = {**every, "ssh_hostname": "10.0.0.5"}
    assert written["high"] == [("class-1", own), ("hall.school.lan", every)]


def test_the_next_commands_are_said_at_the_end(site: Path) -> None:
    *_, plan, deploy, audit = init("school", *ENOUGH).output.splitlines()
    assert plan.startswith("  .venv/bin/ollama-stack plan inventories/school.py ")
    assert deploy.startswith("  .venv/bin/ollama-stack deploy inventories/school.py ")
    assert audit.startswith("  .venv/bin/ollama-stack audit inventories/school.py ")


@pytest.mark.parametrize(
    ("students", "profile"), [(1, "low"), (4, "low"), (5, "medium"), (15, "medium"), (16, "high")]
)
def test_the_profile_follows_from_the_students(students: int, profile: str) -> None:
    assert f"\n{profile} = [\n" in inventory_text(answered(students=students))


SITES: dict[str, dict[str, Any]] = {
    "least": {},
    "ordinary user": {"user": "ops"},
    "page": {"user": "ops", "lan": True, "students": 3},
    "page and programs": {"lan": True, "api": True, "students": 200},
    "IPv6": {"hosts": (NewHost("class-1", "fd00::5"), NewHost("fd00::6"))},
    "long names": {
        "hosts": (
            NewHost("n" * 60, ".".join(["a" * 60] * 2)),
            NewHost("m" * 63, ".".join(["b" * 10])),
            NewHost(".".join(["c" * 60] * 2)),
        )
    },
    "odd key": {"key": '/keys/it\'s "mine" \\ here\N{SNOWMAN}' + "y" * 90},
}


@pytest.mark.parametrize("site_data", SITES.values(), ids=SITES)
def test_the_project_itself_accepts_what_was_written(
    site_data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = answered(**site_data)
    path = tmp_path / "school.py"
    path.write_text(inventory_text(said))
    for token in ("admin", "class"):
        create_all(tmp_path, [NewFile(f"secrets/tokens/school/{token}.token", token * 9, 0o600)])
    monkeypatch.chdir(tmp_path)
    checked = check(str(path), (), pyinfra)
    assert checked.faults == {}
    assert checked.names == [host.name for host in said.hosts]
    assert [target.data.get("ssh_hostname") for target in checked.targets] == [
        host.address or None for host in said.hosts
    ]


@pytest.mark.parametrize("site_data", SITES.values(), ids=SITES)
def test_it_is_formatted_and_every_line_is_explained(site_data: dict[str, Any]) -> None:
    text = inventory_text(answered(**site_data))
    ruff = Path(sys.executable).parent / "ruff"
    for words in (("format", "--check"), ("check",)):
        done = subprocess.run(
            [ruff, *words, "--no-cache", "--stdin-filename", "inventories/school.py"],
            input=text,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stdout + text
    entries = [line for line in text.splitlines() if line.startswith('    "')]
    explained = [line for line in text.splitlines() if line.startswith("    # ")]
    assert len(explained) >= len(entries)


@pytest.mark.parametrize("name", ["key", "user"])
def test_a_value_stays_a_value(name: str) -> None:
    hostile = '"; import os; os.abort() #\\" \' """'
    text = inventory_text(answered(**{name: hostile}))
    assigned, _ = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    assert ast.literal_eval(assigned.value)[f"ssh_{name}"] == hostile


def test_secrets_are_their_owner_s_alone_and_no_two_are_alike(site: Path) -> None:
    before = os.umask(0)
    try:
        done = init("school", *ENOUGH[:-1], "--lan", "--api")
    finally:
        os.umask(before)
    assert done.exit_code == 0, done.output
    tokens = [site / f"secrets/tokens/school/{name}.token" for name in ("admin", "class")]
    assert [oct(path.stat().st_mode)[-3:] for path in tokens] == ["600", "600"]
    assert oct(tokens[0].parent.stat().st_mode)[-3:] == "700"
    texts = {path.read_text().strip() for path in tokens}
    assert len(texts) == 2
    assert not [text for text in texts if text in done.output]
    assert min(map(len, texts)) == 64


def test_git_ignores_the_secrets() -> None:
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


@pytest.mark.parametrize("there", ["inventories/school.py", "secrets/tokens/school/class.token"])
def test_nothing_is_written_over_and_nothing_beside_it(site: Path, there: str) -> None:
    (site / there).parent.mkdir(parents=True, exist_ok=True)
    (site / there).write_text("theirs")
    done = command_error(init("school", *ENOUGH[:-1], "--lan", "--api"))
    assert done == (
        f"{there} is already there and stays as it is; take another name, or move it away first"
    )
    assert files(site) == [there]
    assert (site / there).read_text() == "theirs"


def test_a_link_that_leads_nowhere_is_there_too(site: Path) -> None:
    (site / "inventories/school.py").symlink_to(site / "elsewhere.py")
    assert "is already there" in command_error(init("school", *ENOUGH))
    assert files(site) == []


def test_what_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    new = [NewFile("secrets/a/b.token", "x", 0o600), NewFile(f"inventories/{'n' * 300}", "", 0o644)]
    with pytest.raises(ValueError, match=r"cannot be written \(.*name too long\); see to"):
        create_all(tmp_path, new)
    assert list(tmp_path.iterdir()) == []


def command_error(done: Result) -> str:
    """The sentence with which it was refused."""
    assert isinstance(done.exception, ValueError), done.output
    return str(done.exception)


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
    ("words", "fault"),
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
        (["--key", "a\nb"], "key: 'a\\nb' is no path; name the file of a private key"),
    ],
)
def test_an_odd_answer_is_refused_in_a_sentence(site: Path, words: list[str], fault: str) -> None:
    (site / "half.pub").touch()
    assert command_error(init("school", *ENOUGH, *words)).startswith(fault)
    assert files(site) == ["half.pub"]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "there is no terminal to ask at; say --host, --students, --lan or --no-lan"),
        (ENOUGH[:2], "there is no terminal to ask at; say --students, --lan or --no-lan"),
        ([*ENOUGH, "--api"], "--api is for the school's network; say --lan with it"),
    ],
)
def test_without_a_terminal_what_is_missing_is_a_mistyped_command(
    words: list[str], fault: str
) -> None:
    done = command("tests.unit.alone", "init", "no_school", *words)
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
    typed = ["no host!", "class-1=10.0.0.5, 10.0.0.6", "ops", "", "many", "12", "y", "n"]
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
