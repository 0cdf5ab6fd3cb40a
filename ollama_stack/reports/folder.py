"""A folder for a report's files, which are there whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile


def refuse_others(
    folder: Path, names: Iterable[str], whose: str, ours: Callable[[str], bool]
) -> None:
    """ValueError if the folder takes no file, or has one of these names while the first's text is not ours."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        there = [path for name in names if (path := folder / name).exists()]
        known = there and there[0].is_file() and ours(there[0].read_text("utf-8", "replace"))
    except OSError as error:
        raise _not_written(folder, error) from error
    if there and not known:
        raise ValueError(
            f"--report: {there[0]} is no report of {whose} and stays as it is; name another folder"
        )


def write(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Files by their names, in this order; ValueError if they cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".") as new:
            for name, text in texts.items():
                (Path(new) / name).write_text(text, encoding="utf-8")
            return [(Path(new) / name).replace(folder / name) for name in texts]
    except OSError as error:
        raise _not_written(folder, error) from error


def _not_written(folder: Path, error: OSError) -> ValueError:
    return ValueError(
        f"--report: {folder} cannot be written ({error.strerror}); name a folder of yours, on a disk with room"
    )
