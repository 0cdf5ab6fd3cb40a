"""What ``sizing`` reckons beside what a class then meets, on the lab: ``make sizing-check``, 17 minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

from bench.change_impact import deploy, run
from lab.second import LAYERS, QUICK
from lab.tables import markdown, publish
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.containers import OLLAMA
from ollama_stack.inventory import Target, read_inventory
from ollama_stack.load.figures import Figures
from ollama_stack.load.sizing import Speeds, expected
from ollama_stack.load.speeds import measure
from ollama_stack.reports.load import measure as hold

LAB = "inventories/lab.py"
STUDENTS, MINUTES = (45,), 12.0
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
    target = replace(target, data=target.data | OWN)
    settings = read_settings(target.data)
    try:
        run("lab/models.py")
        deploy(*(f"{name}={json.dumps(value)}" for name, value in OWN.items()))
        speeds = measure(target, settings)
        sys.stderr.write(f"{speeds.model_dump_json()}\n")
        found = list(rows(target, settings, speeds))
    finally:
        deploy()
        forget = ("docker", "exec", OLLAMA.name, "ollama", "rm", QUICK, settings.pristine_model)
        subprocess.run(forget, check=False)  # noqa: S603 no shell
    table = markdown(HEAD, [line for _, line in found])
    note = (
        f"\n{speeds.at:%Y-%m-%d}, {speeds.model}: {speeds.read:.1f} tok/s read ({1000 / speeds.reading(1000):.1f} where "
        f"there are 1000), {speeds.alone:.1f} written alone, {speeds.together:.1f} each of {speeds.parallel}; "
        f"{MINUTES:g} minutes a class.\n"
    )
    publish("sizing", table + note)
    if off := [line[0] for ratio, line in found if abs(ratio - 1) > TOLERANCE]:
        raise SystemExit(f"off by more than {TOLERANCE:.0%}: {', '.join(off)} students")


if __name__ == "__main__":
    main()
