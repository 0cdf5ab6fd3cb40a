"""Pure: what the page's image is built from, and the name that says so."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from ollama_stack import ROOT

APP = ROOT / "app"
REQUIREMENTS = APP / "requirements.txt"
REPOSITORY = "ollama-stack/app"  # on hosts alone: nobody has published it


@cache
def page() -> dict[str, bytes]:
    """This checkout's page, read once a run: what is built is what the name says."""
    return sources(APP)


def built_name(base: str) -> str:
    """The image of this checkout's page on a base image: another page, another name."""
    return name_of(page(), base)


def sources(folder: Path) -> dict[str, bytes]:
    """Files of the page by their path in the build; an editor's and Python's own leavings are none."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {
        f"app/{inside.as_posix()}": path.read_bytes()
        for inside, path in sorted(found.items())
        if not any(part.startswith((".", "#", "__pycache__")) for part in inside.parts)
        and not inside.name.endswith(("~", ".orig", ".rej"))
    }


def name_of(files: Mapping[str, bytes], base: str) -> str:
    """By all that goes into the build: packages count by their hashes in requirements.txt.

    Not by the machine: an image stays on the host that has built it.
    """
    lines = [base, *(f"{sha256(files[path]).hexdigest()} {path}" for path in sorted(files))]
    recipe = sha256("\n".join(lines).encode()).hexdigest()
    return f"{REPOSITORY}:{recipe[:12]}"


def packed(files: Mapping[str, bytes], wheels: Path) -> bytes:
    """A tar of the build's folder: the same bytes for the same files, whoever packs them, and when."""
    ready = {f"wheels/{path.name}": path.read_bytes() for path in wheels.iterdir()}
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, content in sorted({**files, **ready}.items()):
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, BytesIO(content))
    return archive.getvalue()
