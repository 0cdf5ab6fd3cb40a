"""The kernel's own figures for a container, from cgroup v1 or v2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from tests.audit.control import Reading

# What each figure is called, in v1 (with its controller) and in v2.
FILES = {
    "memory": ("memory/memory.limit_in_bytes", "memory.max"),
    "oom": ("memory/memory.oom_control", "memory.events"),
    "cpu.stat": ("cpu/cpu.stat", "cpu.stat"),
    "pids": ("pids/pids.max", "pids.max"),
}

PERIOD = 0.1  # seconds: the kernel's default, which Docker keeps


@dataclass(frozen=True)
class Cgroup:
    """The control groups of one process."""

    cat: Callable[[str], Reading]  # the text of files, one after the other
    paths: dict[str, str]  # by controller; v2's one group by the empty name

    @classmethod
    def of(cls, proc: str, cat: Callable[[str], Reading]) -> Cgroup:
        """The groups in the text of /proc/PID/cgroup."""
        return cls(cat, parse(proc))

    @property
    def v1(self) -> bool:
        """Whether the memory controller is a v1 hierarchy of its own."""
        return "memory" in self.paths

    def read(self, figure: str) -> Reading:
        """The file that holds a figure."""
        controller, _, name = FILES[figure][0].partition("/")
        if self.v1:
            return self._cat(f"/{controller}{self.paths[controller]}/{name}")
        return self._cat(f"{self.paths['']}/{FILES[figure][1]}")

    @property
    def reservation(self) -> Reading:
        """Bytes that reclaim leaves alone: the least of memory.low up to the root; v1: its soft limit."""
        if self.v1:
            text = self._cat(f"/memory{self.paths['memory']}/memory.soft_limit_in_bytes")
            return Reading(int(text.value), text.command, text.line)
        return self._least("memory.low")

    def _least(self, name: str) -> Reading:
        """The least of a v2 figure in this group and all above it: that one holds."""
        group, groups = self.paths[""], []
        while group.strip("/"):
            groups.append(group)
            group = group.rpartition("/")[0]
        reading = self._cat(*(f"{group}/{name}" for group in groups))
        figures = [inf if line == "max" else int(line) for line in reading.value.split()]
        line = ", ".join(f"{g} {f}" for g, f in zip(groups, reading.value.split(), strict=True))
        return Reading(min(figures), reading.command, line)

    def counter(self, figure: str, name: str) -> Reading:
        """One line of a file of counters."""
        text = self.read(figure)
        line = next(line for line in text.value.splitlines() if line.split()[0] == name)
        return Reading(int(line.split()[1]), text.command, line)

    @property
    def cpus(self) -> Reading:
        """CPU limit, CPUs: quota over period."""
        if self.v1:
            path = f"/cpu{self.paths['cpu']}/cpu.cfs_"
            text = self._cat(f"{path}quota_us", f"{path}period_us")
        else:
            text = self._cat(f"{self.paths['']}/cpu.max")
        quota, period = text.value.split()
        unlimited = quota in ("-1", "max")
        return Reading(inf if unlimited else int(quota) / int(period), text.command, text.line)

    @property
    def throttled(self) -> Reading:
        """Share of the allowed CPU time that throttling took, over all periods with work to do.

        Not the share of throttled periods: a container that just touches its limit in each of them
        loses next to nothing.
        """
        periods = self.counter("cpu.stat", "nr_periods").value
        name, unit = ("throttled_time", 1e9) if self.v1 else ("throttled_usec", 1e6)
        time = self.counter("cpu.stat", name)
        share = time.value / unit / max(periods * PERIOD * self.cpus.value, PERIOD)
        return Reading(share, time.command, f"nr_periods {periods}, {time.line}")

    @property
    def swap(self) -> Reading:
        """Bytes of swap allowed beyond memory: the least up to the root, ``inf`` without a limit."""
        if not self.v1:
            return self._least("memory.swap.max")
        both = self._cat(f"/memory{self.paths['memory']}/memory.memsw.limit_in_bytes")
        return Reading(int(both.value) - int(self.read("memory").value), both.command, both.line)

    def _cat(self, *paths: str) -> Reading:
        return self.cat(" ".join(f"/sys/fs/cgroup{path}" for path in paths))


def parse(text: str) -> dict[str, str]:
    """Paths by controller, from /proc/PID/cgroup; ``""`` is v2's."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths
