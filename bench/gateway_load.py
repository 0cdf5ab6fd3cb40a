"""The gateway beside Ollama alone, under load, in one run: ``make load-gateway``.

Bounded in clients and time; only to this machine's lab. Writes tables and plots into docs/.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import httpx
import matplotlib as mpl

from bench.clients import (
    MODEL,
    Outcome,
    ask,
    closed_loop,
    open_client,
    open_loop,
    paired,
    quantile,
    settle,
)
from lab import plain
from lab.tables import markdown, publish

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "ollama-stack"
from matplotlib import pyplot as plt  # noqa: E402 the backend comes first

DOCS = Path(__file__).parents[1] / "docs"
GATEWAY = "http://127.0.0.1:11434"
METRICS = "http://127.0.0.1:8404/metrics"
PARALLEL, QUEUE = 3, 15  # profile medium
OVERLOAD = 190.0  # seconds of arrivals
BURST = 60  # clients


def direct() -> str:
    """Ollama itself, at its container's address."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    found = subprocess.run(  # noqa: S603 no shell
        ["docker", "inspect", "--format", form, "ollama"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return f"http://{found.stdout.strip()}:11434"


async def burst(base: str) -> tuple[list[Outcome], list[tuple[int, int]]]:
    """BURST questions in one moment, and what the metrics showed meanwhile."""
    seen: list[tuple[int, int]] = []

    async def watch() -> None:
        async with plain.AsyncClient() as client:
            while True:
                seen.append(places((await client.get(METRICS)).text))
                await asyncio.sleep(0.02)

    watcher = asyncio.create_task(watch())
    async with open_client(base) as client:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(ask(client, began) for _ in range(BURST)))
    watcher.cancel()
    return list(outcomes), seen


def places(metrics: str) -> tuple[int, int]:
    """In flight and waiting."""
    names = ("haproxy_server_current_sessions", "haproxy_backend_current_queue")
    found = [
        re.search(rf'^{name}\{{proxy="generations".*\}} (\d+)', metrics, re.M) for name in names
    ]
    flight, queue = (int(match[1]) if match else 0 for match in found)
    return flight, queue


MISSED: list[str] = []  # aims that this run did not reach


def aim(reached: bool, message: str) -> None:
    """Remember an aim that was missed; the run goes on."""
    if not reached:
        MISSED.append(message)


async def burst_table() -> None:
    """60 clients at once, through the gateway and straight to Ollama."""
    rows, plots = [], {}
    for name, base in (("gateway", GATEWAY), ("Ollama alone", direct())):
        await settle(base)
        outcomes, seen = await burst(base)
        answered = [o for o in outcomes if o.answered]
        refused = [o.took for o in outcomes if o.status == 503]
        plots[name] = sorted(o.took for o in answered)
        flight, queue = (max(column) for column in zip(*seen, strict=True))
        if base == GATEWAY:
            aim((flight, queue) == (PARALLEL, QUEUE), f"{flight} in flight, {queue} waiting")
            aim(len(answered) >= PARALLEL + QUEUE, f"{len(answered)} answered")
            aim(quantile(refused, 0.95) <= 0.1, "refused within 100 ms at p95")
        rows.append(
            [
                name,
                *(len(answered), len(refused), len(outcomes) - len(answered) - len(refused)),
                f"{len(answered) / BURST:.0%}",
                f"{flight} / {queue}" if base == GATEWAY else "-",
                f"{1000 * quantile(refused, 0.95):.0f} ms" if refused else "-",
                *(f"{quantile([o.wait for o in answered], share):.1f} s" for share in (0.5, 0.95)),
                f"{max(o.took for o in answered):.1f} s",
            ]
        )
    head = ["60 at once", "answered", "refused", "lost", "success", "most in flight / waiting"]
    head += ["refused within (p95)", "wait p50", "wait p95", "last answer"]
    publish("gateway-burst", markdown(head, rows))
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, times in plots.items():
        axes.step(times, range(1, len(times) + 1), where="post", label=name)
    axes.set(xlabel="seconds after Enter", ylabel="answered", title=f"{BURST} clients at once")
    save(figure, axes, "gateway-burst.svg")


def rate_of(outcomes: list[Outcome], start: float, end: float) -> float:
    """Answers per second that ended within so many seconds of the phase."""
    return len([o for o in outcomes if start <= o.came + o.took < end]) / (end - start)


async def overload_table() -> None:
    """Arrivals at twice the capacity, first through the gateway, then straight to Ollama."""
    await settle(GATEWAY)
    calm = quantile([o.took for o in await closed_loop(GATEWAY, 1, 20)], 0.95)
    busy = await closed_loop(GATEWAY, PARALLEL, 40)
    capacity = len([o for o in busy if o.answered]) / max(o.came + o.took for o in busy)
    slo = 3 * calm + QUEUE / capacity
    rows, lasts = [], dict[str, float]()
    figure, axes = plt.subplots(figsize=(8, 4))
    for name, base in (("gateway", GATEWAY), ("Ollama alone", direct())):
        outcomes = await open_loop(base, 2 * capacity, OVERLOAD, patience=slo + 5)
        await settle(base)
        good = [o for o in outcomes if o.answered and o.took <= slo]
        answered = [o for o in outcomes if o.answered]
        refused = [o for o in outcomes if o.status == 503]
        goodput = rate_of(good, 0, OVERLOAD) / capacity
        lasts[name] = rate_of(good, OVERLOAD - 60, OVERLOAD) / capacity
        rows.append(
            [
                *(name, len(outcomes), len(answered), len(refused)),
                len(outcomes) - len(answered) - len(refused),
                f"{len(good) / len(outcomes):.0%}",
                *(f"{goodput:.2f}", f"{lasts[name]:.2f}"),
                *(f"{quantile([o.wait for o in answered], share):.1f} s" for share in (0.5, 0.95)),
            ]
        )
        starts = range(0, int(OVERLOAD), 10)
        shares = [rate_of(good, start, start + 10) / capacity for start in starts]
        axes.step([start + 10 for start in starts], shares, where="pre", label=name)
    head = [f"twice {capacity:.2f} requests/s", "came", "answered", "refused", "unanswered"]
    head += ["within SLO", "goodput / capacity", "the same, last minute", "wait p50", "wait p95"]
    note = f"\nCapacity {capacity:.2f} requests/s (3 clients that ask without pause), calm p95 {calm:.2f} s, SLO {slo:.1f} s.\n"
    publish("gateway-overload", markdown(head, rows) + note)
    through, alone = lasts["gateway"], lasts["Ollama alone"]
    aim(through >= 0.9 and through >= 3 * alone, f"goodput {through:.2f} against {alone:.2f}")
    axes.set(xlabel="seconds", ylabel="goodput / capacity", ylim=(0, None))
    axes.set_title("Arrivals at twice the capacity")
    save(figure, axes, "gateway-overload.svg")


async def version(client: httpx.AsyncClient) -> float:
    """Milliseconds of the shortest request."""
    start = time.monotonic()
    (await client.get("/api/version")).raise_for_status()
    return 1000 * (time.monotonic() - start)


async def rate(client: httpx.AsyncClient) -> float:
    """Tokens per second of one answer, on the client's clock."""
    start = time.monotonic()
    options = {"num_predict": 64, "temperature": 0}
    body = {"model": MODEL, "prompt": "Count.", "stream": False, "options": options}
    answer = (await client.post("/api/generate", json=body)).raise_for_status().json()
    return float(answer["eval_count"]) / (time.monotonic() - start)


async def calm_table() -> None:
    """What the gateway costs when nobody waits: pairs, one after the other."""

    await settle(GATEWAY)
    bases = GATEWAY, direct()
    through, straight = (statistics.median(times) for times in await paired(bases, version, 500))
    fast, plain = (statistics.median(rates) for rates in await paired(bases, rate, 15))
    head = ["nobody waits", "gateway", "Ollama alone", "cost"]
    rows = [
        ["`/api/version`, median of 500 pairs", f"{through:.2f} ms", f"{straight:.2f} ms", f"{through - straight:+.2f} ms"],
        ["tokens per second, median of 15 pairs", f"{fast:.1f}", f"{plain:.1f}", f"x {fast / plain:.3f}"],
    ]  # fmt: skip
    publish("gateway-calm", markdown(head, rows))
    aim(through - straight < 2, "2 ms added at most")
    aim(fast / plain >= 0.98, "0.98 of the tokens per second")


def save(figure: plt.Figure, axes: plt.Axes, name: str) -> None:
    """A plot into docs/, the same bytes for the same figures."""
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(DOCS / name, metadata={"Date": None})


async def main() -> None:
    """All three, about ten minutes; SystemExit names the aims that were missed."""
    for part in (calm_table, burst_table, overload_table):
        sys.stderr.write(f"{part.__doc__}\n")
        await part()
    if MISSED:
        raise SystemExit("missed: " + "; ".join(MISSED))


if __name__ == "__main__":
    asyncio.run(main())
