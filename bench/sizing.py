"""What ``sizing`` reckons beside what a class then meets, on the lab: ``make sizing-check``, 15 minutes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import replace

from bench.change_impact import deploy
from lab.tables import markdown, publish
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.inventory import Target, read_inventory
from ollama_stack.load.figures import Figures
from ollama_stack.load.sizing import Speeds, expected
from ollama_stack.load.speeds import measure
from ollama_stack.reports.load import measure as hold

LAB = "inventories/lab.py"
STUDENTS, MINUTES = (12, 24), 6.0
ANSWER = 24  # tokens at most: the lab writes so slowly that six minutes of longer ones are too few to count
TOLERANCE = 0.15
HEAD = (
    *("students", "asked", "p95 wait reckoned", "measured", "ratio"),
    *("answered reckoned", "measured"),
)


def met(target: Target, students: int) -> Figures:
    """A class before the lab; SystemExit says why there was none."""
    (host,) = hold(LAB, [target], students, MINUTES, "lesson").hosts
    if not host.figures:
        raise SystemExit("; ".join(host.reasons))
    return host.figures


def rows(target: Target, settings: Settings, speeds: Speeds) -> Iterator[tuple[float, list[str]]]:
    """The ratio of the waits and a line of the table, for each class."""
    for students in STUDENTS:
        reckoned, seen = expected(students, speeds, settings), met(target, students)
        wait = seen.wait.p95 if seen.wait else 0.0
        ratio = reckoned.p95 / wait if wait else 0.0
        line = [f"{students}", f"{seen.asked}", f"{reckoned.p95:.1f} s", f"{wait:.1f} s"]
        line += [f"{ratio:.2f}", f"{1 - reckoned.refused:.0%}", f"{seen.success:.0%}"]
        yield ratio, line


def main() -> None:
    """The table into docs/benchmarks.md; SystemExit names the ratios that are off by more than 15%."""
    (target,) = read_inventory(LAB)
    own = {"ollama_cpus": os.cpu_count(), "model_num_predict": ANSWER, "app_max_answer": ANSWER}
    target = replace(target, data=target.data | own)
    settings = read_settings(target.data)
    try:
        deploy(*(f"{name}={value}" for name, value in own.items()))
        speeds = measure(target, settings)
        sys.stderr.write(f"{speeds.model_dump_json()}\n")
        found = list(rows(target, settings, speeds))
    finally:
        deploy()
    table = markdown(HEAD, [line for _, line in found])
    note = (
        f"\n{speeds.at:%Y-%m-%d}, {speeds.model}: {speeds.alone.read:.1f} tok/s read and {speeds.alone.write:.1f} "
        f"written alone, {speeds.together.read:.1f} and {speeds.together.write:.1f} each of {speeds.parallel}; "
        f"{MINUTES:g} minutes a class.\n"
    )
    publish("sizing", table + note)
    if off := [line[0] for ratio, line in found if abs(ratio - 1) > TOLERANCE]:
        raise SystemExit(f"off by more than {TOLERANCE:.0%}: {', '.join(off)} students")


if __name__ == "__main__":
    main()
