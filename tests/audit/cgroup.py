"""The kernel's own figures for a container, from cgroup v1 or v2."""

from __future__ import annotations

from dataclasses import dataclass

from testinfra.host import Host

# What each figure is called, in v1 (with its controller) and in v2.
FILES = {
    "memory": ("memory/memory.limit_in_bytes", "memory.max"),
    "reservation": ("memory/memory.soft_limit_in_bytes", "memory.low"),
    "oom": ("memory/memory.oom_control", "memory.events"),
    "cpu.stat": ("cpu/cpu.stat", "cpu.stat"),
}

PERIOD = 0.1  # seconds: the kernel's default, which Docker keeps


@dataclass(frozen=True)
class Cgroup:
    """The control groups of one process."""

    host: Host
    paths: dict[str, str]  # by controller; v2's one group by the empty name

    @classmethod
    def of(cls, host: Host, pid: int) -> Cgroup:
        """The groups that /proc has for a process."""
        return cls(host, parse(host.check_output("cat /proc/%s/cgroup", str(pid))))

    @property
    def v1(self) -> bool:
        """Whether the memory controller is a v1 hierarchy of its own."""
        return "memory" in self.paths

    def read(self, figure: str) -> str:
        """The file that holds a figure."""
        controller, _, name = FILES[figure][0].partition("/")
        if self.v1:
            return self._cat(f"/{controller}{self.paths[controller]}/{name}")
        return self._cat(f"{self.paths['']}/{FILES[figure][1]}")

    def counter(self, figure: str, name: str) -> int:
        """One line of a file of counters."""
        counters = dict(line.split() for line in self.read(figure).splitlines())
        return int(counters[name])

    @property
    def cpus(self) -> float:
        """CPU limit, CPUs: quota over period."""
        if self.v1:
            path = f"/cpu{self.paths['cpu']}/cpu.cfs_"
            quota, period = self._cat(f"{path}quota_us"), self._cat(f"{path}period_us")
        else:
            quota, period = self._cat(f"{self.paths['']}/cpu.max").split()
        return float("inf") if quota in ("-1", "max") else int(quota) / int(period)

    @property
    def throttled(self) -> float:
        """Share of the allowed CPU time that throttling took, over all periods with work to do.

        Not the share of throttled periods: a container that just touches its limit in each of them
        loses next to nothing.
        """
        periods = self.counter("cpu.stat", "nr_periods")
        if self.v1:
            seconds = self.counter("cpu.stat", "throttled_time") / 1e9
        else:
            seconds = self.counter("cpu.stat", "throttled_usec") / 1e6
        return seconds / max(periods * PERIOD * self.cpus, PERIOD)

    @property
    def swap(self) -> int:
        """Bytes of swap allowed beyond memory."""
        if not self.v1:
            return int(self._cat(f"{self.paths['']}/memory.swap.max").replace("max", str(2**63)))
        both = self._cat(f"/memory{self.paths['memory']}/memory.memsw.limit_in_bytes")
        return int(both) - int(self.read("memory"))

    def _cat(self, path: str) -> str:
        return str(self.host.check_output("cat %s", f"/sys/fs/cgroup{path}"))


def parse(text: str) -> dict[str, str]:
    """Paths by controller, from /proc/PID/cgroup; ``""`` is v2's."""
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    return paths
