"""Ours beside a stock Ollama and beside the rules of thumb as written, in turns: ``make bench-compare``.

It runs on this machine's lab for 15 minutes. With numbers of students named, it holds one round and writes nothing.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import httpx

from bench.change_impact import deploy
from bench.clients import MODEL, TOKENS, open_client, quantile
from bench.gateway_load import GATEWAY, plt, save
from lab import plain
from lab.tables import markdown, publish
from ollama_stack import ROOT
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.config.types import size_bytes
from ollama_stack.inventory import read_inventory

IMAGE = "ollama-lab/ollama:0.9.3"
STOCK, RULES = "ollama-lab-stock", "ollama-lab-rules"  # a container and a project
PORTS = {STOCK: 21435, RULES: 21436}
STUDENTS, ROUNDS = (1, 3, 10, 30), 3
FEW = 3  # students before a limit below the host's CPUs
WINDOW = 10.0  # seconds in which students ask
PATIENCE = 30.0  # seconds for which each waits for an answer
AGAIN = 2.0  # seconds until somebody who is refused without a Retry-After asks again
PLOT = "\n![Answers a minute by students](compare.svg)\n"
HEAD = (
    *("students", "server", "asked", "answered", "success", "answers a minute", "/ ours"),
    *("to the answer, p50", "p95", "/ ours"),
)


@dataclass(frozen=True)
class Met:
    """What a class met: seconds to each answer, how many questions, and how long it all took."""

    took: list[float]
    asked: int
    seconds: float

    @property
    def success(self) -> float:
        """The share of questions that were answered in time."""
        return len(self.took) / self.asked

    @property
    def rate(self) -> float:
        """Answers a minute."""
        return 60 * len(self.took) / self.seconds


async def ask(client: httpx.AsyncClient) -> bool:
    """Until it is answered: a student who is refused asks again after Retry-After."""
    options = {"num_predict": TOKENS, "temperature": 0}
    body = {"model": MODEL, "prompt": "Count.", "stream": False, "options": options}
    while True:
        try:
            answer = await client.post("/api/generate", json=body)
        except httpx.HTTPError:
            return False
        if answer.status_code not in (429, 503):
            return answer.status_code == 200 and bool(answer.json().get("eval_count"))
        await asyncio.sleep(float(answer.headers.get("Retry-After", AGAIN)))


async def hold(base: str, students: int) -> Met:
    """A class in which everybody asks at once, and again as soon as they have an answer or lose patience."""
    began, took, asked = time.monotonic(), list[float](), 0

    async def student(client: httpx.AsyncClient) -> None:
        nonlocal asked
        while (start := time.monotonic()) - began < WINDOW:
            asked += 1
            try:
                answered = await asyncio.wait_for(ask(client), PATIENCE)
            except asyncio.TimeoutError:
                continue
            if answered:
                took.append(time.monotonic() - start)
            else:
                await asyncio.sleep(AGAIN)

    async with open_client(base) as client:
        await asyncio.gather(*(student(client) for _ in range(students)))
    return Met(took, asked, time.monotonic() - began)


def run(*command: str, **environment: str) -> str:
    """What a command says; it must succeed."""
    done = subprocess.run(  # noqa: S603 no shell
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def filled(name: str, model: str) -> str:
    """Its address, once it has the model in memory."""
    run("docker", "exec", name, "sh", "-c", "until ollama list; do sleep 0.2; done")
    run("docker", "exec", name, "ollama", "pull", "--insecure", model)
    run("docker", "exec", name, "ollama", "cp", model, MODEL)
    base = f"http://127.0.0.1:{PORTS[name]}"
    body: dict[str, Any] = {"model": MODEL}
    plain.post(f"{base}/api/generate", json=body, timeout=300).raise_for_status()
    return base


@contextmanager
def stock(settings: Settings) -> Iterator[str]:
    """A container with these limits, and nothing else."""
    remove = ("docker", "rm", "--force", "--volumes", STOCK)
    run(*remove)
    options = [f"--cpus={settings.ollama_cpus:g}", f"--memory={size_bytes(settings.ollama_memory)}"]
    options += [f"--publish=127.0.0.1:{PORTS[STOCK]}:11434", IMAGE]
    try:
        run("docker", "run", "--detach", "--name", STOCK, *options)
        yield filled(STOCK, settings.model_source)
    finally:
        run(*remove)


@contextmanager
def rules(settings: Settings) -> Iterator[str]:
    """The rules of thumb, as they are written."""
    files = (f"--file=bench/rivals/rules/{name}.yml" for name in ("docker-compose", "lab"))
    compose = ("docker", "compose", "--project-name", RULES, *files)
    own = {
        "IMAGE": IMAGE,
        "PORT": str(PORTS[RULES]),
        "MEMORY": settings.ollama_memory,
        "CPUS": str(settings.ollama_cpus),
        "THREADS": str(settings.num_thread),
    }
    try:
        run(*compose, "up", "--detach", **own)
        yield filled(RULES, settings.model_source)
    finally:
        run(*compose, "down", "--volumes", **own)


def compared(settings: Settings, students: Sequence[int], rounds: int) -> list[list[object]]:
    """Lines of the table; the servers take turns, and each begins a round once."""
    found: dict[tuple[int, str], list[Met]] = {}
    with ExitStack() as stack:
        bases = {
            "stock": stack.enter_context(stock(settings)),
            "rules of thumb": stack.enter_context(rules(settings)),
            "ours": GATEWAY,
        }
        names = list(bases)
        for turn in range(rounds):
            for number in students:
                for name in names[turn % 3 :] + names[: turn % 3]:
                    met = asyncio.run(hold(bases[name], number))
                    found.setdefault((number, name), []).append(met)
                    sys.stderr.write(f"{number} at {name}: {met.success:.0%}, {met.rate:.1f}/min\n")
    return [line(number, name, found) for number in students for name in names]


def line(number: int, name: str, found: dict[tuple[int, str], list[Met]]) -> list[object]:
    """Medians of the rounds, beside ours of the same class."""

    def medians(name: str) -> list[float]:
        mets = found[number, name]
        figures = [
            (met.success, met.rate, quantile(met.took, 0.5), quantile(met.took, 0.95))
            for met in mets
        ]  # fmt: skip
        return [statistics.median(column) for column in zip(*figures, strict=True)]

    mets, ours = found[number, name], medians("ours")
    success, rate, p50, p95 = medians(name)
    asked, answered = sum(met.asked for met in mets), sum(len(met.took) for met in mets)
    return [
        *(number, name, asked, answered, f"{success:.0%}", f"{rate:.1f}", ratio(rate, ours[1])),
        *(f"{seconds:.1f} s" if seconds else "-" for seconds in (p50, p95)),
        ratio(p95, ours[3]),
    ]


def ratio(figure: float, ours: float) -> str:
    """Nothing where nobody was answered."""
    return f"{figure / ours:.2f}" if figure and ours else "-"


def note() -> str:
    """Where and when it was measured."""
    (cpu, *_) = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return (
        f"\n{date.today()}, {run('git', 'rev-parse', '--short', 'HEAD')}: {os.cpu_count()} CPUs ({cpu}), Linux "
        f"{platform.release()}, Docker {run('docker', 'version', '--format', '{{.Server.Version}}')}, "
        f"{IMAGE.rpartition('/')[2]}, {MODEL}.\n"
    )


def limited(settings: Settings, cpus: int) -> Settings:
    """The settings of the lab, deployed with this limit: its own half CPU runs no thread of ours (decision 153)."""
    parallel = min(2 * cpus, settings.ollama_num_parallel)
    own = {"ollama_cpus": cpus, "ollama_num_parallel": parallel}
    deploy(*(f"{name}={value}" for name, value in own.items()))
    return settings.model_copy(update=own)


def main() -> None:
    """Both tables and the plot; the lab is as declared afterwards."""
    few = [int(number) for number in sys.argv[1:]]
    (target,) = read_inventory("inventories/lab.py")
    settings, all_cpus = read_settings(target.data), os.cpu_count() or 1
    rounds = 1 if few else ROUNDS
    try:
        wide = compared(limited(settings, all_cpus), few or STUDENTS, rounds)
        narrow = compared(limited(settings, max(1, all_cpus - 1)), few[:1] or [FEW], rounds)
    finally:
        deploy()
    sys.stdout.write(markdown(HEAD, wide) + markdown(HEAD, narrow))
    if not few:
        publish("compare", markdown(HEAD, wide) + note() + PLOT)
        publish("compare-collapse", markdown(HEAD, narrow) + note())
        draw(wide)


def draw(rows: Sequence[Sequence[Any]]) -> None:
    """Answers a minute by students."""
    figure, axes = plt.subplots(figsize=(7, 3.5))
    for name in dict.fromkeys(row[1] for row in rows):
        mine = [row for row in rows if row[1] == name]
        axes.plot([row[0] for row in mine], [float(row[5]) for row in mine], marker="o", label=name)
    axes.set(xlabel="students who ask without pause", ylabel="answers a minute", ylim=(0, None))
    save(figure, axes, "compare.svg")


if __name__ == "__main__":
    main()
