"""The files of an audit's report, and where they may be written."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from ollama_stack.reports import folder as files
from ollama_stack.reports.audit import Report, render

FILES = ("report.json", "report.json.sha256", "report.html")


def refuse_others(folder: Path) -> None:
    """ValueError if the folder takes no file, or has one of these names that is of no audit."""
    files.refuse_others(folder, FILES, "the audit's", _is_report)


def _is_report(text: str) -> bool:
    """Whether this or another version of the audit has written it."""
    try:
        report = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(report, dict) and {"inventory", "controls", "hosts"} <= report.keys()


def write(report: Report, folder: Path) -> str:
    """report.json, its SHA-256 beside it, and report.html; returns the SHA-256, ValueError if they cannot be written."""
    text = report.model_dump_json(indent=2) + "\n"
    digest = sha256(text.encode()).hexdigest()
    texts = text, f"{digest}  report.json\n", render(report, digest)
    files.write(folder, dict(zip(FILES, texts, strict=True)))
    return digest
