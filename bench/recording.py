"""What a command shows on a terminal, as one picture that moves: an SVG without a script, a font or a link."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.terminal_theme import SVG_EXPORT_THEME
from termtosvg.anim import render_animation
from termtosvg.asciicast import AsciiCastV2Event, AsciiCastV2Header
from termtosvg.config import default_templates
from termtosvg.term import record, timed_frames

ROOT = Path(__file__).parents[1]
COLUMNS, ROWS = 100, 46  # the last screen has all of what is true after a run
SHORTEST, LONGEST, LAST = 150, 1000, 6000  # ms that a screen is shown; the last one is read
TYPED = r'printf "\033[?25l$ %s\n" "$1"; sleep 1; eval "$1"'
CALM = (
    "<style>@media (prefers-reduced-motion: reduce) "
    "{#screen_view {animation-duration: 1ms; animation-iteration-count: 1}}</style>"
)

Events = Iterable[AsciiCastV2Header | AsciiCastV2Event]


def run(command: str) -> Iterator[AsciiCastV2Header | AsciiCastV2Event]:
    """What a shell in ROOT shows of a command, with the times."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    program = ["env", f"--chdir={ROOT}", "--unset=MAKELEVEL", "--unset=MAKEFLAGS", f"PATH={path}"]
    program += ["TERM=xterm-256color", "sh", "-c", TYPED, "sh", command]
    silent, _ = os.pipe()  # nobody types
    with Path(os.devnull).open("w") as nowhere:
        yield from record(program, COLUMNS, ROWS, silent, nowhere.fileno())


def checked(events: Events, end: str) -> list[AsciiCastV2Header | AsciiCastV2Event]:
    """The same events; SystemExit without ``end`` in them, or with this machine's name, home or folder."""
    events = list(events)
    text = "".join(event.event_data for event in events if isinstance(event, AsciiCastV2Event))
    if end not in text:
        raise SystemExit(f"the recording does not come to {end!r}:\n{text}")
    own = (str(ROOT), str(Path.home()), socket.gethostname())
    if found := [name for name in own if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]:
        raise SystemExit(f"the recording shows what is this machine's: {', '.join(found)}")
    return events


def draw(events: Events, path: Path) -> None:
    """A picture that begins anew after its end; where motion is unwanted, its last screen alone."""
    theme = SVG_EXPORT_THEME
    colors = {f"color{number}": theme.ansi_colors[number % 8].hex for number in range(16)}
    colors |= {"foreground": theme.foreground_color.hex, "background": theme.background_color.hex}
    geometry, frames = timed_frames(events, SHORTEST, LONGEST, LAST)
    render_animation(frames, geometry, path, default_templates()["window_frame"], palette=colors)
    path.write_text(f"{path.read_text().removesuffix('</svg>')}{CALM}</svg>\n")
