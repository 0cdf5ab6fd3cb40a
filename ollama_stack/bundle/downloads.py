"""What a bundle is made of, fetched once and kept on this machine by its digest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from ollama_stack.bundle.file import PIECE, Machine, hashed
from ollama_stack.registry import RegistryFault, Repository, digest_of

ATTEMPTS = 3
# As registries name machines (Go's GOARCH).
ARCHITECTURES: dict[Machine, str] = {"x86_64": "amd64", "aarch64": "arm64"}

Advance = Callable[[int], None]  # so many bytes more are here


class Store:
    """Files by digest, in a folder that may be removed when no bundle is being made."""

    def __init__(self, folder: Path) -> None:
        """The folder is made."""
        self.folder = folder / "sha256"
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob is, or will be."""
        return self.folder / digest.removeprefix("sha256:")

    def keep(self, content: bytes) -> str:
        """Have these bytes; their digest."""
        digest = digest_of(content)
        self.path(digest).write_bytes(content)
        return digest

    def missing(self, digest: str, size: int) -> int:
        """Bytes of a blob that are still to be fetched."""
        if self.path(digest).exists():
            return 0
        part = self._part(digest)
        return size - min(size, part.stat().st_size if part.exists() else 0)

    def fetch(self, repository: Repository, digest: str, size: int, advance: Advance) -> None:
        """Have a blob; what an earlier run has begun with goes on.

        RegistryFault if it cannot be had, or is not what its name says.
        """
        if self.path(digest).exists():
            return
        part = self._part(digest)
        part.touch()
        for attempt in range(ATTEMPTS):
            if self.missing(digest, size):
                time.sleep(attempt)
                self._go_on(repository, digest, part, advance)
        if self.missing(digest, size):
            raise RegistryFault(
                f"{repository.registry} stops within {digest}; run again: what has arrived is kept"
            )
        with part.open("rb") as file:
            found = hashed(file)
        if found != digest:
            part.unlink()
            raise RegistryFault(f"{repository.registry} gives {found} for {digest}; run again")
        part.replace(self.path(digest))

    def _go_on(self, repository: Repository, digest: str, part: Path, advance: Advance) -> None:
        begun = part.stat().st_size
        with repository.blob(digest, begun) as answer:
            anew = answer.status != 206  # this registry cannot go on
            advance(-begun if anew else 0)
            with part.open("wb" if anew else "ab") as file:
                while piece := _read(answer):
                    file.write(piece)
                    advance(len(piece))

    def _part(self, digest: str) -> Path:
        return self.path(digest).with_suffix(".part")


def _read(answer: HTTPResponse) -> bytes:
    """Nothing more where the line is cut."""
    try:
        return answer.read(PIECE)
    except (OSError, HTTPException):
        return b""


def one_manifest(repository: Repository, version: str, machine: Machine) -> bytes:
    """The manifest for this machine; RegistryFault if there is none."""
    content = repository.manifest(version)
    try:
        listed = json.loads(content).get("manifests")
        if listed is None:
            return content
        digests = [one["digest"] for one in listed if _is_for(one.get("platform", {}), machine)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryFault(f"{repository.url} has no manifest as {version}") from error
    if not digests:
        raise RegistryFault(f"{repository.url} has nothing for {machine} as {version}")
    return repository.manifest(digests[0])


def _is_for(platform: dict[str, str], machine: Machine) -> bool:
    return (platform.get("os"), platform.get("architecture")) == ("linux", ARCHITECTURES[machine])
