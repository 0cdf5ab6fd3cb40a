"""Pure: who has which share of the gateway, and the settings of its look at bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ollama_stack.config.gateway import CONNECTIONS
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import seconds

WITHIN, METRICS, HEALTH = 50, 40, 10
# What the configuration has beside the settings.
LIMITS = {
    "connections": CONNECTIONS,
    "requests": 48,  # of one token at once, whatever they ask
    "refusals": 50,  # of one token in 10 s: to look at a body that is refused takes time from others
    "lists": 24,  # of the 64 places of light routes, which one has at once
    "light": 200,  # requests of one token in 10 s, after which none passes that has Ollama read files
    "asked": 1000,  # in 10 s, after which none passes that is no question: Ollama logs each
    "questions": 3000,  # in 10 s: those without a prompt are answered at once, and Ollama logs each
    "logged": 200,  # requests of one address in 10 s, but for those that the model answers
    "door_connections": (CONNECTIONS - WITHIN - METRICS - HEALTH) // 2,
    "app_connections": 50,  # of them, where only the app comes
    "crowded": 250,  # of them; from then on one address opens no more than
    "few": 20,
    "page_requests": 16,  # of one connection at the page
    "within_connections": WITHIN,
    "metrics_connections": METRICS,
    "health_connections": HEALTH,
}
UNSAID = 0  # per minute: any number


@dataclass(frozen=True)
class Places:
    """Requests in flight and waiting at once, and in a minute."""

    parallel: int
    queue: int
    per_minute: int = UNSAID

    @property
    def together(self) -> int:
        """Places in flight and in the queue."""
        return self.parallel + self.queue


def half(settings: Settings) -> Places:
    """The share of everybody who has no other one; a half that is none is rounded up."""
    return Places((settings.ollama_num_parallel + 1) // 2, (settings.ollama_max_queue + 1) // 2)


def shares(settings: Settings) -> dict[str, Places]:
    """The places of each declared token, by its name: half, and half at most of what tokens have together."""
    usual, found = half(settings), {}
    most = (everybody_else(settings) + 1) // 2
    parallel = min(usual.parallel, most)
    usual = Places(parallel, max(1, min(usual.queue, most - parallel)))
    for name in settings.gateway_tokens:
        limits = settings.gateway_token_limits.get(name, {})
        found[name] = Places(
            limits.get("parallel", usual.parallel),
            limits.get("queue", usual.queue),
            limits.get("per_minute", UNSAID),
        )
    return found


def everybody_else(settings: Settings) -> int:
    """Places that the declared tokens have together: the page keeps its own, where there is one."""
    places = settings.ollama_num_parallel + settings.ollama_max_queue
    if not settings.app_enabled:
        return places
    return max(1, places - half(settings).together)


def body_seconds(settings: Settings) -> int:
    """Seconds in which a body has to come: ten, and what the largest takes at 128 KiB a second."""
    return min(600, 10 + settings.max_body_bytes // 2**17)


def share_silence(settings: Settings) -> int:
    """Longest silence, in seconds, of the common queue towards a token's own one."""
    return settings.queue_seconds + seconds(settings.gateway_answer_timeout)


def lua_words(settings: Settings) -> str:
    """What is declared, for templates/gateway/door.lua."""
    longest = max(settings.model_num_predict, settings.app_max_answer * settings.app_enabled)
    declared = {
        "models": ",".join(settings.allowed_models),
        "tuned": ",".join(model.name for model in settings.served_models),
        "fields": ",".join(settings.gateway_fields),
        "model_num_ctx": settings.model_num_ctx,
        "num_thread": settings.num_thread,
        "longest": longest,
        "answer_seconds": seconds(settings.gateway_answer_limit),
        "keep_alive": settings.ollama_keep_alive,
        "max_body": settings.max_body_bytes,
    }
    return " ".join(f"{name}={value}" for name, value in declared.items())


def origins(settings: Settings) -> str:
    """The origins as one regular expression: ``:*`` is any port, another ``*`` any name."""
    found = []
    for origin in settings.gateway_origins:
        written = re.escape(origin).replace(r":\*", ":[0-9]+").replace(r"\*", "[A-Za-z0-9._-]*")
        found.append(written.replace("\\-", "-"))
    return f"^({'|'.join(found)})$"
