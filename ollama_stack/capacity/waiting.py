"""Pure: how long a class waits for a few places, when everybody asks, reads, thinks and asks again.

The machine-repair model with a bounded queue (M/M/c/K with a finite source): Gross, Shortle, Thompson, Harris,
Fundamentals of Queueing Theory (4th edition, 2008), chapter 2. A question takes longer the more are answered beside
it. The wait behind others is a gamma distribution with the questions' own variance, whose tail is that of Wilson and
Hilferty (The Distribution of Chi-square, PNAS 17, 1931).
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from math import sqrt
from statistics import NormalDist

TENTHS = range(864_000)  # of a second; a day


@dataclass(frozen=True)
class Demand:
    """What a question takes and how long its student thinks before the next one: seconds, on average."""

    think: float
    alone: float
    """While nothing else is answered."""
    together: float
    """While all places are taken."""
    variation: float
    """Variance of what questions take, in units of the mean squared."""


@dataclass(frozen=True)
class Waits:
    """What a class meets."""

    p95: float
    """Seconds, of those who are let in."""
    refused: float
    """Share of all questions."""


def waits(students: int, demand: Demand, parallel: int, queue: int) -> Waits:
    """``parallel`` are answered, ``queue`` wait; a student who is refused thinks, and asks again."""
    met = arrivals(students, demand, parallel, queue)
    places = parallel + queue
    refused = met[places] if len(met) > places else 0.0
    behind = met[parallel:places]
    pace = parallel / demand.together / demand.variation

    def at_most(tenths: int) -> float:
        """The share of those who are let in that waits no longer."""
        longer = sum(
            share * _tail(number / demand.variation, tenths / 10 * pace)
            for number, share in enumerate(behind, 1)
        )
        return 1.0 - longer / (1.0 - refused)

    waiting = sum(behind) / (1.0 - refused) > 0.05
    return Waits(bisect(TENTHS, 0.95, key=at_most) / 10 if waiting else 0.0, refused)


def arrivals(students: int, demand: Demand, parallel: int, queue: int) -> list[float]:
    """The share of questions that meet so many others, from none on."""

    def more(state: float, number: int) -> float:
        served = min(number, parallel)
        beside = (served - 1) / (parallel - 1) if parallel > 1 else 0.0
        each = demand.alone + (demand.together - demand.alone) * beside
        return state * (students - number + 1) / demand.think * each / served

    most = min(students, parallel + queue)
    states = accumulate(range(1, most + 1), more, initial=1.0)
    asked = [(students - number) * state for number, state in enumerate(states)]
    return [share / sum(asked) for share in asked]


def _tail(shape: float, x: float) -> float:
    """How much of a gamma distribution of scale 1 lies above x."""
    root = (x / shape) ** (1 / 3)
    return 1.0 - NormalDist().cdf((root - 1 + 1 / (9 * shape)) * 3 * sqrt(shape))
