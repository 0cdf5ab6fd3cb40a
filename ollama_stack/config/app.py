"""Settings of the companion app, the page where students ask."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel

from ollama_stack.config.types import (
    Address,
    Hidden,
    HostName,
    Image,
    Listed,
    Model,
    PythonVersion,
    ReadyImage,
    setting,
)


class AppSettings(BaseModel):
    """A Flask app whose pool and queue are as large as Ollama's."""

    app_enabled: bool = setting(
        "students have a page to ask on, behind the gateway: `ollama_num_parallel` are answered at "
        "once, `ollama_max_queue` see their place in the queue",
        "rule of thumb: Flask with a ThreadPoolExecutor",
        False,
        rule="with `gateway_enabled`",
    )
    app_image: ReadyImage = setting(
        "a ready image, with tag or digest; none: each host builds it from app/Dockerfile "
        "(docs/page.md)",
        "ours",
        "",
        rule="in its registry or already on the host",
    )
    app_base_image: Image = setting(
        "image on which a host builds the page's: a Python from 3.10 on with pip and bash, not Alpine's",
        "app/Dockerfile",
        "python:3.13.5-slim-bookworm@sha256:4c2cf9917bd1cbacc5e9b07320025bdb7cdf2df7b0ceaccb55e9dd7e30987419",
        rule="in its registry, if that says so without a login, or already on the host",
    )
    app_base_python: PythonVersion = setting(
        "version of that Python",
        "app/Dockerfile",
        "",
        rule="needed where the tag of `app_base_image` does not say it as `python:3.13` does",
    )
    app_bind: Address = setting(
        "address the page is published on",
        "ours",
        "127.0.0.1",
        rule="an address of the host; if not loopback, with `gateway_tls` or `gateway_tls_cert`, or `allow_unusual`",
    )
    app_port: int = setting(
        "port the page is published on",
        "ours",
        8080,
        rule="free, or ours; not `ollama_port` or `gateway_metrics_port`",
        ge=1,
        le=65535,
    )
    app_hosts: Annotated[list[HostName], Listed] = setting(
        "names under which the page is reached, beside addresses; with it another name is refused, so "
        "that no foreign page can have its own name point here (DNS rebinding)",
        "Ollama refuses foreign names too (server/routes.go)",
        [],
        rule="a proxy of the site's before the page sends it on as Host",
        examples=['["ask.school.lan"]'],
    )
    app_models: Annotated[list[Model], Listed] = setting(
        "models among which students choose; none: `model_name` answers, and there is no choice",
        "ours",
        [],
        rule="`model_name` is the first; each of `models`, and one that chats",
        examples=['["qwen2.5:1.5b", "qwen2.5:3b"]'],
    )
    app_system_prompt: Hidden = setting(
        "a teacher's words that the model gets before every question; no page, error, log or report "
        "shows them, though a model may repeat them",
        "ours",
        "",
        unit="characters",
        rule="with `app_max_prompt` and `app_max_answer` within `model_num_ctx`",
        max_length=20_000,
        examples=["You help pupils of class 9. Ask back before you give a solution."],
    )
    app_max_prompt: int = setting(
        "longest question", "ours", 2000, unit="characters", ge=1, le=10_000
    )
    app_max_answer: int = setting(
        "longest answer",
        "ours",
        512,
        unit="tokens",
        rule="with `app_max_prompt` within `model_num_ctx`",
        ge=1,
    )
    app_questions_per_minute: int = setting(
        "questions of one student in a minute", "ours", 6, unit="questions", ge=1
    )
    app_questions_at_once: int = setting(
        "questions of one student that wait or are answered; the second comes after everybody's "
        "first",
        "ours",
        4,
        unit="questions",
        ge=1,
    )
    app_address_share: int = setting(
        "of all places, how many one address may fill while others ask too; alone it may have all, "
        "as a class behind NAT does",
        "ours",
        75,
        unit="percent",
        ge=1,
        le=100,
    )
    app_log_prompts: bool = setting("whether the app's log has the questions", "ours", False)

    @property
    def app_python(self) -> str:
        """Version of the base image's Python, like ``3.13``; "" where nothing says it."""
        tag = re.search(r"(?:^|/)python:(3\.[0-9]{2})(?![0-9])", self.app_base_image)
        return self.app_base_python or (tag[1] if tag else "")

    @property
    def app_tokens(self) -> int:
        """What one question of the page takes of a context; a character is seldom more than a token."""
        return len(self.app_system_prompt) + self.app_max_prompt + self.app_max_answer

    @property
    def app_is_built(self) -> bool:
        """Whether the host builds the page's image."""
        return self.app_enabled and not self.app_image
