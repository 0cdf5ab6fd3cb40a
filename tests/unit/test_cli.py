"""The front door: exit statuses that arrive, help that teaches, one start of Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from ollama_stack import ROOT
from ollama_stack.cli import cli
from ollama_stack.rolling import roll
from tests.unit.commands import command
from tests.unit.test_plan import BARE, as_fakes
from tests.unit.test_report import FITS, GONE, KEYLESS, REFUSED

pytestmark = pytest.mark.process

OF_HOSTS = (
    *("plan", "deploy", "status", "rollback", "audit", "handout", "load", "sizing", "outdated"),
)


def front_door(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = command("tests.unit.alone", *arguments)
    assert "Traceback" not in done.stderr
    return done


def written(folder: Path, *hosts: Any) -> str:
    inventory = folder / "hosts.py"
    inventory.write_text(f"medium = {list(hosts)!r}")
    return str(inventory)


@pytest.mark.parametrize("verb", OF_HOSTS)
def test_help_has_an_example_and_the_exit_statuses(verb: str) -> None:
    shown = CliRunner().invoke(cli, [verb, "--help"])
    assert shown.exit_code == 0
    assert f"  ollama-stack {verb} inventories/school.py\n" in shown.output
    assert "Exit: 0 " in shown.output


def test_help_of_a_bundle_has_an_example_and_the_exit_statuses() -> None:
    shown = CliRunner().invoke(cli, ["bundle", "--help"]).output
    assert "  ollama-stack bundle inventories/school.py --out school.bundle\n" in shown
    assert "Exit: 0 " in shown


def test_help_and_completion_wait_for_no_big_library() -> None:
    imported = [sys.executable, "-c", "import sys, ollama_stack.cli; print(*sys.modules)"]
    modules = subprocess.run(imported, capture_output=True, text=True).stdout.split()
    assert "click" in modules
    assert not {"cryptography", "pydantic", "pyinfra", "rich"} & set(modules)


def test_help_lists_the_verbs_in_the_order_of_need() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output.partition("Commands:")[2]
    verbs = [
        line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert verbs == ["init", "use", *OF_HOSTS, "bundle", "docs"]


def test_a_noted_inventory_need_not_be_named_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "noted"
    monkeypatch.setattr("ollama_stack.arguments.USED", noted)
    runner, school = CliRunner(), written(tmp_path, "@fake/one")
    asked: list[str] = []

    def status(inventory: str, *_: object) -> int:
        asked.append(inventory)
        return 0

    # A double: pyinfra's command would patch this process's threads.
    monkeypatch.setitem(sys.modules, "ollama_stack.verbs", SimpleNamespace(status=status))

    nothing = runner.invoke(cli, ["status"])
    assert nothing.exit_code == 2  # of click; main() makes it 3
    assert "Name one, or note one: ollama-stack use INVENTORY." in nothing.output

    missing = runner.invoke(cli, ["use", f"{tmp_path}/none.py"])
    assert "there is no such file" in str(missing.exception)
    assert not noted.exists()

    assert runner.invoke(cli, ["use", school]).exit_code == 0
    result = runner.invoke(cli, ["status"])
    assert result.stderr == f"The inventory is {school} (ollama-stack use).\n"
    assert runner.invoke(cli, ["status", "inventories/lab.py"]).stderr == ""
    assert asked == [school, "inventories/lab.py"]


@pytest.mark.parametrize("noted", [b"", b"a\nb\n", b"\xff\xfe", None])
def test_a_note_that_is_none_is_told(
    noted: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / ".inventory"
    note.mkdir() if noted is None else note.write_bytes(noted)
    monkeypatch.setattr("ollama_stack.arguments.USED", note)
    shown = CliRunner().invoke(cli, ["status"])
    assert f"Error: {note} " in shown.output
    assert "; remove it, then note one: ollama-stack use INVENTORY\n" in shown.output


def test_a_watch_is_not_for_programs() -> None:
    done = front_door("status", "inventories/example.py", "--watch", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "--watch is for people, --json and --metrics for programs: choose one." in done.stderr


def test_a_shell_can_complete_verbs_and_options() -> None:
    asked = {"_OLLAMA_STACK_COMPLETE": "bash_complete", "COMP_CWORD": "2"}
    asked |= {"COMP_WORDS": "ollama-stack deploy --ro"}
    completed = CliRunner().invoke(cli, [], prog_name="ollama-stack", env=asked).output
    assert completed == "plain,--rolling\n"


@pytest.mark.parametrize("verb", ["deploy", "rollback", "status"])
@pytest.mark.parametrize(
    ("arguments", "code", "fault"),
    [
        (["inventories/exmaple.py"], 1, "inventories/exmaple.py: there is no such inventory\n"),
        (["inventories/example.py", "--limit", "nobody"], 1, "no host matches nobody\n"),
        (["inventories/example.py", "--limti", "low"], 3, "No such option"),
    ],
)
def test_no_hosts_are_a_mistake(verb: str, arguments: list[str], code: int, fault: str) -> None:
    done = front_door(verb, *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert fault in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["deploy", "--rolling", "0"], ["deploy", "--rolling", "x"], ["rollback", "--to", "0"]],
)
def test_a_number_that_is_none_is_told(arguments: list[str]) -> None:
    done = front_door(*arguments, "inventories/example.py")
    assert done.returncode == 3
    assert f"Invalid value for '{arguments[1]}'" in done.stderr


@pytest.mark.parametrize("verb", ["deploy", "rollback", "status"])
def test_every_fault_is_told_before_anybody_is_connected_to(verb: str, tmp_path: Path) -> None:
    wrong = (FITS[0], FITS[1] | {"ollama_port": 0})
    done = front_door(verb, written(tmp_path, wrong, KEYLESS))
    assert done.returncode == 1
    assert done.stderr.startswith("refused, nothing was changed:\n    @fake/big: ollama_port: 0 is")
    assert "\n    nokey.invalid: ssh_key: key file no such key is not there; make" in done.stderr
    assert "Connecting" not in done.stderr


def test_a_deploy_has_pyinfra_s_own_words_and_exit_status(tmp_path: Path) -> None:
    fakes = as_fakes("inventories/local.py", tmp_path, BARE | {"nproc": "1"})
    done, plain = front_door("deploy", fakes), command("pyinfra", "-y", fakes, "deploy.py")
    assert done.returncode == plain.returncode == 1
    assert "@fake/local: ollama_cpus: 2 is more than the 1 CPUs" in done.stderr
    assert done.stderr == plain.stderr


@pytest.mark.parametrize(("bad", "code"), [(REFUSED, 1), (GONE, 2)])
def test_a_rolling_deploy_begins_with_the_plan(bad: Any, code: int, tmp_path: Path) -> None:
    done = front_door("deploy", written(tmp_path, FITS, bad), "--rolling", "1")
    assert done.returncode == code
    assert "Plan for " in done.stderr
    assert "Starting operation" not in done.stderr


def test_a_rolling_deploy_is_one_start_of_python_and_stops_at_the_first_that_fails(
    tmp_path: Path,
) -> None:
    hosts = [(f"@fake/{number}", FITS[1]) for number in range(3)]  # which fake no answers
    done = front_door("deploy", written(tmp_path, *hosts), "--rolling", "1", "--json")
    assert done.returncode == 1
    assert "\nstopped at @fake/0; who has what now:\n" in done.stderr
    assert done.stderr.count("--> Beginning operation run") == 1
    assert "[@fake/1]" not in done.stderr
    status = json.loads(done.stdout)
    Draft202012Validator(json.loads((ROOT / "docs/status.schema.json").read_text())).validate(
        status
    )
    assert [host["host"] for host in status["hosts"]] == ["@fake/0", "@fake/1", "@fake/2"]


def test_rolling_goes_on_while_batches_succeed() -> None:
    seen: list[Sequence[str]] = []

    def deploy(names: Sequence[str]) -> int:
        seen.append(names)
        return int("d" in names)

    assert roll("abc", 2, deploy) == 0
    assert seen == ["ab", "c"]
    assert roll("abcdef", 2, deploy) == 1
    assert seen[2:] == ["ab", "cd"]


def test_paths_are_taken_from_where_the_caller_stands(tmp_path: Path) -> None:
    written(tmp_path, FITS)
    script = f"import os; os.chdir({str(tmp_path)!r}); from ollama_stack.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "plan", "hosts.py", "--json"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["inventory"] == str(tmp_path / "hosts.py")


def test_an_audit_of_this_machine_alone_is_not_a_file_of_options() -> None:
    done = command(
        "ollama_stack.cli", "audit", "inventories/exmaple.py", "--limit", "@local", "--limit", "low"
    )
    assert "there is no such inventory" in done.stdout + done.stderr


def test_an_audit_is_pytest_s_own_with_its_exit_status() -> None:
    done = command("ollama_stack.cli", "audit", "inventories/exmaple.py", "--deep")
    assert done.returncode == 2
    assert "inventories/exmaple.py: there is no such inventory" in done.stdout + done.stderr
