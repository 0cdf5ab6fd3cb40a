"""What pyinfra was started with, as its own command line reads it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pyinfra import state
from pyinfra.api import DeployError


@dataclass(frozen=True)
class Start:
    """The command line of this run."""

    inventory: str
    """As it was written."""

    @property
    def site(self) -> str:
        """Whose hosts they are."""
        return Path(self.inventory).stem


def check_start(argv: list[str]) -> Start:
    """Refuse the ways of starting pyinfra that end in a false success or in a stack trace."""
    # Not above: this import puts gevent's sockets in place of Python's.
    from pyinfra_cli.cli import cli

    given = cli.make_context("pyinfra", argv[1:]).params
    if given["no_wait"]:
        raise DeployError("--no-wait: pyinfra then exits 0 when operations fail; leave it out")
    if not (given["yes"] or given["dry"] or given["json_output"] or sys.stdin.isatty()):
        raise DeployError("there is no terminal to confirm at; add -y to change, --dry to look")
    if story := state.current_exec_filename:
        make_known(Path(story).resolve())
    return Start(given["inventory"])


def make_known(story: Path) -> None:
    """Register the story as a module: pyinfra looks for the module of its lines, and Python searches all others before."""
    module = ModuleType(story.name)
    module.__file__ = str(story)
    sys.modules[story.name] = module
