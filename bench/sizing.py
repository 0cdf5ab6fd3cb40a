"""What ``sizing`` reckons beside what a class then meets, on the lab: ``make sizing-check``, 30 minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from statistics import fmean

from bench.change_impact import deploy, run
from lab.second import LAYERS, QUICK
from lab.tables import markdown, publish
from ollama_stack.capacity.waiting import Waits
from ollama_stack.config.settings import read_settings
from ollama_stack.containers import OLLAMA
from ollama_stack.inventory import Target, read_inventory
from ollama_stack.load import ClassHour
from ollama_stack.load.figures import Figures
from ollama_stack.load.sizing import expected
from ollama_stack.load.speeds import measure
from ollama_stack.reports.load import measure as hold

LAB = "inventories/lab.py"
# The p95 of one such class scatters by 19% in a simulation with everything equal; the mean of two by 13%.
STUDENTS, MINUTES, CLASSES = 45, 12.0, 2
# The lab's own model takes ten seconds for an answer: it has too few of them to count.
OWN = {
    "model_name": QUICK,
    "model_shape": {
        "weights": "38M",
        "layers": LAYERS,
        "embedding": 576,
        "heads": 9,
        "kv_heads": 3,
        "head_dim": 64,
        "vocabulary": 49152,
    },
}
TOLERANCE = 0.15
HEAD = (
    *("students", "asked", "p95 wait reckoned", "measured", "ratio"),
    *("answered reckoned", "measured", "CPU taken by other machines"),
)


def met(target: Target, students: int) -> Figures:
    """A class before the lab; SystemExit says why there was none."""
    (host,) = hold(LAB, [target], ClassHour(students, MINUTES, "lesson")).hosts
    if not host.figures:
        raise SystemExit("; ".join(host.reasons))
    return host.figures


@dataclass(frozen=True)
class Class:
    """One class: questions asked, p95 of the wait in seconds, shares that were answered and of stolen CPU time."""

    asked: float
    wait: float
    answered: float
    stolen: float


def stolen() -> tuple[int, int]:
    """CPU time since this machine's start that its host gave to others, and all of it, in ticks (proc_stat(5))."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[7], sum(ticks)


def held(target: Target) -> Class:
    """A class before the lab, and how it went."""
    before = stolen()
    seen = met(target, STUDENTS)
    taken, passed = (now - then for now, then in zip(stolen(), before, strict=True))
    return Class(seen.asked, seen.wait.p95 if seen.wait else 0.0, seen.success, taken / passed)


def mean(classes: Sequence[Class]) -> Class:
    """Of each figure."""
    return Class(*(fmean(figures) for figures in zip(*map(astuple, classes), strict=True)))


def row(name: str, one: Class, reckoned: Waits) -> list[str]:
    """A line of the table."""
    return [
        *(name, f"{one.asked:.0f}", f"{reckoned.p95:.1f} s", f"{one.wait:.1f} s"),
        *(f"{reckoned.p95 / one.wait:.2f}", f"{1 - reckoned.refused:.0%}", f"{one.answered:.0%}"),
        f"{one.stolen:.1%}",
    ]


def main() -> None:
    """The table into docs/benchmarks.md; SystemExit where the mean of the waits is off by more than 15%."""
    (target,) = read_inventory(LAB)
    target = replace(target, data=target.data | OWN)
    settings = read_settings(target.data)
    try:
        run("lab/models.py")
        deploy(*(f"{name}={json.dumps(value)}" for name, value in OWN.items()))
        speeds = measure(target, settings)
        sys.stderr.write(f"{speeds.model_dump_json()}\n")
        classes = [held(target) for _ in range(CLASSES)]
    finally:
        deploy()
        forget = ("docker", "exec", OLLAMA.name, "ollama", "rm", QUICK, settings.pristine_model)
        subprocess.run(forget, check=False)  # noqa: S603 no shell
    reckoned = expected(STUDENTS, speeds, settings)
    lines = [row(f"{STUDENTS}", one, reckoned) for one in classes]
    table = markdown(HEAD, [*lines, row("mean", mean(classes), reckoned)])
    note = (
        f"\n{speeds.at:%Y-%m-%d}, {speeds.model}: {speeds.read:.1f} tok/s read ({1000 / speeds.reading(1000):.1f} where "
        f"there are 1000), {speeds.alone:.1f} written alone, {speeds.together:.1f} each of {speeds.parallel}; "
        f"{MINUTES:g} minutes a class.\n"
    )
    publish("sizing", table + note)
    if abs(reckoned.p95 / mean(classes).wait - 1) > TOLERANCE:
        raise SystemExit(f"off by more than {TOLERANCE:.0%} in the mean of {CLASSES} classes")


if __name__ == "__main__":
    main()
