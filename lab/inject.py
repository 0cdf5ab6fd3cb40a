"""A server of the lab's own meets a fault while somebody asks it: what it did, printed, and lost."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lab.fleet import MEMBERS, Member
from ollama_stack import ROOT

INVENTORY = "inventories/lab_ssh.py"
MODELS = "docker exec ollama ollama list | awk '{print $1, $2}' | sort"  # theirs is by time
TOKEN = "/opt/ollama/local-token.header"  # noqa: S105 a file's name
BODY = '{"model": "smollm2:135m", "prompt": "hi", "stream": false, "options": {"num_predict": 24}}'

Done = subprocess.CompletedProcess[str]
Act = Callable[[Member], object]


def run(*arguments: str) -> Done:
    """A command of this machine, from the project's folder."""
    return subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)  # noqa: S603 no shell


def on(member: Member, script: str) -> Done:
    """A shell line as root of a server."""
    return run("docker", "exec", member.container, "sh", "-c", script)


def must(member: Member, script: str) -> str:
    """A shell line of a server that cannot fail; its output."""
    done = on(member, script)
    if done.returncode:
        raise RuntimeError(f"{script}\n{done.stdout}{done.stderr}")
    return done.stdout


def serves(member: Member) -> bool:
    """Whether a question through its gateway is answered."""
    token = f"$(test ! -f {TOKEN} || echo --header @{TOKEN})"
    asked = f"curl -fsS --max-time 120 {token} 127.0.0.1:11434/api/generate --data '{BODY}'"
    return '"done":true' in on(member, asked).stdout


def deploying(member: Member, *data: str) -> list[str]:
    """The command that deploys to this server alone, with settings changed."""
    argv = [sys.executable, "-m", "pyinfra", "-y", INVENTORY, "deploy.py", "--limit", member.name]
    return [*argv, *(argument for pair in data for argument in ("--data", pair))]


def nothing(member: Member) -> None:
    """For a fault that needs no more."""


def until_it_serves(member: Member) -> None:
    """RuntimeError if it does not within three minutes."""
    end = time.monotonic() + 180
    while not serves(member):
        if time.monotonic() > end:
            raise RuntimeError(f"{member.name} does not come back by itself")
        time.sleep(0.5)


def both(first: Act, second: Act) -> Act:
    """One after the other."""

    def act(member: Member) -> None:
        first(member)
        second(member)

    return act


def sh(script: str) -> Act:
    """An act that is a shell line on the server."""
    return lambda member: must(member, script)


@dataclass(frozen=True)
class Fault:
    """Something done before a run, at one of its lines or after some seconds, and put right after it."""

    what: str
    seen_by: str
    repaired_by: str
    code: int = 0
    """What the run exits with; -9 is a run that was killed."""
    says: str = ""
    """In the run's words (regular expression)."""
    data: tuple[str, ...] = ()
    before: Act = nothing
    at: str | float = ""
    then: Act | None = None
    """Without it, the run itself is killed then."""
    after: Act = nothing
    host: int = 0
    """In MEMBERS."""


@dataclass
class Damage:
    """What became of it; ``wrong`` is empty if nothing was lost and the next run repaired all."""

    code: int | None = None
    output: str = ""
    interrupted: float = 0.0
    """Longest time without an answer in which a question failed, in seconds."""
    waited: float = 0.0
    """Longest time that an answered question took, in seconds."""
    wrong: list[str] = field(default_factory=list)


@contextmanager
def asked(member: Member, damage: Damage) -> Iterator[None]:
    """Somebody asks the server one question after another."""
    over = threading.Event()

    def ask() -> None:
        answered, failed = time.monotonic(), False
        while not over.is_set() or failed:
            began = time.monotonic()
            if serves(member):
                damage.waited = max(damage.waited, time.monotonic() - began)
                if failed:
                    damage.interrupted = max(damage.interrupted, time.monotonic() - answered)
                answered, failed = time.monotonic(), False
            else:
                failed = True
                time.sleep(0.2)
                if over.is_set() and time.monotonic() - answered > 300:
                    damage.wrong.append("it never answered again")
                    return

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()


def inject(fault: Fault) -> Damage:
    """A server that is as declared meets the fault in a run; then comes the next run."""
    member, damage = MEMBERS[fault.host], Damage()
    models = must(member, MODELS)
    with asked(member, damage):
        fault.before(member)
        try:
            _run(member, fault, damage)
        finally:
            fault.after(member)
        if damage.code != fault.code or not re.search(fault.says, damage.output):
            damage.wrong.append(f"the run ended with {damage.code} and said:\n{damage.output}")
        time.sleep(1)
        mending = run(*deploying(member))
    if mending.returncode:
        damage.wrong.append(f"the next run said:\n{mending.stderr}")
    now = must(member, MODELS)
    if now != models:
        damage.wrong.append(f"the models were\n{models}and are\n{now}")
    if on(
        member, "cd /opt/ollama/releases/current && cmp docker-compose.yml ../../*.yml"
    ).returncode:
        damage.wrong.append("what runs is not the current release")
    return damage


def _run(member: Member, fault: Fault, damage: Damage) -> None:
    with subprocess.Popen(  # noqa: S603 our own interpreter, no shell
        deploying(member, *fault.data),
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:

        def act() -> None:
            if fault.then:
                fault.then(member)
            elif process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

        seconds, line_to_come = (fault.at, "") if isinstance(fault.at, float) else (0.0, fault.at)
        later = threading.Timer(seconds, act if seconds else lambda: None)
        later.start()
        for line in process.stderr or ():
            damage.output += line
            if line_to_come and line_to_come in line:
                line_to_come = ""
                act()
        later.join()
    damage.code = process.returncode
