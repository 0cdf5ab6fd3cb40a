"""Pure: what happened to the questions of a class, as figures, and whether the profile's bounds hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import quantiles
from typing import Literal

from pydantic import BaseModel

End = Literal["answered", "refused", "failed", "broken", "late", "left"]


class Question(BaseModel, frozen=True):
    """One question; seconds, ``came`` from the beginning of the class on."""

    who: Literal["student", "rude"]
    came: float
    took: float
    status: int
    end: End
    first: float | None = None
    """To the first word."""
    wait: float | None = None
    """What Ollama did not spend on it: the queue, and the way."""
    tokens: int | None = None
    writing: float | None = None
    error: str = ""

    @property
    def rate(self) -> float | None:
        """Tokens a second."""
        return self.tokens / self.writing if self.tokens and self.writing else None


class Places(BaseModel, frozen=True):
    """The gateway's places at a moment."""

    at: float
    flight: int
    queue: int


class Spread(BaseModel, frozen=True):
    """Quantiles; of one value they are all this value."""

    p50: float
    p95: float
    p99: float


class Figures(BaseModel, frozen=True):
    """A class in figures: seconds, tokens a second, answers a minute."""

    asked: int
    """By students who did not leave; success is the answered share of them."""
    ends: dict[End, int]
    """Of all students' questions."""
    rude: dict[End, int]
    """Of the rude client's questions, which count nowhere else."""
    success: float
    goodput: float
    """Answers whose wait was within the bound."""
    wait: Spread | None
    first: Spread | None
    total: Spread | None
    rate: Spread | None
    most_in_flight: int | None
    most_waiting: int | None


def spread(values: Iterable[float | None]) -> Spread | None:
    """Of the values that are there; None if none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    cuts = quantiles(known if len(known) > 1 else known * 2, n=100, method="inclusive")
    return Spread(p50=cuts[49], p95=cuts[94], p99=cuts[98])


def figures(
    questions: Sequence[Question], places: Sequence[Places], seconds: float, most_wait: float
) -> Figures:
    """``seconds``: of the class; ``most_wait``: the bound, for goodput. ValueError if nobody asked to the end."""
    students = [question for question in questions if question.who == "student"]
    stayed = [question for question in students if question.end != "left"]
    if not stayed:
        raise ValueError("no question was asked to its end; let the class take longer (--minutes)")
    answered = [question for question in stayed if question.end == "answered"]
    within = [question for question in answered if (question.wait or 0.0) <= most_wait]
    return Figures(
        asked=len(stayed),
        ends=Counter(question.end for question in students),
        rude=Counter(question.end for question in questions if question.who == "rude"),
        success=len(answered) / len(stayed),
        goodput=len(within) / seconds * 60,
        wait=spread(question.wait for question in answered),
        first=spread(question.first for question in answered),
        total=spread(question.took for question in answered),
        rate=spread(question.rate for question in answered),
        most_in_flight=max((place.flight for place in places), default=None),
        most_waiting=max((place.queue for place in places), default=None),
    )


def broken(found: Figures, p95_wait: float, success: float) -> list[str]:
    """The bounds that do not hold, as ``setting: found; bound; way out``."""
    way = "fewer students at this host, more CPUs, or a bound that you can stand for"
    reasons = []
    if found.success < success:
        reasons.append(
            f"slo_success: {found.success:.1%} were answered, the bound is {success:.1%}; {way}"
        )
    if found.wait and found.wait.p95 > p95_wait:
        reasons.append(
            f"slo_p95_wait: {found.wait.p95:.1f} s at p95, the bound is {p95_wait:g} s; {way}"
        )
    return reasons
