"""What packages say of themselves is read once, by a process whose forks ask for it forty times each.

gevent asks at every step of its patching who listens, and pyinfra at every inventory which connectors there are.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache

STEPS = ("will_patch_all", "will_patch_module", "did_patch_module", "did_patch_builtins")

importlib.metadata.entry_points = cache(importlib.metadata.entry_points)  # type: ignore[assignment]
for group in ("pyinfra.connectors", *(f"gevent.plugins.monkey.{step}" for step in STEPS)):
    importlib.metadata.entry_points(group=group)
