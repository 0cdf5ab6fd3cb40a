"""The memory sum, term by term, against what llama.cpp logged."""

from __future__ import annotations

import pytest

from ollama_stack.capacity import MIB, SHAPES, batch, budget

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


@pytest.mark.parametrize(
    ("image", "total", "tokens"),
    [
        (OLD, 12288, 512),
        (NEW, 12288, 1024),
        (NEW, 4096, 512),
        ("ollama/ollama:latest", 12288, 1024),
    ],
)
def test_new_versions_take_larger_batches(image: str, total: int, tokens: int) -> None:
    assert batch(image, total) == tokens


@pytest.mark.parametrize(("parallel", "limit"), [(2, 3), (3, 3), (4, 6)])
def test_the_shipped_profiles_fit_the_shipped_model_with_room(parallel: int, limit: int) -> None:
    terms = budget(SHAPES["qwen2.5:1.5b"], NEW, parallel, 4096, 256)
    assert sum(terms.values()) < 0.8 * limit * 2**30
