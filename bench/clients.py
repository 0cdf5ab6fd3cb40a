"""Clients as load: closed and open loops of questions that never give up."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx

from lab import plain

MODEL = "smollm2:135m"
TOKENS = 24  # of an answer


@dataclass(frozen=True)
class Outcome:
    """One request: when it came (seconds into the phase), how long it took, its status."""

    came: float
    took: float
    status: int
    wait: float = 0.0

    @property
    def answered(self) -> bool:
        """Whether there was an answer with text."""
        return self.status == 200


async def ask(client: httpx.AsyncClient, began: float) -> Outcome:
    """One question; the wait is what Ollama did not spend on it."""
    options = {"num_predict": TOKENS, "temperature": 0}
    body = {"model": MODEL, "prompt": "Count.", "stream": False, "options": options}
    start = time.monotonic()
    try:
        answer = await client.post("/api/generate", json=body)
        metrics = answer.json()
    except (httpx.HTTPError, ValueError):
        return Outcome(start - began, time.monotonic() - start, 0)
    took = time.monotonic() - start
    spent = (
        sum(metrics.get(f"{part}_duration", 0) for part in ("load", "prompt_eval", "eval")) / 1e9
    )
    status = answer.status_code if answer.status_code != 200 or metrics.get("eval_count") else 0
    return Outcome(start - began, took, status, max(0.0, took - spent))


def open_client(base: str) -> httpx.AsyncClient:
    """Clients that never give up, each with a connection of its own."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return plain.AsyncClient(base_url=base, timeout=None, limits=limits)


async def closed_loop(base: str, clients: int, seconds: float) -> list[Outcome]:
    """So many clients that ask again as soon as they are answered, or a moment after a failure."""
    began = time.monotonic()

    async def one(client: httpx.AsyncClient) -> list[Outcome]:
        outcomes = []
        while time.monotonic() - began < seconds:
            outcomes.append(await ask(client, began))
            if not outcomes[-1].answered:
                await asyncio.sleep(0.5)  # a person, or a library, does not try again at once
        return outcomes

    async with open_client(base) as client:
        found = await asyncio.gather(*(one(client) for _ in range(clients)))
    return [outcome for outcomes in found for outcome in outcomes]


async def open_loop(base: str, rate: float, seconds: float, patience: float) -> list[Outcome]:
    """Arrivals at a rate, whatever becomes of the ones before; ``patience`` seconds after the last.

    Who has no answer then is counted with status 0.
    """
    chance = random.Random(0)  # noqa: S311 no secret: the same arrivals for both
    began = time.monotonic()
    tasks: list[tuple[float, asyncio.Task[Outcome]]] = []
    async with open_client(base) as client:
        while (now := time.monotonic() - began) < seconds:
            tasks.append((now, asyncio.create_task(ask(client, began))))
            await asyncio.sleep(chance.expovariate(rate))
        await asyncio.wait([task for _, task in tasks], timeout=patience)
        ended = time.monotonic() - began
        for _, task in tasks:
            task.cancel()
        return [
            task.result()
            if task.done() and not task.cancelled()
            else Outcome(came, ended - came, 0)
            for came, task in tasks
        ]


async def paired(
    bases: Sequence[str], measure: Callable[[httpx.AsyncClient], Awaitable[float]], pairs: int
) -> list[list[float]]:
    """The measure at each base, in turns, over one connection to each."""
    found: list[list[float]] = [[] for _ in bases]
    limits = httpx.Limits(max_connections=1)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                plain.AsyncClient(base_url=base, timeout=300, limits=limits)
            )
            for base in bases
        ]
        for _ in range(pairs):
            for times, client in zip(found, clients, strict=True):
                times.append(await measure(client))
    return found


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which so large a share lies; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def settle(base: str) -> None:
    """Until the server answers one question at once again."""
    async with open_client(base) as client:
        while (await ask(client, time.monotonic())).took > 5:
            pass
