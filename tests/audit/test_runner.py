"""The effect: what the runner really does with the settings, and what the kernel did to it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from testinfra.host import Host

from ollama_stack.settings import Settings
from tests.audit.cgroup import Cgroup
from tests.audit.conftest import CONTAINER, ask

# Ollama <= 0.11.4, then >= 0.30; the versions between show nothing on the command line.
FLAGS = {"threads": "--threads|-t", "parallel": "--parallel|-np", "ctx-size": "--ctx-size|-c"}
MOST_THROTTLED = 0.2  # of the allowed CPU time; more threads than CPUs lose far more


@pytest.fixture(scope="session")
def runner(host: Host, settings: Settings) -> str:
    """The runner's command line; an idle server is asked for the model, as a student would."""
    ask(host, settings, "/api/generate", {"model": settings.model_name})
    processes = host.check_output("docker top %s -ww -eo pid,args", CONTAINER).splitlines()
    lines = [line for line in processes if re.search(r"\srunner\s|llama-server", line)]
    assert len(lines) == 1, f"one runner is expected, there are {len(lines)}"
    return str(lines[0])


def flag(command_line: str, name: str) -> int:
    found = re.search(rf"\s(?:{FLAGS[name]})\s(\d+)", command_line)
    assert found, f"{name} cannot be read on this version of Ollama: {command_line}"
    return int(found[1])


def test_runner_has_the_threads(runner: str, settings: Settings) -> None:
    assert flag(runner, "threads") == settings.num_thread


def test_runner_answers_in_parallel(runner: str, settings: Settings) -> None:
    assert flag(runner, "parallel") == settings.ollama_num_parallel


def test_every_slot_has_its_context(runner: str, settings: Settings) -> None:
    slot = flag(runner, "ctx-size") / flag(runner, "parallel")
    assert slot == settings.model_num_ctx


def test_nothing_was_killed_for_memory(container: dict[str, Any], cgroup: Cgroup) -> None:
    killed = cgroup.counter("oom", "oom_kill")
    assert (container["State"]["OOMKilled"], killed) == (False, 0), (
        "raise ollama_memory or lower ollama_num_parallel or model_num_ctx; deploying that, or "
        "`docker restart ollama`, starts the count anew"
    )


def test_cpu_is_hardly_throttled(cgroup: Cgroup) -> None:
    assert cgroup.throttled < MOST_THROTTLED, (
        "the container wants more CPUs than its limit: do the runner's threads match it? "
        "`docker restart ollama` starts the count anew"
    )
