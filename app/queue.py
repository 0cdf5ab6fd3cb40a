"""The queue of questions: a bounded number is answered at once, a bounded number waits."""

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

QUIET = 20.0  # seconds without text for anybody, after which the page says so
FIRST_GUESS = 10.0  # seconds of an answer, before one is known


class Failed(Exception):
    """There is no answer, or no more of it: ``busy``, ``late`` or ``unavailable``."""

    def __init__(self, code: str, why: str = "") -> None:
        """``why`` is for whoever runs the server."""
        super().__init__(code)
        self.code, self.why = code, why


@dataclass(frozen=True)
class Position:
    """A position in the queue (1 is next), and about how many seconds it will wait."""

    number: int
    seconds: int


@dataclass(frozen=True)
class Quiet:
    """The model has the question, and has written nothing to anybody for ``QUIET`` seconds."""


@dataclass(frozen=True)
class Chunk:
    """A part of the answer."""

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


Answer = Callable[[str, int, str], AsyncIterator[Chunk | Done]]  # prompt, longest answer, model
Event = Position | Quiet | Chunk | Done


@dataclass(eq=False)
class Job:
    """One question: it waits, it is answered, or its student leaves."""

    prompt: str
    max_tokens: int
    model: str
    caller: Caller = NOBODY
    counted: bool = True
    """Whether the class's statistics count its times."""
    came: float = field(default_factory=time.monotonic)
    begun: float | None = None
    first_text: float | None = None
    left: bool = False
    task: asyncio.Task[None] | None = None
    output: SimpleQueue[Chunk | Done | Failed] = field(default_factory=SimpleQueue)

    @property
    def waited(self) -> float:
        """Seconds before its turn came."""
        return (self.begun or time.monotonic()) - self.came


class AnswerQueue:
    """Questions in a fair order; one thread answers each, and the pool bounds the threads."""

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
        self._waiting: list[Job] = []
        self._answering: set[Job] = set()
        self._took: deque[float] = deque(maxlen=20)
        self._waits: deque[float] = deque(maxlen=50)
        self._last = ""
        self.last_text: float | None = None
        """When the model last wrote something, on time.monotonic's clock."""

    @property
    def places(self) -> int:
        """Threads that the pool may have, as the pool itself has it."""
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
        self,
        prompt: str,
        max_tokens: int,
        model: str,
        caller: Caller = NOBODY,
        counted: bool = True,
    ) -> Job:
        """A job that waits from now on; AtOnce or Full if there is no place for it."""
        job = Job(prompt, max_tokens, model, caller, counted)
        with self._lock:
            inside = [one.caller for one in (*self._waiting, *self._answering)]
            step = self._typical() / self.places
            longest = LONGEST_RETRY if self._took else FIRST_GUESS
            self._admission.admit(caller, inside, self._clock(), step, longest)
            self._waiting.append(job)
            self._pool.submit(self._run)
        return job

    def leave(self, job: Job) -> None:
        """Free the job's place for the next one; a finished job has none."""
        with self._lock:
            job.left = True
            if job in self._waiting:
                self._waiting.remove(job)
            if job.task:
                job.task.get_loop().call_soon_threadsafe(job.task.cancel)

    def events(self, job: Job, beat: float) -> Iterator[Event | None]:
        """The job's events as they come, and None after every ``beat`` seconds without one.

        Failed if it fails. A caller that stops before the end has to ``leave``.
        """
        last: Event | None = None
        patience = 0.05  # only a student who has to wait gets a position
        while True:
            try:
                event = job.output.get(timeout=patience)
            except Empty:
                position, patience = self._position(job), beat
                event_now: Event | None = position or (Quiet() if self._is_quiet(job) else None)
                yield event_now if event_now != last else None
                last = event_now
                continue
            if isinstance(event, Failed):
                raise event
            yield event
            if isinstance(event, Done):
                return

    def _position(self, job: Job) -> Position | None:
        with self._lock:
            if job not in self._waiting:
                return None
            number = self._turns().index(job) + 1
            return Position(number, expected_wait(number, self.places, self._typical()))

    def _is_quiet(self, job: Job) -> bool:
        if not job.begun or job.first_text:
            return False
        return time.monotonic() - max(job.begun, self.last_text or 0) > QUIET

    def _turns(self) -> list[Job]:
        return turns(self._waiting, self._answering, self._last)

    def _typical(self) -> float:
        """Seconds of an answer: of the last ones, or as long as those that run already take."""
        now = time.monotonic()
        run = [now - job.begun for job in self._answering if job.begun]
        known = statistics.median(self._took) if self._took else FIRST_GUESS
        return max(known, statistics.median(run) if run else 0.0)

    def _run(self) -> None:
        with self._lock:
            if not self._waiting:
                return  # whoever left has taken no thread
            job = self._turns()[0]
            self._waiting.remove(job)
            self._last = job.caller.address
            self._answering.add(job)
            job.begun = time.monotonic()
            if job.counted:
                self._waits.append(job.waited)
        try:
            asyncio.run(self._converse(job))
        except asyncio.CancelledError:
            pass  # nobody listens any more
        except Failed as failed:
            job.output.put(failed)
        except asyncio.TimeoutError:
            job.output.put(Failed("late"))
        except Exception as error:
            log.exception("an answer failed")
            job.output.put(Failed("unavailable", type(error).__name__))
        finally:
            with self._lock:
                self._answering.remove(job)

    async def _converse(self, job: Job) -> None:
        with self._lock:
            if job.left:
                return
            job.task = asyncio.current_task()
        try:
            await asyncio.wait_for(self._relay(job), self._longest)
        finally:
            with self._lock:
                job.task = None

    async def _relay(self, job: Job) -> None:
        async for part in self._answer(job.prompt, job.max_tokens, job.model):
            now = time.monotonic()
            if isinstance(part, Chunk) or part.tokens:
                self.last_text = now
            if isinstance(part, Chunk):
                job.first_text = job.first_text or now
            elif job.begun and job.counted:
                with self._lock:
                    self._took.append(now - job.begun)
            job.output.put(part)


def expected_wait(number: int, places: int, typical: float) -> int:
    """Seconds until the ``number``th in the queue begins, where answers take ``typical`` seconds.

    Answers that run end one after the other, each ``typical / places`` after the last.
    """
    return math.ceil(number * typical / places)
