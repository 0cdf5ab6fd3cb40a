"""Settings of the companion app, the page where students ask."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from ollama_stack.config.types import Address, HostName, Image, Listed, setting


class AppSettings(BaseModel):
    """A Flask app whose pool and queue are as large as Ollama's."""

    app_enabled: bool = setting(
        "students have a page to ask on, behind the gateway: `ollama_num_parallel` are answered at "
        "once, `ollama_max_queue` see their place in the queue",
        "rule of thumb: Flask with a ThreadPoolExecutor",
        False,
        rule="with `gateway_enabled`",
    )
    app_image: Image = setting(
        "image, with tag or digest; build it from app/Dockerfile (docs/running.md)",
        "ours",
        "ollama-stack/app:0.1.0",
        rule="in its registry or already on the host",
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
