"""The queue by a clock of its own, and pupils who come back when told to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from app.share import (
    LONGEST_RETRY,
    Admission,
    Bounds,
    Caller,
    Refused,
    turns,
)

BOUNDS = Bounds(places=3, waiting=15, at_once=4, address_share=75)
ANSWER = 6.0  # seconds; a place becomes free every two


@dataclass(eq=False)
class Question:
    caller: Caller
    came: float
    ends: float = 0.0


@dataclass
class Classroom:
    """The room by a clock of its own: answers take ``answer`` seconds, time goes by tenths."""

    now: float = 1000.0
    answer: float = ANSWER
    admission: Admission = field(default_factory=lambda: Admission(BOUNDS))
    waiting: list[Question] = field(default_factory=list)
    answering: list[Question] = field(default_factory=list)
    answered: dict[str, list[float]] = field(default_factory=dict)
    last: str = ""

    def ask(self, caller: Caller) -> int | None:
        """Seconds after which to come back, or None for a place."""
        inside = [one.caller for one in (*self.waiting, *self.answering)]
        try:
            self.admission.admit(
                caller, inside, self.now, self.answer / BOUNDS.places, LONGEST_RETRY
            )
        except Refused as refused:
            return refused.retry_after
        self.waiting.append(Question(caller, self.now))
        return None

    def tick(self) -> None:
        self.now = round(self.now + 0.1, 3)
        for one in [one for one in self.answering if one.ends <= self.now]:
            self.answering.remove(one)
            self.answered.setdefault(one.caller.name, []).append(self.now - one.came)
        while self.waiting and len(self.answering) < BOUNDS.places:
            one = turns(self.waiting, self.answering, self.last)[0]
            self.waiting.remove(one)
            self.last, one.ends = one.caller.address, self.now + self.answer
            self.answering.append(one)


@dataclass
class Pupil:
    """Asks once, and comes back when told to, up to three seconds late, as the page does."""

    name: str
    address: str
    at: float
    late: float = 0.0
    retry_at: float | None = None
    came: float | None = None
    refusals: int = 0

    def act(self, room: Classroom) -> None:
        if self.came is None and room.now >= self.at:
            seconds = room.ask(Caller(self.name, self.address, self.retry_at))
            if seconds is None:
                self.came = room.now
            else:
                self.refusals += 1
                self.retry_at = room.now + seconds
                self.at = self.retry_at + self.late


def fresh(address: str) -> Iterator[Caller]:
    return (Caller(f"{address}-{number}", address) for number in count())
