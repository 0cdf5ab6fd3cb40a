"""The app with a double for the model, which says what a test tells it; tests/lab has the real one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder

from app import create_app
from app.queue import Chunk, Done, Failed
from app.share import Caller

TOKENS = {name: f"{name:0<64}" for name in ("cookie.key", "gateway.token", "teacher.token")}


class Double:
    """Answers with the prompt, word by word, once it is ``let``; the prompt ``fail:CODE`` fails, ``& &`` breaks off."""

    def __init__(self) -> None:
        self.let = Flag()
        self.let.set()
        self.asked: list[tuple[str, int, str]] = []
        self.ended: list[str] = []
        self.now = self.most = 0
        self.trouble = ""

    async def __call__(
        self, prompt: str, max_tokens: int, model: str
    ) -> AsyncIterator[Chunk | Done]:
        self.asked.append((prompt, max_tokens, model))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            end = time.monotonic() + 90  # a test that is red must not hang
            while not self.let.is_set() and time.monotonic() < end:
                await asyncio.sleep(0.005)
            if self.trouble:
                raise Failed(self.trouble, "why it failed")
            if prompt.startswith("fail:"):
                raise Failed(prompt.partition(":")[2], "why it failed")
            if prompt == "crash":
                raise RuntimeError("nobody expected this")
            tokens = prompt.split(" ")
            for token in tokens:
                yield Chunk(token)
            yield Done(len(tokens) >= max_tokens, len(tokens), broken=prompt.startswith("& &"))
        finally:
            self.now -= 1
            self.ended.append(prompt)


@pytest.fixture
def model() -> Iterator[Double]:
    double = Double()
    yield double
    double.let.set()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in TOKENS.items():
        (tmp_path / name).write_text(text)
    return {
        "OLLAMA_HOST": "http://127.0.0.1:9",  # the address that the test client comes from
        "OLLAMA_NUM_PARALLEL": "2",
        "OLLAMA_MAX_QUEUE": "3",
        "APP_MODEL": "qwen2.5:1.5b",
        "APP_MAX_PROMPT": "100",
        "APP_MAX_ANSWER": "50",
        "APP_SECRETS": str(tmp_path),
    }


@pytest.fixture
def app(environment: dict[str, str], model: Double) -> Flask:
    return create_app(environment, model)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def until(true: Callable[[], bool]) -> None:
    """Wait for what must come true."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.002)


def unheard(app: Flask, path: str, **request: Any) -> None:
    """A request that finds a place, and whose client is gone before a byte of the answer."""
    queue, environ = app.extensions["service"].queue, EnvironBuilder(path, method="POST", **request)
    waiting = queue.waiting
    answer = app.wsgi_app(environ.get_environ(), lambda *_: lambda _: None)
    assert queue.waiting == waiting + 1
    answer.close()  # type: ignore[attr-defined]  # werkzeug's ClosingIterator
    assert queue.waiting == waiting


def occupy(app: Flask, model: Double, others: int) -> None:
    """So many other students keep their places, until the model is let."""
    model.let.clear()
    for number in range(others):
        app.extensions["service"].ask(Caller(f"other-{number}"), "hello", 9, "m")
    until(lambda: model.now == min(others, 2))
