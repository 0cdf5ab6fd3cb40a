"""What a host itself forbids, where the look at it is older than what runs there."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyinfra.facts.docker import DockerContainer

from ollama_stack.config.settings import read_settings
from ollama_stack.containers import CONTAINERS
from ollama_stack.facts.memory import known, remember
from ollama_stack.tasks import preflight
from tests.unit.conftest import group_data
from tests.unit.harness import fake_host

INSPECT = "docker container inspect ollama "


def inspected(runs: bool) -> list[str]:
    bound: dict[str, Any] = {"PortBindings": {"8080/tcp": [{"HostPort": "11434"}]}}
    return json.dumps([{"State": {"Running": runs}, "HostConfig": bound}]).splitlines()


@pytest.mark.parametrize("runs", [True, False])
def test_ours_that_has_started_since_the_look_is_no_stranger(runs: bool) -> None:
    """A run was killed, and its host goes on."""
    proxy = 'LISTEN 0 4096 127.0.0.1:11434 0.0.0.0:* users:(("docker-proxy",pid=7,fd=4))'
    answers = {"sport = :11434": [proxy], INSPECT: inspected(False)}
    settings = read_settings(group_data("all", "medium"))
    with fake_host(answers) as host:
        remember(host.state)
        for each in CONTAINERS:
            known(DockerContainer, object_id=each.name)
        host.connector.data["fake_responses"] = answers | {INSPECT: inspected(runs)}
        foreign = preflight._foreign_ports(settings)
    assert foreign == ({} if runs else {"ollama_port": '"docker-proxy",pid=7,fd=4'})
