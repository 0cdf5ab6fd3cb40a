"""Pure: what a class of the corpus asks of a server whose speeds were measured, and how many students it carries."""

from __future__ import annotations

from datetime import datetime
from functools import cache
from random import Random
from statistics import mean, variance

from pydantic import BaseModel

from ollama_stack.capacity.waiting import Demand, Waits, waits
from ollama_stack.config.settings import Settings
from ollama_stack.load import MOST_STUDENTS, corpus

SAMPLES = 1000  # questions whose mean stands for the class
# Each doubling of the CPUs made writing 1.3 to 1.7 times as fast where it was measured:
# docs/sizing.md.
DOUBLED = 1.4


class Speeds(BaseModel, frozen=True):
    """What was measured on a host, and what it then ran; time in UTC."""

    at: datetime
    image: str
    model: str
    cpus: float
    parallel: int
    read: float
    """Tokens a second, of the first ones of a text."""
    growth: float
    """Seconds that n tokens take beyond that, for each of n squared: what was read before is looked at again."""
    alone: float
    """Tokens a second that are written, of one answer."""
    together: float
    """Of each of ``parallel`` at once, while nothing is read."""
    crowded: float
    """How many times as long a class's questions take as by these speeds, while all places are taken."""
    overhead: float
    """Tokens of a question beside its text."""
    latin: float
    """Tokens a character."""
    cyrillic: float

    def are_of(self, settings: Settings) -> bool:
        """Whether the host is still declared as it was measured."""
        ran = self.image, self.model, self.cpus, self.parallel
        return ran == (
            settings.ollama_image_ref,
            settings.model_name,
            settings.ollama_cpus,
            settings.ollama_num_parallel,
        )

    def doubled(self) -> Speeds:
        """With twice the CPUs, by estimate."""
        faster = {name: DOUBLED * getattr(self, name) for name in ("read", "alone", "together")}
        return self.model_copy(
            update=faster | {"cpus": 2 * self.cpus, "growth": self.growth / DOUBLED}
        )

    def tokens(self, text: str) -> float:
        """Of a question."""
        latin = sum(map(str.isascii, text))
        return self.overhead + self.latin * latin + self.cyrillic * (len(text) - latin)

    def reading(self, tokens: float) -> float:
        """Seconds."""
        return tokens / self.read + self.growth * tokens**2


@cache
def _class(most: int) -> list[tuple[str, int, float]]:
    """Questions, the lengths of their answers and the seconds of thinking after them."""
    chances = [Random(number) for number in range(SAMPLES)]  # noqa: S311 no secret
    return [
        (question, corpus.length(one, most), corpus.think(one))
        for question, one in zip(corpus.questions(), chances, strict=False)
    ]


def crowd(speeds: Speeds, read: float, written: float) -> float:
    """Seconds of a question of so many tokens while all places are taken, by the speeds alone."""
    return speeds.parallel * speeds.reading(read) + written / speeds.together


def demand(speeds: Speeds, most: int) -> Demand:
    """Of a class whose answers have at most so many tokens.

    Texts are read one after the other, and nobody's answer goes on meanwhile; answers are written side by side.
    """
    asked = [(speeds.tokens(text), length) for text, length, _ in _class(most)]
    alone = [speeds.reading(read) + length / speeds.alone for read, length in asked]
    together = [speeds.crowded * crowd(speeds, read, length) for read, length in asked]
    return Demand(
        think=mean(think for *_, think in _class(most)),
        alone=mean(alone),
        together=mean(together),
        variation=variance(together) / mean(together) ** 2,
    )


def longest(settings: Settings) -> int:
    """Tokens that a class asks for at most."""
    return min(settings.app_max_answer, settings.model_num_predict)


def expected(students: int, speeds: Speeds, settings: Settings) -> Waits:
    """What so many students meet; without a gateway nothing bounds who waits."""
    queue = settings.ollama_max_queue if settings.gateway_enabled else students
    return waits(students, demand(speeds, longest(settings)), speeds.parallel, queue)


def holds(met: Waits, settings: Settings) -> bool:
    """Whether the bounds of the profile hold."""
    return met.p95 <= settings.slo_p95_wait and 1 - met.refused >= settings.slo_success


def wait_text(wait: float, most: int) -> str:
    """A wait in seconds; beyond ``most`` the gateway ends it."""
    return f"over {most} s" if wait > most else f"{wait:.1f} s"


def carried(speeds: Speeds, settings: Settings) -> int:
    """The most students for whom they hold; 0 if not even for one."""
    numbers = range(1, MOST_STUDENTS + 1)
    return next(
        (n - 1 for n in numbers if not holds(expected(n, speeds, settings), settings)), numbers[-1]
    )


def too_many(speeds: Speeds, settings: Settings) -> str:
    """Why ``students`` are too many, as ``setting: problem; way out``; "" if they are not, or nobody says how many."""
    if not settings.students:
        return ""
    met = expected(settings.students, speeds, settings)
    if holds(met, settings):
        return ""
    wait = wait_text(met.p95, settings.queue_seconds)
    return (
        f"students: {settings.students} at once wait {wait} at p95 (slo_p95_wait: "
        f"{settings.slo_p95_wait:g} s), {met.refused:.0%} are refused, by the speeds measured on "
        f"{speeds.at:%Y-%m-%d}; this host carries {carried(speeds, settings)}: fewer students at it, more CPUs, or a "
        "bound that you can stand for"
    )
