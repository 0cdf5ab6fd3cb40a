"""A conversation with one host: every command is run once, many in one round trip.

A look that asks what is not known yet is Pending. All that such looks ask is then asked at once, and
they look again.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass
from functools import cached_property
from secrets import token_hex
from typing import Any

from ollama_stack.inventory import Target
from tests.audit.control import Reading, Unreadable

SUDO = "sudo -n "
TIMED_OUT = 124  # timeout(1)
# The words of Docker's socket and of files, and of a process that hidepid hides; then sudo's own, or the
# shell's without it.
DENIED = re.compile(r"permission denied|/proc/\d+/\S+: no such file", re.IGNORECASE)
SUDO_REFUSED = re.compile(r"sudo: |sudo: not found|command not found")
UNKNOWN_HOST = re.compile(r"^sudo: unable to resolve host.*$", re.MULTILINE)  # and then it works


@dataclass(frozen=True)
class Output:
    """A command that ran, and what it said."""

    command: str
    code: int
    text: str
    error: str
    asked: tuple[float, float] = (0, 0)
    """Unix time on this machine before and after."""

    @property
    def last_line(self) -> str:
        """Why it failed: the last line that it printed."""
        lines = (self.error.strip() or self.text.strip()).splitlines()
        return lines[-1] if lines else f"exit code {self.code}"

    def reading(self, value: Any = None, line: object = None) -> Reading:
        """A value that one line of it gave; without them, its whole text."""
        value, line = (self.text, self.text) if line is None else (value, line)
        return Reading(value, self.command, str(line).strip()[:500])


class Pending(Exception):
    """What is asked is not known yet."""


class Conversation:
    """With one host; ``gone`` says why, once it cannot be reached."""

    def __init__(self, target: Target, sockets: str) -> None:
        self.target = target
        self.gone = ""
        self._sockets = sockets
        self._outputs: dict[str, Output] = {}
        self._wanted: dict[str, int] = {}  # seconds, by command

    def run(self, command: str, *, seconds: int = 30) -> Output:
        """A shell command's output, whatever its exit code; with ``sudo -n`` if it needs that.

        Unreadable if it says nothing for so long, or may not be asked at all.
        """
        output = self._raw(command, seconds)
        if not DENIED.search(output.error):
            return output
        as_root = self._raw(f"{SUDO}{command}", seconds)
        if as_root.code and SUDO_REFUSED.search(UNKNOWN_HOST.sub("", as_root.error)):
            raise Unreadable(
                f"{self.target.data.get('ssh_user') or 'this user'} may not run `{command}`; put the "
                "user into the group docker, or allow `sudo -n`"
            )
        return as_root

    def ask(self, command: str, *, seconds: int = 30) -> Output:
        """The output of a command that has to succeed; Unreadable otherwise."""
        output = self.run(command, seconds=seconds)
        if output.code:
            raise Unreadable(f"`{output.command}` failed: {output.last_line}")
        return output

    def _raw(self, command: str, seconds: int = 30) -> Output:
        if self.gone:
            raise Unreadable(self.gone)
        if command not in self._outputs:
            self._wanted[command] = seconds
            raise Pending
        output = self._outputs[command]
        if output.code == TIMED_OUT:
            raise Unreadable(f"`{command}` said nothing in time")
        return output

    def answer(self) -> bool:
        """Ask the host all that is wanted; False if nothing is. ``gone`` says if it is not there."""
        mark, wanted = token_hex(16), dict(self._wanted)
        self._wanted.clear()
        if not wanted:
            return False
        # The first mark ends what a login shell, or sshd, says of its own accord.
        # Every program says why in the words that are looked for here.
        script = f"export LC_ALL=C; echo {mark}0; printf {mark} >&2; " + "".join(
            f"{_bounded(command, seconds)} </dev/null; "
            f"printf '%s%s\\n' {mark} $?; printf {mark} >&2; "
            for command, seconds in wanted.items()
        )
        before = time.time()
        try:
            done = self._host.run("sh -c %s", script)
        except ValueError as error:  # no way to such a host
            self.gone = str(error)
            return True
        except RuntimeError as error:  # testinfra's word for ssh's own failure
            stderr = getattr(error.args[0], "stderr", "") if error.args else ""
            why = stderr.strip().splitlines()[-1:] or [str(error)]
            self.gone = f"the host cannot be reached: {why[0]}"
            return True
        asked = before, time.time()
        # Not testinfra's own decoding: it asks the host's Python, and fails on a torn log line.
        stdout, stderr = (
            stream.decode(errors="replace") for stream in (done.stdout_bytes, done.stderr_bytes)
        )
        texts, errors = stdout.split(mark), stderr.split(mark)
        if len(texts) != len(wanted) + 2 or len(errors) != len(texts):
            self.gone = f"the host's shell broke off: {stderr.strip()[-200:]}"
            return True
        for number, command in enumerate(wanted, 1):
            text, code = texts[number].partition("\n")[2], texts[number + 1].partition("\n")[0]
            self._outputs[command] = Output(command, int(code), text, errors[number], asked)
        return True

    @cached_property
    def _host(self) -> Any:
        return self.target.connect(self._sockets)


def _bounded(command: str, seconds: int) -> str:
    """With an end, but for what cannot hang or has one of its own: a process less for each.

    Root's own processes are ended by root.
    """
    if command.startswith(SUDO):
        return f"{SUDO}timeout {seconds} sh -c {shlex.quote(command.removeprefix(SUDO))}"
    if re.match(r"(LC_ALL=C )?(cat|stat|ss|ls|date|curl) ", command):
        return command.partition("  # ")[0]
    return f"timeout {seconds} sh -c {shlex.quote(command)}"
