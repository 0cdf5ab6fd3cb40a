"""What counts as an answer: never the HTTP status alone."""

from __future__ import annotations

import json

import pytest

from ollama_stack.generate_response import Answer

GOOD = {
    "response": "one two",
    "eval_count": 16,
    "eval_duration": 800_000_000,
    "prompt_eval_duration": 100_000_000,
    "load_duration": 50_000_000,
    "total_duration": 1_950_000_000,
}


def test_rate_and_wait_come_from_the_durations() -> None:
    answer = Answer.parse(f"{json.dumps(GOOD)} 200 1.97")
    assert answer.fault is None
    assert (answer.wall, answer.rate, answer.wait) == (1.97, 20.0, 1.0)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"error":"no such model"} 404 0.1', "HTTP 404: no such model"),
        (" 000 300.0", "HTTP 0: no answer"),
        ("<html> 502 0.1", "HTTP 502: no answer"),
        ('{"error":"unexpected EOF"} 200 0.1', "HTTP 200 with an error in it: unexpected EOF"),
        ('{"response":" \\n","eval_count":3} 200 0.1', "an empty text"),
        ('{"response":"hi","eval_count":0} 200 0.1', "no eval_count or eval_duration"),
        ('{"response":"hi","eval_count":3} 200 0.1', "no eval_count or eval_duration"),
        ('{"response":null,"eval_count":3} 200 0.1', "an empty text"),
        (
            '{"model":"smollm2:135m","response":"&&&&&&","done":false} 200 0.4',
            "HTTP 200 with done: false: the server is up and broke the answer off, as it does when a "
            "model repeats itself",
        ),
        ("[] 200 0.1", "an empty text"),
        ("", "HTTP 0: no answer"),
        ("<h1>503</h1> Service Unavailable", "HTTP 0: no answer"),
    ],
)
def test_what_is_no_answer_says_why(line: str, fault: str) -> None:
    assert Answer.parse(line).fault == fault


def test_a_model_that_is_still_thinking_has_answered() -> None:
    thinking = GOOD | {"response": "", "thinking": "hm"}
    assert Answer.parse(f"{json.dumps(thinking)} 200 0.1").fault is None
