"""The file itself: a plain tar whose parts are named by their digests, and a list of them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, ValidationError

from ollama_stack.bundle.packed import BundleFault, Digest, Packed, blob_path, loaded_as, written

LIST, SUM = "bundle.json", "bundle.json.sha256"
PIECE = 2**20  # bytes read at once
AGAIN = "copy the file again, or make it anew (ollama-stack bundle)"
Machine = Literal["x86_64", "aarch64"]


class Wheels(BaseModel, frozen=True):
    """What pip needs for one file of requirements."""

    requirements: str
    """SHA-256 of that file."""
    python: str
    files: dict[str, Digest]
    """Digests by the wheels' names."""


class Contents(BaseModel, frozen=True):
    """The list, bundle.json."""

    version: Literal[1] = 1
    machine: Machine
    images: dict[str, Digest]
    """Digests of their manifests, by the names that an engine pulls them by."""
    models: dict[str, Digest]
    """The same of models, by name."""
    wheels: list[Wheels]
    packages: dict[str, dict[str, str]]
    """What each supported system must have before, with its version as far as it is known."""
    blobs: dict[Digest, int]
    """Bytes of each part, by digest."""


class Bundle:
    """A bundle that is there: its list is read, its parts when they are asked for."""

    def __init__(self, path: Path) -> None:
        """BundleFault if it is not there, or no whole bundle; ``check`` reads every part."""
        self.path = path
        try:
            with tarfile.open(path, "r:") as tar:
                self.parts = {member.name: member for member in tar.getmembers()}
                listing, checksum = (tar.extractfile(name).read() for name in (LIST, SUM))  # type: ignore[union-attr]  # files
            if checksum.split()[:1] != [sha256(listing).hexdigest().encode()]:
                raise BundleFault(f"bundle: {path}: {LIST} is damaged; {AGAIN}")
            self.contents = Contents.model_validate_json(listing)
        except OSError as error:
            raise BundleFault(f"bundle: {path} cannot be read ({error.strerror})") from error
        except (tarfile.TarError, KeyError) as error:
            raise BundleFault(f"bundle: {path} is no bundle, or cut off; {AGAIN}") from error
        except ValidationError as error:
            raise BundleFault(
                f"bundle: {path} was made by another version of ollama-stack; make it anew with this one"
            ) from error

    def check(self) -> None:
        """BundleFault that names the first part which is not there, or not what its name says."""
        for digest in self.contents.blobs:
            self._there(digest)
            try:
                with self.blob(digest) as source:
                    found = hashed(source)
            except (tarfile.TarError, OSError) as error:
                raise BundleFault(f"bundle: {self.path} ends within {digest}; {AGAIN}") from error
            if found != digest:
                raise BundleFault(
                    f"bundle: {self.path}: {digest} is damaged, it is {found} now; {AGAIN}"
                )

        wheels = (digest for one in self.contents.wheels for digest in one.files.values())
        for digest in (*self.contents.images.values(), *self.contents.models.values(), *wheels):
            self._there(digest)
        for packed in (*self.images.values(), *self.models.values()):
            for digest in packed.blobs:
                self._there(digest)

    def _there(self, digest: str) -> None:
        member = self.parts.get(blob_path(digest))
        if member is None or member.size != self.contents.blobs.get(digest):
            raise BundleFault(f"bundle: {self.path} lacks {digest}; {AGAIN}")

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
    """Write a bundle, the same bytes for the same parts at any time, and return the digest of its list.

    ``blobs``: files by digest; ``others``: by path in the tar. BundleFault if one is not what its name says.
    """
    listing = written(contents.model_dump()) + b"\n"
    total = sha256(listing).hexdigest()
    small = {**others, LIST: listing, SUM: f"{total}  {LIST}\n".encode()}
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


def hashed(source: IO[bytes]) -> str:
    """The digest of a file, read to its end."""
    hashing = _Hashing(source)
    while hashing.read(PIECE):
        pass
    return hashing.digest


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
