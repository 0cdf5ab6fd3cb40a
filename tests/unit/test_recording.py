"""A recording of a terminal as one picture that moves."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from termtosvg.asciicast import AsciiCastV2Event, AsciiCastV2Header

from bench.recording import COLUMNS, ROOT, ROWS, Events, checked, draw, run

pytestmark = pytest.mark.process

PICTURES = ROOT / "docs" / "pictures"


def events(*shown: tuple[float, str]) -> Events:
    """A terminal that shows these texts at these seconds."""
    yield AsciiCastV2Header(version=2, width=COLUMNS, height=ROWS, theme=None)
    for second, text in shown:
        yield AsciiCastV2Event(time=second, event_type="o", event_data=text, duration=None)


def screens(picture: str) -> list[tuple[float, int]]:
    """When each screen begins, in per cent of the whole, and which part of the picture it is."""
    found = re.findall(r"([\d.]+)%\{transform:translateY\(-?(\d+)px\)\}", picture)
    return [(float(percent), int(offset)) for percent, offset in found]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A hundred lines in the first second, then a minute of silence and an end."""
    path = tmp_path_factory.mktemp("recording") / "moving.svg"
    lines = [(number / 100, f"line {number} <&>\r\n") for number in range(100)]
    draw(events(*lines, (61, "the end\r\n")), path)
    return path.read_text()


def test_frames_become_one_picture_that_begins_anew(picture: str) -> None:
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 ours
    assert "animation-iteration-count:infinite" in picture
    assert "<script" not in picture


def test_a_hundred_lines_in_a_second_are_a_few_screens(picture: str) -> None:
    assert 5 <= len({offset for _, offset in screens(picture)}) <= 9


def test_a_minute_of_silence_is_a_second_and_the_end_is_read(picture: str) -> None:
    (seconds,) = re.findall(r"--animation-duration: (\d+)ms", picture)
    assert 7500 <= int(seconds) <= 8500


@pytest.mark.parametrize("path", ["", PICTURES / "first-run.svg"], ids=["drawn", "docs"])
def test_who_wants_no_motion_sees_the_last_screen(path: Path | str, picture: str) -> None:
    text = Path(path).read_text() if path else picture
    calm = text.partition("prefers-reduced-motion: reduce")[2]
    assert "animation-iteration-count: 1}" in calm
    assert "animation-fill-mode: forwards" in text
    assert screens(text)[-1] == (100, max(offset for _, offset in screens(text)))


def test_a_command_is_recorded_with_what_it_prints() -> None:
    text = "".join(event.event_data for event in checked(run("echo $((6 * 7))"), end="42")[1:])
    assert "$ echo $((6 * 7))\r\n42" in text


def test_a_recording_that_fails_or_shows_the_machine_is_refused() -> None:
    with pytest.raises(SystemExit, match="does not come to 'up'"):
        checked(events((0, "down")), end="up")
    with pytest.raises(SystemExit, match=f"this machine's: {ROOT}"):
        checked(events((0, f"up {ROOT}/Makefile")), end="up")
