"""Pure: what another version of Ollama does otherwise with the same settings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ollama_stack.capacity.budget import MIB, batch
from ollama_stack.capacity.sums import Measured, memory_sum
from ollama_stack.config.settings import Settings

Version = tuple[int, int, int]
LLAMA_SERVER: Version = (0, 30, 0)


class Change(NamedTuple):
    """The first version that does it otherwise, and what holds before and from it on."""

    since: Version
    subject: str
    before: str
    after: str


def version_of(image: str) -> Version | None:
    """The version in an image's tag, or in what a server says of itself; None where there is none."""
    name = image.partition("@")[0].rpartition("/")[2]
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", name.rpartition(":")[2])
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def upgrade(settings: Settings, measured: Measured) -> list[str]:
    """What the declared version does otherwise than the one that runs there; empty within one era."""
    running, declared = version_of(measured.ollama or ""), version_of(settings.ollama_image)
    if not running or not declared:
        return []
    old, new = sorted((running, declared))
    crossed = [each for each in _changes(settings, measured) if old < each.since <= new]
    if running > declared:
        effects = {each.subject: each.before for each in reversed(crossed)}
    else:
        effects = {each.subject: each.after for each in crossed}  # the latest of a subject counts
    versions = f"{measured.ollama} runs, {settings.ollama_image} is declared"
    return [f"{versions}: {subject}: {effect}" for subject, effect in effects.items()]


def _changes(settings: Settings, measured: Measured) -> Iterator[Change]:
    """In the order of versions. Sources: Ollama's code at each tag, and its log at 0.9.3 and 0.32.15."""
    threads, total = settings.num_thread, settings.ollama_num_parallel * settings.model_num_ctx
    bound = f"the gateway alone bounds it ({settings.ollama_max_queue} may wait)"
    if not settings.gateway_enabled:
        bound = "nothing bounds it; set gateway_enabled = True"
    yield Change(
        (0, 11, 5),
        "queue",
        "requests for a loaded model pass Ollama's own queue (OLLAMA_MAX_QUEUE)",
        f"requests for a loaded model pass Ollama's own queue by, and {bound}",
    )
    hidden = (
        "the runner shows neither threads nor slots; deploy and audit read them from no process"
    )
    shown = "the runner shows its threads and slots"
    yield Change((0, 11, 5), "flags", f"{shown} (--threads, --parallel)", hidden)
    host = "counts the host's cores, whatever the CPU limit"
    model = f"the model's own num_thread = {threads} holds all the same"
    yield Change(
        (0, 13, 0),
        "threads",
        f"Ollama {host}; {model}",
        f"Ollama counts the CPU limit where the host has cgroup v2; {model}",
    )
    yield Change(
        (0, 17, 1),
        "security",
        "anybody who may create models reads the server's memory (CVE-2026-7482); keep to 0.17.1 or later",
        "CVE-2026-7482 is closed",
    )
    yield Change(LLAMA_SERVER, "flags", hidden, f"{shown} (llama-server -t, -np)")
    yield Change(
        LLAMA_SERVER,
        "threads",
        f"LLAMA_ARG_THREADS is read nowhere; {model}",
        f"llama-server {host}, unless LLAMA_ARG_THREADS = {threads} says it; {model}",
    )
    small, large = batch(False, total), batch(True, total)
    if small != large:
        context = f"the context ({total} tokens of all slots) is computed in batches of"
        yield Change(LLAMA_SERVER, "context", f"{context} {small}", f"{context} {large}")
    before, after = (_memory(settings, measured, tag) for tag in ("0.29.0", "0.30.0"))
    cache = f"ollama_cache_ram = {settings.ollama_cache_ram}"
    yield Change(
        LLAMA_SERVER,
        "memory",
        f"another sum: {before} instead of {after}, without a prompt cache",
        f"another sum: {after} instead of {before}, the prompt cache among it ({cache})",
    )


def _memory(settings: Settings, measured: Measured, tag: str) -> str:
    found = memory_sum(settings.model_copy(update={"ollama_image": f"ollama:{tag}"}), measured)
    return f"{found.needed / MIB:.0f} MiB" if found else "nobody knows how much"
