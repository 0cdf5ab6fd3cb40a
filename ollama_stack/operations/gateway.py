"""The gateway's configuration: checked before it replaces the old one."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from hashlib import sha256

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.facts.files import FileContents
from pyinfra.operations.util.files import generate_color_diff

from ollama_stack.compose import CLEAN
from ollama_stack.facts.docker import UserOffset
from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.gateway import TokenDigest
from ollama_stack.operations.secrets import written
from ollama_stack.shell import or_explain, renamed

CONFIG = "haproxy.cfg"
PROGRAMS = ("door.lua", "checks.lua", "schema.lua", "json.lua")  # what it loads
INSIDE = "/usr/local/etc/haproxy"  # the official image's own place
OWNER = 99  # the official image's user; on a host it is nobody's

Commands = Generator[PyinfraCommand | str, None, None]


@operation()
def local_token(path: str, token: str) -> Commands:
    """Have a header file with a token of the host's own, root's alone; one that is there is kept."""
    if host.get_fact(TokenDigest, path=path):
        host.noop("the host already has its own token")
        return
    yield from written(f"{path}.new", f"Authorization: Bearer {token}\n", "0")
    yield renamed(f"{path}.new", path)


@operation()
def config(folder: str, files: Mapping[str, str], image: str, begun: StringCommand) -> Commands:
    """Have the configuration files in ``folder``, to be loaded by ``release.live``.

    Files but CONFIG and PROGRAMS are secrets. ``begun``: what the host is told before.
    """
    owner = OWNER + host.get_fact(UserOffset)
    declared = {
        name: f"{sha256(text.encode()).hexdigest()} {_mode(name)} {owner}"
        for name, text in files.items()
    }
    if host.get_fact(FileDigests, folder=folder) == declared:
        host.noop(f"{folder} is already as declared")
        return
    if host.state.config.DIFF:
        current = host.get_fact(FileContents, path=f"{folder}/{CONFIG}") or []
        old = [f"{line}\n" for line in current]
        for line in generate_color_diff(old, files[CONFIG].splitlines(keepends=True)):
            host.log(line)
    staged = f"{folder}.new"
    new, live = QuoteString(staged), QuoteString(folder)
    yield StringCommand("rm -rf", new, "&& mkdir --mode=755", new, "&& mkdir -p --mode=755", live)
    for name, text in files.items():
        yield from written(f"{staged}/{name}", text, str(owner), _mode(name))
    yield or_explain(
        StringCommand(
            f"{CLEAN} docker run --rm --network none --read-only --cap-drop ALL",
            *("--user", f"{OWNER}:{OWNER}", "--volume", QuoteString(f"{staged}:{INSIDE}:ro")),
            *(QuoteString(image), "haproxy -c -dW -dD -f", f"{INSIDE}/{CONFIG}"),
            *("|| { rm -rf", new, "; false; }"),
        ),
        "gateway: HAProxy refuses the new configuration, the old one is untouched; see its words above",
    )
    yield begun
    # File by file: the folder is mounted, so it must stay the same folder.
    for name in sorted(files, key=CONFIG.__eq__):  # last what names the others
        yield renamed(f"{staged}/{name}", f"{folder}/{name}")
    others = [bit for name in files for bit in ("! -name", QuoteString(name))]
    yield StringCommand("rmdir", new, "&& find", live, "-type f", *others, "-delete")


def _mode(name: str) -> str:
    return "644" if name in (CONFIG, *PROGRAMS) else "600"
