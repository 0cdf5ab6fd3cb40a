"""What verbs of the front door have in common: where they run, and which hosts they are for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ollama_stack import ROOT

USED = ROOT / ".inventory"  # which git ignores
ANEW = "remove it, then note one: ollama-stack use INVENTORY"


class Verb(click.Command):
    """A command that runs in the project's folder, as pyinfra must: group_data/ is looked for there."""

    def invoke(self, ctx: click.Context) -> Any:
        """Its exit status."""
        os.chdir(ROOT)
        return super().invoke(ctx)


class Verbs(click.Group):
    """Verbs in the order in which they are needed."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they are written below."""
        return list(self.commands)


class PathFromRoot(click.Path):
    """A path from the caller's folder, written as the project's folder sees it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """It need not be there."""
        path = Path.cwd() / value
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


@click.command(cls=Verb)
@click.argument("inventory", type=PathFromRoot())
def use(inventory: str) -> None:
    """Note an INVENTORY: a verb that names none takes it.

    \b
      ollama-stack use inventories/school.py && ollama-stack status

    Exit: 0 it is noted, 1 there is no such file.
    """
    if not (ROOT / inventory).is_file():
        raise ValueError(f"{inventory}: there is no such file; ollama-stack init writes one")
    try:
        USED.write_text(f"{inventory}\n")
    except OSError as error:
        raise ValueError(
            f"{USED} cannot be written ({error.strerror}); name the inventory at each verb, or correct the owner"
        ) from error


def of_hosts(verb: Callable[..., Any]) -> Callable[..., Any]:
    """An inventory, and which of its hosts."""
    limit = click.option(
        "--limit",
        multiple=True,
        metavar="GROUP|HOST",
        help="Only this group, or hosts with a name like this; may be given again.",
    )
    inventory = click.argument("inventory", type=PathFromRoot(), required=False, callback=_or_noted)
    return inventory(limit(verb))


from_bundle = click.option(
    "--bundle",
    type=PathFromRoot(),
    metavar="FILE",
    help="All from this file, nothing from a registry (docs/networks.md).",
)


def _or_noted(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """The inventory that is named, else the one that ``use`` has noted."""
    if value or ctx.resilient_parsing:
        return value
    if not USED.exists():
        raise click.MissingParameter(
            "Name one, or note one: ollama-stack use INVENTORY.", ctx, param
        )
    try:
        noted = USED.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{USED} cannot be read ({error}); {ANEW}") from error
    if not noted or len(noted.splitlines()) > 1:
        raise click.UsageError(f"{USED} names no inventory; {ANEW}")
    click.echo(f"The inventory is {noted} (ollama-stack use).", err=True)
    return noted


def as_json_flag(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``what`` as JSON instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help=f"{what}, as JSON on stdout.")
