"""Asks at the terminal for what the command line does not have; then writes the files."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from ollama_stack.init import answers
from ollama_stack.init.answers import Answers
from ollama_stack.init.files import NewFile, create_all, refuse_taken
from ollama_stack.init.text import TOKENS, inventory_text, token_file

Value = TypeVar("Value")
TERMS = "https://letsencrypt.org/repository/"


@dataclass(frozen=True)
class Given:
    """What the command line says; None or nothing: it does not say."""

    hosts: Sequence[str]
    user: str | None
    key: str | None
    students: str | None
    lan: bool | None
    api: bool | None
    tls: str | None = None
    agreed: bool = False

    @property
    def missing(self) -> list[str]:
        """Options that have no default."""
        needed = {"--host": self.hosts, "--students": self.students, "--lan or --no-lan": self.lan}
        return [option for option, value in needed.items() if value in (None, ())]


def start(name: str, given: Given, here: Path, root: Path) -> None:
    """Write the inventory and its secrets, and say what to type next.

    ``here``: where relative paths begin. ``root``: the project's folder. ValueError: nothing was written.
    """
    path = f"inventories/{answers.inventory_name(name)}.py"
    refuse_taken(root, path)
    chosen = ask(name, given, here)
    files = [*_secrets(chosen), NewFile(path, inventory_text(chosen), 0o644)]
    create_all(root, files)
    click.echo("\n".join(f"{file.path} is written." for file in files))
    click.echo("\n".join(_next(chosen, path)))


def ask(name: str, given: Given, here: Path) -> Answers:
    """All answers; click's UsageError if one is missing and nobody is there to ask."""
    if given.missing and not at_a_terminal():
        raise click.UsageError(
            f"there is no terminal to ask at; say {', '.join(given.missing)} (ollama-stack init --help)"
        )
    hosts = _answer(
        given.hosts or None,
        "Hosts: ADDRESS or NAME=ADDRESS, blanks between them",
        partial(_hosts, name),
    )
    user = _answer(given.user, "User who logs in over SSH", answers.login, "root")
    key = _answer(
        given.key,
        "File of the private key (Enter: your agent's and those in ~/.ssh)",
        partial(answers.private_key, here=here),
        "",
    )
    students = _answer(given.students, "Students at once on each host", answers.students)
    lan = _agreed(given.lan, "Do students open the page from the school's network?", None)
    if given.api and not lan:
        raise click.UsageError("--api is for the school's network; say --lan with it")
    if given.tls and not lan:
        raise click.UsageError("--tls is for the school's network; say --lan with it")
    tls = _tls(given, here, hosts) if lan else "own"
    api = lan and _agreed(given.api, "May programs there use the API, with a token?", False)
    return Answers(name, hosts, user, key, students, lan, api, tls)


def _tls(given: Given, here: Path, hosts: Sequence[answers.NewHost]) -> str:
    way = _answer(
        given.tls,
        "The page's certificate: own (an authority of yours), acme (Let's Encrypt), or the file of a ready PEM",
        partial(answers.tls, here=here, hosts=hosts),
        "own",
    )
    terms = f"Have you read Let's Encrypt's terms of service ({TERMS}), and do you agree?"
    if way == "acme" and not _agreed(given.agreed or None, terms, False):
        raise click.UsageError(f"--tls acme: agree to {TERMS} by --agree-tos, or take --tls own")
    return way


def _hosts(name: str, entries: str | Sequence[str]) -> tuple[answers.NewHost, ...]:
    return answers.hosts([entries] if isinstance(entries, str) else entries, name)


def at_a_terminal() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def _answer(
    given: Any, question: str, understand: Callable[[Any], Value], default: str | None = None
) -> Value:
    """A value from the command line, else from the terminal until it is understood, else the default."""
    if given is not None:
        return understand(given)
    if not at_a_terminal() and default is not None:
        return understand(default)

    def heard(text: str) -> Value:
        try:
            return understand(text.strip())
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    answer: Value = click.prompt(
        question, default=default, value_proc=heard, show_default=bool(default)
    )
    return answer


def _agreed(given: bool | None, question: str, default: bool | None) -> bool:
    if given is not None:
        return given
    if not at_a_terminal() and default is not None:
        return default
    return click.confirm(question, default=default)


def _secrets(chosen: Answers) -> Iterator[NewFile]:
    if chosen.api:
        for token in TOKENS:
            yield NewFile(token_file(chosen.name, token), f"{secrets.token_hex(32)}\n", 0o600)


def _next(chosen: Answers, path: str) -> Iterator[str]:
    yield "Next, from the project's folder:"
    yield f"  .venv/bin/ollama-stack plan {path}      # does every host fit, what would change?"
    yield f"  .venv/bin/ollama-stack deploy {path}    # change it"
    yield f"  .venv/bin/ollama-stack audit {path}     # is it so?"
    if chosen.lan:
        yield f"  .venv/bin/ollama-stack handout {path}   # a sheet of paper for the class"
