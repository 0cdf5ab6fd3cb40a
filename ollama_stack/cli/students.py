"""Verbs that ask how a class fares on the hosts."""

from __future__ import annotations

from math import isfinite
from typing import get_args

import click

from ollama_stack.arguments import PathFromRoot, Verb, as_json_flag, of_hosts
from ollama_stack.load import MOST_MINUTES, MOST_STUDENTS, ClassHour, Scenario, Through


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """A number that is one: click's own ranges let nan pass."""
    if not isfinite(value):
        raise click.BadParameter(f"{value} is no number.", ctx, param)
    return value


@click.command(cls=Verb)
@of_hosts
@click.option(
    "--students",
    type=click.IntRange(1, MOST_STUDENTS),
    default=15,
    metavar="N",
    help="15 unless said.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.05, MOST_MINUTES),
    callback=_finite,
    default=3.0,
    metavar="M",
    help="3 unless said.",
)
@click.option(
    "--scenario",
    type=click.Choice(get_args(Scenario)),
    default="lesson",
    help="What the class does (docs/load.md); lesson unless said.",
)
@click.option(
    "--through",
    type=click.Choice(get_args(Through)),
    default="api",
    help="Ask the page as browsers do, or the API; api unless said.",
)
@click.option(
    "--report",
    type=PathFromRoot(),
    metavar="FOLDER",
    help="Write load.html, load.json (docs/load.schema.json) and load.csv there.",
)
@as_json_flag("The report (docs/load.schema.json)")
def load(
    inventory: str,
    limit: tuple[str, ...],
    students: int,
    minutes: float,
    scenario: Scenario,
    through: Through,
    report: str | None,
    as_json: bool,
) -> int:
    """Do the profile's bounds hold for a class? Asks as students do.

    \b
      ollama-stack load inventories/school.py
      ollama-stack load inventories/school.py --students 12 --minutes 10
      ollama-stack load inventories/staging.py --scenario burst --report reports/load

    Exit: 0 the bounds held (slo_p95_wait, slo_success), 1 one is broken, 2 it could not be measured.
    """
    from ollama_stack import verbs

    hour = ClassHour(students, minutes, scenario, through)
    return verbs.load(inventory, limit, hour, report, as_json)


@click.command(cls=Verb)
@of_hosts
@as_json_flag("The report (docs/sizing.schema.json)")
def sizing(inventory: str, limit: tuple[str, ...], as_json: bool) -> int:
    """How many students does a host carry? Measures, then reckons.

    \b
      ollama-stack sizing inventories/school.py
      ollama-stack sizing inventories/school.py --json | jq '.hosts[].servers[0].carries'

    Exit: 0 every host carries its students, if it says how many; 1 one does not; 2 one could not be
    measured.
    """
    from ollama_stack import verbs

    return verbs.sizing(inventory, limit, as_json)
