"""Admits questions to the queue, limits their rate, and records what becomes of each."""

from __future__ import annotations

import json
import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from threading import Lock

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from app.queue import AnswerQueue, Done, Event, Failed, Job
from app.settings import Settings
from app.share import Caller, Full, Refused

BEAT = 1.0  # seconds between two checks that the student is still connected
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
# What JSON does not escape and a terminal obeys: C1's controls, other lines' ends, directions of writing.
UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
log = logging.getLogger("app.questions")


class Limited(Refused):
    """The student has asked its questions of this minute; the next is welcome in ``retry_after`` seconds."""

    code = "limited"


@dataclass(frozen=True)
class RecentError:
    """A question that failed; ``at`` in UTC."""

    at: datetime
    code: str
    why: str


class QuestionService:
    """The way of every question of a student: admission, events, log, metrics."""

    def __init__(self, settings: Settings, queue: AnswerQueue) -> None:
        """A process has one service: its bounds are those of its queue."""
        self.settings = settings
        self.queue = queue
        self.recent_errors: deque[RecentError] = deque(maxlen=10)
        self.refused = 0
        self.threads = 0
        """Requests that the server takes at once; 0 where it does not say."""
        self._lock = Lock()
        # From a student's first question on; a moving window would keep every student for ever.
        self._limiter = FixedWindowRateLimiter(MemoryStorage())
        self._limit = RateLimitItemPerMinute(settings.app_questions_per_minute)
        self.registry = CollectorRegistry()
        for name, meaning, read in (
            ("in_flight", "Questions being answered", lambda: queue.in_flight),
            ("waiting", "Questions that wait", lambda: queue.waiting),
            ("pool_threads", "Threads that the pool may have", lambda: queue.places),
            ("threads", "Requests that the server takes at once", lambda: self.threads),
            ("waiting_places", "Questions that may wait", lambda: queue.waiting_places),
        ):
            Gauge(f"app_{name}", meaning, registry=self.registry).set_function(read)
        system_prompt = settings.app_system_prompt
        Info(
            "app_system_prompt",
            "The SHA-256 of what the model is told first",
            registry=self.registry,
        ).info({"sha256": sha256(system_prompt.encode()).hexdigest() if system_prompt else "none"})
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

    def ask(self, caller: Caller, prompt: str, max_tokens: int, model: str) -> Job:
        """A job in the queue, or Refused; a refused question does not count towards the rate."""
        with self._lock:
            try:
                if not self._limiter.test(self._limit, caller.name):
                    reset = self._limiter.get_window_stats(self._limit, caller.name).reset_time
                    seconds = max(1, math.ceil(reset - time.time()))
                    raise Limited(seconds, self.settings.app_questions_per_minute)
                job = self.queue.enter(prompt, max_tokens, model, caller)
            except Refused as refused:
                full = isinstance(refused, Full)
                self.refused += full
                self._outcomes.labels("refused" if full else "limited").inc()
                raise
            self._limiter.hit(self._limit, caller.name)
            return job

    def follow(self, job: Job, gone: Callable[[], bool]) -> Iterator[Event | None]:
        """The job's events to their end, or until the student is ``gone``; Failed if it fails."""
        outcome, why = "left", ""
        try:
            for event in self.queue.events(job, BEAT):
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
            self.queue.leave(job)
            self._record(job, outcome, why)

    def failed(self, failed: Failed) -> None:
        """Keep it among the last errors."""
        self.recent_errors.append(RecentError(datetime.now(timezone.utc), failed.code, failed.why))

    def _record(self, job: Job, outcome: str, why: str) -> None:
        now = time.monotonic()
        self._outcomes.labels(outcome).inc()
        time_ = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"  # as in the gateway's log
        entry: dict[str, object] = {"time": time_, "outcome": outcome}
        entry["wait_ms"] = round(1000 * job.waited)
        if job.begun:
            self._wait.observe(job.waited)
        if job.first_text:
            self._first.observe(job.first_text - job.came)
            entry["first_text_ms"] = round(1000 * (job.first_text - job.came))
        if outcome == "answered":
            self._whole.observe(now - job.came)
        entry["total_ms"] = round(1000 * (now - job.came))
        if why:
            entry["why"] = why
        if self.settings.app_log_prompts:
            entry["prompt"] = job.prompt
        line = json.dumps(entry, ensure_ascii=False)
        log.info(UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
