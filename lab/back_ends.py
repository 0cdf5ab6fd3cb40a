"""Ollama's CPU back ends so that they call their own functions.

The server of the pinned wheel exports all of them too, built for any x86-64, and the dynamic linker takes a program's before a
library's: without this a back end for AVX2 computes with the server's, at a fifth of the speed.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

NAMES = tuple(
    f"libggml-cpu-{kind}.so"
    for kind in ("haswell", "alderlake", "skylakex", "icelake")
    # Not sapphirerapids: with AMX this one answers "6666..." to everything.
)
FOLDER = "own-functions"
# elf(5): of the header, of a program header, and of an entry of the dynamic section.
E_PHOFF, E_PHNUM, PHENTSIZE, PT_DYNAMIC = 32, 56, 56, 2
DT_NULL, DT_RPATH, DT_SYMBOLIC = 0, 15, 16


def with_own_functions(wheels: Path) -> None:
    """Have copies of a wheel's back ends in ``FOLDER`` there, made once; ValueError if one is of another form."""
    if (wheels / FOLDER).is_dir():
        return
    with tempfile.TemporaryDirectory(dir=wheels) as temp:
        new = Path(temp) / "new"
        new.mkdir()
        for name in NAMES:
            (new / name).write_bytes(_symbolic((server(wheels) / name).read_bytes()))
        new.rename(wheels / FOLDER)


def server(wheels: Path) -> Path:
    """Where the wheel has Ollama."""
    return wheels / "bigdl" / "cpp" / "libs" / "ollama"


def _symbolic(library: bytes) -> bytes:
    """The library with DT_SYMBOLIC instead of DT_RPATH, a folder of the machine that built it."""
    elf = bytearray(library)
    (headers,), (count,) = (
        struct.unpack_from("<Q", elf, E_PHOFF),
        struct.unpack_from("<H", elf, E_PHNUM),
    )
    for header in range(headers, headers + count * PHENTSIZE, PHENTSIZE):
        kind, _, entry = struct.unpack_from("<IIQ", elf, header)
        while kind == PT_DYNAMIC and (tag := struct.unpack_from("<Q", elf, entry)[0]) != DT_NULL:
            if tag == DT_RPATH:
                struct.pack_into("<Q", elf, entry, DT_SYMBOLIC)
                return bytes(elf)
            entry += 16
    raise ValueError("this back end has no DT_RPATH")
