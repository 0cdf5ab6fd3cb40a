"""Which tag is newer than which."""

from __future__ import annotations

import pytest

from ollama_stack.pinned_wheels import pinned
from ollama_stack.reports.outdated import newer_tags

TAGS = ["latest", "3.2.9", "3.2.18", "3.4.1", "3.2.18-alpine", "3.5-dev1", "3.3", "v3.9.0", "9"]


@pytest.mark.parametrize(
    ("tag", "newer"),
    [
        ("3.2.9", ["3.2.18", "3.4.1"]),
        ("3.2.9-alpine", ["3.2.18-alpine"]),
        ("3.2", ["3.3"]),
        ("v3.8.10", ["v3.9.0"]),
        ("3.4.1", []),
        ("latest", []),
        ("", []),
    ],
)
def test_newer_is_a_higher_version_that_is_written_alike(tag: str, newer: list[str]) -> None:
    assert newer_tags(tag, TAGS) == newer


def test_pins_are_read_as_a_lock_has_them() -> None:
    text = "a-b==1.0 \\\n    --hash=sha256:00\n    # via c==2\nd==3 ; x == '4' \\\n"
    assert pinned(text) == {"a-b": "1.0", "d": "3"}
