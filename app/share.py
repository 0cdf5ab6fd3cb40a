"""A share for everybody: whose turn is next, and who has a place kept. Pure: the time is an argument."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

GRACE = 6.0  # seconds that a place is kept: a page comes back up to 3 s late, by chance
LONGEST_RETRY = 60  # seconds; a crowd outside must not send anybody away for longer
APART = 3  # freed places between appointments of newcomers of one address; between are others'
LATER = 15  # seconds after which a caller without an appointment tries again
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
    """Nobody more can wait; ``retry_after`` is an appointment, for which a place is kept."""

    code, status = "full", 503


class Later(Full):
    """Nobody more can wait, and no place that will be free is left to promise."""


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
    """A caller: a student's name, the address, and the time that an earlier refusal named."""

    name: str = ""
    address: str = ""
    """Empty for the app's own questions, which take nobody's share."""
    retry_at: float | None = None

    def is_back(self, now: float) -> bool:
        """Whether this is the time that was named."""
        return self.retry_at is not None and self.retry_at <= now <= self.retry_at + GRACE


NOBODY = Caller()


class Asking(Protocol):
    """A question that waits or is answered."""

    caller: Caller


Job = TypeVar("Job", bound=Asking)


def crowds(addresses: Collection[str]) -> set[str]:
    """Addresses with more than an equal part, if they have more than half together."""
    held = Counter(addresses)
    many = {one for one, n in held.items() if one and n * len(held) > len(addresses)}
    return many if 2 * sum(held[one] for one in many) > len(addresses) else set()


Placed = TypeVar("Placed")


def by_turns(
    line: Sequence[Placed], in_crowd: Sequence[bool], crowd_was_last: bool
) -> list[Placed]:
    """One of the crowd and one of the others, as long as there are both; each in their order."""
    crowd = [one for one, is_in in zip(line, in_crowd, strict=True) if is_in]
    others = [one for one, is_in in zip(line, in_crowd, strict=True) if not is_in]
    first, second = (others, crowd) if crowd_was_last else (crowd, others)
    pairs = min(len(first), len(second))
    mixed = [one for pair in zip(first, second, strict=False) for one in pair]
    return [*mixed, *first[pairs:], *second[pairs:]]


def turns(waiting: Sequence[Job], answering: Collection[Job], last: str) -> list[Job]:
    """Those who wait, in the order of their turns.

    A student's second question comes after everybody's first. A crowd gets every second turn at most; ``last``
    is the address whose turn it was.
    """
    before = Counter(job.caller.name for job in answering)
    ranks = []
    for number, job in enumerate(waiting):
        ranks.append((before[job.caller.name], number))
        before[job.caller.name] += 1
    line = [waiting[number] for _, number in sorted(ranks)]
    many = crowds([job.caller.address for job in (*waiting, *answering)])
    return by_turns(line, [job.caller.address in many for job in line], last in many)


@dataclass(eq=False)
class Appointment:
    """The room keeps a place for one caller from ``at`` to ``until``."""

    at: float
    until: float
    address: str


def gap(booked: Sequence[Appointment], at: float, address: str, step: float, own: float) -> float:
    """The first time from ``at`` on that is ``step`` away from all, and ``own`` from those of this address."""
    for one in booked:
        far = own if one.address == address else step
        if one.at - far + 0.001 < at < one.at + far:
            at = one.at + far
    return at


class Book:
    """The callers that were refused, and when each is to come back; as many as places become free."""

    def __init__(self) -> None:
        """Nobody yet."""
        self._booked: dict[str, Appointment] = {}
        self.last = ""
        """The address that came in last by an appointment."""

    def clear(self) -> None:
        """Nobody needs an appointment any more."""
        self._booked.clear()

    def strike(self, caller: Caller) -> None:
        """This caller has come in."""
        if self._booked.pop(self._name(caller), None):
            self.last = caller.address

    def is_due(self, caller: Caller, now: float) -> bool:
        """Whether this caller has come in time."""
        mine = self._booked.get(self._name(caller))
        return mine is not None and mine.at <= now <= mine.until

    def kept(self, caller: Caller, now: float, lead: float, inside: Sequence[str]) -> Counter[str]:
        """How many places are kept from this caller, by address.

        From those in time: for earlier appointments, but a crowd and the others take turns. From others: for all
        of the next ``lead`` seconds.
        """
        line = sorted(self._booked.values(), key=lambda one: one.at)
        if not self.is_due(caller, now):
            return Counter(one.address for one in line if now <= one.until and one.at <= now + lead)
        many = crowds([*inside, *(one.address for one in line), caller.address])
        due = [one for one in line if one.at <= now <= one.until]
        order = by_turns(due, [one.address in many for one in due], self.last in many)
        mine = order.index(self._booked[self._name(caller)])
        return Counter(one.address for one in order[:mine])

    def appoint(
        self,
        caller: Caller,
        now: float,
        step: float,
        places: int,
        longest: float,
        most: int,
        inside: Sequence[str],
    ) -> int | None:
        """Whole seconds after which to come back to an appointment, if one is left.

        In a whole answer's time ``places`` of them end, one each ``step`` seconds on average. A
        newcomer leaves room beside the appointments of his address, for other addresses and for callers who come
        back. An address has at most ``most``: while answers are short, appointments lie close together. Where
        none is left, the address that has most yields its last one to an address that has nothing.
        """
        self._booked = {name: one for name, one in self._booked.items() if now <= one.until}
        mine = self._booked.get(self._name(caller))
        if mine and mine.at <= now:  # in time, and an answer took longer: the next place is his
            mine.until = now + step + GRACE + 1
            return max(1, math.ceil(round(min(step, longest), 3)))
        if not mine:
            all_ = sorted(self._booked.values(), key=lambda one: one.at)
            has = Counter(one.address for one in all_)
            if len(all_) >= BOOKED or (caller.address and has[caller.address] >= most):
                return None
            first = now + min(places * step, longest / 2)
            own = step if caller.is_back(now) else APART * step
            free = gap(all_, first, caller.address, step, own)
            at = free if free <= now + longest else self._yielded(caller, now, inside)
            if at is None:
                return None
            mine = self._booked[caller.name] = Appointment(at, at + 1 + GRACE, caller.address)
        return max(1, math.ceil(round(mine.at - now, 3)))  # (now + 60) - now may be a hair above 60

    def _yielded(self, caller: Caller, now: float, inside: Sequence[str]) -> float | None:
        """The time of the last appointment of the address that has most, if this caller's has nothing."""
        has = Counter([*inside, *(one.address for one in self._booked.values())])
        coming = [name for name, one in self._booked.items() if one.at > now]
        if has[caller.address] or not coming:
            return None
        last = max(
            coming, key=lambda name: (has[self._booked[name].address], self._booked[name].at)
        )
        enough = has[self._booked[last].address] * len(has) > has.total()
        return self._booked.pop(last).at if enough else None

    def _name(self, caller: Caller) -> str:
        """Under which the caller is booked: before there was a cookie it was the address."""
        return caller.name if caller.name in self._booked else caller.address


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
        places = self._bounds.places
        if not self._has_place(caller, inside, now, places * step):
            share = self._share(caller.address, now)
            addresses = [one.address for one in inside]
            seconds = self._book.appoint(caller, now, step, places, longest, share, addresses)
            raise Full(seconds) if seconds else Later(min(LATER, math.ceil(longest)))
        self._book.strike(caller)

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

    def _has_place(self, caller: Caller, inside: Sequence[Caller], now: float, lead: float) -> bool:
        """Whether there is a place, of this address's share, which is kept for nobody else.

        An appointment is kept although the address has its share meanwhile.
        """
        free = self._bounds.size - len(inside)
        held = Counter(one.address for one in inside)
        share = self._share(caller.address, now)
        in_time = self._book.is_due(caller, now)
        if free <= 0 or (held[caller.address] >= share and not in_time):
            return False
        if len(inside) < self._bounds.places:
            return True  # the model must not idle for somebody who may not come
        kept = self._book.kept(caller, now, lead, [one.address for one in inside])
        if held[caller.address] + kept[caller.address] >= share and not in_time:
            return False
        return free > kept.total()
