"""Images and models as a bundle has them, and what Docker reads to find them there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from ollama_stack.registry import digest_of

OCI = "application/vnd.oci.image.manifest.v1+json"  # whose own media type may be left out
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
DIGESTS = TypeAdapter(Digest)


class BundleFault(ValueError):
    """What is wrong with a bundle, and the way out."""


@dataclass(frozen=True)
class Packed:
    """An image or a model, as its manifest has it."""

    name: str
    """Under which a host has it."""
    manifest: bytes
    media_type: str
    config: str
    layers: tuple[str, ...]

    @classmethod
    def parse(cls, name: str, manifest: bytes) -> Packed:
        """BundleFault if it is no manifest of one image or model."""
        try:
            body = json.loads(manifest)
            config, *layers = (DIGESTS.validate_python(part["digest"]) for part in _parts(body))
            return cls(name, manifest, body.get("mediaType", OCI), config, tuple(layers))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BundleFault(
                f"bundle: {name} has no manifest of one image or model; name another tag"
            ) from error

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)

    @property
    def blobs(self) -> tuple[str, ...]:
        """Digests of what it consists of, each once."""
        return tuple(dict.fromkeys((self.config, *self.layers)))

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of them."""
        return {part["digest"]: part["size"] for part in _parts(json.loads(self.manifest))}


def _parts(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [manifest["config"], *manifest["layers"]]


def blob_path(digest: str) -> str:
    """Where an OCI image layout has a blob."""
    return f"blobs/{digest.replace(':', '/')}"


def loaded_as(image: str, digest: str) -> str:
    """The name that `docker load` can give: Docker gives no name with a digest in it."""
    return f"ollama-stack/base:{digest[7:19]}" if "@" in image else image


def layout(images: list[Packed]) -> dict[str, bytes]:
    """What makes a folder of blobs an OCI image layout, and what `docker load` reads, by path."""
    index = {"schemaVersion": 2, "manifests": [_descriptor(image) for image in images]}
    archive = [
        {
            "Config": blob_path(image.config),
            "RepoTags": [image.name],
            "Layers": [blob_path(layer) for layer in image.layers],
        }
        for image in images
    ]
    return {
        "index.json": written(index),
        "manifest.json": written(archive),
        "oci-layout": written({"imageLayoutVersion": "1.0.0"}),
    }


def _descriptor(image: Packed) -> dict[str, Any]:
    first, slash, _ = image.name.partition("/")
    own = slash and ("." in first or ":" in first or first == "localhost")
    full = image.name if own else f"docker.io/{'' if slash else 'library/'}{image.name}"
    names = {
        "io.containerd.image.name": full,
        "org.opencontainers.image.ref.name": image.name.rpartition(":")[2],
    }
    return {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": len(image.manifest),
        "annotations": names,
    }


def written(content: Any) -> bytes:
    """JSON, the same bytes for the same content."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
