"""Pure arithmetic: the memory that a model needs at so many slots of so much context."""

from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 2**20
SERVER = 60 * MIB  # the Go process beside the runner


@dataclass(frozen=True)
class Shape:
    """What of a model decides its memory; weights in bytes, as llama.cpp logs its model buffer."""

    weights: int
    layers: int
    embedding: int
    heads: int
    kv_heads: int
    vocabulary: int

    @property
    def kv_bytes_per_token(self) -> int:
        """K and V of every layer in 16 bits (Ollama llm/llama_server.go)."""
        return 2 * 2 * self.layers * self.kv_heads * self.embedding // self.heads


# The models we name.
SHAPES = {
    "qwen2.5:1.5b": Shape(int(934.69 * MIB), 28, 1536, 12, 2, 151936),
    "smollm2:135m": Shape(int(92.10 * MIB), 30, 576, 9, 3, 49152),
}


def batch(image: str, total_context: int) -> int:
    """Tokens of a micro-batch: from 0.30 on, Ollama doubles it above 4096 (server/sched.go).

    An image whose tag is no version counts as a new one.
    """
    version = re.search(r":(\d+)\.(\d+)", image)
    old = version is not None and (int(version[1]), int(version[2])) < (0, 30)
    return 512 if old or total_context <= 4096 else 1024


def budget(shape: Shape, image: str, parallel: int, num_ctx: int, cache_ram: int) -> dict[str, int]:
    """Bytes that cannot be reclaimed, by what takes them; ``cache_ram`` in MiB.

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
        "prompt cache": cache_ram * MIB,
        "server": SERVER,
    }
