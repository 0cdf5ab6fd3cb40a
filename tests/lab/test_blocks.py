"""Shell blocks of what people read, on the lab: its host is the school's of the pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.packages import have
from tests.blocks import Block, run_by
from tests.lab.conftest import INVENTORY, ROOT, Done, deployed, run
from tests.lab.test_release import current

pytestmark = pytest.mark.slow


def bash(code: str) -> Done:
    """As a reader types it, with the program on the path; it ends at the first line that fails."""
    path = f'PATH="{ROOT}/.venv/bin:$PATH"'
    return run("bash", "-e", "-o", "pipefail", "-c", f"{path}\n{code}")


@pytest.fixture(scope="module", autouse=True)
def releases() -> int:
    """There is one to go back to; the number of the one before the last."""
    have("/usr/bin/jq", "jq")
    deployed("ollama_max_queue=12")
    kept = current()
    deployed()
    return kept


@pytest.mark.parametrize("block", run_by("tests/lab/test_blocks.py"), ids=str)
def test_a_block_does_what_it_says(block: Block, releases: int, tmp_path: Path) -> None:
    """All but the lab's own coming and going."""
    code = re.sub(r"^make lab.*\n", "", block.code, flags=re.M)
    code = code.replace("inventories/school.py", INVENTORY).replace(" --limit class-1", "")
    code = code.replace("reports/", f"{tmp_path}/").replace("--to 7", f"--to {releases}")
    done = bash(code)
    assert done.returncode == 0, done.stdout + done.stderr
    deployed()
