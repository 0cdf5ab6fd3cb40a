"""What a host's containers take while a class asks: read over the road of ``status``, beside the class."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

from pydantic import BaseModel

from ollama_stack.config.settings import Settings
from ollama_stack.facts.memory import Wanted
from ollama_stack.facts.now import Load, OllamaLoad, Places
from ollama_stack.inventory import Target
from ollama_stack.reports.status import look_at

EVERY = 2.0  # seconds between the end of a look and the next one


class Moment(BaseModel, frozen=True):
    """What a look found, so many seconds after the start; None for what the host did not say."""

    at: float
    cpus: float | None = None
    throttled: float | None = None
    """Share of the allowed CPU time."""
    memory: int | None = None
    """Bytes."""
    killed: int | None = None
    """Processes killed for memory since the container's start."""
    flight: int | None = None
    waiting: int | None = None


@contextmanager
def watched(target: Target, settings: Settings) -> Iterator[list[Moment]]:
    """The moments of all that is done meanwhile; a look that fails is none."""
    moments, over, began = list[Moment](), Event(), time.monotonic()
    asked: list[Wanted] = [(OllamaLoad, {})]
    if settings.gateway_enabled:
        port, page = settings.gateway_metrics_port, settings.app_enabled
        asked += [(Places, {"port": port, "page": page})]

    def look() -> None:
        while not over.wait(EVERY):
            with suppress(ValueError):
                at, found = time.monotonic() - began, look_at(target, asked)
                moments.append(_moment(at, settings, found.get(OllamaLoad), found.get(Places)))

    watcher = Thread(target=look)
    watcher.start()
    try:
        yield moments
    finally:
        over.set()
        watcher.join()


def _moment(
    at: float, settings: Settings, load: Load | None, places: tuple[int, int] | None
) -> Moment:
    flight, waiting = places or (None, None)
    moment = Moment(at=at, flight=flight, waiting=waiting)
    if not load:
        return moment
    taken = {"cpus": load.cpus, "throttled": load.throttled_seconds / settings.ollama_cpus}
    return moment.model_copy(update=taken | {"memory": load.memory, "killed": load.killed})
