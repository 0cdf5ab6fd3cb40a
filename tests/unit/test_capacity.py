"""The memory sum, term by term, against what llama.cpp logged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ollama_stack.capacity.budget import MIB, SHAPES, batch, budget, runs_llama_server

OLD, NEW = "ollama/ollama:0.9.3", "ollama/ollama:0.32.15"


@pytest.mark.parametrize(
    ("model", "parallel", "num_ctx", "kv", "compute"),
    [
        # Logged by 0.9.3: a synthetic model of qwen2.5:1.5b's shape, and smollm2 in the lab.
        ("qwen2.5:1.5b", 3, 4096, 336.00, 324.01),
        ("smollm2:135m", 3, 4096, 270.00, 244.51),
        # The output layer takes more than the attention where the context is small.
        ("qwen2.5:1.5b", 1, 4096, 112.00, 299.75),
    ],
)
def test_the_sum_is_what_the_runner_allocates(
    model: str, parallel: int, num_ctx: int, kv: float, compute: float
) -> None:
    terms = budget(SHAPES[model], OLD, parallel, num_ctx, 0)
    assert terms["KV cache"] / MIB == pytest.approx(kv, abs=0.01)
    assert terms["compute buffer"] / MIB == pytest.approx(compute, abs=0.02)


@pytest.mark.parametrize(("parallel", "kv"), [(2, 224), (3, 336), (4, 448)])
def test_every_slot_takes_its_own_context(parallel: int, kv: int) -> None:
    assert budget(SHAPES["qwen2.5:1.5b"], OLD, parallel, 4096, 0)["KV cache"] == kv * MIB


# Logged by 0.32.15 on two cores (2026-11-27): MiB of the KV cache and the compute buffer, and what is
# resident after the load. The synthetic model has qwen2.5:1.5b's shape.
NEW_ERA = {
    "smollm2:135m": [
        *((1, 2048, 45, 15.51, 173), (1, 4096, 90, 17.51, 215), (2, 2048, 90, 15.51, 219)),
        *((2, 4096, 180, 35.02, 309), (3, 2048, 135, 31.08, 263), (3, 4096, 270, 35.09, 398)),
        *((4, 2048, 180, 31.02, 309), (4, 4096, 360, 35.02, 491)),
    ],
    "qwen2.5:1.5b": [
        *((1, 2048, 56, 66.51, 1044), (1, 4096, 112, 68.51, 1100), (2, 2048, 112, 66.51, 1095)),
        *((2, 4096, 224, 137.02, 1207), (3, 2048, 168, 133.28, 1159), (3, 4096, 336, 137.29, 1327)),
        *((4, 2048, 224, 133.02, 1215), (4, 4096, 448, 137.02, 1440)),
    ],
}


@pytest.mark.parametrize("model", NEW_ERA)
def test_from_0_30_on_the_sum_is_what_llama_server_allocates(model: str) -> None:
    for parallel, num_ctx, kv, compute, resident in NEW_ERA[model]:
        terms = budget(SHAPES[model], NEW, parallel, num_ctx, 0)
        assert terms["KV cache"] / MIB == pytest.approx(kv, rel=0.01)
        assert terms["compute buffer"] / MIB == pytest.approx(compute, rel=0.01)
        held = sum(terms[name] for name in ("weights", "KV cache", "processes")) / MIB
        assert resident <= held <= resident + 30


def test_a_model_that_fits_the_shipped_version_is_not_counted_out() -> None:
    """By the old sum qwen2.5:3b came to 3085 MiB, and a host with 3G was refused."""
    terms = budget(SHAPES["qwen2.5:3b"], NEW, 2, 4096, 256)
    assert sum(terms.values()) / MIB == pytest.approx(2613, abs=2)


def test_a_feed_forward_that_nobody_says_is_taken_as_wide_as_any() -> None:
    for model in SHAPES.values():
        known = budget(model, NEW, 3, 4096, 0)["compute buffer"]
        unknown = budget(replace(model, feed_forward=None), NEW, 3, 4096, 0)["compute buffer"]
        assert known <= unknown <= 2.5 * known
        assert budget(replace(model, feed_forward=None), OLD, 3, 4096, 0) == budget(
            model, OLD, 3, 4096, 0
        )


def test_layers_with_a_window_keep_no_more_than_that_and_a_batch() -> None:
    """gemma3:4b: 5 layers keep 4096 tokens a slot, 29 keep 1024 and a batch of 1024."""
    a_token = 2 * 2 * 4 * 256
    gemma = SHAPES["gemma3:4b"]
    assert budget(gemma, NEW, 3, 4096, 0)["KV cache"] == 3 * a_token * (5 * 4096 + 29 * 2048)
    assert budget(gemma, NEW, 1, 1024, 0)["KV cache"] == a_token * 34 * 1024
    assert budget(gemma, OLD, 3, 4096, 0)["KV cache"] == 3 * a_token * 34 * 4096


def test_an_embedding_model_keeps_no_context() -> None:
    assert budget(SHAPES["nomic-embed-text:latest"], NEW, 3, 2048, 0)["KV cache"] == 0


@pytest.mark.parametrize(
    ("image", "running", "new"),
    [
        (OLD, None, False),
        (OLD, "0.32.15", False),  # what is declared is what will run
        (NEW, "0.9.3", True),
        ("ollama/ollama:v0.30.0-rc1", None, True),
        ("10.0.0.9:5000/ollama/ollama:0.29.1", None, False),
        ("ollama/ollama:latest", None, True),
        ("ollama/ollama:latest", "0.9.3", False),
        (f"10.0.0.9:5000/ollama/ollama@sha256:{'0' * 64}", "0.12.0", False),
    ],
)
def test_the_tag_says_the_version_else_the_server_that_runs(
    image: str, running: str | None, new: bool
) -> None:
    assert runs_llama_server(image, running) is new


@pytest.mark.parametrize(
    ("llama_server", "total", "tokens"),
    [(False, 12288, 512), (True, 12288, 1024), (True, 4096, 512)],
)
def test_new_versions_take_larger_batches(llama_server: bool, total: int, tokens: int) -> None:
    assert batch(llama_server, total) == tokens


@pytest.mark.parametrize(("parallel", "limit"), [(2, 3), (3, 3), (4, 6)])
def test_the_shipped_profiles_fit_the_shipped_model_with_room(parallel: int, limit: int) -> None:
    terms = budget(SHAPES["qwen2.5:1.5b"], NEW, parallel, 4096, 256)
    assert sum(terms.values()) < 0.6 * limit * 2**30
