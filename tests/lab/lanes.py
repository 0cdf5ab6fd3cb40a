"""Two lanes of tests side by side: servers over SSH, and this machine's own lab.

Each is one worker of pytest-xdist, and keeps its order. An ``exclusive`` test comes at the end of the
lab's lane, and waits for the end of the other. The lab's lane is the longer one: servers give way to it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LOCK = Path("/run/ollama-lab-servers.lock")
# Files whose tests make servers of their own.
SERVERS = (
    "test_acme",
    "test_bare",
    "test_built_page",
    "test_bundle",
    "test_cluster",
    "test_hosts",
    "test_monitoring",
    "test_three_commands",
    "test_variants",
    "test_vm",
)


def has_servers(nodeid: str) -> bool:
    """Whether the test belongs to the lane of servers."""
    return Path(nodeid.partition("::")[0]).stem in SERVERS


class Lanes(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """One unit of work for each lane."""

    def _split_scope(self, nodeid: str) -> str:
        return "servers" if has_servers(nodeid) else "lab"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Lanes:
    return Lanes(config, log)


@cache
def _give_way() -> int:
    return os.nice(5)


@cache
def _lock() -> IO[str]:
    """Held until the end of this worker's tests."""
    return LOCK.open("a")


def pytest_sessionfinish() -> None:
    """Another lane may have it; the process itself stays for the others."""
    _lock().close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    if getattr(item.config, "workerinput", {"workercount": 1})["workercount"] > 1:
        if has_servers(item.nodeid):
            _give_way()
            fcntl.flock(_lock(), fcntl.LOCK_SH)
        elif item.get_closest_marker("exclusive"):
            fcntl.flock(_lock(), fcntl.LOCK_EX)
    return (yield)
