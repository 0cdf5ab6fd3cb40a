"""The lab's servers as a cluster (inventories/lab_cluster.py), and a class that asks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx

from lab import plain
from lab.fleet import MEMBERS, Member
from ollama_stack import ROOT

INVENTORY = "inventories/lab_cluster.py"
# As the inventory has them. The first one has the gateway, and both first keep their disks without power.
HOSTS = MEMBERS[2::-1]
HOLDER, BYSTANDER = HOSTS[:2]
TOKEN = "LAB_CLASS_TOKEN"  # noqa: S105 the name of a variable
MODEL = "smollm2:135m"
BODY = {"model": MODEL, "prompt": "hi", "options": {"num_predict": 8}}
PAUSE = 0.5  # seconds after an answer that is none

Done = subprocess.CompletedProcess[str]


def run(*words: str) -> Done:
    """A command from the project's folder, its output kept."""
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 no shell


def on(member: Member, script: str) -> str:
    """A shell line as root of a server; its output."""
    return run("docker", "exec", member.container, "sh", "-c", script).stdout.strip()


def address(member: Member) -> str:
    """By which this machine reaches a server."""
    form = "{{.NetworkSettings.IPAddress}}"
    return run("docker", "inspect", "--format", form, member.container).stdout.strip()


def deploy(*words: str, story: str = "deploy.py") -> Done:
    """A run on the cluster."""
    return run(sys.executable, "-m", "pyinfra", "-y", INVENTORY, story, *words)


@dataclass
class Seen:
    """What a class saw: begin, seconds and status of each question (0: cut off, or no connection)."""

    rows: list[tuple[float, float, int]] = field(default_factory=list)

    def count(self, status: int) -> int:
        """Questions that ended so."""
        return sum(row[2] == status for row in self.rows)

    @property
    def failed(self) -> int:
        """Questions that were neither answered nor refused in time."""
        return sum(row[2] not in (200, 503) for row in self.rows)

    def served_after(self, moment: float) -> float:
        """Seconds from a moment until the first answer to a question that was asked after it."""
        ends = [
            begin + took for begin, took, status in self.rows if begin > moment and status == 200
        ]
        return min(ends) - moment

    @property
    def longest(self) -> float:
        """The longest that an answer took, in seconds."""
        return max((row[1] for row in self.rows if row[2] == 200), default=0.0)

    @property
    def gap(self) -> float:
        """The longest time without any answer, in seconds."""
        ends = sorted(begin + took for begin, took, status in self.rows if status == 200)
        return max((b - a for a, b in pairwise(ends)), default=0.0)


@contextmanager
def class_at_work(students: int = 5, where: tuple[Member, ...] = HOSTS[:1]) -> Iterator[Seen]:
    """Students who ask one question after another, until the block ends."""
    seen, over = Seen(), threading.Event()
    addresses = [address(member) for member in where]
    header = {"Authorization": f"Bearer {os.environ[TOKEN]}"}

    def ask(number: int) -> None:
        url = f"http://{addresses[number % len(addresses)]}:11434/api/generate"
        with plain.Client(timeout=180, headers=header) as client:
            while not over.is_set():
                begin = time.monotonic()
                try:
                    answer = client.post(url, json=BODY)
                    cut = answer.is_success and '"done":true' not in answer.text
                    status = 0 if cut else answer.status_code
                except httpx.HTTPError:
                    status = 0
                seen.rows.append((begin, time.monotonic() - begin, status))
                if status != 200:
                    time.sleep(PAUSE)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(students)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(5)
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


LOCAL = "docker ps -q --filter label=com.docker.swarm.service.name=ollama_ollama-low"


def settled(seconds: float = 300) -> None:
    """Wait until every host has its Ollama and its gateway again, and no old one has answers."""
    end = time.monotonic() + seconds
    listed = "docker service ls --format '{{.Replicas}}'"
    while True:
        counts = on(HOSTS[0], listed).split()
        if len(counts) == 2 + 2 * len(HOSTS) and all(
            len(set(count.split("/"))) == 1 for count in counts
        ):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the cluster does not settle: {counts}")
        time.sleep(1)
