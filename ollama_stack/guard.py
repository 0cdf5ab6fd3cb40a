"""What `make deploy` refuses before pyinfra connects to anybody: INVENTORY [LIMIT]."""

from __future__ import annotations

import sys

from ollama_stack.inventory import missing_keys, read_inventory
from ollama_stack.rules import faults, file_faults

if __name__ == "__main__":
    try:
        hosts = read_inventory(sys.argv[1], sys.argv[2:])
    except ValueError as error:
        sys.exit(str(error))
    wrong = file_faults(group for host in hosts for group in host.groups)
    keys = missing_keys(hosts)
    wrong |= {h.name: faults(h.groups, h.data) + keys.get(h.name, []) for h in hosts}
    lines = [f"    {name}: {reason}" for name, reasons in wrong.items() for reason in reasons]
    sys.exit("refused, nothing was changed:\n" + "\n".join(lines) if lines else None)
