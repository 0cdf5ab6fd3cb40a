"""docs/tutorial.md, block after block."""

from __future__ import annotations

import json

import pytest

from tests.blocks import run_by
from tests.lab.test_blocks import bash

pytestmark = pytest.mark.slow


def test_a_first_class() -> None:
    asked, thirty, refused, broken = [block.code for block in run_by("tests/lab/test_tutorial.py")]

    assert json.loads(bash(asked).stdout)["answer"]

    counts = [line.split() for line in bash(thirty).stdout.splitlines()]
    assert {status for _, status in counts} == {"200", "503"}
    assert sum(int(count) for count, _ in counts) == 30

    done = bash(refused)
    assert done.returncode == 1
    assert "ollama_num_parallel" in done.stderr

    assert [bash(line).returncode for line in broken.splitlines()] == [0, 1, 0]
