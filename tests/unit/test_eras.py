"""What another version of Ollama means for an inventory, said before it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ollama_stack.capacity.eras import upgrade, version_of
from tests.unit.test_fit import BARE, settings


def changes(running: str | None, image: str, **own: Any) -> dict[str, str]:
    """Words by subject."""
    lines = upgrade(settings(ollama_image=image, **own), replace(BARE, ollama=running))
    for line in lines:
        assert line.startswith(f"{running} runs, {image} is declared: ")
    return dict(line.split(": ", 2)[1:] for line in lines)


def test_a_version_is_read_from_a_tag_or_not_at_all() -> None:
    assert version_of("ollama/ollama:0.32.15") == (0, 32, 15)
    assert version_of("registry.lan:5000/ollama/ollama:v0.9.3-rc1@sha256:" + "0" * 64) == (0, 9, 3)
    assert version_of("0.9.3") == (0, 9, 3)
    assert version_of("registry.lan:5000/ollama/ollama") is None
    assert version_of("ollama/ollama:latest") is None


@pytest.mark.parametrize(
    ("running", "image"),
    [
        (None, "ollama/ollama:0.32.15"),
        ("0.32.15", "ollama/ollama:0.32.15"),
        ("0.30.0", "ollama/ollama:0.32.15"),
        ("0.9.3", "ollama/ollama:latest"),
    ],
)
def test_within_one_era_there_is_nothing_to_say(running: str | None, image: str) -> None:
    assert changes(running, image) == {}


def test_from_the_oldest_to_the_newest_era() -> None:
    found = changes("0.9.3", "ollama/ollama:0.32.15")
    assert list(found) == ["queue", "flags", "threads", "security", "context", "memory"]
    assert found["queue"].endswith("the gateway alone bounds it (15 may wait)")
    assert found["flags"] == "the runner shows its threads and slots (llama-server -t, -np)"
    assert (
        "unless LLAMA_ARG_THREADS = 2 says it; the model's own num_thread = 2" in found["threads"]
    )
    assert found["security"] == "CVE-2026-7482 is closed"
    assert found["context"].endswith("(12288 tokens of all slots) is computed in batches of 1024")
    assert found["memory"] == (
        "another sum: 1724 MiB instead of 1695 MiB, the prompt cache among it (ollama_cache_ram = 256)"
    )


def test_back_again_it_is_the_other_way_round() -> None:
    found = changes("0.32.15", "ollama/ollama:0.9.3")
    assert found["queue"].startswith("requests for a loaded model pass Ollama's own queue (OLLAMA_")
    assert found["flags"].endswith("(--threads, --parallel)")
    assert found["threads"].startswith("Ollama counts the host's cores, whatever the CPU limit")
    assert "keep to 0.17.1 or later" in found["security"]
    assert found["memory"].startswith("another sum: 1695 MiB instead of 1724 MiB")


def test_a_step_says_only_what_lies_between() -> None:
    assert list(changes("0.9.3", "ollama/ollama:0.11.5")) == ["queue", "flags"]
    assert list(changes("0.11.5", "ollama/ollama:0.13.0")) == ["threads"]
    assert (
        "set gateway_enabled = True" in changes("0.9.3", "x:0.11.5", gateway_enabled=False)["queue"]
    )


def test_a_small_context_is_computed_as_before() -> None:
    assert "context" not in changes("0.29.0", "x:0.30.0", ollama_num_parallel=1)


def test_of_a_model_that_nobody_knows_no_sum_is_said() -> None:
    found = changes("0.29.0", "x:0.30.0", model_name="phi:3b")["memory"]
    assert found.startswith("another sum: nobody knows how much instead of nobody knows how much")
