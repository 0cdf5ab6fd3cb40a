"""The host: its clock, its disk, and whether it wants to start anew."""

from __future__ import annotations

import shlex

from tests.audit.control import Finding, Unreadable, control
from tests.audit.live import DATE, Live

CLOCK = 5  # seconds: what logs of several hosts can still be read side by side with
HEADROOM = 2 * 2**30  # bytes: an image or a model more, as at the next deploy


@control(
    "OLS-1001",
    "The clock is right",
    "medium",
    "RFC 5905",
    "install an NTP client, such as systemd-timesyncd",
)
def test_the_clock_is_right(live: Live) -> Finding:
    """Logs, certificates and tokens are read by the clock."""
    output = live.ask(DATE)
    there = float(output.text)
    before, after = output.asked
    off = max(before - there, there - after, 0)
    return output.reading(there, output.text).meets(
        f"within {CLOCK} s of the auditor's", off <= CLOCK, f"{off:.1f} s off", steady=False
    )


@control(
    "OLS-1002",
    "The disk has room for the next deploy",
    "high",
    "df(1)",
    "docker image prune, or a larger disk",
)
def test_the_disk_has_room(live: Live) -> Finding:
    """On a full disk neither image nor model can be renewed, and logs stop."""
    root = live.ollama.read("ResolvConfPath").value.partition("/containers/")[0]
    # A new Docker 29 keeps its images with containerd.
    containerd = r"containerd config dump 2>/dev/null | sed -n 's/^root = .\(.*\).$/\1/p'"
    output = live.run(
        f'images=$({containerd}); df -B1 --output=avail {shlex.quote(root)} "${{images:-/var/lib/containerd}}"'
    )
    if not output.text:
        raise Unreadable(f"`{output.command}` failed: {output.last_line}")
    free = min(int(line) for line in output.text.splitlines()[1:])
    return output.reading(free, output.text).meets(
        f"at least {HEADROOM / 2**30:g} GiB",
        free >= HEADROOM,
        f"{free / 2**30:.1f} GiB",
        steady=False,
    )


@control(
    "OLS-1003",
    "No restart of the host is pending",
    "low",
    "Debian Policy; reboot-required",
    "restart the host outside of lessons",
)
def test_no_restart_is_pending(live: Live) -> Finding:
    """An update that waits for a restart protects nobody yet."""
    output = live.run("ls /run/reboot-required")  # Debian's and Ubuntu's sign
    return output.reading(bool(output.text), output.text or output.error).equals(
        False, lambda pending: "pending" if pending else "none"
    )
