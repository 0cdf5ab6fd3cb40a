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

from ollama_stack import ROOT
from ollama_stack.check import check
from ollama_stack.init.answers import NewHost
from ollama_stack.init.files import NewFile, create_all
from ollama_stack.init.text import inventory_text
from tests.blocks import run_by
from tests.unit.init.running import ENOUGH, answered, command_error, files, init
from tests.unit.test_plan import pyinfra


def test_what_is_written_is_what_was_said(site: Path) -> None:
    (site / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    arguments = ("--host", "class-1=10.0.0.5", "--host", "hall.school.lan", "--user", "ops")
    done = init("school", *arguments, "--key", "key", "--students", "20", "--lan")
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


def test_acme_names_every_host_s_own_name(site: Path) -> None:
    hosts = ("--host", "class-1=ai.school.example", "--host", "b.school.example")
    arguments = (*hosts, "--students", "12", "--lan", "--tls", "acme", "--agree-tos")
    done = init("school", *arguments)
    assert done.exit_code == 0, done.output
    written = runpy.run_path(str(site / "inventories/school.py"))["medium"]
    assert [data["gateway_tls_names"] for _, data in written] == [
        ["ai.school.example"],
        ["b.school.example"],
    ]
    assert {(data["gateway_tls"], data["gateway_acme_agreed"]) for _, data in written} == {
        ("acme", True)
    }


def test_a_ready_certificate_is_named(site: Path) -> None:
    (site / "tls.pem").touch()
    init("school", *ENOUGH[:-1], "--lan", "--tls", "tls.pem")
    ((_, data),) = runpy.run_path(str(site / "inventories/school.py"))["medium"]
    assert data["gateway_tls_cert"] == str(site / "tls.pem")
    assert "gateway_tls" not in data


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
    "acme": {
        "lan": True,
        "tls": "acme",
        "hosts": (NewHost("class-1", "ai.school.example"), NewHost("b" * 60 + ".school.example")),
    },
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
    chosen = answered(**site_data)
    path = tmp_path / "school.py"
    path.write_text(inventory_text(chosen))
    for token in ("admin", "class"):
        create_all(tmp_path, [NewFile(f"secrets/tokens/school/{token}.token", token * 9, 0o600)])
    monkeypatch.chdir(tmp_path)
    checked = check(str(path), (), pyinfra)
    assert checked.faults == {}
    assert checked.names == [host.name for host in chosen.hosts]
    assert [target.data.get("ssh_hostname") for target in checked.targets] == [
        host.address or None for host in chosen.hosts
    ]


@pytest.mark.parametrize("site_data", SITES.values(), ids=SITES)
def test_it_is_formatted_and_every_line_is_explained(site_data: dict[str, Any]) -> None:
    text = inventory_text(answered(**site_data))
    ruff = Path(sys.executable).parent / "ruff"
    for arguments in (("format", "--check"), ("check",)):
        done = subprocess.run(
            [ruff, *arguments, "--no-cache", "--stdin-filename", "inventories/school.py"],
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


def test_the_line_that_rotates_a_token_writes_where_the_inventory_looks(site: Path) -> None:
    """That of docs/operate.md."""
    assert init("school", *ENOUGH[:-1], "--lan", "--api").exit_code == 0
    ((_, host),) = runpy.run_path(str(site / "inventories/school.py"))["medium"]
    token = site / host["gateway_tokens"]["class"].removeprefix("file:")
    before, there = token.read_text(), files(site)
    (line,) = (block.code for block in run_by("tests/unit/init/test_inventory.py"))
    subprocess.run(["sh", "-ec", line], cwd=site, check=True)
    assert files(site) == there
    assert token.read_text() != before
    assert oct(token.stat().st_mode)[-3:] == "600"


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
