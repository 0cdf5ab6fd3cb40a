"""The shell blocks of what people read, each with the mark above it that says which test runs it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ollama_stack import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:<!-- ([^\n]+) -->\n)?^ *```(?:sh|bash|shell|console)\n(.*?)^ *```", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """``mark`` is "run: FILE" of the test that runs the block, "not run: REASON", or empty."""

    page: str
    line: int
    mark: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text()
        for found in BLOCK.finditer(text):
            line = text.count("\n", 0, found.start(2))
            yield Block(str(page.relative_to(ROOT)), line, (found[1] or "").strip(), found[2])


def run_by(test: str) -> list[Block]:
    """Those that name this file, from the project's folder."""
    return [block for block in blocks() if block.mark == f"run: {test}"]
