"""Words that stopped readers stay out of what people read: documentation, page, messages."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_stack import ROOT

BETTER = {
    r"\bmend(s|ed|ing)?\b": "repair, or correct",
    r"\bby itself\b": "automatically, or name who does it",
    r"\bstands? before\b": "is in front of",
    r"\bfor want of\b": "because there is no",
    r"\bgrown old\b": "has expired",
    r"\breached its longest\b": "reached the length limit",
    r"\bhowever often\b": "retrying does not change it",
    r"(?:^|[.:;|] )Who(ever)? [a-z]+s?\b(?![^.|]*\?)": "a noun: a client that, anybody who",
}
HISTORY = {ROOT / "docs/decisions.md"}
TITLES = {ROOT / "docs/controls.md"}
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PROGRAMS = [path for room in ("ollama_stack", "app") for path in (ROOT / room).rglob("*.py")]


def literals(path: Path) -> Iterator[str]:
    """What a program may say: its strings, but no docstring."""
    tree = ast.parse(path.read_text())
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in documented
        ):
            yield node.value


def read() -> Iterator[tuple[str, str]]:
    """Where, and what is read there."""
    for page in sorted({*PAGES} - HISTORY - TITLES):
        yield str(page.relative_to(ROOT)), page.read_text()
    for path in sorted(PROGRAMS):
        yield str(path.relative_to(ROOT)), "\n".join(literals(path))
    for path in sorted((ROOT / "templates").rglob("*.html.j2")):
        yield str(path.relative_to(ROOT)), path.read_text()
    yield (
        "app/texts/en.json",
        "\n".join(json.loads((ROOT / "app/texts/en.json").read_text()).values()),
    )


@pytest.mark.parametrize("word", BETTER, ids=BETTER.values())
def test_a_word_that_stopped_readers_is_not_back(word: str) -> None:
    there = [
        f"{place}: {found[0]!r}; write {BETTER[word]}"
        for place, text in read()
        for found in re.finditer(word, text, re.MULTILINE)
    ]
    assert not there
