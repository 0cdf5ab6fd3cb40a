"""Debian packages: what is installed, in which order, and who is waited for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import StringCommand

from ollama_stack import paths
from ollama_stack.facts.apt import AptSources, HeldPackages
from ollama_stack.operations import packages
from tests.unit.harness import fake_host, plan

DPKG = "ii  curl  7.88.1-10+deb12u14  amd64  transfers a URL"


def test_installed_packages_are_left_alone_without_a_refresh() -> None:
    assert plan(packages.installed, {"dpkg -l": DPKG}, packages=["curl"]) == []


def test_missing_packages_are_installed_after_one_refresh() -> None:
    commands = plan(packages.installed, {"dpkg -l": DPKG}, packages=["curl", "docker.io"])
    assert commands[0::2] == ["wait()"] * 3
    mend, refresh, install = commands[1::2]
    assert mend.endswith(" --configure --pending")
    assert " update || " in refresh
    assert " --no-remove install --no-install-recommends docker.io || " in install
    assert "where it finds none: correct its sources in /etc/apt, or this host" in install


def test_a_wait_in_vain_fails_the_host_and_says_for_whom(caplog: pytest.LogCaptureFixture) -> None:
    last = "apt: unattended-upgr is still at work"
    with fake_host({"packages-wait": {"success": False, "stdout": ["waiting", last]}}) as host:
        assert not packages.wait(host.state, host)
        assert last in caplog.text
    with fake_host() as host:
        assert packages.wait(host.state, host)


HALF = {
    "dpkg-query": ["ii \tcurl", "iF \tdocker.io", "iHR\tcontainerd", "rc \tnginx", "it \tman-db"]
}


def test_what_dpkg_left_half_done_is_finished_before_anything_else() -> None:
    wait, refresh, _, reinstall, _, configure = plan(packages.mended, HALF)
    assert wait == "wait()"
    assert " update" in refresh
    assert reinstall.endswith(" install --reinstall containerd")
    assert " --configure --pending || " in configure
    assert (
        "apt: dpkg cannot finish docker.io, containerd, man-db; see its output above" in configure
    )
    whole = {"dpkg-query": ["ii \tcurl", "rc \tnginx", "un \tdocker.io", "hi \tkept"]}
    assert plan(packages.mended, whole) == []
    assert plan(packages.mended) == []


APT = """echo "$*" >>"$CALLS"
case "$*" in
*update*) test ! -e "$LISTS/torn" && exit "${UPDATE:-0}"; exit 100;;
esac
"""
GENCACHES = """test ! -e "$LISTS/torn" || { echo "E: LZ4F: ... Unexpected end of file" >&2; exit 100; }
test -z "$SOURCES" || { echo "E: Conflicting values set for option Signed-By
E: The list of sources could not be read." >&2; exit 100; }
"""


def refreshed(folder: Path, torn: bool, **environment: str) -> tuple[int, list[str], list[str]]:
    """Exit status, apt's calls and the lists that are left, of doubles."""
    lists, calls = folder / "lists", folder / "calls"
    lists.mkdir()
    (lists / ("torn" if torn else "whole")).touch()
    for name, script in (("apt-get", APT), ("apt-cache", GENCACHES)):
        (folder / name).write_text(f"#!/bin/sh\n{script}")
        (folder / name).chmod(0o755)
    (_, step) = packages.refreshed("")
    command = step.get_raw_value() if isinstance(step, StringCommand) else str(step)
    done = subprocess.run(
        ["sh", "-c", command.replace("/var/lib/apt/lists", str(lists))],
        env={"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls), "LISTS": str(lists)}
        | environment,
        capture_output=True,
    )
    return done.returncode, calls.read_text().splitlines(), [p.name for p in lists.iterdir()]


def test_lists_that_a_power_loss_has_torn_are_fetched_anew(tmp_path: Path) -> None:
    code, calls, left = refreshed(tmp_path, torn=True)
    assert (code, len(calls), left) == (0, 2, [])


@pytest.mark.parametrize(
    ("environment", "code"),
    [({}, 0), ({"UPDATE": "100"}, 1), ({"UPDATE": "100", "SOURCES": "bad"}, 1)],
)
def test_whole_lists_stay_whatever_else_is_wrong(
    environment: dict[str, str], code: int, tmp_path: Path
) -> None:
    """As without a network, or with a source that apt refuses: others still need the lists."""
    found, calls, left = refreshed(tmp_path, torn=False, **environment)
    assert (found, len(calls), left) == (code, 1, ["whole"])


def steps() -> list[str]:
    """Every command that may be planned here."""
    return [
        *plan(packages.mended, HALF),
        *plan(packages.installed, packages=["docker.io"]),
        *plan(packages.repository, **REPOSITORY),
    ]


def test_every_step_of_apt_and_dpkg_waits_for_minutes() -> None:
    commands = steps()
    asked = [place for place, command in enumerate(commands) if "apt-get" in command]
    assert len(asked) == 5
    for place in asked:
        command = commands[place]
        assert command.count("-o DPkg::Lock::Timeout=900") == command.count("apt-get")
    for place in [p for p, command in enumerate(commands) if " dpkg " in command]:
        assert commands[place - 1] == "wait()"


def test_the_declared_proxy_reaches_every_step_that_fetches() -> None:
    proxy = "http://proxy.lan:3128"
    commands = [
        *plan(packages.mended, HALF, proxy=proxy),
        *plan(packages.installed, packages=["docker.io"], proxy=proxy),
        *plan(packages.repository, **REPOSITORY, proxy=proxy),
    ]
    for command in commands:
        for kind in ("http", "https"):
            ways = command.count(f"-o Acquire::{kind}::Proxy={proxy}")
            assert ways == command.count("apt-get")
        assert ("curl" in command) is (f"--proxy {proxy}" in command)
    assert not [command for command in steps() if "roxy" in command]


def test_no_step_of_apt_and_dpkg_asks_a_question() -> None:
    """Nobody is there to answer; what somebody edited in a configuration stays."""
    for command in steps():
        if "apt-get" in command or " dpkg " in command:
            assert "DEBIAN_FRONTEND=noninteractive " in command
        if " install " in command or "--configure" in command:
            assert "--force-confold" in command


CE = "ii  docker-ce  5:28.5.2-1~debian.12~bookworm  amd64  an engine"


def test_a_pinned_version_is_installed_where_there_is_another() -> None:
    kept = {"dpkg -l": CE}
    assert plan(packages.installed, kept, packages=["docker-ce=5:28.5.2-*"]) == []
    assert plan(packages.installed, kept, packages=["docker-ce"]) == []
    *_, install = plan(packages.installed, kept, packages=["docker-ce=5:28.5.3-*"])
    assert " 'docker-ce=5:28.5.3-*' || " in install


REPOSITORY: dict[str, Any] = {
    "url": "https://m.lan/docker/debian",
    "suite": "bookworm",
    "key_sha256": "1" * 64,
}
SOURCES = """Types: deb
URIs: https://m.lan/docker/debian
Suites: bookworm
Components: stable
Signed-By: /etc/apt/keyrings/ollama-stack-docker.asc"""


def test_a_repository_that_is_known_is_left_alone() -> None:
    known = {"docker.sources": SOURCES.splitlines(), "sha256sum": f"{'1' * 64}  {paths.KEYRING}"}
    assert plan(packages.repository, known, **REPOSITORY) == []
    for other in ({"key_sha256": "2" * 64}, {"suite": "trixie"}):
        assert plan(packages.repository, known, **REPOSITORY | other) != []


ENTRIES = """/etc/apt/sources.list:deb http://deb.debian.org/debian bookworm main
/etc/apt/sources.list:# deb https://m.lan/docker/debian bookworm stable
/etc/apt/sources.list.d/debian.sources:Types: deb deb-src
/etc/apt/sources.list.d/debian.sources:URIs: http://a/ http://b
/etc/apt/sources.list.d/debian.sources:Suites: bookworm
/etc/apt/sources.list.d/debian.sources:# and what comes later
/etc/apt/sources.list.d/debian.sources: bookworm-updates
/etc/apt/sources.list.d/debian.sources:
/etc/apt/sources.list.d/debian.sources:Types: deb
/etc/apt/sources.list.d/debian.sources:Enabled: no
/etc/apt/sources.list.d/debian.sources:URIs: https://m.lan/docker/debian
/etc/apt/sources.list.d/debian.sources:Suites: bookworm"""
LIST = "/etc/apt/sources.list.d/docker.list"
FOREIGN = f"{LIST}:deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] https://m.lan/docker/debian/ bookworm stable"
BOTH = [f"{paths.SOURCES}:{line}" for line in SOURCES.splitlines()]


@pytest.mark.parametrize("off", ["no", "False", "0"])
def test_both_forms_of_apt_s_sources_are_read(off: str) -> None:
    found = AptSources().process(ENTRIES.replace("Enabled: no", f"Enabled: {off}").splitlines())
    assert [(entry.uri, entry.suite) for entry in found] == [
        ("http://deb.debian.org/debian", "bookworm"),
        *(
            (uri, suite)
            for uri in ("http://a", "http://b")
            for suite in ("bookworm", "bookworm-updates")
        ),
    ]


def test_an_entry_s_channels_are_read_in_both_forms() -> None:
    lines = [f"{FOREIGN} test # later", f"{FOREIGN}", *BOTH]
    found = [entry.components for entry in AptSources().process(lines)]
    assert found == [("stable", "test"), ("stable",), ("stable",)]


STATUS = """Package: curl
Status: install ok installed
Priority: optional

Package: docker.io
Status: hold ok not-installed
Description: Status: hold

Package: containerd
Status: hold ok installed
"""


@pytest.mark.process
def test_packages_on_hold_are_found_installed_or_not(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    command = HeldPackages().command().replace("/var/lib/dpkg/status", f"{tmp_path}/status")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert HeldPackages().process(done.stdout.splitlines()) == {"docker.io", "containerd"}


def test_an_entry_of_the_site_s_own_is_used_and_not_doubled() -> None:
    """Two with another signed-by each, and apt fails for everything from then on."""
    assert (
        plan(packages.repository, {"grep -sH": [*ENTRIES.splitlines(), FOREIGN]}, **REPOSITORY)
        == []
    )
    guide = [f"/etc/apt/sources.list.d/docker.sources:{line}" for line in SOURCES.splitlines()]
    assert plan(packages.repository, {"grep -sH": guide}, **REPOSITORY) == []
    doubled = {"grep -sH": [FOREIGN, *BOTH]}
    assert plan(packages.repository, doubled, **REPOSITORY) == [f"rm -f {paths.SOURCES}"]
    other = {"grep -sH": [FOREIGN.replace("bookworm", "trixie")]}
    assert len(plan(packages.repository, other, **REPOSITORY)) > 1
    ours = {
        "grep -sH": BOTH,
        "docker.sources": SOURCES.splitlines(),
        "sha256sum": f"{'1' * 64}  {paths.KEYRING}",
    }
    assert plan(packages.repository, ours, **REPOSITORY) == []


PINNED = ["Package: docker-ce docker-ce-cli", "Pin: version 5:28.5.2-*", "Pin-Priority: 990"]


def test_a_pin_of_somebody_else_s_stays() -> None:
    theirs = {
        "preferences.d/docker ": ["Package: docker-ce", "Pin: release o=us", "Pin-Priority: 1"]
    }
    assert plan(packages.pinned, theirs, version="") == []
    ours = {f"cat {paths.OLD_PIN}": PINNED}
    assert plan(packages.pinned, ours, version="") == [f"rm -f {paths.OLD_PIN}"]
    write, _, rename = plan(packages.pinned, version="5:28.5.2-*")
    assert "Pin: version 5:28.5.2-*" in write
    assert paths.PIN in rename
    there = {"preferences.d/ollama-stack-docker": PINNED}
    assert plan(packages.pinned, there, version="5:28.5.2-*") == []
    assert plan(packages.pinned, there, version="") == [f"rm -f {paths.PIN}"]


def test_apt_learns_of_a_repository_last() -> None:
    commands = plan(packages.repository, **REPOSITORY)
    first = {
        step: next(place for place, command in enumerate(commands) if step in command)
        for step in ("curl", "sha256sum --check", " update -o", "sources.list.d")
    }
    assert list(first.values()) == sorted(first.values())
    *_, known, clean, asked = commands
    assert "sources.list.d" in known
    assert clean.startswith("rm -rf ")
    assert f"apt-cache policy >/dev/null || {{ rm -f {paths.SOURCES};" in asked
