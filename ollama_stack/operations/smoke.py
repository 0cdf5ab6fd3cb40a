"""Real requests, made as a student's client makes them, before a deploy is called done."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from statistics import median
from typing import Any

from pyinfra.api import FunctionCommand, Host, QuoteString, State, StringCommand, operation

from ollama_stack.facts.memory import still_true
from ollama_stack.facts.model import ModelMetadata
from ollama_stack.generate_response import Answer
from ollama_stack.shell import fail, or_explain, run_now

PATIENCE = 24  # attempts, 5 s apart, at a server that refuses
PROMPT = "Count from one to ten in words."
TOKENS = 4  # of an answer: enough for a rate, and a deploy waits for each


@dataclass(frozen=True)
class Asked:
    """A model, where and how it is asked."""

    url: str
    model: str
    seconds: int
    """For each answer."""
    header_file: str = ""
    """On the host, with the token where one is needed."""
    longest: int = TOKENS
    """Tokens that the gateway lets pass."""


@operation(is_idempotent=False, idempotent_notice="It asks the server every time.")
def answers(
    asked: Asked, parallel: int, changed: Callable[[], bool]
) -> Generator[FunctionCommand, None, None]:
    """One timed request, then ``parallel`` at once if something has changed; what is no answer fails the host.

    ``changed``: asked when it is this operation's turn.

    Leaves the line of figures for the summary in ``host.data._smoke``.
    """
    yield FunctionCommand(ask, (asked, parallel, changed), {})


@operation(is_idempotent=False, idempotent_notice="It asks the server where something has changed.")
def other_answers(
    asked: Asked, changed: Callable[[], bool], page_tokens: int
) -> Generator[FunctionCommand, None, None]:
    """A model beside the first does what it can, chat or embed, if something has changed.

    Where nothing has, it is left alone: its load may take the first one's place in memory.
    ``page_tokens``: the most of its context that one question of the page takes; 0 if students cannot choose it.
    """
    yield FunctionCommand(ask_other, (asked, changed, page_tokens), {})


@operation(is_idempotent=False, idempotent_notice="It asks the app every time.")
def page(url: str, seconds: int) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The app answers a question, by the way that students' questions go; it waits while the queue is full.

    It asks as a newcomer, with a cookie: a program without one shares this address's questions of a minute.
    """
    curl = f"curl -sS --fail --insecure --noproxy '*' --max-time {seconds} --output /dev/null"
    ask = "--retry 12 --retry-delay 5 --cookie - --header 'Content-Type: application/json' --data"
    body = json.dumps({"prompt": PROMPT, "max_tokens": 1})
    yield or_explain(
        StringCommand(
            *(curl, "--cookie-jar -", QuoteString(f"{url}/"), "|", curl, ask),
            *(QuoteString(body), QuoteString(f"{url}/api/ask")),
        ),
        f"smoke: {url}/api/ask does not answer; read `docker logs --tail 50 ollama-app` on "
        "the host, and those of ollama-gateway (of a cluster: `docker service logs ollama_app`, and ollama_gateway)",
    )
    yield FunctionCommand(changed_nothing, (), {})


def changed_nothing(state: State, host: Host) -> bool:
    """To ask changes nothing of what is known of the host."""
    still_true(host)
    return True


def ask(state: State, host: Host, asked: Asked, parallel: int, changed: Callable[[], bool]) -> bool:
    """Ask, judge every body, and say what a student would have seen."""
    new = changed()
    curl = _curl(asked)
    one = _patiently(state, host, curl, 1)
    faults = _faults(one, 1)
    several = []
    if new and not faults:
        several = _patiently(state, host, curl, parallel)
        faults = _faults(several, parallel)
    if not _judged(host, asked.model, faults):
        return False
    figures = f"1 request: {one[0].wall:.1f} s, {one[0].rate:.1f} tok/s"
    if several:
        figures += (
            f"; {parallel} at once: {max(a.wall for a in several):.1f} s, waited "
            f"{max(a.wait for a in several):.1f} s, {median(a.rate for a in several):.1f} tok/s each"
        )
    host.log(figures)
    host.data._smoke = figures
    if not several:
        still_true(host)
    return True


def ask_other(
    state: State, host: Host, asked: Asked, changed: Callable[[], bool], page_tokens: int
) -> bool:
    """Ask one that chats for a few tokens, one that embeds for a vector."""
    if not changed():
        return changed_nothing(state, host)
    shown = host.get_fact(ModelMetadata, model=asked.model)
    if page_tokens and (why := _not_for_students(shown, page_tokens)):
        return fail(host, f"app_models: {asked.model} {why}")
    if not _embeds(shown):
        faults = _faults(_patiently(state, host, _curl(asked), 1), 1)
    else:
        post = _post(asked, "embed", {"model": asked.model, "input": PROMPT})
        command = StringCommand(post, "--fail --retry 24 --retry-delay 5")
        ok, output = run_now(state, host, command)
        faults = [] if ok and '"embeddings":[[' in "".join(output) else ["with no vector"]
    return _judged(host, asked.model, faults)


def _embeds(shown: dict[str, Any]) -> bool:
    """Whether it can do nothing else (Ollama types/model/capability.go)."""
    able = shown.get("capabilities", ())
    return "embedding" in able and "completion" not in able


def _not_for_students(shown: dict[str, Any], tokens: int) -> str:
    """Why a model is none for the page; "" if it is one."""
    if _embeds(shown):
        return "embeds and cannot chat; take it off the list"
    info = shown.get("model_info", {})
    most = info.get(f"{info.get('general.architecture')}.context_length", tokens)
    if most >= tokens:
        return ""
    return (
        f"has a context of {most} tokens, and a question takes up to {tokens} (app_system_prompt, "
        "app_max_prompt, app_max_answer); lower one of them, or take it off the list"
    )


def _post(asked: Asked, path: str, body: object) -> StringCommand:
    """A request; the host asks itself, so a certificate for its public name is not checked."""
    header = ("--header", QuoteString(f"@{asked.header_file}")) if asked.header_file else ()
    return StringCommand(
        f"curl -sS --insecure --noproxy '*' --max-time {asked.seconds}",
        *header,
        *("--data", QuoteString(json.dumps(body)), QuoteString(f"{asked.url}/api/{path}")),
    )


def _curl(asked: Asked) -> StringCommand:
    """For a few tokens, with their times."""
    body = {
        "model": asked.model,
        "prompt": PROMPT,
        "stream": False,
        "options": {"num_predict": min(asked.longest, TOKENS), "temperature": 0},
    }
    return StringCommand(
        _post(asked, "generate", body),
        *("--write-out", QuoteString(" %{http_code} %{time_total}")),
    )


def _patiently(state: State, host: Host, curl: StringCommand, requests: int) -> list[Answer]:
    """The same, asked again while the server is busy with others: that is no fault of a deploy."""
    for _ in range(PATIENCE):
        answers = _at_once(state, host, curl, requests)
        if all(answer.status != 503 for answer in answers):
            break
        time.sleep(5)
    return answers


def _at_once(state: State, host: Host, curl: StringCommand, requests: int) -> list[Answer]:
    # Each answer is printed whole, in one write: answers of parallel requests must not mingle.
    command = StringCommand(
        f"for i in $(seq {requests}); do", "{", "answer=$(", curl, "| tr -d '\\n');",
        "printf '%s\\n' \"$answer\";", "} & done; wait",
    )  # fmt: skip
    _, lines = run_now(state, host, command)
    return [Answer.parse(line) for line in lines]


def _faults(answers: list[Answer], requests: int) -> list[str]:
    missing = ["nothing at all"] * (requests - len(answers))
    return missing + [answer.fault for answer in answers if answer.fault]


def _judged(host: Host, model: str, faults: list[str]) -> bool:
    """Whether there are none; logs each."""
    for fault in faults:
        fail(
            host,
            f"smoke: {model} answered {fault}; read `docker logs --tail 50 ollama` on "
            "the host, and those of ollama-gateway",
        )
    return not faults
