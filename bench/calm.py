"""What the door costs when nobody waits, before a double of Ollama: ``make calm``."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx

from bench.clients import paired
from lab.tables import markdown, publish
from ollama_stack import ROOT
from tests.door.conftest import TOKENS, Door, bearer, question

PAIRS, ANSWERS, LENGTH = 200, 10, 200  # tokens of each of so many streamed answers
TALK = [{"role": ("user", "assistant")[n % 2], "content": f"word {n} " * 8} for n in range(400)]
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a question": ("/api/generate", question()),
    "a question of 100K": ("/api/generate", question(prompt="x" * 100_000)),
    "400 messages": (
        "/api/chat",
        {"model": question()["model"], "messages": TALK, "stream": False},
    ),
}
KEY = bearer("one")
Measure = Callable[[httpx.AsyncClient], Awaitable[float]]


def latency(path: str, body: dict[str, Any]) -> Measure:
    """Milliseconds of a request with this body."""

    async def measure(client: httpx.AsyncClient) -> float:
        began = time.monotonic()
        (await client.post(path, json=body, headers=KEY)).raise_for_status()
        return 1000 * (time.monotonic() - began)

    return measure


async def rate(client: httpx.AsyncClient) -> float:
    """Tokens a second of a streamed answer, on the client's clock."""
    body, came = question(prompt="for ever", stream=True), 0
    began = time.monotonic()
    async with client.stream("POST", "/api/generate", json=body, headers=KEY) as answer:
        async for part in answer.aiter_raw():
            came += part.count(b"\n")
            if came >= LENGTH:
                break
    return came / (time.monotonic() - began)


async def rows(bases: tuple[str, str]) -> list[list[str]]:
    """One for each body, and one for the stream; ``bases``: the door, and the double behind it."""
    found = []
    for name, (path, body) in BODIES.items():
        through, straight = map(statistics.median, await paired(bases, latency(path, body), PAIRS))
        found.append(
            [name, f"{through:.2f} ms", f"{straight:.2f} ms", f"{through - straight:+.2f} ms"]
        )
    fast, plain = map(statistics.median, await paired(bases, rate, ANSWERS))
    found.append(["tokens a second", f"{fast:.1f}", f"{plain:.1f}", f"x {fast / plain:.3f}"])
    return found


def measured(bases: tuple[str, str]) -> list[list[str]]:
    """The rows, in a process of the clients' own."""
    return asyncio.run(rows(bases))


def main() -> None:
    """The table of all, into docs/door.md."""
    with tempfile.TemporaryDirectory() as folder:
        door = Door(Path(folder), TOKENS)
        try:
            bases = door.url, f"http://127.0.0.1:{door.ollama.server_port}"
            # The double has a process of its own, as Ollama has: one interpreter runs one thread at a time.
            with ProcessPoolExecutor(1, get_context("fork")) as pool:
                found = pool.submit(measured, bases).result()
        finally:
            door.end()
    table = markdown(["nobody waits", "through the door", "straight", "cost"], found)
    sys.stdout.write(table)
    publish("calm", table, ROOT / "docs" / "door.md")


if __name__ == "__main__":
    main()
