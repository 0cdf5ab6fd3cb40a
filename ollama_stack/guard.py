"""What `make deploy` refuses before pyinfra connects to anybody: INVENTORY [LIMIT]."""

from __future__ import annotations

import sys

from ollama_stack.inventory import limited, missing_keys, read_inventory
from ollama_stack.rules import run_faults

if __name__ == "__main__":
    path, limit = sys.argv[1], sys.argv[2:]
    try:
        everybody = read_inventory(path)
        targets = limited(path, everybody, limit)
    except ValueError as error:
        sys.exit(str(error))
    wrong = run_faults(
        {target.name: (target.groups, target.data) for target in targets},
        (group for target in everybody for group in target.groups),
        path,
    )
    for name, reasons in missing_keys(targets).items():
        wrong[name] = wrong.get(name, []) + reasons
    lines = [f"    {name}: {reason}" for name, reasons in wrong.items() for reason in reasons]
    sys.exit("refused, nothing was changed:\n" + "\n".join(lines) if lines else None)
