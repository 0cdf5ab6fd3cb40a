"""Our programs on a host: whole, each version apart, and started with the host."""

from __future__ import annotations

import subprocess
from typing import Any

from ollama_stack import paths
from ollama_stack.config.settings import read_settings
from ollama_stack.operations import programs
from ollama_stack.tasks.release import boot_unit
from tests.unit.conftest import group_data
from tests.unit.harness import plan

UNIT = boot_unit(read_settings(group_data("all", "low")).ollama_dir)
THERE = [f"{name} {digest} 755 0" for name, digest in programs.DIGESTS.items()]
DECLARED: dict[str, Any] = {"folder": "/opt/o k", "unit": UNIT}


def test_programs_that_are_there_are_left_alone() -> None:
    there = {"sha256sum": THERE, paths.RELEASE_UNIT: UNIT.splitlines()}
    assert plan(programs.installed, there, **DECLARED) == []


def test_a_program_is_checked_before_it_has_its_name() -> None:
    commands = plan(programs.installed, {paths.RELEASE_UNIT: UNIT.splitlines()}, **DECLARED)
    place = f"/opt/o k/bin/{programs.VERSION}"
    assert commands[0] == f"mkdir -p --mode=755 '{place}'"
    for name, digest in programs.DIGESTS.items():
        check = f"echo '{digest}  {place}/{name}.new' | sha256sum --check --quiet"
        rename = f"sync '{place}/{name}.new' && mv '{place}/{name}.new' '{place}/{name}' && sync '{place}'"
        assert commands.index(check) < commands.index(rename)


def test_the_host_goes_back_when_it_starts() -> None:
    *_, enable = plan(programs.installed, {"sha256sum": THERE}, **DECLARED)
    assert enable.endswith("systemctl enable ollama-stack-release.service")
    command = (
        f"sh /opt/ollama/bin/{programs.VERSION}/release /run/ollama-stack.lock /opt/ollama settle"
    )
    assert f"ExecStart={command}\n" in UNIT
    assert "ConditionPathExists=/opt/ollama/releases/unconfirmed\n" in UNIT


def test_without_systemd_there_is_no_unit() -> None:
    assert plan(programs.installed, {"sha256sum": THERE}, **DECLARED | {"unit": ""}) == []


def test_each_has_a_shebang_and_may_be_executed() -> None:
    for name, text in programs.TEXTS.items():
        assert text.startswith("#!/bin/sh\n")
        assert (programs.SOURCES / name).stat().st_mode & 0o111
        subprocess.run(["sh", "-n", programs.SOURCES / name], check=True)
