"""Every attack against the gateway of before and that of now, while somebody else asks: ``make attacks``."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import httpx

from bench.attacks import ATTACKS, Attack
from bench.clients import Outcome, open_client, quantile
from bench.rig import ROOT, Rig, earlier, rig
from bench.target import LONGEST, MODEL
from lab.tables import markdown, publish
from tests.door.conftest import bearer

BEGIN, WINDOW = 2.0, 8.0  # seconds of the attack before others ask, and in which they do
EVERY, PATIENCE = 0.5, 5.0  # seconds between two questions, and for which an answer is waited
PUPILS = 4
AIM = 0.95  # of others' requests are answered
WON: list[str] = []  # attacks against which they are not
DOOR = ROOT / "docs" / "door.md"
Ask = Callable[[httpx.AsyncClient], Awaitable[int]]


def asks(found: Rig, other: str) -> tuple[str, Ask]:
    """Where another client asks, and its request."""
    question = {"model": MODEL, "prompt": "hi", "stream": False}
    door, key = found.door, bearer("two")

    async def ask(client: httpx.AsyncClient) -> int:
        if other == "question":
            return (await client.post("/api/generate", json=question, headers=key)).status_code
        path = "/api/tags" if other == "list" else "/"
        return (await client.get(path, headers=key)).status_code

    return (f"http://127.0.0.1:{door.page}" if other == "page" else door.url), ask


async def outcome(client: httpx.AsyncClient, ask: Ask) -> Outcome:
    """One request; status 0 for one that is not answered."""
    began = time.monotonic()
    try:
        status = await asyncio.wait_for(ask(client), PATIENCE)
    except (httpx.HTTPError, asyncio.TimeoutError):
        status = 0
    return Outcome(began, time.monotonic() - began, status)


async def others(found: Rig, other: str) -> list[Outcome]:
    """What another client meets."""
    if other == "pupil":
        pupils = await asyncio.gather(*(pupil(found) for _ in range(PUPILS)))
        return [one for met in pupils for one in met]
    base, ask = asks(found, other)
    async with open_client(base) as client:
        asked = []
        for _ in range(int(WINDOW / EVERY)):
            asked.append(asyncio.create_task(outcome(client, ask)))
            await asyncio.sleep(EVERY)
        return await asyncio.gather(*asked)


async def pupil(found: Rig) -> list[Outcome]:
    """Somebody with a cookie asks, as long as the attack lasts."""
    met: list[Outcome] = []
    end = time.monotonic() + LONGEST - BEGIN
    async with open_client(f"http://127.0.0.1:{found.door.page}") as client:
        while (began := time.monotonic()) < end - PATIENCE:
            try:
                status = await asyncio.wait_for(patient(client), end - began)
            except asyncio.TimeoutError:
                status = 0
            met.append(Outcome(began, time.monotonic() - began, status))
            await asyncio.sleep(EVERY)
    return met


async def patient(client: httpx.AsyncClient) -> int:
    """Ask, and come back after Retry-After, as the page does; the last of three statuses at most.

    Where answers take longer than they did, a kept place is one second late.
    """
    for _ in range(3):
        answer = await client.post("/api/ask", json={"prompt": "hi"})
        if answer.status_code != 503:
            break
        await asyncio.sleep(int(answer.headers["Retry-After"]))
    return answer.status_code


def befall(found: Rig, attack: Attack) -> tuple[list[Outcome], dict[str, int]]:
    """The attack as a program of its own; what others met, and what it was answered."""
    command = [sys.executable, "-m", "bench.attacks", attack.name]
    for name, value in (("api", found.door.api), ("page", found.door.page)):
        command += [f"--{name}", str(value)]
    command += ["--token", bearer("one")["Authorization"].split()[1]]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:  # noqa: S603
        try:
            if program.stdout:
                program.stdout.readline()  # it has begun
            time.sleep(BEGIN)
            met = asyncio.run(others(found, attack.other))
            output, _ = program.communicate(timeout=2 * LONGEST)
        finally:
            program.kill()
    return met, json.loads(output or "{}")


def also(found: Rig, attack: Attack) -> str:
    """What else an attack does, besides keeping others from their answers."""
    log = found.door.process.log
    bodies = [body for _, _, body in found.ollama.came]
    if attack.row in ("3", "3b"):
        return f"Ollama fell {found.ollama.falls} times"
    if attack.row == "9":
        odd = sum(b"out of memory" in body or b"e+308" in body for body in bodies)
        return f"{odd} such options reached Ollama"
    if attack.row == "10":
        broken = sum(not is_json(line) for line in log.read_text().splitlines()[1:])
        return f"{broken} lines no JSON, {sum(b'other' in body for body in bodies)} wrong models"
    if attack.row == "10b":
        return f"{log.stat().st_size / 1e6:.1f} MB of log"
    return "-"


def is_json(line: str) -> bool:
    """Whether a line of the log can be read."""
    try:
        json.loads(line)
    except ValueError:
        return line.startswith("[")  # HAProxy's own words at its start
    return True


def seen(met: list[Outcome]) -> str:
    """Success and p95."""
    answered = [one.took for one in met if one.answered]
    p95 = f"{1000 * quantile(answered, 0.95):.0f} ms" if answered else "-"
    return f"{len(answered) / max(1, len(met)):.0%}, {p95}"


def rows(attacks: Iterable[Attack], folder: Path) -> Iterable[list[str]]:
    """A line for each attack, on gateways that no attack has met yet."""
    trees = [earlier(folder), ROOT]
    for attack in attacks:
        cells, peaks, more = [], [], []
        for number, tree in enumerate(trees):
            with rig(tree, folder / f"{attack.name}-{number}") as found:
                met, got = befall(found, attack)
                cells.append(seen(met))
                peaks.append(f"{found.door.process.peak / 2**20:.0f} MiB")
                more.append(also(found, attack))
            sys.stderr.write(f"{attack.name} {tree.name}: {cells[-1]}; it got {got}\n")
        if sum(one.answered for one in met) < AIM * len(met):
            WON.append(attack.name)
        yield [f"{attack.row}: {attack.what}", *cells, *peaks, *more]


def main() -> None:
    """All attacks, or those that are named; the table of all goes into docs/door.md.

    SystemExit names those that keep others from their answers.
    """
    names = sys.argv[1:]
    head = ["attack", "another client before", "now", "gateway's memory peak before", "now"]
    head += ["also, before", "now"]
    chosen = [one for one in ATTACKS if not names or one.name in names]
    with tempfile.TemporaryDirectory() as folder:
        table = markdown(head, list(rows(chosen, Path(folder))))
    sys.stdout.write(table)
    if not names:
        publish("attacks", table, DOOR)
    if WON:
        raise SystemExit(f"they still win: {', '.join(WON)}")


if __name__ == "__main__":
    main()
