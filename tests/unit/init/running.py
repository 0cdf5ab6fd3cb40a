"""What tests of ollama-stack init share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from ollama_stack.cli import cli
from ollama_stack.init.answers import Answers, NewHost

ENOUGH = ("--host", "class-1=10.0.0.5", "--students", "12", "--no-lan")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def init(*arguments: str, **more: Any) -> Result:
    return CliRunner().invoke(cli, ["init", *arguments], **more)


def answered(**other: Any) -> Answers:
    usual = Answers("school", (NewHost("class-1", "10.0.0.5"),), "root", "", 12, False, False)
    return Answers(**{**vars(usual), **other})


def command_error(done: Result) -> str:
    """The sentence with which it was refused."""
    assert isinstance(done.exception, ValueError), done.output
    return str(done.exception)
