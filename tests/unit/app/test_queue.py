"""The waiting queue's bounds, order and arithmetic; each job ends in exactly one way."""

from __future__ import annotations

import weakref

import pytest

from app.queue import AnswerQueue, Chunk, Done, Event, Failed, Position, expected_wait
from app.share import LONGEST_RETRY, Bounds, Caller, Full
from tests.unit.app.conftest import Double, until

PLACES, WAITING = 2, 3
BOUNDS = Bounds(PLACES, WAITING, at_once=9)


@pytest.fixture
def queue(model: Double) -> AnswerQueue:
    return AnswerQueue(model, BOUNDS, longest=60)


def heard(queue: AnswerQueue, prompt: str = "one two") -> list[Event | None]:
    return list(queue.events(queue.enter(prompt, 9, "m"), 0.01))


@pytest.mark.parametrize(
    ("number", "places", "typical", "seconds"),
    [(1, 3, 9.0, 3), (3, 3, 9.0, 9), (4, 3, 9.0, 12), (1, 4, 1.0, 1), (15, 3, 3.5, 18)],
)
def test_the_expected_wait_grows_with_the_place(
    number: int, places: int, typical: float, seconds: int
) -> None:
    assert expected_wait(number, places, typical) == seconds


def test_an_answer_comes_in_pieces_and_ends(queue: AnswerQueue) -> None:
    chunks = [event for event in heard(queue) if event and not isinstance(event, Position)]
    assert chunks == [Chunk("one"), Chunk("two"), Done(False, 2)]
    until(lambda: queue.in_flight == 0)


def test_no_more_than_its_places_are_answered_at_once(queue: AnswerQueue, model: Double) -> None:
    model.let.clear()
    jobs = [queue.enter(f"{number}", 9, "m") for number in range(PLACES + WAITING)]
    until(lambda: model.now == PLACES)
    assert queue.waiting == WAITING
    model.let.set()
    for job in jobs:
        assert Done(False, 1) in queue.events(job, 0.01)
    assert model.most == PLACES


def test_who_came_first_is_answered_first(model: Double) -> None:
    model.let.clear()
    queue = AnswerQueue(model, Bounds(1, 4, 9), longest=60)
    jobs = [queue.enter(f"{number}", 9, "m") for number in range(5)]
    model.let.set()
    assert list(queue.events(jobs[-1], 0.01))[-1] == Done(False, 1)
    assert [prompt for prompt, *_ in model.asked] == ["0", "1", "2", "3", "4"]


def test_who_comes_when_all_is_taken_is_sent_away(queue: AnswerQueue, model: Double) -> None:
    model.let.clear()
    for number in range(PLACES + WAITING):
        queue.enter(f"{number}", 9, "m")
    with pytest.raises(Full):
        queue.enter("too many", 9, "m")
    model.let.set()
    until(lambda: queue.in_flight == queue.waiting == 0)
    assert ("too many", 9, "m") not in model.asked
    queue.enter("later", 9, "m")


def test_each_who_is_sent_away_gets_a_time_of_his_own_and_keeps_it(
    queue: AnswerQueue, model: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(who: str) -> int:
        with pytest.raises(Full) as full:
            queue.enter("no place", 9, "m", Caller(who))
        return full.value.retry_after

    def fill() -> None:
        model.let.clear()
        for number in range(PLACES + WAITING):
            queue.enter(f"{number}", 9, "m")

    monkeypatch.setattr("app.queue.FIRST_GUESS", 6)
    fill()
    assert [wait("a"), wait("b"), wait("a"), wait("c")] == [3, 6, 3, 6]  # nobody knows yet
    model.let.set()
    until(lambda: queue.in_flight + queue.waiting == 0)
    monkeypatch.setattr(queue, "_took", [10.0])
    fill()
    assert [wait("d"), wait("e"), wait("d")] == [
        10,
        25,
        10,
    ]  # those from before came back to an empty queue
    assert max(wait(str(number)) for number in range(50)) <= LONGEST_RETRY


def test_answers_that_run_for_long_are_not_taken_for_short(
    queue: AnswerQueue, model: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody asks for short answers, then for the longest: others were told 1 s again and again."""
    monkeypatch.setattr(queue, "_took", [0.2])
    model.let.clear()
    jobs = [queue.enter(f"{number}", 9, "m") for number in range(PLACES + WAITING)]
    until(lambda: queue.in_flight == PLACES)
    for job in jobs:
        job.begun = job.begun and job.begun - 25
    with pytest.raises(Full) as full:
        queue.enter("no place", 9, "m")
    assert full.value.retry_after >= 25


def test_who_comes_back_in_time_is_not_sent_to_the_end_of_the_line(
    queue: AnswerQueue, model: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(queue, "_clock", lambda: now[0])
    monkeypatch.setattr(queue, "_took", [0.2])
    model.let.clear()
    for number in range(PLACES + WAITING):
        queue.enter(f"{number}", 9, "m")
    for who in ("early", *map(str, range(20))):
        with pytest.raises(Full):
            queue.enter("no place", 9, "m", Caller(who))
    now[0] += 0.15
    with pytest.raises(Full) as again:
        queue.enter("no place", 9, "m", Caller("early"))
    with pytest.raises(Full) as newcomer:
        queue.enter("no place", 9, "m", Caller("newcomer"))
    assert (again.value.retry_after, newcomer.value.retry_after) == (1, 7)


def test_whoever_leaves_is_forgotten_before_a_thread_is_free(
    queue: AnswerQueue, model: Double
) -> None:
    model.let.clear()
    for number in range(PLACES):
        queue.enter(f"{number}", 9, "m")
    until(lambda: model.now == PLACES)
    left = [weakref.ref(queue.enter("long" * 500, 9, "m")) for _ in range(3)]
    for job in left:
        found = job()
        assert found
        queue.leave(found)
    del found
    assert [job() for job in left] == [None] * 3
    model.let.set()
    assert heard(queue)


def test_places_are_told_and_fall_when_somebody_leaves(queue: AnswerQueue, model: Double) -> None:
    model.let.clear()
    first, *_ = jobs = [queue.enter(f"{number}", 9, "m") for number in range(PLACES + 2)]
    until(lambda: model.now == PLACES)
    events = queue.events(jobs[-1], 0.01)
    assert next(events) == Position(2, 10)
    assert next(events) is None
    queue.leave(jobs[-2])
    assert next(event for event in events if event) == Position(1, 5)
    queue.leave(first)
    until(lambda: queue.waiting == 0)
    model.let.set()
    assert [event for event in events if event] == [Chunk("3"), Done(False, 1)]
    assert {prompt for prompt, *_ in model.asked} == {"0", "1", "3"}


def test_who_leaves_in_the_middle_ends_the_answer_and_frees_the_slot(
    queue: AnswerQueue, model: Double
) -> None:
    model.let.clear()
    job = queue.enter("long", 9, "m")
    until(lambda: model.now == 1)
    queue.leave(job)
    until(lambda: queue.in_flight == 0)
    assert model.ended == ["long"]
    queue.leave(job)  # again is nothing


def test_who_leaves_at_any_moment_frees_the_slot(queue: AnswerQueue, model: Double) -> None:
    model.let.clear()
    for _ in range(200):
        queue.leave(queue.enter("a b c", 9, "m"))
    until(lambda: queue.in_flight == queue.waiting == 0)  # sooner than the model comes to its end
    model.let.set()
    assert heard(queue)


@pytest.mark.parametrize(
    ("prompt", "code"), [("fail:busy", "busy"), ("fail:late", "late"), ("crash", "unavailable")]
)
def test_an_answer_that_fails_says_why_and_frees_the_slot(
    prompt: str, code: str, queue: AnswerQueue
) -> None:
    with pytest.raises(Failed) as failed:
        heard(queue, prompt)
    assert failed.value.code == code
    until(lambda: queue.in_flight == 0)


def test_an_answer_that_takes_too_long_is_given_up(model: Double) -> None:
    queue = AnswerQueue(model, BOUNDS, longest=0.05)
    model.let.clear()
    with pytest.raises(Failed, match="late"):
        heard(queue)
    until(lambda: model.now == 0)


def test_the_median_wait_is_that_of_those_whose_turn_came(queue: AnswerQueue) -> None:
    assert queue.median_wait is None
    heard(queue)
    assert queue.median_wait is not None
    assert queue.last_text
