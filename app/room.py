"""The waiting room: so many answers at once, so many students who wait, and nobody else."""

from __future__ import annotations

import asyncio
import logging
import math
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock

from app.share import LONGEST_RETRY, NOBODY, Admission, Bounds, Caller, turns

log = logging.getLogger(__name__)

QUIET = 20.0  # seconds in which nobody heard a word, after which it is said
FIRST_GUESS = 10.0  # seconds of an answer, before one is known


class Failed(Exception):
    """There is no answer, or no more of it: ``busy``, ``late`` or ``unavailable``."""

    def __init__(self, code: str, why: str = "") -> None:
        """``why`` is for whoever runs the server."""
        super().__init__(code)
        self.code, self.why = code, why


@dataclass(frozen=True)
class Place:
    """A place in the queue (1 is next), and about how many seconds that will take."""

    number: int
    seconds: int


@dataclass(frozen=True)
class Quiet:
    """The question is with the model, which has said nothing to anybody for ``QUIET`` seconds."""


@dataclass(frozen=True)
class Piece:
    """Some more of the answer."""

    text: str


@dataclass(frozen=True)
class Done:
    """The answer's end; ``cut`` at the length limit, ``broken`` if the server ended it early."""

    cut: bool
    tokens: int
    broken: bool = False

    @property
    def ending(self) -> str:
        """The name of the sentence that says how it ended."""
        return "repeated" if self.broken else "cut" if self.cut else "done"


Answer = Callable[[str, int], AsyncIterator[Piece | Done]]
Event = Place | Quiet | Piece | Done


@dataclass(eq=False)
class Visit:
    """One question on its way: it waits, it is answered, or it leaves."""

    prompt: str
    max_tokens: int
    caller: Caller = NOBODY
    counted: bool = True
    """Whether its times tell how a class is served."""
    came: float = field(default_factory=time.monotonic)
    begun: float | None = None
    first_text: float | None = None
    left: bool = False
    task: asyncio.Task[None] | None = None
    said: SimpleQueue[Piece | Done | Failed] = field(default_factory=SimpleQueue)

    @property
    def waited(self) -> float:
        """Seconds before its turn came."""
        return (self.begun or time.monotonic()) - self.came


class Room:
    """Questions in a fair order, so many of them answered at once by one thread each."""

    def __init__(
        self,
        answer: Answer,
        bounds: Bounds,
        longest: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``longest``: seconds after which an answer is given up."""
        self._answer = answer
        self._longest = longest
        self._admission = Admission(bounds)
        self._clock = clock
        self._pool = ThreadPoolExecutor(bounds.places, thread_name_prefix="answer")
        self.waiting_places = bounds.waiting
        self._lock = Lock()
        self._waiting: list[Visit] = []
        self._answering: set[Visit] = set()
        self._took: deque[float] = deque(maxlen=20)
        self._waits: deque[float] = deque(maxlen=50)
        self._last = ""
        self.last_text: float | None = None
        """When the model last said something, on time.monotonic's clock."""

    @property
    def places(self) -> int:
        """How many threads the pool may have: the pool's own word."""
        return self._pool._max_workers

    @property
    def in_flight(self) -> int:
        """Questions that are being answered."""
        return len(self._answering)

    @property
    def waiting(self) -> int:
        """Questions that wait."""
        return len(self._waiting)

    @property
    def median_wait(self) -> float | None:
        """Seconds that the last 50 waited; None before the first."""
        with self._lock:
            return statistics.median(self._waits) if self._waits else None

    def enter(
        self, prompt: str, max_tokens: int, caller: Caller = NOBODY, counted: bool = True
    ) -> Visit:
        """A visit that has its place from now on; AtOnce or Full if there is none for it."""
        visit = Visit(prompt, max_tokens, caller, counted)
        with self._lock:
            inside = [one.caller for one in (*self._waiting, *self._answering)]
            step = self._typical() / self.places
            longest = LONGEST_RETRY if self._took else FIRST_GUESS
            self._admission.admit(caller, inside, self._clock(), step, longest)
            self._waiting.append(visit)
            self._pool.submit(self._run)
        return visit

    def leave(self, visit: Visit) -> None:
        """Give its place to the next; whoever is through has none to give."""
        with self._lock:
            visit.left = True
            if visit in self._waiting:
                self._waiting.remove(visit)
            if visit.task:
                visit.task.get_loop().call_soon_threadsafe(visit.task.cancel)

    def events(self, visit: Visit, beat: float) -> Iterator[Event | None]:
        """What becomes of it, as it comes, and None after every ``beat`` seconds of silence.

        Failed if it fails. Who does not want to hear the end has to ``leave``.
        """
        told: Event | None = None
        patience = 0.05  # only a student who has to wait is told a place
        while True:
            try:
                event = visit.said.get(timeout=patience)
            except Empty:
                place, patience = self._place(visit), beat
                news: Event | None = place or (Quiet() if self._is_quiet(visit) else None)
                yield news if news != told else None
                told = news
                continue
            if isinstance(event, Failed):
                raise event
            yield event
            if isinstance(event, Done):
                return

    def _place(self, visit: Visit) -> Place | None:
        with self._lock:
            if visit not in self._waiting:
                return None
            number = self._turns().index(visit) + 1
            return Place(number, expected_wait(number, self.places, self._typical()))

    def _is_quiet(self, visit: Visit) -> bool:
        if not visit.begun or visit.first_text:
            return False
        return time.monotonic() - max(visit.begun, self.last_text or 0) > QUIET

    def _turns(self) -> list[Visit]:
        return turns(self._waiting, self._answering, self._last)

    def _typical(self) -> float:
        return statistics.median(self._took) if self._took else FIRST_GUESS

    def _run(self) -> None:
        with self._lock:
            if not self._waiting:
                return  # whoever left has taken no thread
            visit = self._turns()[0]
            self._waiting.remove(visit)
            self._last = visit.caller.address
            self._answering.add(visit)
            visit.begun = time.monotonic()
            if visit.counted:
                self._waits.append(visit.waited)
        try:
            asyncio.run(self._converse(visit))
        except asyncio.CancelledError:
            pass  # nobody listens any more
        except Failed as failed:
            visit.said.put(failed)
        except asyncio.TimeoutError:
            visit.said.put(Failed("late"))
        except Exception as error:
            log.exception("an answer failed")
            visit.said.put(Failed("unavailable", type(error).__name__))
        finally:
            with self._lock:
                self._answering.remove(visit)

    async def _converse(self, visit: Visit) -> None:
        with self._lock:
            if visit.left:
                return
            visit.task = asyncio.current_task()
        try:
            await asyncio.wait_for(self._relay(visit), self._longest)
        finally:
            with self._lock:
                visit.task = None

    async def _relay(self, visit: Visit) -> None:
        async for part in self._answer(visit.prompt, visit.max_tokens):
            now = time.monotonic()
            if isinstance(part, Piece) or part.tokens:
                self.last_text = now
            if isinstance(part, Piece):
                visit.first_text = visit.first_text or now
            elif visit.begun and visit.counted:
                with self._lock:
                    self._took.append(now - visit.begun)
            visit.said.put(part)


def expected_wait(number: int, places: int, typical: float) -> int:
    """Seconds until the ``number``th in the queue begins, where answers take ``typical`` seconds.

    Answers that run end one after the other, each ``typical / places`` after the last.
    """
    return math.ceil(number * typical / places)
