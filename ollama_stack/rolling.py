"""Deploy some hosts at a time and stop at the first failure: `make deploy ROLLING=N`."""

from __future__ import annotations

import subprocess
import sys

from rich.console import Console

from ollama_stack.inventory import read_inventory
from ollama_stack.plan import EXIT, make_plan, show_plan
from ollama_stack.status import show_status


def main(size: int, inventory: str, *limit: str) -> int:
    """The exit status of the batch that failed, else 0; then which host has which release.

    A host that does not fit stops all before the first one is changed.
    """
    targets = read_inventory(inventory, limit)
    plan = make_plan(inventory, list(limit))
    code = EXIT[plan.verdict]
    if code:  # before the first host is changed
        show_plan(plan, Console(stderr=True))
        return code
    for start in range(0, len(targets), size):
        names = [target.name for target in targets[start : start + size]]
        words = [word for name in names for word in ("--limit", name)]
        command = [sys.executable, "-m", "pyinfra", "-y", inventory, "deploy.py", *words]
        code = subprocess.run(command).returncode  # noqa: S603 our own interpreter, no shell
        if code:
            sys.stderr.write(f"stopped at {', '.join(names)}; who has what now:\n")
            break
    show_status(targets, Console(stderr=True))
    return code


if __name__ == "__main__":
    if not sys.argv[1].isdigit() or not int(sys.argv[1]):
        sys.exit(
            f"ROLLING: {sys.argv[1]!r} is not understood; write how many hosts at a time, like 1"
        )
    try:
        sys.exit(main(int(sys.argv[1]), *sys.argv[2:]))
    except ValueError as error:
        sys.exit(str(error))
