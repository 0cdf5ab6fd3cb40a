"""Some hosts at a time, and no further than the first that fails."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence


def roll(names: Sequence[str], size: int, deploy: Callable[[Sequence[str]], int]) -> int:
    """The exit status of the batch that failed, else 0; ``deploy`` takes up to ``size`` hosts."""
    for start in range(0, len(names), size):
        batch = names[start : start + size]
        if code := deploy(batch):
            sys.stderr.write(f"stopped at {', '.join(batch)}; who has what now:\n")
            return code
    return 0
