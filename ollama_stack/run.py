"""pyinfra's command in this process: one start of Python, however many runs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from typing import TextIO

import click
import pyinfra
from pyinfra.api.output import set_echo, set_formatter
from pyinfra.context import ctx_state
from pyinfra_cli.cli import cli

# As pyinfra's own main() has it. That one would also end an interrupted run as a success.
pyinfra.is_cli = True
set_formatter(click.style)
set_echo(click.echo)


def run(*arguments: str) -> int:
    """The exit status of ``pyinfra WORDS``, which has the terminal to itself."""
    sys.argv = ["pyinfra", *arguments]  # deploy.py reads them
    try:
        cli.main(list(arguments), prog_name="pyinfra", standalone_mode=False)
    except SystemExit as end:
        return int(bool(end.code))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    finally:
        pyinfra.logger.handlers.clear()  # each run adds one
        ctx_state.reset()
    return 0


def overridden(data: Sequence[str]) -> list[str]:
    """Arguments for pyinfra: these settings (``name=value``) for all hosts."""
    return [argument for pair in data for argument in ("--data", pair)]


def asked(
    *arguments: str, show: bool = False, data: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """``pyinfra WORDS``, its output kept; ``show``: its log goes to stderr as well, as it comes.

    ``data``: settings for all hosts.
    """
    stdout, stderr = io.StringIO(), _Log(sys.stderr if show else None)
    environment = os.environ.copy()
    try:
        with redirect_stdout(stdout), redirect_stderr(stderr):
            code = run(*arguments, *overridden(data))
    finally:
        os.environ.clear()
        os.environ.update(environment)  # --json turns the spinner off, for later runs too
    return subprocess.CompletedProcess(arguments, code, stdout.getvalue(), stderr.getvalue())


class _Log(io.StringIO):
    def __init__(self, shown: TextIO | None) -> None:
        super().__init__()
        self.shown = shown

    def write(self, text: str) -> int:
        if self.shown:
            self.shown.write(text)
        return super().write(text)
