"""The smoke gate: it passes on real answers and on nothing else."""

from __future__ import annotations

import json

import pytest

from ollama_stack.operations import smoke
from tests.unit.harness import fake_host
from tests.unit.test_answers import GOOD

ANSWER = f"{json.dumps(GOOD)} 200 1.97"


def asked(answer: str | list[str]) -> bool:
    with fake_host({"seq 1": answer, "seq 3": [ANSWER, ANSWER, ANSWER]}) as host:
        return smoke.ask(host.state, host, "http://127.0.0.1:11434", "m:1", 3)


def test_answers_pass_and_leave_their_figures() -> None:
    with fake_host({"seq": ANSWER}) as host:
        assert smoke.ask(host.state, host, "http://127.0.0.1:11434", "m:1", 3)
        assert host.data.get("_smoke") == (
            "1 request: 2.0 s, 20.0 tok/s; 3 at once: 2.0 s, waited 1.0 s, 20.0 tok/s each"
        )


@pytest.mark.parametrize("answer", ['{"error":"oom"} 200 0.1', '{"error":"x"} 503 0.1', []])
def test_anything_else_fails_the_host(answer: str | list[str]) -> None:
    assert asked(answer) is False
