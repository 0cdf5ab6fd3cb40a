"""A small bundle, whose images and models are as the shipped settings declare them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ollama_stack.bundle.file import Contents, write
from ollama_stack.bundle.packed import Packed, layout, loaded_as
from ollama_stack.config.settings import read_settings
from ollama_stack.registry import digest_of
from tests.unit.conftest import group_data

KIND = "application/vnd.docker.distribution.manifest.v2+json"
WEIGHTS = "application/vnd.ollama.image.model"
SETTINGS = read_settings(group_data("all", "medium"))
OLLAMA, HAPROXY, MODEL = SETTINGS.ollama_image, SETTINGS.gateway_image, SETTINGS.model_name


def bundle(path: Path, names: tuple[str, ...] = (OLLAMA, HAPROXY, MODEL), **own: Any) -> Path:
    """Written to ``path``; ``own``: other contents."""
    blobs: dict[str, bytes] = {}
    packed = {name: _packed(name, blobs) for name in names}
    images = {name: one for name, one in packed.items() if name != MODEL}
    contents = {
        "machine": "x86_64",
        "images": {name: one.digest for name, one in images.items()},
        "models": {name: packed[name].digest for name in names if name == MODEL},
        "wheels": [],
        "packages": {},
        "blobs": {digest: len(content) for digest, content in blobs.items()},
    }
    files = {digest: path.with_name(digest) for digest in blobs}
    for digest, content in blobs.items():
        files[digest].write_bytes(content)
    write(path, Contents.model_validate(contents | own), files, layout([*images.values()]))
    for file in files.values():
        file.unlink()
    return path


def _packed(name: str, blobs: dict[str, bytes]) -> Packed:
    """With the name itself as its one layer."""

    def blob(kind: str, content: bytes) -> dict[str, Any]:
        blobs[digest_of(content)] = content
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    manifest = {
        "schemaVersion": 2,
        "mediaType": KIND,
        "config": blob("config", f"config of {name}".encode()),
        "layers": [blob(WEIGHTS if name == MODEL else "layer", name.encode())],
    }
    content = json.dumps(manifest).encode()
    blobs[digest_of(content)] = content
    return Packed.parse(loaded_as(name, digest_of(content)), content)
