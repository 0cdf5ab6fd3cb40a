"""What machines ask: is it alive, is it ready, how is it."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from threading import BoundedSemaphore, Lock

from flask import Blueprint, Response, current_app, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.queue import AnswerQueue, Chunk, Done, Failed
from app.request_context import service
from app.service import QuestionService
from app.share import Caller, Full

blueprint = Blueprint("probes", __name__)
log = logging.getLogger(__name__)

PROBE = Caller("probe")
FRESH = 60.0  # seconds that the model's last text proves readiness
PATIENCE = 5.0  # seconds that a request waits for a proof
PROBERS = 4  # requests that wait for a proof at once; the other threads are the students'


class Prober:
    """The one question that proves readiness, for all who wait for it."""

    def __init__(self, service: QuestionService) -> None:
        """It asks by the way of the students' questions."""
        self._service = service
        self._waiting = BoundedSemaphore(PROBERS)
        self._lock = Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self._probe: Future[str] | None = None

    def prove(self) -> str:
        """Ask, or wait for the question that another request has asked; why there is no proof.

        Nobody waits longer than ``PATIENCE``, while the question goes on: a model that is just being loaded
        would never be, if each request ended what the last one began.
        """
        if not self._waiting.acquire(blocking=False):
            return "others are looking"
        try:
            with self._lock:
                if not self._probe or self._probe.done():
                    self._probe = self._thread.submit(_ask, self._service)
                probe = self._probe
            return probe.result(PATIENCE)
        except TimeoutError:
            return "late"
        finally:
            self._waiting.release()


@blueprint.get("/healthz")
def healthz() -> Response:
    """Alive; touches nothing."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Ready if the model wrote something within a minute; an idle one is asked for a word."""
    queue = service().queue
    prober: Prober = current_app.extensions["prober"]
    why = "" if _fresh(queue) else prober.prove()
    age = _age(queue)
    response = jsonify(ready=_fresh(queue), seconds=None if age is None else round(age, 1), why=why)
    response.status_code = 200 if _fresh(queue) else 503
    return response


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus metrics: no prompts, nobody's name."""
    return Response(generate_latest(service().registry), content_type=CONTENT_TYPE_LATEST)


def _age(queue: AnswerQueue) -> float | None:
    return None if queue.last_text is None else time.monotonic() - queue.last_text


def _fresh(queue: AnswerQueue) -> bool:
    age = _age(queue)
    return age is not None and age < FRESH


def _ask(service: QuestionService) -> str:
    """One word from the model, by the same way as a student's answer; why none came."""
    queue = service.queue
    try:
        job = queue.enter("hi", 1, service.settings.models[0], PROBE, counted=False)
    except Full:
        return "full"
    began = time.monotonic()
    try:
        for event in queue.events(job, 1.0):
            if isinstance(event, Chunk | Done) or time.monotonic() - began > FRESH / 2:
                break
    except Failed as failed:
        service.failed(failed)
        log.warning(json.dumps({"probe": failed.code, "why": failed.why}))
        return failed.code
    finally:
        queue.leave(job)
    return "" if _fresh(queue) else "late"
