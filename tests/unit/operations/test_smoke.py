"""The smoke gate: it passes on real answers and on nothing else."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ollama_stack.operations import smoke
from tests.unit.harness import fake_host
from tests.unit.test_answers import GOOD


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses that were made, without making them."""
    pauses: list[float] = []
    monkeypatch.setattr(smoke.time, "sleep", pauses.append)
    return pauses


def yes() -> bool:
    return True


MODEL = smoke.Asked("http://127.0.0.1:11434", "m:1", 60)
OTHER = smoke.Asked("http://h:1", "e:1", 60)
ANSWER = f"{json.dumps(GOOD)} 200 1.97"


def asked(answer: str | list[str]) -> bool:
    with fake_host({"seq 1": answer, "seq 3": [ANSWER, ANSWER, ANSWER]}) as host:
        return smoke.ask(host.state, host, MODEL, 3, yes)


def commands(parallel: int) -> list[str]:
    with fake_host({"seq": [ANSWER] * parallel}) as host:
        smoke.ask(host.state, host, MODEL, parallel, yes)
        return list(host.connector.executed_commands)  # type: ignore[attr-defined]  # @fake's


def test_answers_pass_and_leave_their_figures() -> None:
    with fake_host({"seq 1": ANSWER, "seq 3": [ANSWER] * 3}) as host:
        assert smoke.ask(host.state, host, MODEL, 3, yes)
        assert host.data.get("_smoke") == (
            "1 request: 2.0 s, 20.0 tok/s; 3 at once: 2.0 s, waited 1.0 s, 20.0 tok/s each"
        )


def test_one_is_asked_then_as_many_at_once_as_the_server_answers_at_once() -> None:
    one, several = commands(1)[:1] + commands(4)[-1:]
    assert "--max-time 60 " in one
    assert one.startswith("for i in $(seq 1); do { answer=$( curl ")
    assert several.startswith("for i in $(seq 4); do { answer=$( curl ")
    assert several.endswith("& done; wait")


def test_where_nothing_has_changed_one_is_enough() -> None:
    with fake_host({"seq 1": ANSWER}) as host:
        assert smoke.ask(host.state, host, MODEL, 3, lambda: False)
        assert host.data.get("_smoke") == "1 request: 2.0 s, 20.0 tok/s"
        (command,) = host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
        assert f'"num_predict": {smoke.TOKENS}' in command


def test_no_more_is_asked_for_than_the_gateway_lets_pass() -> None:
    with fake_host({"seq 1": ANSWER, "seq 3": [ANSWER] * 3}) as host:
        smoke.ask(host.state, host, replace(MODEL, longest=2), 3, yes)
        commands = list(host.connector.executed_commands)  # type: ignore[attr-defined]  # @fake's
        assert all('"num_predict": 2' in command for command in commands)


def test_an_answer_that_never_came_fails_the_host() -> None:
    with fake_host({"seq 1": ANSWER, "seq 3": [ANSWER] * 2}) as host:
        assert not smoke.ask(host.state, host, MODEL, 3, yes)


def test_a_server_that_is_busy_with_others_is_asked_again(slept: list[float]) -> None:
    assert asked('{"error":"server busy"} 503 0.1') is False
    assert slept == [5] * smoke.PATIENCE


@pytest.mark.parametrize("answer", ['{"error":"oom"} 200 0.1', '{"error":"x"} 503 0.1', []])
def test_anything_else_fails_the_host(answer: str | list[str]) -> None:
    assert asked(answer) is False


CAN = {"chat": ["completion", "tools"], "embed": ["embedding"]}
VECTOR = '{"model":"e:1","embeddings":[[0.1,0.2]]}'


@pytest.mark.parametrize(
    ("what", "answer", "well"),
    [
        ("embed", VECTOR, True),
        ("embed", '{"error":"no"}', False),
        ("embed", '{"embeddings":[]}', False),
        ("chat", ANSWER, True),
        ("chat", "{} 500 0.1", False),
    ],
)
def test_a_model_beside_the_first_is_asked_by_what_it_can(
    what: str, answer: str, *, well: bool
) -> None:
    path = "/api/embed" if what == "embed" else "/api/generate"
    answers = {"/api/show": json.dumps({"capabilities": CAN[what]}), path: answer}
    with fake_host(answers) as host:
        assert smoke.ask_other(host.state, host, OTHER, yes, 0) is well
        assert path in str(host.connector.executed_commands[-1])  # type: ignore[attr-defined]  # @fake's


@pytest.mark.parametrize(
    ("what", "context", "message"),
    [
        ("embed", 8192, "app_models: e:1 embeds and cannot chat; take it off the list"),
        (
            "chat",
            2999,
            "app_models: e:1 has a context of 2999 tokens, and a question takes up to 3000",
        ),
        ("chat", 3000, ""),
    ],
)
def test_a_model_that_students_choose_chats_and_has_room_for_a_question(
    what: str, context: int, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    info = {"general.architecture": "llama", "llama.context_length": context}
    shown = json.dumps({"capabilities": CAN[what], "model_info": info})
    with fake_host({"/api/show": shown, "/api/generate": ANSWER, "/api/embed": VECTOR}) as host:
        well = smoke.ask_other(host.state, host, OTHER, yes, 3000)
        assert well is not bool(message)
        assert message in caplog.text


def test_a_model_beside_the_first_is_left_alone_where_nothing_has_changed() -> None:
    with fake_host({}) as host:
        assert smoke.ask_other(host.state, host, OTHER, lambda: False, 0)
        assert not host.connector.executed_commands  # type: ignore[attr-defined]  # @fake's
