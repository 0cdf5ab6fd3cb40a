"""Smoke the server through the address that students use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.operation import OperationMeta

from ollama_stack.config.settings import Settings
from ollama_stack.operations import smoke


@deploy("Smoke")
def smoke_requests(settings: Settings, after: Sequence[OperationMeta]) -> None:
    """One request; and where one of ``after`` has changed something, as many as are answered at once."""

    def changed() -> bool:
        return any(operation.did_change() for operation in after)

    chosen = settings.app_models if settings.app_enabled else []
    first = asked(settings)
    for other in host.loop(settings.served_models[1:]):  # before the first, which ends in memory
        smoke.other_answers(
            name="Ask another model",
            asked=replace(first, model=other.name),
            changed=changed,
            page_tokens=settings.app_tokens if other.name in chosen else 0,
        )
    smoke.answers(
        name="Ask the model",
        asked=first,
        parallel=settings.ollama_num_parallel,
        changed=changed,
    )
    if settings.app_enabled:
        smoke.page(name="Ask the app", url=settings.app_url, seconds=settings.smoke_seconds)


def asked(settings: Settings) -> smoke.Asked:
    """The first model, as it is asked at the address of students."""
    return smoke.Asked(
        url=settings.url,
        model=settings.model_name,
        seconds=settings.smoke_seconds,
        header_file=settings.token_header_file,
        longest=settings.model_num_predict,
    )
