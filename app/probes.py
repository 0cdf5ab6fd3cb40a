"""What machines ask: is it alive, is it ready, how is it."""

from __future__ import annotations

import json
import logging
import time
from concurrent.futures import TimeoutError

from flask import Blueprint, Response, jsonify
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.desk import Desk
from app.room import Done, Failed, Piece, Room
from app.share import Caller, Full
from app.visitor import desk

blueprint = Blueprint("probes", __name__)
log = logging.getLogger(__name__)

PROBE = Caller("probe")
FRESH = 60.0  # seconds that what the model said is proof
PATIENCE = 5.0  # seconds that a look waits for a proof


@blueprint.get("/healthz")
def healthz() -> Response:
    """Alive; touches nothing."""
    return Response("ok\n", content_type="text/plain; charset=utf-8")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Ready if the model said something within a minute; an idle one is asked for a word."""
    room = desk().room
    why = "" if _fresh(room) else _look(desk())
    age = _age(room)
    response = jsonify(ready=_fresh(room), seconds=None if age is None else round(age, 1), why=why)
    response.status_code = 200 if _fresh(room) else 503
    return response


@blueprint.get("/metrics")
def metrics() -> Response:
    """Prometheus metrics: no prompts, nobody's name."""
    return Response(generate_latest(desk().registry), content_type=CONTENT_TYPE_LATEST)


def _age(room: Room) -> float | None:
    return None if room.last_text is None else time.monotonic() - room.last_text


def _fresh(room: Room) -> bool:
    age = _age(room)
    return age is not None and age < FRESH


def _look(here: Desk) -> str:
    """Ask for a proof, or wait for the one that another look asks for; why there is none.

    Nobody waits longer than ``PATIENCE``, while the question goes on: a model that is just being loaded
    would never be, if each look ended what the last one began.
    """
    if not here.lookers.acquire(blocking=False):
        return "others are looking"
    try:
        with here.probing:
            if not here.probe or here.probe.done():
                here.probe = here.prober.submit(_ask, here)
            probe = here.probe
        return probe.result(PATIENCE)
    except TimeoutError:
        return "late"
    finally:
        here.lookers.release()


def _ask(here: Desk) -> str:
    """One word from the model, by the same way as a student's answer; why none came."""
    room = here.room
    try:
        visit = room.enter("hi", 1, PROBE, counted=False)
    except Full:
        return "full"
    began = time.monotonic()
    try:
        for event in room.events(visit, 1.0):
            if isinstance(event, Piece | Done) or time.monotonic() - began > FRESH / 2:
                break
    except Failed as failed:
        here.failed(failed)
        log.warning(json.dumps({"probe": failed.code, "why": failed.why}))
        return failed.code
    finally:
        room.leave(visit)
    return "" if _fresh(room) else "late"
