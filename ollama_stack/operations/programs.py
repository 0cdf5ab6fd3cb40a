"""Our programs on a host: they act there when no run of ours does any more."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.files import FileContents

from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.memory import known
from ollama_stack.paths import RELEASE_UNIT
from ollama_stack.shell import Commands, ours, placed

SOURCES = Path(__file__).parents[1] / "host"
TEXTS = {
    name: (SOURCES / name).read_text() for name in ("lock", "release", "service", "certificate")
}
DIGESTS = {name: sha256(text.encode()).hexdigest() for name, text in TEXTS.items()}
VERSION = sha256("".join(DIGESTS.values()).encode()).hexdigest()[:12]


def program(folder: str, name: str) -> StringCommand:
    """The beginning of a command line; by sh, since the host may forbid to execute what lies there."""
    return StringCommand("sh", QuoteString(f"{folder}/bin/{VERSION}/{name}"))


@operation()
def installed(folder: str, unit: str) -> Commands:
    """Have the programs in ``folder/bin``, and ``unit`` started with the host.

    Each version has a folder of its own, so that a run of another version keeps its programs.
    ``unit``: the text of a systemd unit; "" where there is no systemd.
    """
    place = f"{folder}/bin/{VERSION}"
    declared = {name: f"{digest} 755 0" for name, digest in DIGESTS.items()}
    missing = known(FileDigests, folder=place) != declared
    started = not unit or known(FileContents, path=RELEASE_UNIT) == unit.splitlines()
    if started and not missing:
        host.noop("the host has the programs")
        return
    if missing:
        yield StringCommand("mkdir -p --mode=755", QuoteString(place))
        for name, text in TEXTS.items():
            yield from placed(host, f"{place}/{name}", text, mode="755")
    if not started:
        yield ours(
            RELEASE_UNIT, f"release: {RELEASE_UNIT} is not ours; move it away, and run again"
        )
        yield from placed(host, RELEASE_UNIT, unit)
        yield "systemctl daemon-reload && systemctl enable ollama-stack-release.service"
