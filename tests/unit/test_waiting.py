"""The arithmetic of waiting: exact values known otherwise, and a class that is simulated question by question."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import comb, factorial
from random import Random
from statistics import mean, quantiles, variance
from typing import Any

import pytest

from ollama_stack.capacity.waiting import Demand, Waits, arrivals, waits
from ollama_stack.load import corpus

pytestmark = pytest.mark.process

Draw = Callable[[Random], float]


def even(think: float, seconds: float, parallel: int, variation: float = 1.0) -> Demand:
    """A server whose places are as quick together as one alone."""
    return Demand(think, seconds, seconds * parallel, variation)


def repairmen(think: float, seconds: float) -> Demand:
    """Places that do not share anything."""
    return Demand(think, seconds, seconds, 1.0)


def test_five_machines_and_two_repairmen() -> None:
    """By hand, from the states' balance: 30 hours between faults, 3 for a repair."""
    load, machines, men = Fraction(1, 10), 5, 2
    states = [Fraction(comb(machines, n)) * load**n for n in range(3)]
    states += [
        Fraction(comb(machines, n) * factorial(n), men ** (n - men) * factorial(men)) * load**n
        for n in range(3, machines + 1)
    ]
    assert float(states[0] / sum(states)) == pytest.approx(0.6186, abs=1e-4)  # as textbooks have it
    asked = [(machines - n) * state for n, state in enumerate(states)]
    found = arrivals(machines, repairmen(30, 3), men, machines)
    assert found == pytest.approx([float(one / sum(asked)) for one in asked])


def test_without_a_queue_it_is_engset_s_loss() -> None:
    students, places, load = 12, 4, Fraction(1, 5)
    terms = [comb(students - 1, n) * load**n for n in range(places + 1)]
    found = waits(students, repairmen(50, 10), places, 0)
    assert found.p95 == 0
    assert found.refused == pytest.approx(float(terms[-1] / sum(terms)))


def test_of_very_many_it_is_erlang_s_loss() -> None:
    load, places = 3.0, 5
    terms = [load**n / factorial(n) for n in range(places + 1)]
    found = waits(10**6, repairmen(10**6, load), places, 0)
    assert found.refused == pytest.approx(terms[-1] / sum(terms), rel=1e-4)


def test_one_place_and_one_that_waits_behind_it() -> None:
    """Two students, one place: of the waits, which are exponential, 5 of 100 are longer than this."""
    found = waits(2, even(20, 10, 1), 1, 1)
    share = 10 / 30  # of questions that meet the other one
    assert found.refused == 0
    assert sum(arrivals(2, even(20, 10, 1), 1, 1)[1:]) == pytest.approx(share)
    # share * exp(-t / 10) = 0.05
    assert found.p95 == pytest.approx(18.97, rel=0.03)


def test_fewer_students_than_places_do_not_wait() -> None:
    assert waits(3, even(20, 10, 3), 3, 15) == Waits(0.0, 0.0)


@dataclass
class Class:
    """Students before a server, event by event: it reads one text at a time, and all it answers share its pace."""

    students: int
    think: Draw
    work: Callable[[Random], tuple[float, float]]
    """Seconds alone: of reading, of writing."""
    slower: float
    """How much longer writing takes while all places are taken."""
    parallel: int
    queue: int

    def waits(self, until: float) -> list[float | None]:
        """Of each question; None of one that is refused."""
        chance, now, waited = Random(1), 0.0, list[float | None]()  # noqa: S311 no secret
        asks = [(self.think(chance), number) for number in range(self.students)]
        heapq.heapify(asks)
        read: dict[int, float] = {}  # in the order in which they came
        write: dict[int, float] = {}
        line: list[tuple[float, int]] = []

        def begin(who: int, wait: float) -> None:
            waited.append(wait)
            read[who], write[who] = self.work(chance)

        while now < until:
            reader = next((who for who, left in read.items() if left), None)
            beside = max(0, len(write) - 1) / (self.parallel - 1)
            pace = 1 / (1 + (self.slower - 1) * beside)
            least = min(write.values(), default=float("inf")) / pace
            ends = least if reader is None else read[reader]
            comes = asks[0][0] - now if asks else float("inf")
            step = min(ends, comes)
            now += step
            if reader is not None:
                read[reader] = 0.0 if ends < comes else read[reader] - step
            else:
                write = {who: left - step * pace for who, left in write.items()}
            if ends < comes and reader is not None:
                continue
            if ends < comes:
                done = min(write, key=write.__getitem__)
                del read[done], write[done]
                heapq.heappush(asks, (now + self.think(chance), done))
                if line:
                    came, who = line.pop(0)
                    begin(who, now - came)
                continue
            _, who = heapq.heappop(asks)
            if len(read) < self.parallel:
                begin(who, 0.0)
            elif len(line) < self.queue:
                line.append((now, who))
            else:
                waited.append(None)
                heapq.heappush(asks, (now + self.think(chance), who))
        return waited


def met(held: Class) -> Waits:
    waited = held.waits(100_000)
    let_in = [wait for wait in waited if wait is not None]
    return Waits(quantiles(let_in, n=20)[-1], 1 - len(let_in) / len(waited))


@pytest.mark.parametrize(("parallel", "queue"), [(2, 10), (3, 15), (4, 20)])
@pytest.mark.parametrize("students", [6, 15, 30])
def test_a_class_by_chance_alone_is_met_as_reckoned(
    students: int, parallel: int, queue: int
) -> None:
    slower = 0.9 * parallel
    held = Class(
        students,
        lambda chance: chance.expovariate(1 / 30),
        lambda chance: (0.0, chance.expovariate(1 / 5)),
        *(slower, parallel, queue),
    )
    seen, expected = met(held), waits(students, Demand(30, 5, 5 * slower, 1.0), parallel, queue)
    assert expected.refused == pytest.approx(seen.refused, abs=0.02)
    assert expected.p95 == pytest.approx(seen.p95, rel=0.07, abs=1)


def samples(draw: Callable[[Random], Any]) -> Iterator[Any]:
    chance = Random(0)  # noqa: S311 no secret
    return (draw(chance) for _ in range(20_000))


@pytest.mark.parametrize(("read", "write"), [(60.0, 40.0), (400.0, 45.0)], ids=["lab", "usual"])
@pytest.mark.parametrize("students", [8, 15, 30])
def test_a_class_of_the_corpus_is_met_as_reckoned(students: int, read: float, write: float) -> None:
    """At so many characters and tokens a second."""

    def work(chance: Random) -> tuple[float, float]:
        return len(chance.choice(corpus.DECK)) / read, corpus.length(chance, 512) / write

    alone, think = [sum(one) for one in samples(work)], mean(samples(corpus.think))
    demand = Demand(think, mean(alone), 3 * mean(alone), variance(alone) / mean(alone) ** 2)
    seen = met(Class(students, corpus.think, work, 3.0, 3, 15))
    expected = waits(students, demand, 3, 15)
    assert expected.refused == pytest.approx(seen.refused, abs=0.03)
    assert expected.p95 == pytest.approx(seen.p95, rel=0.2, abs=2)
