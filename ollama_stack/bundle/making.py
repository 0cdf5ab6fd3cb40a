"""A bundle, made of what the hosts of an inventory declare."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ollama_stack.bundle.downloads import Store, one_manifest
from ollama_stack.bundle.file import Bundle, Contents, Machine, Wheels, write
from ollama_stack.bundle.packed import BundleFault, Packed, layout, loaded_as
from ollama_stack.capacity.fit import NEEDED, SUPPORTED_OS
from ollama_stack.config.settings import Settings
from ollama_stack.page_image import REQUIREMENTS
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, cache, downloaded
from ollama_stack.registry import Repository


@dataclass
class Needs:
    """What hosts declare together: the URL of each manifest by name, and Pythons that pages are built on."""

    images: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """The only ones that are taken, by model."""
    pythons: set[str] = field(default_factory=set)


def needs(hosts: Iterable[Settings]) -> Needs:
    """ValueError for what no bundle can have."""
    found = Needs()
    for settings in hosts:
        for setting, image in settings.declared_images.items():
            if "@" in image and setting != "app_base_image":
                raise BundleFault(
                    f"{setting}: {image} has a digest in its name, under which Docker loads no image; name the tag "
                    "alone: the bundle has the digest"
                )
            _agreed(found.images, settings.engine_name(image), settings.image_manifest(image))
        for model in settings.served_models:
            _agreed(found.models, model.name, model.manifest)
            if model.digest:
                _agreed(found.digests, model.name, model.digest)
        if settings.app_is_built:
            found.pythons.add(settings.app_python)
    return found


def _agreed(known: dict[str, str], name: str, value: str) -> None:
    if known.setdefault(name, value) != value:
        raise BundleFault(
            f"bundle: {name} is {known[name]} on one host and {value} on another; make a bundle for each (--limit)"
        )


def make(hosts: Iterable[Settings], machine: Machine, path: Path, console: Console) -> str:
    """Write the bundle for hosts of this machine, and return the digest of its list.

    ValueError (RegistryFault, BundleFault) if something cannot be had: what has arrived is kept for the next run.
    """
    _refuse_others(path)
    wanted = needs(hosts)
    try:
        return _make(wanted, machine, path, console)
    except OSError as error:
        raise BundleFault(
            f"--out: {error.filename or path} cannot be written ({error.strerror}); make room for the bundle twice, there "
            "and in the cache (XDG_CACHE_HOME), then run again: what has arrived is kept"
        ) from error


def _make(wanted: Needs, machine: Machine, path: Path, console: Console) -> str:
    store = Store(cache() / "blobs")
    places: dict[str, Repository] = {}
    images = dict(_manifests(wanted.images, machine, places))
    models = dict(_manifests(wanted.models, machine, places))
    for name, digest in wanted.digests.items():
        if (found := models[name].digest) != f"sha256:{digest}":
            raise BundleFault(
                f"model_digest: {name} is {found} at its registry, declared {digest}; find out who changed it"
            )
    sizes = {
        digest: size
        for packed in (*images.values(), *models.values())
        for digest, size in packed.sizes.items()
    }
    _fetch(store, places, sizes, console)
    wheels, files = _wheels(machine, wanted.pythons)
    blobs = {digest: store.path(digest) for digest in sizes}
    for packed in (*images.values(), *models.values()):
        blobs[packed.digest] = store.path(store.keep(packed.manifest))
    blobs |= files
    contents = Contents(
        machine=machine,
        images={name: packed.digest for name, packed in images.items()},
        models={name: packed.digest for name, packed in models.items()},
        wheels=wheels,
        packages=_packages(),
        blobs={digest: file.stat().st_size for digest, file in blobs.items()},
    )
    return write(path, contents, blobs, layout(list(images.values())))


def _refuse_others(path: Path) -> None:
    if path.exists():
        try:
            Bundle(path)
        except BundleFault as error:
            raise BundleFault(
                f"--out: {path} is there, and no whole bundle; name another file, or remove it"
            ) from error


def _manifests(
    urls: Mapping[str, str], machine: Machine, places: dict[str, Repository]
) -> Iterator[tuple[str, Packed]]:
    """Each as its registry has it; ``places`` learns where its blobs are."""
    for name, url in sorted(urls.items()):
        repository, version = Repository.of(url)
        manifest = one_manifest(repository, version, machine)
        packed = Packed.parse(name, manifest)
        packed = Packed.parse(loaded_as(name, packed.digest), manifest)
        places |= dict.fromkeys(packed.blobs, repository)
        yield name, packed


def _fetch(
    store: Store, places: Mapping[str, Repository], sizes: Mapping[str, int], console: Console
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, TransferSpeedColumn(), TimeRemainingColumn(), console=console) as bar:
        total = sum(sizes.values())
        here = total - sum(store.missing(*one) for one in sizes.items())
        task = bar.add_task("images and models", total=total, completed=here)
        for digest, size in sorted(sizes.items()):
            store.fetch(places[digest], digest, size, lambda more: bar.advance(task, more))


def _wheels(machine: Machine, pythons: Iterable[str]) -> tuple[list[Wheels], dict[str, Path]]:
    """What pip needs for Compose and for the page, and where these files are, by digest."""
    found, files = [], dict[str, Path]()
    for requirements, python in (
        (COMPOSE_PLUGIN, "3.11"),
        *((REQUIREMENTS, one) for one in sorted(pythons)),
    ):
        own = {
            f"sha256:{sha256(path.read_bytes()).hexdigest()}": path
            for path in sorted(downloaded(requirements, python, machine).iterdir())
        }
        files |= own
        found.append(
            Wheels(
                requirements=sha256(requirements.read_bytes()).hexdigest(),
                python=python,
                files={path.name: digest for digest, path in own.items()},
            )
        )
    return found, files


def _packages() -> dict[str, dict[str, str]]:
    """What each supported system must have before, with versions where it is this machine's own."""
    known = _versions()
    return {
        system: dict.fromkeys(sorted({*NEEDED, "docker.io", *beside}), "")
        | (known if system == _system() else {})
        for system, beside in SUPPORTED_OS.items()
    }


def _system() -> str:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return ""
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}"


def _versions() -> dict[str, str]:
    """As this machine's own apt would install them, if it has one."""
    names = sorted({*NEEDED, "docker.io", *SUPPORTED_OS.get(_system(), ())})
    apt = shutil.which("apt-cache")
    if not apt:
        return {}
    command = ["env", "LC_ALL=C", apt, "policy", *names]
    output = subprocess.run(command, capture_output=True, text=True).stdout  # noqa: S603 our own arguments
    found = re.findall(r"(?m)^(\S+):\n.*\n  Candidate: (\S+)", output)
    return {name: "" if version == "(none)" else version for name, version in found}
