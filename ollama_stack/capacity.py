"""Pure arithmetic: the memory, disk and profile that a model and a class need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MIB = 2**20
PROCESSES = 100 * MIB  # server and runner beside the model, measured: make capacity
# Bytes of an image whose registry does not say: ollama/ollama is 3.3 to 3.5 GB (ollama#9982).
IMAGES = {"ollama_image": 4 * 10**9, "gateway_image": 2 * 10**8, "app_image": 2 * 10**8}


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

    @classmethod
    def parse(cls, shown: Mapping[str, Any], weights: int) -> Shape:
        """From the GGUF metadata in Ollama's /api/show.

        KeyError, StopIteration, TypeError or ValueError if it does not say enough. Where a figure
        differs between layers, the largest counts for all.
        """
        info = shown["model_info"]
        family = info["general.architecture"]

        def figure(name: str, otherwise: int | None = None) -> int:
            value = info.get(f"{family}.{name}") or otherwise
            largest = max(value) if isinstance(value, list) else value
            if not isinstance(largest, int) or largest < 1:
                raise ValueError(f"{family}.{name} is {largest!r}")
            return largest

        tensors = (t for t in shown["tensors"] if t["name"] == "token_embd.weight")
        heads, embedding = figure("attention.head_count"), figure("embedding_length")
        head_dim = embedding // heads
        return cls(
            weights=weights,
            layers=figure("block_count"),
            embedding=embedding,
            heads=heads,
            kv_heads=figure("attention.head_count_kv", heads),
            head_dim=max(
                figure("attention.key_length", head_dim), figure("attention.value_length", head_dim)
            ),
            vocabulary=next(tensors)["shape"][-1],
        )

    @property
    def kv_bytes_per_token(self) -> int:
        """K and V of every layer in 16 bits (Ollama llm/llama_server.go)."""
        return 2 * 2 * self.layers * self.kv_heads * self.head_dim


# The models we name.
SHAPES = {
    "qwen2.5:1.5b": Shape(int(934.69 * MIB), 28, 1536, 12, 2, 128, 151936),
    "smollm2:135m": Shape(int(92.10 * MIB), 30, 576, 9, 3, 64, 49152),
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
        return replace(shape, weights=manifest), f"{source}, weights from the registry's manifest"
    return shape, source


def runs_llama_server(image: str) -> bool:
    """Whether the image is Ollama 0.30 or later; one whose tag is no version counts as that."""
    version = re.search(r":(\d+)\.(\d+)", image)
    return version is None or (int(version[1]), int(version[2])) >= (0, 30)


def batch(image: str, total_context: int) -> int:
    """Tokens of a micro-batch: from 0.30 on, Ollama doubles it above 4096 (server/sched.go)."""
    return 1024 if runs_llama_server(image) and total_context > 4096 else 512


def budget(shape: Shape, image: str, parallel: int, num_ctx: int, cache_ram: int) -> dict[str, int]:
    """Bytes that cannot be reclaimed, by what takes them; ``cache_ram`` in MiB, from 0.30 on.

    The compute buffer is the larger of what the output layer takes and what the attention takes
    without flash attention (llama.cpp's graph, 32-bit floats).
    """
    total = parallel * num_ctx
    output = shape.vocabulary + shape.embedding
    attention = shape.heads * total + total + 4 * shape.embedding
    return {
        "weights": shape.weights,
        "KV cache": shape.kv_bytes_per_token * total,
        "compute buffer": 4 * batch(image, total) * max(output, attention),
        "prompt cache": cache_ram * MIB if runs_llama_server(image) else 0,
        "processes": PROCESSES,
    }


def least_profile(students: int) -> str:
    """The smallest profile for so many students at once (the seed's three cases)."""
    return "low" if students < 5 else "medium" if students <= 15 else "high"
