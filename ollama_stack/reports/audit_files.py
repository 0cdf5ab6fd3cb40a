"""The files of an audit's report, and where they may be written."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile

from ollama_stack.reports.audit import Report, render

FILES = ("report.json", "report.json.sha256", "report.html")


def refuse_others(folder: Path) -> None:
    """ValueError if the folder takes no file, or has one of these names that is of no audit."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
        others = [folder / name for name in FILES if (folder / name).exists()]
        ours = _is_report(folder / FILES[0])
    except OSError as error:
        raise _not_written(folder, error) from error
    if others and not ours:
        raise ValueError(
            f"--report: {others[0]} is no report of the audit's and stays as it is; name another folder"
        )


def _is_report(path: Path) -> bool:
    """Whether this or another version of the audit has written it."""
    try:
        said = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and {"inventory", "controls", "hosts"} <= said.keys()


def write(report: Report, folder: Path) -> str:
    """report.json, its SHA-256 beside it, and report.html; returns the SHA-256, ValueError if they cannot be written."""
    text = report.model_dump_json(indent=2) + "\n"
    digest = sha256(text.encode()).hexdigest()
    texts = text, f"{digest}  report.json\n", render(report, digest)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in zip(FILES, texts, strict=True):
            (folder / name).write_text(content, encoding="utf-8")
    except OSError as error:
        raise _not_written(folder, error) from error
    return digest


def _not_written(folder: Path, error: OSError) -> ValueError:
    return ValueError(
        f"--report: {folder} cannot be written ({error.strerror}); name a folder of yours, on a disk with room"
    )
