"""How long deploys over SSH take, bare and without a change, on one host and several: ``make deploy-times``.

Real Debian servers of the lab's own; bounded in hosts and runs. Writes its tables into docs/benchmarks.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.fleet import MEMBERS, Member
from lab.tables import markdown, publish
from ollama_stack import ROOT

FLEETS, ROUNDS = (1, 3, 6), 3
PARTS = {
    "packages": ("Docker | Install", "Docker | Have Compose"),
    "images": ("Release | Stage what is declared",),
    "model": ("Model | Pull the model",),
    "smoke": ("Smoke | ",),
}
INVENTORY = """low = [(name, {{
    "ssh_hostname": "127.0.0.1", "ssh_port": port, "ssh_user": "ops", "ollama_cpus": 1.0,
    "ssh_key": "~/.cache/ollama-stack/lab-hosts/key",
    "ssh_known_hosts_file": "~/.cache/ollama-stack/lab-hosts/known_hosts",
}}) for name, port in {hosts!r}]
"""


def pyinfra(*arguments: str | Path) -> Iterator[tuple[float, str]]:
    """The lines of a run with the seconds they came after; RuntimeError if it fails."""
    began, lines = time.monotonic(), []
    with subprocess.Popen(  # noqa: S603 our own interpreter, no shell
        [sys.executable, "-m", "pyinfra", "-y", *arguments],
        cwd=ROOT,
        env=os.environ | {"HOSTS": str(len(MEMBERS))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr or ():
            lines.append(line)
            yield time.monotonic() - began, line
    if process.returncode:
        raise RuntimeError("".join(lines))


def parts(lines: list[tuple[float, str]]) -> dict[str, float]:
    """Seconds of each of PARTS, and of the rest, by the operations' first lines."""
    marks = [(at, line) for at, line in lines if line.startswith("--> ")]
    spent = dict.fromkeys((*PARTS, "rest"), 0.0)
    spent["rest"] = marks[0][0]
    for (at, line), (after, _) in zip(marks, [*marks[1:], lines[-1]], strict=True):
        part = next(
            (name for name, patterns in PARTS.items() if any(w in line for w in patterns)), "rest"
        )
        spent[part] += after - at
    return spent


@contextmanager
def servers() -> Iterator[None]:
    """All of them, bare; gone afterwards."""
    remove()
    try:
        list(pyinfra("inventories/lab.py", "lab/hosts.py"))
        yield
    finally:
        remove()


def remove() -> None:
    """Also those that a killed run has left."""
    for member in MEMBERS:
        command = ["docker", "rm", "--force", "--volumes", member.container]
        subprocess.run(command, capture_output=True)  # noqa: S603 no shell


def inventory(folder: Path, members: tuple[Member, ...]) -> Path:
    """An inventory of these; its group is its file's name."""
    path = folder / "lab_ssh.py"
    path.write_text(INVENTORY.format(hosts=[(member.name, member.port) for member in members]))
    return path


def again(fleet: Path) -> tuple[float, float]:
    """Seconds of a run without a change, median of ROUNDS: without the smoke, and the smoke."""
    runs = [parts(list(pyinfra(fleet, "deploy.py"))) for _ in range(ROUNDS)]
    smoke = statistics.median(run["smoke"] for run in runs)
    return statistics.median(sum(run.values()) - run["smoke"] for run in runs), smoke


def main() -> None:
    """All of it, about ten minutes."""
    with tempfile.TemporaryDirectory() as name, servers():
        folder = Path(name)
        bare = parts(list(pyinfra(inventory(folder, MEMBERS[:1]), "deploy.py")))
        list(pyinfra(inventory(folder, MEMBERS), "deploy.py"))
        runs = [again(inventory(folder, MEMBERS[:size])) for size in FLEETS]
    rows = [(part, f"{seconds:.1f}") for part, seconds in bare.items()]
    total = ("to a verified answer", f"{sum(bare.values()):.1f}")
    publish("deploy-bare", markdown(["one bare Debian 12 host", "seconds"], [*rows, total]))
    table = [
        ("seconds without the smoke", *(f"{rest:.1f}" for rest, _ in runs)),
        ("times one host's", *(f"{rest / runs[0][0]:.2f}" for rest, _ in runs)),
        ("seconds of the smoke", *(f"{smoke:.1f}" for _, smoke in runs)),
    ]
    head = [
        f"a run without a change, median of {ROUNDS}",
        *(f"{size} host{'s' * (size > 1)}" for size in FLEETS),
    ]
    publish("deploy-again", markdown(head, table))


if __name__ == "__main__":
    main()
