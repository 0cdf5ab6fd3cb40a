"""What clients see of a change, while they ask without pause: ``make load-change``.

Bounded in clients and time; only to this machine's lab. Writes its table into docs/benchmarks.md.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
from itertools import pairwise

from bench.clients import Outcome, closed_loop
from lab.tables import markdown, publish
from ollama_stack import ROOT

GATEWAY = "http://127.0.0.1:11434"
CLIENTS, SECONDS, CALM = 5, 40.0, 5.0
CHANGES = {
    "nothing": (),
    "the gateway's settings, loaded in place": ("gateway_answer_timeout=14m",),
    "the model's parameters, set in place": ("model_num_predict=900",),
    "a new Ollama container": ("ollama_keep_alive=6m",),
    "a new gateway container": ("gateway_metrics_port=8406",),
}


def deploy(*data: str) -> None:
    """deploy.py with settings changed; RuntimeError if it fails."""
    run("deploy.py", *data)


def run(program: str, *data: str) -> None:
    """A program of pyinfra's on the lab; RuntimeError if it fails."""
    options = [argument for pair in data for argument in ("--data", pair)]
    command = [sys.executable, "-m", "pyinfra", "-y", "inventories/lab.py", program, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 no shell
    if done.returncode:
        raise RuntimeError(done.stderr)


async def during(data: tuple[str, ...]) -> list[Outcome]:
    """What CLIENTS saw from CALM seconds before a deploy on."""
    clients = asyncio.create_task(closed_loop(GATEWAY, CLIENTS, SECONDS))
    await asyncio.sleep(CALM)
    await asyncio.to_thread(deploy, *data)
    return await clients


def row(name: str, outcomes: list[Outcome]) -> tuple[object, ...]:
    """Requests, failures, and the longest time without an answer."""
    failed = [outcome for outcome in outcomes if not outcome.answered]
    ends = sorted(outcome.came + outcome.took for outcome in outcomes if outcome.answered)
    gap = max(after - before for before, after in pairwise(ends))
    median = statistics.median(outcome.took for outcome in outcomes if outcome.answered)
    longest = max(outcome.took for outcome in outcomes if outcome.answered)
    return (
        *(name, len(outcomes), len(failed), f"{1 - len(failed) / len(outcomes):.1%}"),
        *(f"{gap:.1f} s", f"{median:.1f} s", f"{longest:.1f} s"),
    )


def main() -> None:
    """All of it, about six minutes; the lab is as declared afterwards."""
    rows = []
    try:
        for name, data in CHANGES.items():
            rows.append(row(name, asyncio.run(during(data))))
            deploy()
    finally:
        deploy()
    head = [
        "the change",
        "requests",
        "failed",
        "success",
        "longest gap",
        "median answer",
        "longest",
    ]
    publish("load-change", markdown(head, rows))


if __name__ == "__main__":
    main()
