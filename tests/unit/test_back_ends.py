"""The lab's CPU back ends: one tag of the dynamic section is another, and nothing else."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from lab.back_ends import FOLDER, NAMES, server, with_own_functions

NEEDED, RPATH, SYMBOLIC = 1, 15, 16


def library(*tags: int) -> bytes:
    """An ELF file that is a header, two program headers and a dynamic section."""
    header = bytearray(64)
    struct.pack_into("<Q", header, 32, 64)
    struct.pack_into("<H", header, 56, 2)
    load, dynamic = (struct.pack("<IIQ", kind, 0, 64 + 2 * 56).ljust(56, b"\0") for kind in (1, 2))
    entries = b"".join(struct.pack("<QQ", tag, 7) for tag in (*tags, 0))
    return bytes(header) + load + dynamic + entries


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    server(tmp_path).mkdir(parents=True)
    for name in NAMES:
        (server(tmp_path) / name).write_bytes(library(NEEDED, RPATH))
    return tmp_path


def test_they_look_in_themselves_first(wheels: Path) -> None:
    with_own_functions(wheels)
    with_own_functions(wheels)
    assert {path.name for path in (wheels / FOLDER).iterdir()} == {*NAMES}
    assert (wheels / FOLDER / NAMES[0]).read_bytes() == library(NEEDED, SYMBOLIC)
    assert (server(wheels) / NAMES[0]).read_bytes() == library(NEEDED, RPATH)


def test_one_of_another_form_is_refused_and_leaves_nothing(wheels: Path) -> None:
    (server(wheels) / NAMES[-1]).write_bytes(library(NEEDED))
    with pytest.raises(ValueError, match="no DT_RPATH"):
        with_own_functions(wheels)
    assert not (wheels / FOLDER).exists()
