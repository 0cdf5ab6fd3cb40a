"""A verb's output where nobody may read it: streams that are not there, full disks, closed pipes."""

from __future__ import annotations

import os
import sys
from errno import ENOENT, ENOSPC, EPIPE
from io import TextIOWrapper

MISTYPED, UNHEARD = 3, 141


def open_streams() -> None:
    """A service or a cron may start it without some of the three, for which Python has None."""
    while (number := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(number, True)
    os.close(number)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "rw"[number > 0], closefd=False))
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal may lack the letters of a name
        sys.stdout.reconfigure(errors="backslashreplace")


def unheard(error: OSError) -> int:
    """The exit status where what a verb says can no longer be written; other errors are raised again."""
    if error.errno == ENOENT and error.filename is None:
        sys.stderr.write("the folder that you stand in is no longer there; cd to another one\n")
        return MISTYPED
    if error.errno not in (EPIPE, ENOSPC) or error.filename is not None:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]  # open by now
    if error.errno == ENOSPC:
        sys.stderr.write(f"what it says cannot be written ({error.strerror}); make room there\n")
    return UNHEARD
