"""300 reloads while four clients ask without pause, on two branches of HAProxy: ``make reloads``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.clients import quantile
from bench.target import MODEL
from lab import plain
from lab.tables import markdown, publish
from ollama_stack import ROOT
from tests.door.conftest import TOKENS, Door, bearer
from tests.door.haproxy import Process, unpacked

RELEASES = ("trixie", "sid")  # Debian's, with HAProxy 3.0 and 3.2
RELOADS, LONGEST, CLIENTS = 300, 300.0, 4  # LONGEST: seconds for all
PAUSE, PATIENCE = 0.2, 5.0  # seconds before a reload, and for which its end is waited
REST = 0.1  # seconds after a failure
BREATH = 0.01  # seconds after an answer: a token has 3000 questions in 10 s
LOADED = "Loading success"


def wrapped(binary: list[str], folder: Path) -> str:
    """A program by whose name HAProxy's master starts itself anew."""
    loader, *arguments = binary
    script = folder / "haproxy"
    script.write_text(f'#!/bin/sh\nexec {loader} --argv0 "$0" {" ".join(arguments)} "$@"\n')
    script.chmod(0o700)
    return str(script)


@dataclass
class Client:
    """Asks until ``over`` is set; every second client with a new connection each time."""

    url: str
    number: int
    over: threading.Event

    def run(self) -> list[tuple[int, float]]:
        """Statuses, 0 for none, and seconds."""
        found = []
        limits = httpx.Limits(max_keepalive_connections=self.number % 2)
        key = bearer(("one", "two")[self.number // 2])
        with plain.Client(base_url=self.url, headers=key, limits=limits, timeout=20) as client:
            while not self.over.is_set():
                began = time.monotonic()
                try:
                    body = {"model": MODEL, "prompt": "hi", "stream": False}
                    status = client.post("/api/generate", json=body).status_code
                except httpx.HTTPError:
                    status = 0
                found.append((status, time.monotonic() - began))
                time.sleep(BREATH if status == 200 else REST)
        return found


def reload(process: Process, times: int) -> int:
    """Each after the one before; how many came about in the time, and before the master ended.

    HAProxy 3.0 may say that it has loaded before its master takes the next signal.
    """
    end, done = time.monotonic() + LONGEST, 0
    with process.log.open() as log:
        while done < times and time.monotonic() < end and process.process.poll() is None:
            time.sleep(PAUSE)
            log.seek(0, os.SEEK_END)
            process.process.send_signal(signal.SIGUSR2)
            soon = time.monotonic() + PATIENCE
            while LOADED not in log.read():
                if time.monotonic() > soon:
                    break
                time.sleep(0.02)
            else:
                done += 1
    return done


def row(release: str, folder: Path) -> list[object]:
    """What clients met on one branch."""
    binary = unpacked(release)
    version = subprocess.run([*binary, "-v"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    door, over = Door(folder, TOKENS), threading.Event()
    door.process.end()
    door.process = Process([wrapped(binary, folder), "-W"], folder, door.metrics)
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(Client(door.url, one, over).run) for one in range(CLIENTS)]
            try:
                reloads = reload(door.process, RELOADS)
            finally:
                over.set()
            met = [outcome for client in clients for outcome in client.result()]
    finally:
        door.process.process.terminate()  # the master ends its workers, unless it has ended
        door.process.process.wait(20)
        door.end()
    failures = Counter(status for status, _ in met if status != 200)
    sys.stderr.write(f"{release}: master {door.process.process.returncode}, {dict(failures)}\n")
    took = [seconds for _, seconds in met]
    p95, longest = (f"{1000 * figure:.0f} ms" for figure in (quantile(took, 0.95), max(took)))
    return [version.split()[2].split("-")[0], reloads, len(met), failures.total(), p95, longest]


def main() -> None:
    """Both branches; SystemExit if a request failed."""
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for release in RELEASES:
            (Path(folder) / release).mkdir()
            rows.append(row(release, Path(folder) / release))
    table = markdown(["HAProxy", "reloads", "requests", "failed", "p95", "longest"], rows)
    sys.stdout.write(table)
    publish("reloads", table, ROOT / "docs" / "door.md")
    if any(one[1] != RELOADS or one[3] for one in rows):
        raise SystemExit("a reload or a request failed")


if __name__ == "__main__":
    main()
