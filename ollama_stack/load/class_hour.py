"""A class as Locust runs it: a task of JSON at stdin, a line of JSON at stdout for all that happened.

``python -m ollama_stack.load.class_hour`` in Locust's own environment. The token comes at stdin, so that it is
in no list of processes.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, ClassVar

from locust import HttpUser, task  # first of all: it patches sockets and time
from locust.env import Environment

# isort: split
import gevent
import requests

from ollama_stack.load import UNTRUSTED, corpus

RAMP = 30.0  # seconds in which a lesson's students begin, one after the other
CONNECT = 10.0  # seconds
STEP = 0.5  # seconds between two looks at the gateway's places
GIVES_UP = (0.5, 5.0)  # seconds after which a client leaves
LEAVES = 0.4  # the share of questions that clients leave
SPENT = ("load_duration", "prompt_eval_duration", "eval_duration")  # of Ollama's last line, in ns

Line = dict[str, Any]


def tell(**line: Any) -> None:
    """One line to whoever started this."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class Client(HttpUser):  # type: ignore[misc] # Locust lives in another environment than mypy
    """Somebody with a session of their own, whose lengths and pauses follow from their number."""

    abstract = True
    work: ClassVar[Line] = {}
    began = 0.0
    numbers: Iterator[int] = iter(())
    questions = corpus.questions()

    def on_start(self) -> None:
        """Neither proxy nor netrc of this machine counts; each client has the next token."""
        self.number = next(self.numbers)
        self.chance = Random(self.number)  # noqa: S311 no secret: the same class each time
        self.model = self.work["models"][self.number % len(self.work["models"])]
        self.client.trust_env = False
        self.client.verify = self.work["trust"] or True
        if tokens := self.work["tokens"]:
            self.client.headers["Authorization"] = f"Bearer {tokens[self.number % len(tokens)]}"
        if self.work["through"] == "page":
            self.client.get("/", timeout=CONNECT, allow_redirects=False)  # a browser's cookie

    def ask(self, who: str, prompt: str, most: int, leaves: bool = False) -> None:
        """One question, noted whatever becomes of it: also if the class is over."""
        start = time.monotonic()
        record: Line = {"who": who, "came": start - self.began, "status": 0, "end": "late"}
        patience = self.chance.uniform(*GIVES_UP) if leaves else self.work["patience"]
        try:
            with gevent.Timeout(patience):
                self._read(record, start, prompt, most)
        except gevent.Timeout:
            record["end"] = "left" if leaves else "late"
        except (requests.RequestException, ValueError) as error:
            record |= {"end": "broken", "error": type(error).__name__}
        finally:
            tell(kind="question", took=time.monotonic() - start, **record)

    def _read(self, record: Line, start: float, prompt: str, most: int) -> None:
        page = self.work["through"] == "page"
        limit: Line = {"max_tokens": most} if page else {"options": {"num_predict": most}}
        chosen = {"model": self.model} if not page or len(self.work["models"]) > 1 else {}
        with self.client.post(
            "/api/ask" if page else "/api/generate",
            json={"prompt": prompt[: self.work["longest"]]} | limit | chosen,
            headers={"Accept": "text/event-stream"} if page else {},
            stream=True,
            catch_response=True,
            allow_redirects=False,
            timeout=(CONNECT, self.work["patience"]),
        ) as answer:
            answer.success()  # it is judged by whoever reads these lines
            record["status"] = answer.status_code
            if answer.status_code != 200:
                record["end"] = "refused" if answer.status_code in (429, 503) else "failed"
                return
            lines = answer.iter_lines()
            for found in of_page(lines, start) if page else of_api(lines, start):
                record |= found
            if record["end"] != "answered":
                record["end"] = "broken"  # it ended without its last line


def of_api(lines: Iterable[bytes], start: float) -> Iterator[Line]:
    """What is known of an answer of Ollama's, as it comes."""
    first = 0.0
    for line in map(json.loads, lines):
        if not first and (line.get("response") or line.get("thinking")):
            first = time.monotonic() - start
            yield {"first": first}
        if line.get("done") and line.get("eval_count") and first:
            took = time.monotonic() - start
            spent = sum(line.get(part, 0) for part in SPENT) / 1e9
            writing = line.get("eval_duration", 0) / 1e9 or took - first
            yield {"end": "answered", "wait": max(0.0, took - spent)}
            yield {"tokens": line["eval_count"], "writing": writing}


def of_page(lines: Iterable[bytes], start: float) -> Iterator[Line]:
    """The same of the page's server-sent events: the wait ends with the student's turn."""
    event, turn, first = b"", False, 0.0
    for line in lines:
        name, _, value = line.partition(b": ")
        if name == b"event":
            event = value
        if name != b"data":
            continue
        if not turn and event in (b"turn", b"text"):
            turn = True
            yield {"wait": time.monotonic() - start}
        if not first and event == b"text":
            first = time.monotonic() - start
            yield {"first": first}
        if event == b"done" and first and not (done := json.loads(value))["broken"]:
            writing = time.monotonic() - start - first
            yield {"end": "answered", "tokens": done["tokens"], "writing": writing}
        if event == b"failed":
            yield {"error": json.loads(value)["error"]}


class Student(Client):
    """Asks, reads, thinks, and asks again."""

    def wait_time(self) -> float:
        """Seconds."""
        return corpus.think(self.chance)

    @task  # type: ignore[untyped-decorator]
    def question(self) -> None:
        """One of the corpus."""
        leaves = self.work["scenario"] == "leave" and self.chance.random() < LEAVES
        most = corpus.length(self.chance, self.work["most"])
        self.ask("student", next(self.questions), most, leaves)


class Rude(Client):
    """Asks for the longest answers, again as soon as it is answered or refused."""

    fixed_count = 1

    def wait_time(self) -> float:
        """Seconds: a program that tries at once."""
        return 0.1

    @task  # type: ignore[untyped-decorator]
    def question(self) -> None:
        """The longest."""
        wish, text = self.chance.choice(corpus.TEXTS)
        self.ask("rude", f"{self.chance.randrange(1000)} {wish}{text}", self.work["most"])


def end_with(parent: int) -> None:
    """A class whose verb has ended is over at once: the verb may have been killed."""
    while os.getppid() == parent:
        gevent.sleep(STEP)
    os._exit(1)


def watch(metrics: str, began: float) -> None:
    """The gateway's places, for as long as it tells them."""
    with requests.Session() as session:
        session.trust_env = False
        while True:
            try:
                text = session.get(metrics, timeout=CONNECT, allow_redirects=False).text
            except requests.RequestException:
                return
            if found := places(text):
                tell(kind="places", at=time.monotonic() - began, flight=found[0], queue=found[1])
            gevent.sleep(STEP)


def places(metrics: str) -> tuple[int, int] | None:
    """In flight and waiting, of HAProxy's metrics."""
    flight = re.findall(
        r'^haproxy_server_current_sessions\{proxy="generations".*\} (\d+)', metrics, re.M
    )
    # A token's own places are in front of the common ones.
    queue = re.findall(
        r'^haproxy_backend_current_queue\{proxy="(?:generations|share-[^"]*)"\} (\d+)',
        metrics,
        re.M,
    )
    return (sum(map(int, flight)), sum(map(int, queue))) if flight and queue else None


def obstacle(work: Line) -> str:
    """Why there can be no class, in words for the operator; "" if nothing is in its way."""
    with requests.Session() as session:
        session.trust_env, session.verify = False, work["trust"] or True
        if work["tokens"]:
            session.headers["Authorization"] = f"Bearer {work['tokens'][0]}"
        try:
            if work["through"] == "page":
                page = session.get(
                    f"{work['base']}/healthz", timeout=CONNECT, allow_redirects=False
                )
                return "" if page.ok else f"answers {page.status_code}: has it a page? deploy it"
            answer = session.get(f"{work['base']}/api/ps", timeout=CONNECT, allow_redirects=False)
            loaded = answer.json().get("models") if answer.status_code == 200 else None
        except requests.exceptions.SSLError:
            return UNTRUSTED
        except (requests.RequestException, ValueError, AttributeError) as error:
            return f"does not answer ({type(error).__name__}); deploy it, or look at it with status"
    if loaded is None:
        return f"answers {answer.status_code} to a look at its models; has it the tokens of gateway_tokens? deploy it"
    if loaded and work["scenario"] == "cold":
        until = loaded[0].get("expires_at", "it is restarted")
        return f"has a model in memory until {until}; a cold start is measured after that"
    return ""


def main() -> None:
    """The class, to its end."""
    work = json.load(sys.stdin)
    gevent.spawn(end_with, work["parent"])
    if why := obstacle(work):
        tell(kind="obstacle", why=why)
        return
    Client.work, Client.numbers = work, iter(range(work["students"] + 1))
    Client.host, Client.began = work["base"], time.monotonic()
    classes = [Student, Rude] if work["scenario"] == "rude" else [Student]
    clients = work["students"] + len(classes) - 1
    # Who has asked stays for the answer.
    environment = Environment(user_classes=classes, stop_timeout=work["patience"])
    runner = environment.create_local_runner()
    at_once = work["scenario"] in ("burst", "cold")
    ramp = min(RAMP, work["seconds"] / 4)
    if work["metrics"]:
        gevent.spawn(watch, work["metrics"], Client.began)
    runner.start(clients, spawn_rate=clients if at_once else clients / ramp)
    gevent.sleep(work["seconds"])
    runner.quit()


if __name__ == "__main__":
    main()
