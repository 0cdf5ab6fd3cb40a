"""Debian's docker-registry on loopback, and what a test has it hold."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from lab import plain
from lab.packages import program
from ollama_stack.registry import digest_of
from tests.door.conftest import until
from tests.door.haproxy import free_ports

IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"


class Held:
    """A running registry, which is given blobs and manifests as anybody pushes them."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url, self.client = url, plain.Client(base_url=url, headers=headers)

    def answers(self) -> bool:
        """Whether it has started."""
        with suppress(httpx.TransportError):
            return self.client.get("/v2/").is_success
        return False

    def push(self, name: str, tags: list[str], config: bytes, layers: dict[str, bytes]) -> str:
        """A manifest's digest; ``layers`` by media type."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": self._blob(name, CONFIG, config),
            "layers": [self._blob(name, kind, blob) for kind, blob in layers.items()],
        }
        return self.manifest(name, tags, manifest)

    def manifest(self, name: str, tags: list[str], manifest: dict[str, Any]) -> str:
        """The same for a whole manifest, or index."""
        body = json.dumps(manifest, separators=(",", ":")).encode()
        for tag in tags:
            headers = {"Content-Type": manifest["mediaType"]}
            put = self.client.put(f"/v2/{name}/manifests/{tag}", content=body, headers=headers)
            put.raise_for_status()
        return digest_of(body)

    def _blob(self, name: str, kind: str, content: bytes) -> dict[str, Any]:
        digest = digest_of(content)
        begun = self.client.post(f"/v2/{name}/blobs/uploads/")
        begun.raise_for_status()
        place = urljoin(self.url, begun.headers["Location"])
        self.client.put(
            httpx.URL(place).copy_merge_params({"digest": digest}), content=content
        ).raise_for_status()
        return {"mediaType": kind, "digest": digest, "size": len(content)}


@contextmanager
def registry(folder: Path, realm: str = "") -> Iterator[Held]:
    """Until the end; with a ``realm`` it wants a token from there, whatever that says."""
    (port,) = free_ports(1)
    config: dict[str, Any] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if realm:
        config["auth"] = {"silly": {"realm": realm, "service": "test"}}
    path = folder / "registry.yml"
    path.write_text(json.dumps(config))
    command = [program("docker-registry", "usr/bin/docker-registry"), "serve", str(path)]
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        held = Held(f"http://127.0.0.1:{port}", {"Authorization": "Bearer any"})
        with held.client:
            until(held.answers)
            yield held
    finally:
        process.terminate()
        process.wait()
