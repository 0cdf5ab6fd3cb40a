"""Where a host's apt gets its packages from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from pyinfra.api import FactBase
from typing_extensions import override

OFF = {"no", "false", "without", "off", "disable", "0"}  # as apt reads a switch


class Entry(NamedTuple):
    """One repository of binary packages; the URI without a slash at its end."""

    file: str
    uri: str
    suite: str
    components: tuple[str, ...] = ()


class AptSources(FactBase[list[Entry]]):
    """Every repository that is switched on, in both of apt's forms (sources.list(5))."""

    default = list

    @override
    def command(self) -> str:
        folder = "/etc/apt/sources.list.d"
        return f"grep -sH '' /etc/apt/sources.list {folder}/*.list {folder}/*.sources || true"

    @override
    def process(self, output: list[str]) -> list[Entry]:
        files = dict[str, list[str]]()
        for line in output:
            file, _, text = line.partition(":")
            files.setdefault(file, []).append(text)
        return [entry for file, lines in files.items() for entry in _entries(file, lines)]


def _entries(file: str, lines: list[str]) -> Iterator[Entry]:
    active = [line for line in lines if not line.lstrip().startswith("#")]
    if not file.endswith(".sources"):
        for line in active:
            if found := re.match(r"\s*deb\s+(?:\[[^]]*\]\s*)?(\S+)\s+(\S+)([^#]*)", line):
                yield Entry(file, found[1].rstrip("/"), found[2], tuple(found[3].split()))
        return
    for stanza in re.split(r"\n\s*\n", "\n".join(active)):
        fields = {
            name.lower(): value.split()
            for name, value in re.findall(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", ()) or not OFF.isdisjoint(
            map(str.lower, fields.get("enabled", ()))
        ):
            continue
        components = tuple(fields.get("components", ()))
        for uri in fields.get("uris", ()):
            for suite in fields.get("suites", ()):
                yield Entry(file, uri.rstrip("/"), suite, components)


class HeldPackages(FactBase[set[str]]):
    """Packages that apt is to leave as they are (apt-mark hold), also those that are not there."""

    default = set

    @override
    def command(self) -> str:
        return "awk '/^Package: / {name = $2} /^Status: hold / {print name}' /var/lib/dpkg/status"

    @override
    def process(self, output: list[str]) -> set[str]:
        return set(output)
