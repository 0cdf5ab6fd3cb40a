"""A share for everybody: whose turn is next, and who has a place kept. Pure; it is told the time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

GRACE = 6.0  # seconds that a place is kept: a page comes back up to 3 s late, by chance
LONGEST_RETRY = 60  # seconds; a crowd outside must not send anybody away for longer
BOOKED = 500  # callers who have an appointment, at most
COMPANY = 600.0  # seconds that an address counts as one of several which share the room


class Refused(Exception):
    """Not now; ``code`` is also the name of the sentence that says so."""

    code = ""
    status = 429

    def __init__(self, retry_after: int, count: int = 0) -> None:
        """Whole seconds, from 1, and the bound that was met."""
        super().__init__(f"{self.code} for {retry_after} s")
        self.retry_after, self.count = retry_after, count


class Full(Refused):
    """Nobody more can wait; ``retry_after`` is when a place should be free."""

    code, status = "full", 503


class AtOnce(Refused):
    """This student's questions that are not yet answered are enough."""

    code = "at_once"


@dataclass(frozen=True)
class Bounds:
    """How many are answered at once, how many wait, and whose share that may be."""

    places: int
    waiting: int
    at_once: int
    """Questions of one student."""
    address_share: int = 100
    """Percent of the room that one address may fill while others ask too."""

    @property
    def size(self) -> int:
        """Questions in the room at most."""
        return self.places + self.waiting


@dataclass(frozen=True)
class Caller:
    """Who asks: a student's name, the address, and the time that an earlier refusal named."""

    name: str = ""
    address: str = ""
    """Empty for the app's own questions, which take nobody's share."""
    told: float | None = None

    def is_back(self, now: float) -> bool:
        """Whether this is the time that was named."""
        return self.told is not None and self.told - 1 <= now <= self.told + GRACE


NOBODY = Caller()


class Asking(Protocol):
    """A question that waits or is answered."""

    caller: Caller


Visit = TypeVar("Visit", bound=Asking)


def turns(waiting: Sequence[Visit], answering: Collection[Visit], last: str) -> list[Visit]:
    """Those who wait, in the order of their turns.

    A student's second question comes after everybody's first. An address with more than half of all
    questions gets every second turn at most; ``last`` is the address whose turn it was.
    """
    before = Counter(visit.caller.name for visit in answering)
    ranks = []
    for number, visit in enumerate(waiting):
        ranks.append((before[visit.caller.name], number))
        before[visit.caller.name] += 1
    line = [waiting[number] for _, number in sorted(ranks)]
    everybody = [*waiting, *answering]
    held = Counter(visit.caller.address for visit in everybody)
    largest = next((one for one, n in held.items() if one and 2 * n > len(everybody)), None)
    crowd = [visit for visit in line if visit.caller.address == largest]
    others = [visit for visit in line if visit.caller.address != largest]
    first, second = (others, crowd) if last == largest else (crowd, others)
    pairs = min(len(first), len(second))
    mixed = [visit for pair in zip(first, second, strict=False) for visit in pair]
    return [*mixed, *first[pairs:], *second[pairs:]]


@dataclass
class Appointment:
    """A place is kept from one time until shortly after the time that was named."""

    at: float
    since: float
    address: str

    def is_due(self, now: float) -> bool:
        """Whether the place is kept now."""
        return self.since <= now <= self.at + GRACE


class Book:
    """Who was sent away, and when each is to come back."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._booked: dict[str, Appointment] = {}

    def clear(self) -> None:
        """Nobody needs an appointment any more."""
        self._booked.clear()

    def strike(self, name: str) -> None:
        """This caller has come in."""
        self._booked.pop(name, None)

    def is_due(self, name: str, now: float) -> bool:
        """Whether a place is kept for this caller now."""
        return name in self._booked and self._booked[name].is_due(now)

    def due(self, now: float) -> Counter[str]:
        """How many places are kept now, by address."""
        return Counter(one.address for one in self._booked.values() if one.is_due(now))

    def appoint(self, caller: Caller, now: float, step: float, longest: float) -> int:
        """Whole seconds after which to come back: one freed place (``step``) after the one before.

        A refused caller keeps the time it was given; retrying early does not move it back. Who is
        back in time and finds no place has the next one that becomes free.
        """
        kept = self._booked.items()
        self._booked = {one: at for one, at in kept if at.at > now - LONGEST_RETRY}
        mine = self._booked.get(caller.name)
        if mine and now < mine.at:
            at = mine.at
        elif mine or caller.is_back(now):
            at = now + min(step, longest)
            self._note(caller, Appointment(at, now, caller.address), patient=True)
        else:
            at = min(max(now, self._last_before(caller.address, now)) + step, now + longest)
            self._note(caller, Appointment(at, at - step, caller.address), patient=False)
        return math.ceil(round(at - now, 3))  # (now + 60) - now may be a hair above 60

    def _last_before(self, address: str, now: float) -> float:
        """The latest time among those whose turn comes first, where addresses take turns."""
        times: dict[str, list[float]] = {}
        for one in self._booked.values():
            if one.at > now:
                times.setdefault(one.address, []).append(one.at)
        own = len(times.get(address, ()))
        first = (sorted(ats)[: own + (one != address)] for one, ats in times.items())
        return max((ats[-1] for ats in first), default=0.0)

    def _note(self, caller: Caller, appointment: Appointment, patient: bool) -> None:
        """Book it. A full book drops the newest of the address with most, for an address with fewer."""
        if caller.name not in self._booked and len(self._booked) >= BOOKED:
            counts = Counter(one.address for one in self._booked.values())
            (greediest, most), *_ = counts.most_common(1)
            if most <= counts[caller.address] and not patient:
                return
            newest = [name for name, one in self._booked.items() if one.address == greediest][-1]
            del self._booked[newest]
        self._booked[caller.name] = appointment


class Admission:
    """Lets callers into the room, or tells them when to come back."""

    def __init__(self, bounds: Bounds) -> None:
        """An empty room."""
        self._bounds = bounds
        self._book = Book()
        self._met: dict[str, float] = {}

    def admit(
        self, caller: Caller, inside: Sequence[Caller], now: float, step: float, longest: float
    ) -> None:
        """Return if there is a place; else AtOnce or Full.

        ``inside``: who has a place. ``step``: seconds in which one becomes free. ``longest``: seconds
        for which a caller may be sent away.
        """
        if caller.address:
            self._meet(caller.address, now)
            if sum(one.name == caller.name for one in inside) >= self._bounds.at_once:
                raise AtOnce(math.ceil(step), self._bounds.at_once)
        if not inside:
            self._book.clear()  # all who come back find a place
        if not self._has_place(caller, inside, now):
            raise Full(self._book.appoint(caller, now, step, longest))
        self._book.strike(caller.name)

    def _meet(self, address: str, now: float) -> None:
        """Remember the last two addresses: enough to know whether there is more than one."""
        self._met.pop(address, None)
        self._met[address] = now
        if len(self._met) > 2:
            del self._met[next(iter(self._met))]

    def _share(self, address: str, now: float) -> int:
        """Places that one address may have: all of them, until somebody else asks too."""
        met = [at for one, at in self._met.items() if one != address]
        if not address or not met or max(met) < now - COMPANY:
            return self._bounds.size
        return math.ceil(self._bounds.size * self._bounds.address_share / 100)

    def _has_place(self, caller: Caller, inside: Sequence[Caller], now: float) -> bool:
        """Whether there is a place, of this address's share, which is kept for nobody else."""
        free = self._bounds.size - len(inside)
        held = Counter(one.address for one in inside)
        share = self._share(caller.address, now)
        if free <= 0 or held[caller.address] >= share:
            return False
        if len(inside) < self._bounds.places:
            return True  # the model must not idle for somebody who may not come
        if self._book.is_due(caller.name, now) or caller.is_back(now):
            return True
        due = self._book.due(now)
        kept = {one: min(n, self._share(one, now) - held[one]) for one, n in due.items()}
        if held[caller.address] + kept.get(caller.address, 0) >= share:
            return False
        return free > sum(max(0, places) for places in kept.values())
