"""Commands as the hosts' shells run them, and the operator's message when one fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from hashlib import sha256
from io import StringIO
from pathlib import PurePosixPath
from typing import IO, Any

from pyinfra import logger
from pyinfra.api import FileUploadCommand, Host, QuoteString, State, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments
from pyinfra.api.command import PyinfraCommand

Commands = Generator[PyinfraCommand | str, None, None]  # what an operation yields


def or_explain(command: StringCommand, explanation: str) -> StringCommand:
    """``command``, which on failure ends with ``explanation`` (``setting: problem; way out``)."""
    return StringCommand(
        command,
        "||",
        StringCommand("{ printf '%s\\n'", QuoteString(explanation), ">&2; exit 1; }"),
    )


MARK = "# Written by ollama-stack: edits are undone by the next deploy."


def ours(path: str, otherwise: str) -> StringCommand:
    """Fail with ``otherwise`` where a file is there that begins without our mark."""
    file = QuoteString(path)
    marked = ("head -n 1", file, "| grep -qxF", QuoteString(MARK))
    return or_explain(StringCommand("{ test ! -e", file, "||", *marked, "; }"), otherwise)


def renamed(new: str, path: str) -> StringCommand:
    """Give a whole file its name, once it is on the disk: a power loss leaves the old one or this."""
    folder = str(PurePosixPath(path).parent)
    return StringCommand(
        *("sync", QuoteString(new), "&& mv", QuoteString(new), QuoteString(path)),
        *("&& sync", QuoteString(folder)),
    )


def uploaded(host: Host, source: str | IO[Any], path: str) -> FileUploadCommand:
    """A file of the controller's; on its way it has a name in /tmp that nobody could foresee."""
    return FileUploadCommand(source, path, remote_temp_filename=host.get_temp_filename())


def placed(host: Host, path: str, text: str, mode: str = "644") -> Iterator[PyinfraCommand]:
    """Root's own file with this text, readable for all: the old one or this, never a part of one."""
    new = f"{path}.new"
    yield uploaded(host, StringIO(text), new)
    checksum = f"{sha256(text.encode()).hexdigest()}  {new}"
    yield StringCommand("echo", QuoteString(checksum), "| sha256sum --check --quiet")
    yield StringCommand("chmod", mode, QuoteString(new), "&& chown 0:0", QuoteString(new))
    yield renamed(new, path)


def run_now(
    state: State, host: Host, command: StringCommand, *, show: bool = False, stdin: str = ""
) -> tuple[bool, list[str]]:
    """Run a command at once, with the host's own global arguments (``_sudo``).

    Returns whether it succeeded and its stdout; ``show`` prints the output as it comes. ``stdin``: what it
    reads, which is in no log.
    """
    arguments, _ = pop_global_arguments(state, host, {})
    connector_arguments = {key: arguments[key] for key in CONNECTOR_ARGUMENT_KEYS}  # type: ignore[literal-required]  # pyinfra's own idiom
    if stdin:
        connector_arguments["_stdin"] = stdin
    ok, output = host.run_shell_command(command, print_output=show, **connector_arguments)
    return ok, output.stdout_lines


def fail(host: Host, fault: str) -> bool:
    """Write an error of this host to the run's log; return False, by which an operation's function fails."""
    host.log_styled(fault, fg="red", log_func=logger.error)
    return False
