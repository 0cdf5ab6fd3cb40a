"""A model of qwen2.5:1.5b's shape with random weights: its memory and time, none of its sense."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

LAYERS, EMBEDDING, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 28, 1536, 8960, 12, 2, 151936
KV = EMBEDDING // HEADS * KV_HEADS


def write(path: Path) -> None:
    """The GGUF in 16 bits, 3 GB; `ollama create -q q4_K_M` makes 982 MB of it."""
    writer = gguf.GGUFWriter(path, "qwen2", use_temp_file=True)
    writer.add_block_count(LAYERS)
    writer.add_context_length(32768)
    writer.add_embedding_length(EMBEDDING)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _vocabulary(writer)
    noise = np.random.default_rng(0).standard_normal(2**24, dtype=np.float32) * 0.02

    def tensor(name: str, *shape: int, kind: type[np.floating] = np.float32) -> None:
        writer.add_tensor(name, np.resize(noise.astype(kind), shape))

    tensor("token_embd.weight", VOCABULARY, EMBEDDING, kind=np.float16)
    tensor("output_norm.weight", EMBEDDING)
    matrices = {
        "attn_q": (EMBEDDING, EMBEDDING),
        "attn_k": (KV, EMBEDDING),
        "attn_v": (KV, EMBEDDING),
        "attn_output": (EMBEDDING, EMBEDDING),
        "ffn_gate": (FEED_FORWARD, EMBEDDING),
        "ffn_up": (FEED_FORWARD, EMBEDDING),
        "ffn_down": (EMBEDDING, FEED_FORWARD),
    }
    for block in (f"blk.{layer}." for layer in range(LAYERS)):
        tensor(f"{block}attn_norm.weight", EMBEDDING)
        tensor(f"{block}ffn_norm.weight", EMBEDDING)
        for name, shape in matrices.items():
            tensor(f"{block}{name}.weight", *shape, kind=np.float16)
        for name in ("attn_q", "attn_k", "attn_v"):
            tensor(f"{block}{name}.bias", matrices[name][0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(writer: gguf.GGUFWriter) -> None:
    """Every byte is a token, as GPT-2 spells bytes; the rest are dummies."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelt = {byte: chr(byte) for byte in plain}
    others = [byte for byte in range(256) if byte not in spelt]
    spelt |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    tokens = [spelt[byte] for byte in range(256)]
    tokens += [f"<dummy{number}>" for number in range(256, VOCABULARY)]
    kinds = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.UNUSED] * (VOCABULARY - 256)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{tokens[ord('t')]} {tokens[ord('h')]}"])
    writer.add_eos_token_id(VOCABULARY - 1)
