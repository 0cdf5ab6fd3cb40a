"""Tables in docs/benchmarks.md that a make target measured, each between two marks of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with its figures to the right."""
    lines = [head, ["---:"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def publish(name: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between ``<!-- name -->`` and ``<!-- /name -->``; ValueError without the marks."""
    old = page.read_text()
    block = re.compile(rf"(<!-- {name} -->\n).*(<!-- /{name} -->\n)", re.DOTALL)
    if not block.search(old):
        raise ValueError(f"{page.name} has no place for {name}")
    page.write_text(block.sub(lambda marks: f"{marks[1]}{text}{marks[2]}", old))
