"""A class on the companion app, everybody at once: ``make load-app``.

Bounded in students and time; only to this machine's lab. Writes its table into docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass, field

import httpx

from bench.clients import quantile
from bench.gateway_load import METRICS, MISSED, PARALLEL, aim, places
from lab import plain
from lab.tables import markdown, publish

APP = "http://127.0.0.1:8080"
APP_METRICS = "http://127.0.0.1:8404/app/metrics"
STUDENTS, ROUNDS, TOKENS = 30, 3, 48
PATIENCE = 300  # seconds after which a student counts as lost
HEADERS = {"Accept": "text/event-stream"}


@dataclass
class Student:
    """What one student saw, in seconds from Enter."""

    refusals: int = 0
    first_text: float | None = None
    answered: float | None = None


@dataclass
class Watch:
    """What was seen from outside meanwhile: places at the gateway, seconds to the page's first byte."""

    flight: list[int] = field(default_factory=list)
    page: list[float] = field(default_factory=list)


def browser() -> httpx.AsyncClient:
    """A browser of its own, with cookies."""
    return plain.AsyncClient(base_url=APP, timeout=PATIENCE)


async def ask(client: httpx.AsyncClient, chance: random.Random) -> Student:
    """Ask until answered, coming back after Retry-After, as the page's script does."""
    seen, began = Student(), time.monotonic()
    body = {"prompt": "Count from one to a hundred in words.", "max_tokens": TOKENS}
    while time.monotonic() - began < PATIENCE:
        async with client.stream("POST", "/api/ask", json=body, headers=HEADERS) as reply:
            if reply.status_code == 503:
                seen.refusals += 1
                wait = int(reply.headers["Retry-After"])
            else:
                async for line in reply.aiter_lines():
                    if line == "event: text" and seen.first_text is None:
                        seen.first_text = time.monotonic() - began
                    if line == "event: done":
                        seen.answered = time.monotonic() - began
                return seen
        await asyncio.sleep(wait + chance.random() * min(wait / 2, 3))
    return seen


async def watch(seen: Watch) -> None:
    """Look at the gateway and fetch the page, over and over."""
    async with plain.AsyncClient() as metrics, browser() as reader:
        while True:
            seen.flight.append(places((await metrics.get(METRICS)).text)[0])
            start = time.monotonic()
            async with reader.stream("GET", "/") as reply:
                seen.page.append(time.monotonic() - start)
                await reply.aread()
            await asyncio.sleep(0.1)


async def round_(chance: random.Random) -> tuple[list[Student], Watch]:
    """Everybody opens the page, then presses Enter in one moment."""
    seen = Watch()
    clients = [browser() for _ in range(STUDENTS)]
    try:
        for client in clients:
            (await client.get("/")).raise_for_status()
        watcher = asyncio.create_task(watch(seen))
        students = await asyncio.gather(*(ask(client, chance) for client in clients))
        watcher.cancel()
    finally:
        for client in clients:
            await client.aclose()
    return list(students), seen


async def main() -> None:
    """Three rounds, about two minutes; SystemExit names the aims that were missed."""
    chance = random.Random(0)  # noqa: S311 no secret
    rows = []
    for number in range(1, ROUNDS + 1):
        students, seen = await round_(chance)
        answered = [s.answered for s in students if s.answered is not None]
        first = [s.first_text for s in students if s.first_text is not None]
        middle, most = statistics.median(answered), max(answered)
        refused = [s for s in students if s.refusals]
        rows.append(
            [
                *(number, len(answered), STUDENTS - len(answered), len(refused)),
                *(max(seen.flight), f"{middle:.1f} s", f"{most:.1f} s", f"{most / middle:.2f}"),
                f"{max(first) / statistics.median(first):.2f}",
                *(f"{1000 * value:.0f} ms" for value in (statistics.median(seen.page), quantile(seen.page, 0.95), max(seen.page))),
            ]
        )  # fmt: skip
        aim(len(answered) == STUDENTS, f"round {number}: {STUDENTS - len(answered)} lost")
        aim(max(seen.flight) <= PARALLEL, f"round {number}: {max(seen.flight)} in flight")
        aim(most <= 2 * middle, f"round {number}: somebody waited {most / middle:.2f} medians")
        aim(quantile(seen.page, 0.95) < 0.1, f"round {number}: the page's first byte in 100 ms")
        sys.stderr.write(json.dumps(rows[-1]) + "\n")
    head = [f"{STUDENTS} at once, round", "answered", "lost", "refused at first", "most in flight"]
    head += ["answer's end, median", "longest", "longest / median", "the same to the first word"]
    head += ["page's first byte, median", "p95", "longest"]
    publish("load-app", markdown(head, rows))
    if MISSED:
        raise SystemExit("missed: " + "; ".join(MISSED))


if __name__ == "__main__":
    asyncio.run(main())
