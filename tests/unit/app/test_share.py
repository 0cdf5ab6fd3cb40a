"""Nobody starves: one greedy client of each kind, and everybody else is served in time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, repeat

import pytest

from app.share import (
    BOOKED,
    COMPANY,
    GRACE,
    LATER,
    LONGEST_RETRY,
    AtOnce,
    Caller,
    Full,
    Later,
    turns,
)
from tests.unit.app.classroom import Classroom, Pupil, Question, fresh

ATTACKS: dict[str, tuple[int, Callable[[], Iterator[Caller]]]] = {
    "no cookie": (24, lambda: repeat(Caller("10.0.0.66", "10.0.0.66"))),
    "one cookie": (24, lambda: repeat(Caller("greedy", "10.0.0.66"))),
    "a new cookie each": (24, lambda: fresh("10.0.0.66")),
    "a new cookie each, at the class's address": (24, lambda: fresh("10.0.0.1")),
    "a flood of new cookies": (60, lambda: fresh("10.0.0.66")),
    "a flood of new cookies, at the class's address": (60, lambda: fresh("10.0.0.1")),
}


@pytest.mark.parametrize("nat", [True, False])
@pytest.mark.parametrize("kind", ATTACKS)
def test_a_script_that_never_waits_starves_no_pupil(kind: str, nat: bool) -> None:
    """It sends all it has twice a second; 20 pupils come after it has begun.

    Nobody can tell a pupil from a script with a new cookie each at the same address, so there it takes
    as long as anybody may be sent away; but it comes to an end.
    """
    at_once, names = ATTACKS[kind][0], ATTACKS[kind][1]()
    longest = 80 if nat and "class's" in kind else 70
    room = Classroom()
    pupils = [
        Pupil(f"p{n}", "10.0.0.1" if nat else f"10.0.1.{n}", 1010 + n / 4, late=n % 4)
        for n in range(20)
    ]
    while room.now < 1010 + longest and any(one.came is None for one in pupils):
        if round(room.now * 10) % 5 == 0:
            for _ in range(at_once):
                room.ask(next(names))
        for pupil in pupils:
            pupil.act(room)
        room.tick()
    assert [pupil for pupil in pupils if pupil.came is None] == []
    assert max(pupil.refusals for pupil in pupils) <= 5


def test_who_is_told_a_time_finds_the_place_kept() -> None:
    """door.md, 5b: a script of 24 at once; the pupil came back when told and was refused 14 times."""
    room, names = Classroom(), fresh("10.0.0.66")
    for _ in range(24):
        room.ask(next(names))
    pupil = Pupil("ann", "10.0.0.7", 1001)
    for _ in range(100):
        for _ in range(24):
            room.ask(next(names))
        pupil.act(room)
        room.tick()
    assert (pupil.came, pupil.refusals) == (1008, 1)  # the first place becomes free at 1006


@pytest.mark.parametrize("addresses", [3, 8])
def test_addresses_that_have_all_places_and_times_yield_one_to_who_has_nothing(
    addresses: int,
) -> None:
    """Each of their scripts asks 16 at once with a new cookie each: another address heard "15 s" for minutes."""
    room = Classroom()
    names = [fresh(f"10.0.0.{60 + number}") for number in range(addresses)]
    pupils = [Pupil(f"p{n}", f"10.0.1.{n}", 1030 + 3 * n) for n in range(4)]
    while room.now < 1110 and any(one.came is None for one in pupils):
        if round(room.now * 10) % 5 == 0:
            for _ in range(16):
                for one in names:
                    room.ask(next(one))
        for pupil in pupils:
            pupil.act(room)
        room.tick()
    assert [pupil.came for pupil in pupils if pupil.came is None] == []
    assert [pupil.refusals for pupil in pupils] == [1] * 4


@pytest.mark.parametrize("addresses", [1, 2])
def test_times_that_were_given_while_answers_were_short_keep_nobody_out(addresses: int) -> None:
    """40 cookies of one address then ask for answers of 26 s: others came in after 100 to 150 s."""
    room = Classroom(answer=0.1)
    room.ask(Caller("ann", "10.0.0.9"))
    script = [Script(f"s{n}", f"10.0.0.{66 + n % addresses}", 1000 + n / 40) for n in range(40)]
    while room.now < 1001:
        for one in script:
            one.act(room)
        room.now += 0.1
    room.answer = 26
    pupils = [Pupil(f"p{n}", f"10.0.1.{n}", 1002 + 3 * n) for n in range(4)]
    while room.now < 1200 and any(one.came is None for one in pupils):
        for one in script:
            one.act(room)
        for pupil in pupils:
            pupil.act(room)
        room.tick()
    assert max((pupil.came or room.now) - 1002 for pupil in pupils) < 90


def test_newcomers_do_not_take_the_place_of_whoever_was_given_a_time() -> None:
    room, names = Classroom(), (Caller(f"n{n}", f"10.1.{n}.1") for n in count())
    room.tick()
    for _ in range(18):
        assert room.ask(next(names)) is None
    room.tick()
    assert room.ask(Caller("ann", "10.0.0.7")) == 6
    assert room.ask(Caller("bob", "10.0.0.9")) == 8
    while room.now < 1008.2:
        room.tick()
    room.waiting += [Question(Caller(), 0)] * (16 - len(room.answering) - len(room.waiting))
    for _ in range(24):
        assert room.ask(next(names))  # there are two places, and they are ann's and bob's
    assert room.ask(Caller("ann", "10.0.0.7")) is None
    assert room.ask(Caller("bob", "10.0.0.9")) is None


def packed(room: Classroom, free: int) -> None:
    """Strangers in all places but so many."""
    room.waiting = [Question(Caller(), room.now)] * (15 - free)
    room.answering = [Question(Caller(), room.now)] * 3


def test_a_kept_place_is_given_up_shortly_after_its_time() -> None:
    room = Classroom()
    packed(room, 0)
    seconds = room.ask(Caller("ann", "10.0.0.7")) or 0
    packed(room, 1)
    room.now = 1000 + seconds + GRACE
    with pytest.raises(Full):
        room.admission.admit(Caller("new", "10.0.0.8"), inside(room), room.now, 2, 0)
    room.now += 1.1
    assert room.ask(Caller("new", "10.0.0.9")) is None


def test_the_model_does_not_idle_for_somebody_who_may_not_come() -> None:
    room = Classroom()
    packed(room, 0)
    for number in range(9):
        room.ask(Caller(f"n{number}", f"10.1.{number}.1"))
    room.now += 6
    packed(room, 3)
    assert room.ask(Caller("new", "10.0.0.1"))
    room.waiting, room.answering = [], room.answering[:2]
    assert room.ask(Caller("newest", "10.0.0.1")) is None


def inside(room: Classroom) -> list[Caller]:
    return [one.caller for one in (*room.waiting, *room.answering)]


def test_the_earlier_appointment_goes_first_and_who_comes_early_waits() -> None:
    room = Classroom()
    packed(room, 0)
    ann, bob = Caller("ann", "10.0.0.7"), Caller("bob", "10.0.0.9")
    assert (room.ask(ann), room.ask(bob)) == (6, 8)
    packed(room, 1)
    for room.now in (1000.1, 1005.01, 1005.99):
        assert room.ask(ann), "early"
        assert room.ask(bob)
    room.now = 1008
    assert room.ask(bob), "ann's place"
    assert room.ask(ann) is None
    packed(room, 1)
    assert room.ask(bob) is None


def test_times_are_given_as_places_become_free_and_no_more() -> None:
    room = Classroom()
    packed(room, 0)
    callers = [Caller(f"n{number}", f"10.1.{number}.1") for number in range(100)]
    refusals = []
    for one in callers:
        with pytest.raises(Full) as full:
            room.admission.admit(one, inside(room), room.now, 2, LONGEST_RETRY)
        refusals.append((type(full.value), full.value.retry_after))
    assert refusals == [(Full, at) for at in range(6, 61, 2)] + [(Later, LATER)] * 72


def test_who_is_told_without_a_cookie_is_known_by_the_address() -> None:
    room = Classroom()
    packed(room, 0)
    assert room.ask(Caller("10.0.0.7", "10.0.0.7")) == 6
    room.now += 6
    packed(room, 1)
    assert room.ask(Caller("new", "10.0.0.8"))
    assert room.ask(Caller("ann", "10.0.0.7")) is None


def test_an_address_has_all_places_until_somebody_else_asks() -> None:
    room, names = Classroom(), fresh("10.0.0.1")
    assert [room.ask(next(names)) for _ in range(19)].count(None) == 18
    room = Classroom()
    room.ask(Caller("bob", "10.0.0.2"))
    assert [room.ask(next(names)) for _ in range(19)].count(None) == 14
    room.now += 1
    assert [room.ask(Caller(f"b{n}", f"10.0.2.{n}")) for n in range(3)] == [
        None,
        None,
        7,
    ]  # one is kept
    room = Classroom()
    room.ask(Caller("bob", "10.0.0.2"))
    room.tick()
    room.now += COMPANY + 1
    assert [room.ask(next(names)) for _ in range(18)].count(None) == 17


def test_of_an_address_s_share_too_a_place_is_kept() -> None:
    room, names = Classroom(), fresh("10.0.0.1")
    room.ask(Caller("bob", "10.0.0.2"))
    for _ in range(14):
        room.ask(next(names))
    assert room.ask(Caller("ann", "10.0.0.1")) == 6
    room.waiting.pop()
    room.now += 6
    assert room.ask(next(names))
    assert room.ask(Caller("ann", "10.0.0.1")) is None


def test_a_student_has_so_many_questions_at_once() -> None:
    room = Classroom()
    assert [room.ask(Caller("ann", "10.0.0.1")) for _ in range(5)] == [None] * 4 + [2]
    inside = [Caller("ann", "10.0.0.1")] * 4
    with pytest.raises(AtOnce):
        room.admission.admit(inside[0], inside, room.now, 2, 60)
    assert room.ask(Caller("bob", "10.0.0.1")) is None


def line(waiting: str, answering: str = "", last: str = "") -> str:
    """Letters are addresses; digits are students there."""
    jobs = {
        name: Question(Caller(name[:2], name[0]), 0) for name in (waiting + " " + answering).split()
    }
    order = turns(
        [jobs[name] for name in waiting.split()],
        [jobs[name] for name in answering.split()],
        last,
    )
    names = {id(job): name for name, job in jobs.items()}
    return " ".join(names[id(job)] for job in order)


@pytest.mark.parametrize(
    ("waiting", "answering", "last", "order"),
    [
        ("a1 b1 c1", "d1", "d", "a1 b1 c1"),  # who came first is answered first
        ("a1 a1x b1 c1", "", "", "a1 b1 c1 a1x"),  # a second question after everybody's first
        ("a1x b1 c1", "a1", "a", "b1 c1 a1x"),
        ("a1 a2 a3 a4 b1 c1", "a5 a6", "a", "b1 a1 c1 a2 a3 a4"),  # a crowd of one address
        ("a1 a2 a3 a4 b1 c1", "a5 a6", "b", "a1 b1 a2 c1 a3 a4"),
        ("a1 a2 a3", "a4", "a", "a1 a2 a3"),  # a class behind NAT, alone
        ("a1 a2 b1 b2 c1 d1", "a3 b3", "a", "c1 a1 d1 a2 b1 b2"),  # two crowds
    ],
)
def test_turns_are_fair_to_students_and_to_addresses(
    waiting: str, answering: str, last: str, order: str
) -> None:
    assert line(waiting, answering, last) == order


def test_an_address_has_no_more_appointments_than_places() -> None:
    """One whose answers were short at first, and long then, had 40 before everybody else's."""
    room = Classroom()
    room.ask(Caller("bob", "10.0.0.2"))
    packed(room, 0)
    names, met = fresh("10.0.0.66"), list[type[Full]]()
    for _ in range(40):
        with pytest.raises(Full) as full:
            room.admission.admit(next(names), inside(room), room.now, 0.1, LONGEST_RETRY)
        met.append(type(full.value))
    assert met == [Full] * 14 + [Later] * 26
    with pytest.raises(Full) as full:
        room.admission.admit(Caller("ann", "10.0.0.7"), inside(room), room.now, 0.1, LONGEST_RETRY)
    assert full.type is Full


def test_the_book_is_bounded() -> None:
    room = Classroom()
    packed(room, 0)
    for number in range(BOOKED + 100):
        with pytest.raises(Full):
            room.admission.admit(Caller(f"n{number}", f"a{number}"), inside(room), 1000, 0.01, 60)
    assert len(room.admission._book._booked) == BOOKED


@dataclass
class Script:
    """Comes back with each name 0.99 s before its time, and takes a new name when it is answered."""

    name: str
    address: str
    at: float
    retry_at: float | None = None

    def act(self, room: Classroom) -> None:
        if room.now < self.at:
            return
        seconds = room.ask(Caller(self.name, self.address, self.retry_at))
        if seconds is None:
            self.name, self.retry_at = f"{self.name}'", None
            self.at = room.now + 20
        else:
            self.retry_at = room.now + seconds
            self.at = max(room.now + 1, self.retry_at - 0.99)


@pytest.mark.parametrize("address", ["10.0.0.1", "10.0.0.66"])
def test_the_told_time_is_kept_under_a_script_with_many_names(address: str) -> None:
    """60 names that came 1 s early: of 482 pupils who came back when told, 473 were refused again."""
    room = Classroom()
    script = [Script(f"s{n}", address, 1000 + n / 12) for n in range(60)]
    admitted = broken = 0
    promised: set[str] = set()
    pupils = [Pupil(f"p{n}", "10.0.0.1", 1000 + n / 4, late=n % 4) for n in range(20)]
    while room.now < 1240:
        for one in script:
            one.act(room)
        for pupil in pupils:
            if room.now < pupil.at:
                continue
            caller = Caller(pupil.name, pupil.address, pupil.retry_at)
            try:
                room.admission.admit(caller, inside(room), room.now, 2, LONGEST_RETRY)
            except Full as full:
                broken += pupil.name in promised
                promised -= {pupil.name}
                promised |= set() if isinstance(full, Later) else {pupil.name}
                pupil.retry_at = room.now + full.retry_after
                pupil.at = pupil.retry_at + pupil.late
            else:
                room.waiting.append(Question(caller, room.now))
                admitted += pupil.name in promised
                promised -= {pupil.name}
                pupil.retry_at, pupil.at = None, room.now + 20
        room.tick()
    assert admitted >= 25
    assert broken <= 1
