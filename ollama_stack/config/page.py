"""What the page cannot be without, or beside, by the settings alone."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ollama_stack.config.settings import Settings


def faults(settings: Settings) -> Iterator[str]:
    """Faults, as ``setting: problem; way out``."""
    if not settings.app_enabled:
        return
    if not settings.gateway_enabled:
        yield "app_enabled: the app stands behind the gateway; set gateway_enabled = True"
    for other in ("ollama_port", "gateway_metrics_port"):
        if settings.app_port == getattr(settings, other):
            yield f"app_port: {settings.app_port} is {other}; take another"
    if settings.app_is_built and not settings.app_python:
        yield (
            f"app_base_python: {settings.app_base_image} does not say which Python it has; set "
            "app_base_python, like 3.13"
        )
    if settings.app_is_built and "alpine" in settings.app_base_image:
        yield (
            f"app_base_image: {settings.app_base_image} is Alpine's, for which the page's packages are not made; "
            "take one of Debian's, like python:3.13-slim"
        )
    yield from _bad_choice(settings)
    yield from _too_long(settings)


def _bad_choice(settings: Settings) -> Iterator[str]:
    served = [model.name for model in settings.served_models]
    if settings.app_models and settings.app_models[0] != settings.model_name:
        yield (
            f"app_models: the first is {settings.app_models[0]}, and a deploy leaves {settings.model_name} "
            f"(model_name) in memory; put {settings.model_name} first"
        )
    for name in dict.fromkeys(settings.app_models):
        if name not in served:
            yield f"app_models: {name} is not served; add it to models, or take it off the list"
        if settings.app_models.count(name) > 1:
            yield f"app_models: {name} is there twice; name each model once"


def _too_long(settings: Settings) -> Iterator[str]:
    prompt = settings.app_system_prompt
    if settings.app_tokens > settings.model_num_ctx:  # Ollama would cut the beginning off
        yield (
            f"app_max_answer: {settings.app_max_answer} tokens"
            + (f", the {len(prompt)} characters of app_system_prompt" if prompt else "")
            + f" and app_max_prompt = {settings.app_max_prompt} are more than model_num_ctx = "
            f"{settings.model_num_ctx}; lower one of them"
        )
    body = len(json.dumps(prompt, ensure_ascii=False).encode()) + 4 * settings.app_max_prompt + 1024
    if prompt and body > settings.max_body_bytes:
        yield (
            f"gateway_max_body: {settings.gateway_max_body} is less than the {body} bytes that a question "
            "with app_system_prompt may have; raise it"
        )
