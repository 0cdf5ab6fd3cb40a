"""The lab's servers as a cluster (inventories/lab_cluster.py) while a class asks: python -m lab.cluster.

Prints a table of what clients saw of a change and of each fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx

from lab.fleet import MEMBERS, Member
from ollama_stack import ROOT

INVENTORY = "inventories/lab_cluster.py"
HOSTS = MEMBERS[:3]
TOKEN = "LAB_CLASS_TOKEN"  # noqa: S105 the name of a variable
BODY = {"model": "smollm2:135m", "prompt": "hi", "options": {"num_predict": 8}}
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
        with httpx.Client(timeout=180, headers=header) as client:
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


def holder() -> Member:
    """The manager that has the gateway."""
    return next(member for member in HOSTS if on(member, f"{GATEWAY} | grep ."))


def bystander() -> Member:
    """One that has it not, and is not the one that the class asks."""
    return next(m for m in HOSTS[1:] if m != holder())


GATEWAY = "docker ps -q --filter label=com.docker.swarm.service.name=ollama_gateway"
LOCAL = "docker ps -q --filter label=com.docker.swarm.service.name=ollama_ollama-low"


def change() -> None:
    """Another setting of Ollama's environment, on every host."""
    value = int(time.time()) % 50 + 5
    done = deploy("--data", f"ollama_keep_alive={value}m")
    if done.returncode:
        raise RuntimeError(done.stderr)


def bad_change() -> None:
    """An image that is no Ollama: the first host's failure ends the change, and takes it back."""
    if deploy("--data", "ollama_image=haproxy:3.0.11").returncode == 0:
        raise RuntimeError("a change that cannot serve is called done")
    settled()


def killed_change() -> None:
    """The run is killed in the middle of a change; the next one finds the work done, and confirms it."""
    words = ["-m", "pyinfra", "-y", INVENTORY, "deploy.py", "--data", "ollama_keep_alive=59m"]
    started = subprocess.Popen(  # noqa: S603 our own interpreter
        [sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(15)
    started.kill()
    started.wait()
    done = deploy("--data", "ollama_keep_alive=59m")
    if done.returncode:
        raise RuntimeError(done.stderr)


def back() -> None:
    """The release before, by one word."""
    done = deploy(story="rollback.py")
    if done.returncode:
        raise RuntimeError(done.stderr)


def process_killed() -> None:
    """Ollama dies, and its host lives."""
    on(bystander(), f"docker kill $({LOCAL})")
    time.sleep(30)


def host_killed() -> None:
    """A server without the gateway loses its power for half a minute."""
    _without_power(bystander(), 30)


def host_cut_off() -> None:
    """A server's cable is out for half a minute."""
    out = "ip link set eth0 down; sleep 30; ip link set eth0 up"
    on(bystander(), f"{out}; ip route add default via 172.17.0.1")
    time.sleep(15)


def host_frozen() -> None:
    """A server takes packets and says nothing for half a minute."""
    victim = bystander()
    run("docker", "pause", victim.container)
    time.sleep(30)
    run("docker", "unpause", victim.container)
    time.sleep(15)


def gateway_host_killed() -> None:
    """The manager with the gateway loses its power for 45 seconds."""
    _without_power(holder(), 45)


def other_model() -> None:
    """A host's Ollama has lost the model, and answers that."""
    victim = bystander()
    on(victim, f"docker exec $({LOCAL}) ollama rm smollm2:135m")
    time.sleep(15)
    deploy()


def _without_power(member: Member, seconds: int) -> None:
    run("docker", "kill", member.container)
    time.sleep(seconds)
    run("docker", "start", member.container)
    time.sleep(30)


ACTS: dict[str, Callable[[], None]] = {
    "a change of Ollama's settings, host by host": change,
    "a change that cannot serve": bad_change,
    "a run that is killed in the middle of a change, and the next one": killed_change,
    "a rollback": back,
    "Ollama killed on one host": process_killed,
    "a host loses its power": host_killed,
    "a host is frozen": host_frozen,
    "a host is cut off from the others": host_cut_off,
    "a host's Ollama loses the model": other_model,
    "the gateway's host loses its power": gateway_host_killed,
}


def settled(seconds: float = 120) -> None:
    """Wait until every host has its Ollama again; TimeoutError if it does not come."""
    end = time.monotonic() + seconds
    listed = "docker service ls --format '{{.Replicas}}'"
    while True:
        counts = on(HOSTS[0], listed).split()
        if len(counts) == 3 and all(len(set(count.split("/"))) == 1 for count in counts):
            return
        if time.monotonic() > end:
            raise TimeoutError(f"the cluster does not settle: {counts}")
        time.sleep(1)


def main(chosen: list[str]) -> None:
    """The table, a row for each act; ``chosen``: words that an act's name has."""
    print("| what | questions | failed | refused | longest answer | longest silence |")  # noqa: T201
    print("|---|---|---|---|---|---|")  # noqa: T201
    for what, act in ACTS.items():
        if chosen and not any(word in what for word in chosen):
            continue
        settled()
        # Who asks a manager that dies asks the next one: a name with several addresses.
        asked = tuple(m for m in HOSTS if act != gateway_host_killed or m != holder())[:1]
        with class_at_work(where=asked) as seen:
            act()
        print(  # noqa: T201
            f"| {what} | {len(seen.rows)} | {seen.failed} | {seen.count(503)} | {seen.longest:.1f} s "
            f"| {seen.gap:.1f} s |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
