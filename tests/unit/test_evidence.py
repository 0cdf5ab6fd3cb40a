"""A healthy host never turns red by time alone: the log of a month of lessons, and what is read then."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

import pytest

from ollama_stack.inventory import Target
from tests.audit.control import Finding, Reading
from tests.audit.conversation import Output
from tests.audit.inspected import Inspected
from tests.audit.live import ENVIRONMENT, Live
from tests.audit.test_environment import test_the_server_read_what_was_declared as read_as_declared
from tests.unit.conftest import group_data

KEPT = 3 * 10 * 2**20  # bytes of log: max-file x max-size
DAYS, ANSWERS, OF_ONE = (
    31,
    600,
    2048,
)  # an answer leaves about 2 KB of llama-server's lines (0.32.15)
CONFIG = (
    'time=2026-11-01T06:00:00Z level=INFO msg="server config" env="map[OLLAMA_HOST:http://0.0.0.0:11434 '
    "OLLAMA_KEEP_ALIVE:5m0s OLLAMA_MAX_LOADED_MODELS:1 OLLAMA_MAX_QUEUE:{queue} OLLAMA_NUM_PARALLEL:3 "
    'OLLAMA_NO_CLOUD:true no_proxy:]"'
)
STARTED = {
    **{"PATH": "/bin", "OLLAMA_NUM_PARALLEL": "3", "OLLAMA_MAX_LOADED_MODELS": "1"},
    **{"OLLAMA_NUM_THREAD": "2", "OLLAMA_HOST": "0.0.0.0:11434", "OLLAMA_KEEP_ALIVE": "5m"},
    **{"OLLAMA_MAX_QUEUE": "15", "LLAMA_ARG_THREADS": "2", "LLAMA_ARG_CACHE_RAM": "256"},
    **{"OLLAMA_NO_CLOUD": "1", "HTTPS_PROXY": "http://secret@proxy.lan"},
}


def lines(days: int, start: str) -> Iterator[str]:
    yield start
    answer = "slot launch_slot_: id 0 | task 7 | processing task".ljust(OF_ONE - 1)
    for _ in range(days * ANSWERS):
        yield answer


def aged(days: int, start: str = CONFIG.format(queue=15)) -> list[str]:
    """What Docker's rotation leaves of a log."""
    kept, size = deque[str](), 0
    for line in lines(days, start):
        kept.append(line)
        size += len(line) + 1
        while size > KEPT:
            size -= len(kept.popleft()) + 1
    return list(kept)


class Host(Live):
    """A double of a host: its log, and the environment of its server."""

    def __init__(self, log: list[str], **environ: str) -> None:
        super().__init__(Target("class-1", ("medium",), group_data("all", "medium")))
        self.lines, self.environ = log, STARTED | environ
        state = {"Name": "/ollama", "State": {"Pid": 7}}
        self.__dict__["ollama"] = Inspected("docker inspect", state)

    def run(self, command: str, *, seconds: int = 30) -> Output:
        assert command == f"docker exec ollama bash -c '{ENVIRONMENT}'"
        return Output(command, 0, "".join(f"{n}={v}\0" for n, v in self.environ.items()), "")

    def log(self, container: str, pattern: str, since: str = "") -> Reading:
        found = "\n".join(line for line in self.lines if re.search(pattern, line))
        return Reading(found, f"docker logs {container}", found)


def look(host: Host) -> Finding:
    (mark,) = read_as_declared.pytestmark  # type: ignore[attr-defined]
    found: Finding = mark.args[0].look(host)
    return found


def test_a_month_of_lessons_washes_the_start_out_of_the_log() -> None:
    assert not [line for line in aged(DAYS) if "server config" in line]
    assert [line for line in aged(1) if "server config" in line]


@pytest.mark.parametrize("days", [1, DAYS])
def test_what_the_server_was_started_with_is_known_at_any_age(days: int) -> None:
    found = look(Host(aged(days)))
    assert found.conforms
    assert ("environ" in found.evidence[0].command) is (days == DAYS)
    wrong = look(Host(aged(days), OLLAMA_MAX_QUEUE="512"))
    assert not wrong.conforms
    assert "OLLAMA_MAX_QUEUE=512" in wrong.live
    assert "secret" not in repr(wrong)


def test_a_value_that_the_server_understood_otherwise_is_found_while_its_log_tells() -> None:
    found = look(Host(aged(1, CONFIG.format(queue=512))))
    assert not found.conforms
    assert found.evidence[0].command == "docker logs ollama"


def test_a_variable_that_the_server_never_got_is_found() -> None:
    host = Host(aged(DAYS))
    del host.environ["OLLAMA_NO_CLOUD"]
    assert not look(host).conforms
