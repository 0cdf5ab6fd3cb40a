"""Nothing is read twice of a host on which nothing has changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import FactBase
from pyinfra.api.operation import add_op
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.facts.files import FileContents
from pyinfra.operations import python, server

from ollama_stack.facts.docker import InitSystem
from ollama_stack.facts.memory import Look, Wanted, known, look, remember
from ollama_stack.facts.ollama import call
from tests.unit.harness import fake_host


@pytest.mark.parametrize(("command", "reads"), [("true", 2), (None, 1)])
def test_a_fact_is_read_anew_only_after_something_has_changed(
    command: str | None, reads: int
) -> None:
    def ask() -> None:
        known(InitSystem)
        known(InitSystem)

    with fake_host() as host:
        remember(host.state)
        remember(host.state)
        ask()
        host.state.set_stage(StateStage.Prepare)
        add_op(host.state, server.shell, commands=[command] if command else [])
        add_op(host.state, python.call, function=ask)
        host.state.set_stage(StateStage.Execute)
        run_ops(host.state)
        executed = host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
    assert sum("/run/systemd/system" in each for each in executed) == reads


def test_without_a_memory_each_question_is_asked() -> None:
    with fake_host() as host:
        known(InitSystem)
        known(InitSystem)
        assert len(host.connector.executed_commands) == 2  # type: ignore[attr-defined]  # @fake's


class Lines(FactBase[list[str]]):
    """What a command prints."""

    default = list

    def command(self, text: str) -> str:
        return text

    def process(self, output: list[str]) -> list[str]:
        return output


class Odd(FactBase[int]):
    """A fact that cannot read its answer."""

    def command(self) -> str:
        return "echo none"

    def process(self, output: list[str]) -> int:
        return int(output[0])


class Missing(FactBase[str]):
    """A fact of a program that is not there."""

    def requires_command(self) -> str:
        return "no-such-program"

    def command(self) -> str:
        return "echo here"


def looked_at(*wanted: Wanted, **environment: str) -> dict[Any, Any]:
    one = Look()
    run = subprocess.run(
        ["sh", "-c", str(one.command(wanted))],
        capture_output=True,
        text=True,
        input="stdin\n",
        env=os.environ | environment,
    )
    return one.process(run.stdout.splitlines())


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("true", []),
        ("printf one", ["one"]),
        ("echo one; echo", ["one", ""]),
        ("echo; echo two", ["", "two"]),
        ("cat", []),
        ("echo one; exit 0; echo two", ["one"]),
        ("echo one; false", None),
        ("cd /nowhere && echo one", None),
        ("cd /; if false; then", None),
    ],
)
def test_of_many_facts_each_gets_its_own_lines(command: str, lines: list[str] | None) -> None:
    before, after = {"text": "echo before"}, {"text": "pwd"}
    found = looked_at((Lines, before), (Lines, {"text": command}), (Lines, after))
    if command.endswith(
        "then"
    ):  # one that no shell reads spoils the look, and each asks for itself
        assert found == {}
        return
    assert found.pop((Lines, ("text", "echo before"))) == ["before"]
    assert found.pop((Lines, ("text", "pwd"))) == [str(Path.cwd())]
    assert found == ({} if lines is None else {(Lines, ("text", command)): lines})


def test_what_cannot_be_read_is_left_to_be_asked_for() -> None:
    assert looked_at((Odd, {}), (Missing, {})) == {}


def test_a_fact_may_keep_something_between_its_command_and_its_answer(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("one\n\n")
    there, missing = ({"path": str(tmp_path / name)} for name in ("there", "missing"))
    found = looked_at((FileContents, there), (FileContents, missing))
    assert list(found.values()) == [["one", ""], None]


def test_ollama_s_address_is_asked_once(tmp_path: Path) -> None:
    """The client of Docker takes longer to start than Ollama to answer."""
    doubles = {
        "docker": "echo asked >>$0.log; echo 172.18.0.2",
        "curl": 'for url; do :; done; echo "$url"',
    }
    for name, script in doubles.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    paths = ("/api/tags", "/api/ps")
    wanted: list[Wanted] = [(Lines, {"text": str(call(path))}) for path in paths]
    found = looked_at((Lines, {"text": "true"}), *wanted, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert list(found.values()) == [[], *([f"http://172.18.0.2:11434{path}"] for path in paths)]
    assert (tmp_path / "docker.log").read_text() == "asked\n"


def test_what_a_look_has_found_is_known() -> None:
    with fake_host() as host:
        remember(host.state)
        look([(Lines, {"text": "true"})])
        asked = host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
        assert len(asked) == 1
        known(InitSystem)  # an answer without the look's marks has nothing in it
        assert len(asked) == 2
