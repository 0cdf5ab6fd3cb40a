"""Smoke the server through the address that students use."""

from __future__ import annotations

from pyinfra.api import deploy

from ollama_stack.operations import smoke
from ollama_stack.settings import Settings


@deploy("Smoke")
def smoke_requests(settings: Settings) -> None:
    """One request, then as many at once as the server answers at once."""
    smoke.answers(
        name="Ask the model",
        url=settings.url,
        header_file=settings.token_header_file,
        model=settings.model_name,
        parallel=settings.ollama_num_parallel,
        seconds=settings.smoke_seconds,
    )
    if settings.app_enabled:
        smoke.page(name="Ask the app", url=settings.app_url, seconds=settings.smoke_seconds)
