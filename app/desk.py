"""The desk before the waiting room: who may ask how often, and what is known of every question."""

from __future__ import annotations

import json
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from threading import BoundedSemaphore, Lock

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.room import Done, Event, Failed, Room, Visit
from app.settings import Settings
from app.share import Caller, Full, Refused

LOOKERS = 4  # who waits for one proof of readiness at once; the other threads are the students'
BEAT = 1.0  # seconds between two looks whether the student is still there
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
log = logging.getLogger("app.questions")


class Limited(Refused):
    """So many questions a minute are enough; the next is welcome in ``retry_after`` seconds."""

    code = "limited"


@dataclass(frozen=True)
class Mishap:
    """A question that failed; ``at`` in UTC."""

    at: datetime
    code: str
    why: str


class Desk:
    """Lets students in, and counts what becomes of them."""

    def __init__(self, settings: Settings, room: Room) -> None:
        """One desk a process: the bounds are those of its room."""
        self.settings = settings
        self.room = room
        self.mishaps: deque[Mishap] = deque(maxlen=10)
        self.refused = 0
        self.threads = 0
        """Requests that the server takes at once; 0 where it does not say."""
        self.probing, self.lookers = Lock(), BoundedSemaphore(LOOKERS)
        self.prober = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self.probe: Future[str] | None = None
        self._lock = Lock()
        # From a student's first question on; a moving window would keep every student for ever.
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.app_questions_per_minute)
        self.registry = CollectorRegistry()
        for name, meaning, read in (
            ("in_flight", "Questions being answered", lambda: room.in_flight),
            ("waiting", "Questions that wait", lambda: room.waiting),
            ("pool_threads", "Threads that the pool may have", lambda: room.places),
            ("threads", "Requests that the server takes at once", lambda: self.threads),
            ("waiting_places", "Questions that may wait", lambda: room.waiting_places),
        ):
            Gauge(f"app_{name}", meaning, registry=self.registry).set_function(read)
        self._outcomes = Counter(
            "app_questions", "Questions by what became of them", ["outcome"], registry=self.registry
        )
        self._wait, self._first, self._whole = (
            Histogram(f"app_{name}_seconds", meaning, buckets=SECONDS, registry=self.registry)
            for name, meaning in (
                ("wait", "From the question to its turn"),
                ("first_text", "From the question to the first text of its answer"),
                ("answer", "From the question to the end of its answer"),
            )
        )

    def ask(self, caller: Caller, prompt: str, max_tokens: int) -> Visit:
        """A place for a question, or Refused. Who finds no place has not asked."""
        with self._lock:
            try:
                if not self._limiter.test(self._limit, caller.name):
                    reset = self._limiter.get_window_stats(self._limit, caller.name).reset_time
                    seconds = max(1, math.ceil(reset - time.time()))
                    raise Limited(seconds, self.settings.app_questions_per_minute)
                visit = self.room.enter(prompt, max_tokens, caller)
            except Refused as refused:
                full = isinstance(refused, Full)
                self.refused += full
                self._outcomes.labels("refused" if full else "limited").inc()
                raise
            self._limiter.hit(self._limit, caller.name)
            return visit

    def follow(self, visit: Visit, gone: Callable[[], bool]) -> Iterator[Event | None]:
        """The visit's events to their end, or until the student is ``gone``; Failed if it fails."""
        outcome, why = "left", ""
        try:
            for event in self.room.events(visit, BEAT):
                if gone():
                    return
                if isinstance(event, Done):
                    outcome = "broken" if event.broken else "answered"
                yield event
        except Failed as failed:
            outcome, why = failed.code, failed.why
            self.failed(failed)
            raise
        finally:
            self.room.leave(visit)
            self._record(visit, outcome, why)

    def failed(self, failed: Failed) -> None:
        """Keep it among the last errors."""
        self.mishaps.append(Mishap(datetime.now(timezone.utc), failed.code, failed.why))

    def _record(self, visit: Visit, outcome: str, why: str) -> None:
        now = time.monotonic()
        self._outcomes.labels(outcome).inc()
        time_ = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"  # as in the gateway's log
        said: dict[str, object] = {"time": time_, "outcome": outcome}
        said["wait_ms"] = round(1000 * visit.waited)
        if visit.begun:
            self._wait.observe(visit.waited)
        if visit.first_text:
            self._first.observe(visit.first_text - visit.came)
            said["first_text_ms"] = round(1000 * (visit.first_text - visit.came))
        if outcome == "answered":
            self._whole.observe(now - visit.came)
        said["total_ms"] = round(1000 * (now - visit.came))
        if why:
            said["why"] = why
        if self.settings.app_log_prompts:
            said["prompt"] = visit.prompt
        log.info(json.dumps(said, ensure_ascii=False))
