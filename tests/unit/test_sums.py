"""What a model needs of memory and disk, and where the figures are from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ollama_stack.capacity.budget import MIB, SHAPES, Shape, budget
from ollama_stack.capacity.fit import misfits
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.capacity.sums import Measured, disk_sum, image_sum, memory_sum
from tests.unit.test_fit import BARE, SERVING, settings

PHI = {"weights": "2G", "layers": 32, "embedding": 3072, "heads": 32, "kv_heads": 32}


def test_the_disk_is_known_by_the_registry_s_manifest() -> None:
    there = replace(BARE, to_pull=BARE.to_pull | {"ollama_image": Manifest(200, 2 * 10**9)})
    del there.to_pull["gateway_image"]
    assert disk_sum(settings(), there).terms == {
        "ollama_image": 6 * 10**9,
        "model_name": 986 * 10**6,
        "a fifth to spare": (6 * 10**9 + 986 * 10**6) // 5,
    }


def test_images_count_where_they_really_go() -> None:
    """Docker 29: /srv/docker has 500 GB, images go to / with its 3 GB."""
    apart = replace(BARE, data_root="/srv/docker", disk_free=500 * 10**9)
    assert image_sum(settings(), apart) is None
    apart = replace(apart, image_root="/var/lib/containerd", image_free=3 * 10**9)
    assert list(disk_sum(settings(), apart).terms) == ["model_name", "a fifth to spare"]
    images = image_sum(settings(), apart)
    assert images
    assert list(images.terms) == ["ollama_image", "gateway_image", "a fifth to spare"]
    (refusal,) = misfits(settings(), "medium", apart)
    assert refusal.startswith(
        "disk: /var/lib/containerd has 3.0 GB free, 5.0 GB are needed (ollama"
    )
    assert refusal.endswith(
        "free some, or move containerd's root (/etc/containerd/config.toml): images go there, not to "
        "data-root"
    )
    assert misfits(settings(), "medium", replace(apart, image_free=6 * 10**9)) == []


@pytest.mark.parametrize(
    ("own", "measured", "weights", "source"),
    [
        ({}, replace(BARE, to_pull={"model_name": Manifest(401)}), int(934.69 * MIB), "our table"),
        ({}, BARE, 980 * 10**6, "our table, weights from its manifest"),
        ({}, SERVING, int(934.69 * MIB), "the server"),
        (
            {"model_name": "phi:3b", "model_shape": PHI | {"vocabulary": 51200}},
            replace(BARE, to_pull={"model_name": Manifest(401)}),
            2 * 2**30,
            "model_shape, feed_forward taken as 8 x embedding",
        ),
        (
            {"model_name": "phi:3b", "model_shape": PHI | {"vocabulary": 1, "feed_forward": 8192}},
            replace(BARE, to_pull={"model_name": Manifest(401)}),
            2 * 2**30,
            "model_shape",
        ),
    ],
)
def test_the_memory_sum_says_where_its_figures_are_from(
    own: dict[str, Any], measured: Measured, weights: int, source: str
) -> None:
    total = memory_sum(settings(**own), measured)
    assert total
    assert (total.terms["weights"], total.source) == (weights, source)
    assert total.formula.startswith("Ollama 0.30 and later: ")


def test_the_memory_sum_counts_as_many_models_as_are_let_in_at_once() -> None:
    own: dict[str, Any] = {
        "gateway_models": ["qwen2.5:0.5b", "qwen2.5:3b", "qwen2.5:1.5b", "phi:3b"]
    }
    one, two, all_of_them = (
        memory_sum(settings(**own, ollama_max_loaded_models=loaded), SERVING)
        for loaded in (1, 2, 9)
    )
    alone = memory_sum(settings(), SERVING)
    assert alone
    assert one
    assert two
    assert all_of_them
    own_size, usual = alone.needed, settings()
    assert one.models == ("qwen2.5:3b",)
    assert one.source == "our table of qwen2.5:3b, the largest"
    assert own_size + one.needed == two.needed
    assert two.models == ("qwen2.5:1.5b", "qwen2.5:3b")
    assert list(two.terms) == [*alone.terms, "qwen2.5:3b beside it"]
    assert two.source == "the server"
    assert two.needed == own_size + sum(
        budget(SHAPES["qwen2.5:3b"], usual.ollama_image, 3, 4096, usual.ollama_cache_ram).values()
    )
    assert all_of_them.terms["phi:3b beside it"] == own_size
    assert all_of_them.source == "the server, phi:3b taken as large as qwen2.5:1.5b"
    assert len(all_of_them.terms) == len(alone.terms) + 3


@pytest.mark.parametrize(
    ("image", "ollama", "era"),
    [
        ("ollama/ollama:0.9.3", None, "before 0.30"),
        ("ollama/ollama:latest", None, "0.30 and later"),
        ("ollama/ollama:latest", "0.9.3", "before 0.30"),
    ],
)
def test_the_memory_sum_says_which_versions_arithmetic_it_is(
    image: str, ollama: str | None, era: str
) -> None:
    total = memory_sum(settings(ollama_image=image), replace(SERVING, ollama=ollama))
    assert total
    assert total.formula.startswith(f"Ollama {era}: ")


def test_a_server_s_own_metadata_is_believed() -> None:
    shown: dict[str, Any] = {
        "model_info": {
            "general.architecture": "qwen2",
            "qwen2.block_count": 28,
            "qwen2.embedding_length": 1536,
            "qwen2.attention.head_count": 12,
            "qwen2.attention.head_count_kv": 2,
            "qwen2.feed_forward_length": 8960,
        },
        "tensors": [{"name": "token_embd.weight", "type": "Q6_K", "shape": [1536, 151936]}],
    }
    assert Shape.parse(shown, 7) == replace(SHAPES["qwen2.5:1.5b"], weights=7)
    shown["model_info"] |= {"qwen2.attention.key_length": 256, "qwen2.block_count": [28, 28]}
    assert Shape.parse(shown, 7).head_dim == 256
    assert Shape.parse(shown, 7).layers == 28
    shown["model_info"] |= {"qwen2.feed_forward_length": [8960, 18944]}  # as Gemma's 3n has it
    assert Shape.parse(shown, 7).feed_forward == 18944
    shown["model_info"]["qwen2.feed_forward_length"] = 0  # as of a model of experts alone
    assert Shape.parse(shown, 7).feed_forward is None
    del shown["model_info"]["qwen2.feed_forward_length"]
    assert Shape.parse(shown, 7).feed_forward is None
    for nonsense in ("28", 0, None, -1):
        shown["model_info"]["qwen2.block_count"] = nonsense
        with pytest.raises((ValueError, TypeError)):
            Shape.parse(shown, 7)


def test_windows_and_models_without_a_memory_are_read_from_the_server() -> None:
    def shown(family: str, **own: Any) -> dict[str, Any]:
        figures = {"block_count": 2, "embedding_length": 8, "attention.head_count": 2} | own
        info = {f"{family}.{name}": value for name, value in figures.items()}
        tensors = [{"name": "token_embd.weight", "shape": [8, 99]}]
        return {"model_info": {"general.architecture": family} | info, "tensors": tensors}

    window = {"attention.sliding_window": 512}
    assert Shape.parse(shown("gemma3", **window), 7).window == 512
    assert Shape.parse(shown("gemma3"), 7).window == 0
    assert Shape.parse(shown("mistral", **window), 7).window == 0  # llama.cpp takes no notice there
    assert Shape.parse(shown("nomic-bert", **{"attention.causal": False}), 7).kv_heads == 0
    assert Shape.parse(shown("nomic-bert"), 7).kv_heads == 2


def test_the_sums_count_every_listed_model() -> None:
    both = settings(models=["qwen2.5:1.5b", "qwen2.5:3b"], ollama_max_loaded_models=2)
    total = memory_sum(both, SERVING)
    assert total
    assert "qwen2.5:3b beside it" in total.terms
    one = replace(SERVING, to_pull={"models qwen2.5:3b": Manifest(200, 1000, 990)})
    assert disk_sum(both, one).terms["models qwen2.5:3b"] == 1000


def test_a_model_of_no_known_shape_counts_with_its_own_weights() -> None:
    """models = qwen2.5:1.5b and qwen2.5:14b, of which one is in memory: 3G were enough for that sum."""
    both = settings(models=["qwen2.5:1.5b", "qwen2.5:14b"])
    large = Manifest(200, 8_988_124_069, 8_988_110_688)
    pulled = replace(SERVING, to_pull={"models qwen2.5:14b": large})
    there = replace(SERVING, model_sizes={"qwen2.5:14b-pristine": 8_988_124_069})
    for measured in (pulled, there):
        total = memory_sum(both, measured)
        assert total
        assert total.models == ("qwen2.5:14b",)
        assert total.terms["weights"] > 8_988_000_000
        assert total.source == "qwen2.5:14b taken as large as qwen2.5:1.5b but for its weights"
        (refusal,) = misfits(
            both, "medium", replace(measured, to_pull={}, model_sizes=there.model_sizes)
        )
        assert refusal.startswith("ollama_memory: 3G is less than the ")


def test_a_model_that_the_door_alone_lets_in_counts_as_the_server_has_it() -> None:
    own = settings(gateway_models=["site/large:1"])
    total = memory_sum(own, replace(SERVING, model_sizes={"site/large:1": 5 * 10**9}))
    assert total
    assert total.models == ("site/large:1",)
