"""How the command line says which class it means."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, get_args

import click

from ollama_stack.load import MOST_MINUTES, MOST_STUDENTS, Scenario, Through


def of_a_class(verb: Callable[..., Any]) -> Callable[..., Any]:
    """How many students, for how long, and what they do."""
    students = click.option(
        "--students",
        type=click.IntRange(1, MOST_STUDENTS),
        default=15,
        metavar="N",
        help="15 unless said.",
    )
    minutes = click.option(
        "--minutes",
        type=click.FloatRange(0.05, MOST_MINUTES),
        callback=_finite,
        default=3.0,
        metavar="M",
        help="3 unless said.",
    )
    scenario = click.option(
        "--scenario",
        type=click.Choice(get_args(Scenario)),
        default="lesson",
        help="What the class does (docs/load.md); lesson unless said.",
    )
    through = click.option(
        "--through",
        type=click.Choice(get_args(Through)),
        default="api",
        help="Ask the page as browsers do, or the API; api unless said.",
    )
    return students(minutes(scenario(through(verb))))


def _finite(ctx: click.Context, param: click.Parameter, value: float) -> float:
    """A number that is one: click's own ranges let nan pass."""
    if not isfinite(value):
        raise click.BadParameter(f"{value} is no number.", ctx, param)
    return value
