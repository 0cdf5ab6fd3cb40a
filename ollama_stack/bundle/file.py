"""The file itself: a plain tar whose parts are named by their digests, and a list of them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ollama_stack.registry import digest_of

LIST, SUM = "bundle.json", "bundle.json.sha256"
PIECE = 2**20  # bytes read at once
AGAIN = "copy the file again, or make it anew (ollama-stack bundle)"
Machine = Literal["x86_64", "aarch64"]


class BundleFault(ValueError):
    """What is wrong with a bundle, and the way out."""


class Wheels(BaseModel):
    """What pip needs for one file of requirements."""

    model_config = ConfigDict(frozen=True)

    requirements: str
    """SHA-256 of that file."""
    python: str
    files: dict[str, str]
    """Digests by the wheels' names."""


class Contents(BaseModel):
    """The list, bundle.json."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    machine: Machine
    images: dict[str, str]
    """Digests of their manifests, by the names that an engine pulls them by."""
    models: dict[str, str]
    """The same of models, by name."""
    wheels: list[Wheels]
    packages: dict[str, dict[str, str]]
    """What each supported system must have before, with its version as far as it is known."""
    blobs: dict[str, int]
    """Bytes of each part, by digest."""


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
        """ValueError if it is no manifest of one image or model."""
        try:
            said = json.loads(manifest)
            layers = tuple(str(layer["digest"]) for layer in said["layers"])
            return cls(name, manifest, said["mediaType"], said["config"]["digest"], layers)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{name}: its registry gives no manifest of one image") from error

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return digest_of(self.manifest)

    @property
    def blobs(self) -> tuple[str, ...]:
        """Digests of what it consists of, each once."""
        return tuple(dict.fromkeys((self.config, *self.layers)))


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


def written(said: Any) -> bytes:
    """JSON, the same bytes for the same content."""
    return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


class Bundle:
    """A bundle that is there: its list is read, its parts when they are asked for."""

    def __init__(self, path: Path) -> None:
        """BundleFault if it is not there, or no whole bundle; ``check`` reads every part."""
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self.parts = {member.name: member for member in tar.getmembers()}
                said, told = (tar.extractfile(name).read() for name in (LIST, SUM))  # type: ignore[union-attr]  # files
            if told.decode().split()[0] != sha256(said).hexdigest():
                raise BundleFault(f"bundle: {path}: {LIST} is damaged; {AGAIN}")
            self.contents = Contents.model_validate_json(said)
        except OSError as error:
            raise BundleFault(f"bundle: {path} cannot be read ({error.strerror})") from error
        except (tarfile.TarError, KeyError, IndexError) as error:
            raise BundleFault(f"bundle: {path} is no bundle, or cut off; {AGAIN}") from error
        except ValidationError as error:
            raise BundleFault(
                f"bundle: {path} was made by another version of ollama-stack; make it anew with this one"
            ) from error

    def check(self) -> None:
        """BundleFault that names the first part which is not there, or not what its name says."""
        for digest, size in self.contents.blobs.items():
            member = self.parts.get(blob_path(digest))
            if member is None or member.size != size:
                raise BundleFault(f"bundle: {self.path} lacks {digest}; {AGAIN}")
            try:
                found = self._hashed(digest)
            except (tarfile.TarError, OSError) as error:
                raise BundleFault(f"bundle: {self.path} ends within {digest}; {AGAIN}") from error
            if found != digest:
                raise BundleFault(
                    f"bundle: {self.path}: {digest} is damaged, it is {found} now; {AGAIN}"
                )

    def _hashed(self, digest: str) -> str:
        with self.blob(digest) as source:
            hashing = _Hashing(source)
            while hashing.read(PIECE):
                pass
        return hashing.digest

    @contextmanager
    def blob(self, digest: str) -> Iterator[IO[bytes]]:
        """One part, to be read by one reader."""
        with tarfile.open(self.path, "r:") as tar:
            yield tar.extractfile(self.parts[blob_path(digest)])  # type: ignore[misc]  # a file

    def read(self, digest: str) -> bytes:
        """A small part."""
        with self.blob(digest) as source:
            return source.read()

    @cached_property
    def images(self) -> dict[str, Packed]:
        """By the names that an engine pulls them by."""
        return {
            name: Packed.parse(loaded_as(name, digest), self.read(digest))
            for name, digest in self.contents.images.items()
        }

    @cached_property
    def models(self) -> dict[str, Packed]:
        """By name."""
        return {
            name: Packed.parse(name, self.read(digest))
            for name, digest in self.contents.models.items()
        }

    def size(self, digests: Iterable[str]) -> int:
        """Bytes of these parts."""
        return sum(self.contents.blobs[digest] for digest in digests)

    def unpack_wheels(self, wheels: Wheels, folder: Path) -> None:
        """These wheels as files in a folder."""
        for name, digest in wheels.files.items():
            (folder / Path(name).name).write_bytes(self.read(digest))


@cache
def whole(path: str) -> Bundle:
    """The bundle, every part of it checked, once a run; BundleFault if one is not as its name says."""
    bundle = Bundle(Path(path).expanduser())
    bundle.check()
    return bundle


def write(
    path: Path, contents: Contents, blobs: Mapping[str, Path], others: Mapping[str, bytes]
) -> str:
    """The same bytes for the same parts, whoever writes them, and when; returns the digest of its list.

    ``blobs``: files by digest; ``others``: by path in the tar. BundleFault if one is not what its name says.
    """
    said = written(contents.model_dump()) + b"\n"
    total = sha256(said).hexdigest()
    small = {**others, LIST: said, SUM: f"{total}  {LIST}\n".encode()}
    files = {blob_path(digest): digest for digest in blobs}
    part = path.with_name(f"{path.name}.part")
    with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted([*small, *files]):
            member = tarfile.TarInfo(name)
            member.mode = 0o644
            if name in small:
                member.size = len(small[name])
                tar.addfile(member, BytesIO(small[name]))
            else:
                _add(tar, member, blobs[files[name]], files[name])
    part.replace(path)
    return f"sha256:{total}"


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, source: Path, digest: str) -> None:
    member.size = source.stat().st_size
    with source.open("rb") as file:
        hashing = _Hashing(file)
        tar.addfile(member, hashing)
    if hashing.digest != digest:
        source.unlink()
        raise BundleFault(
            f"bundle: {source} was not {digest} any more, and is removed; run again, and see to the disk"
        )


class _Hashing:
    """A file that knows what was read of it."""

    def __init__(self, source: IO[bytes]) -> None:
        self.source, self.total = source, sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self.source.read(size)
        self.total.update(piece)
        return piece

    @property
    def digest(self) -> str:
        return f"sha256:{self.total.hexdigest()}"
