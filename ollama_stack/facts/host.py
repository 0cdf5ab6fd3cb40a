"""What a host is made of."""

from __future__ import annotations

from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


@dataclass(frozen=True)
class Space:
    """What a file system takes yet: whether anything, how many bytes and files (None: it sets no number)."""

    writable: bool
    size: int
    files: int | None


class Room(FactBase[Space | None]):
    """The file system where ``path`` is, or will be made; None if it does not say."""

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(
            *("p=", QuoteString(path), ";"),
            'until [ -e "$p" ]; do p=$(dirname "$p"); done; if [ -w "$p" ]; then w=w; else w=r; fi;'
            ' echo "$w $(df --block-size=1 --output=avail,iavail "$p" | tail -n 1)"',
            _separator="",
        )

    @override
    def process(self, output: list[str]) -> Space | None:
        writable, size, files = output[0].split()
        return Space(writable == "w", int(size), int(files) if files.isdecimal() else None)


class MountPoint(FactBase[str | None]):
    """The file system where ``path`` is, or will be made, by the folder that it is mounted at."""

    @override
    def command(self, path: str) -> StringCommand:
        return StringCommand(
            *("p=", QuoteString(path), ";"),
            'until [ -e "$p" ]; do p=$(dirname "$p"); done; df --output=target "$p" | tail -n 1',
            _separator="",
        )


class UplinkMtu(FactBase[int]):
    """Bytes of a packet that the interface takes which leads out of the host; 1500 if it does not say."""

    @staticmethod
    @override
    def default() -> int:
        return 1500

    @override
    def command(self) -> str:
        # The default route's, even if it is a bridge (br0 of a host with virtual machines); without one the first
        # interface that is none, since other bridges are the containers' own.
        return (
            "for device in $(awk '$2 == \"00000000\" {print $1}' /proc/net/route) $(awk 'NR > 1 {print $1}' "
            '/proc/net/route | while read -r each; do test -e "/sys/class/net/$each/bridge" || echo "$each"; done);'
            ' do cat "/sys/class/net/$device/mtu"; break; done'
        )

    @override
    def process(self, output: list[str]) -> int:
        return int(output[0])


class HalfInstalled(FactBase[dict[str, str]]):
    """Packages that dpkg has begun with and not finished, each with its status as ``dpkg -l`` has it."""

    default = dict

    @override
    def command(self) -> str:
        return "dpkg-query --show --showformat '${db:Status-Abbrev}\\t${Package}\\n'"

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        # Half-configured, half-installed, unpacked, and triggers that still have to run.
        pairs = (line.split("\t") for line in output if "\t" in line)
        return {name: status.rstrip() for status, name in pairs if status[1:2] in "FHUWt"}


class LoginServer(FactBase[str | None]):
    """The SSH server behind this login, by its process's name; else what the login began with.

    The servers of Tailscale and Teleport have no process that lives as long as a login.
    """

    @override
    def command(self) -> str:
        return (
            'pid=$$; while [ "$pid" -gt 1 ]; do name=$(cat "/proc/$pid/comm");'
            " case $name in sshd*|dropbear*) break;; esac; pid=$(awk '/^PPid:/ {print $2}'"
            ' "/proc/$pid/status"); done; echo "$name"'
        )

    @override
    def process(self, output: list[str]) -> str | None:
        return output[-1] if output else None
