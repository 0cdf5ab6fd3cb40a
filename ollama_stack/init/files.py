"""New files, all or none: nothing that is there is written over."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple


class NewFile(NamedTuple):
    """A path below some folder, the text, and the mode that it has from the first byte on."""

    path: str
    text: str
    mode: int


def create_all(folder: Path, files: Sequence[NewFile]) -> None:
    """ValueError if a file is there already, or one cannot be written: then none is."""
    for file in files:
        refuse_taken(folder, file.path)
    with ExitStack() as undo:
        for file in files:
            _create(folder, file, undo)
        undo.pop_all()


def refuse_taken(folder: Path, path: str) -> None:
    """ValueError if something has this path, be it a link that leads nowhere."""
    if os.path.lexists(folder / path):
        raise _taken(path)


def _taken(path: str) -> ValueError:
    return ValueError(
        f"{path} is already there and stays as it is; take another name, or move it away first"
    )


def _create(folder: Path, file: NewFile, undo: ExitStack) -> None:
    path = folder / file.path
    try:
        _make_folders(path.parent, undo)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        undo.callback(path.unlink)
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            os.fchmod(descriptor, file.mode)  # whatever the umask takes away
            new.write(file.text)
    except FileExistsError as error:  # somebody else was faster
        raise _taken(file.path) from error
    except OSError as error:
        raise ValueError(
            f"{file.path} cannot be written ({error.strerror}); see to the folder's permissions and "
            "disk, then say it again: nothing was written"
        ) from error


def _make_folders(folder: Path, undo: ExitStack) -> None:
    """Those that are missing, their owner's alone."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=0o700)
        undo.callback(one.rmdir)
