"""No shell block that people copy is without a test that runs it, or a reason; those that need no host run here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ollama_stack import ROOT
from tests.blocks import Block, blocks, run_by

HERE = "tests/unit/test_blocks.py"
# They take the blocks of whatever page names them; other tests name the page that they read.
ANY = {HERE, "tests/lab/test_blocks.py"}


@pytest.mark.parametrize("block", [*blocks()], ids=str)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    way, _, text = block.mark.partition(": ")
    assert way in {"run", "not run"}, f"{block}: write <!-- run: TEST --> or <!-- not run: WHY -->"
    assert text
    if way == "run":
        assert text in ANY or Path(block.page).name in (ROOT / text).read_text(), text


@pytest.mark.parametrize("block", run_by(HERE), ids=str)
def test_a_block_that_needs_no_host_does_what_it_says(block: Block, tmp_path: Path) -> None:
    """In a copy of the project, with the program on the path."""
    for name in subprocess.check_output(["git", "-C", ROOT, "ls-files"], text=True).splitlines():
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    programs = Path(sys.executable).parent
    (tmp_path / ".venv").symlink_to(programs.parent)
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", block.code],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
