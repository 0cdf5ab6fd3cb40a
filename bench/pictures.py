"""What an operator sees of the lab: a run and reports as SVG, the audit's page as PNG. ``make pictures``.

Writes into docs/pictures/.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bench import recording
from bench.browser_pages import chromium

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SAMPLE = ROOT / "docs" / "audit-sample" / "report.html"
WIDTH = 120


def draw(verb: str) -> None:
    """A verb's words with their colours, as a terminal of WIDTH columns shows them."""
    done = subprocess.run(  # noqa: S603 our own program
        [sys.executable, "-m", "ollama_stack.cli", verb, "inventories/lab.py"],
        cwd=ROOT,
        env=os.environ | {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(WIDTH)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, record=True, width=WIDTH)
        console.print(Text.from_ansi(done.stdout))
    svg = console.export_svg(title=f"ollama-stack {verb} inventories/lab.py", unique_id=verb)
    # Rich's own font comes from somebody else's server.
    (PICTURES / f"{verb}.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S))


def shoot_report() -> None:
    """The top of the sample report, as docs/audit-sample has it."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1100, "height": 800})
        page.goto(SAMPLE.as_uri())
        page.screenshot(path=PICTURES / "audit.png")


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    run = recording.checked(recording.run("make lab"), end="The lab is up")
    recording.draw(run, PICTURES / "first-run.svg")
    draw("plan")
    draw("status")
    shoot_report()
