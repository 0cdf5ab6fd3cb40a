"""The packet filter's rules: loaded once, after a start of the host too, and nobody else's file."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_stack.config.settings import read_settings
from ollama_stack.operations import guard
from ollama_stack.stack.rendering import guard_files
from tests.unit.conftest import group_data
from tests.unit.harness import plan

FILE = "/opt/ollama/guard.nft"
BRIDGE = read_settings(group_data("all", "medium")).bridge
RULES, UNIT, REVISION = guard_files(BRIDGE, FILE)
DECLARED: dict[str, Any] = {"path": FILE, "rules": RULES, "revision": REVISION, "unit": UNIT}
WRITTEN = {FILE: RULES.splitlines(), "ollama-stack-guard.service": UNIT.splitlines()}
LOADED = {"nft list table": RULES.splitlines()}


def test_rules_that_the_kernel_has_are_left_alone() -> None:
    assert plan(guard.closed, WRITTEN | LOADED, **DECLARED) == []


@pytest.mark.parametrize("rules", [[], RULES.replace(REVISION, "older").splitlines(), RULES.splitlines()[:10]])  # fmt: skip
def test_rules_that_it_lacks_are_loaded(rules: list[str]) -> None:
    (load,) = plan(guard.closed, WRITTEN | {"nft list table": rules}, **DECLARED)
    assert load.startswith(f"nft --file {FILE} || ")
    assert "ollama_bind: the kernel takes no nftables rules" in load


def test_a_start_of_the_host_loads_them_before_docker_runs() -> None:
    commands = plan(guard.closed, LOADED, **DECLARED)
    assert [c for c in commands if c.startswith("systemctl")] == [
        "systemctl daemon-reload && systemctl enable ollama-stack-guard.service"
    ]
    assert sum("is not ours" in c for c in commands) == 2
    assert commands[-1].startswith("nft --file")
    assert "Before=docker.service\n" in UNIT
    assert f'ExecStart=nft --file "{FILE}"\n' in UNIT


def test_without_systemd_there_is_no_unit() -> None:
    commands = plan(guard.closed, **DECLARED | {"unit": ""})
    assert not [c for c in commands if "system" in c]


def test_a_host_without_the_group_docker_names_none() -> None:
    rules, _, revision = guard_files(BRIDGE, FILE, group=False)
    assert "skgid" not in rules
    assert revision == REVISION
