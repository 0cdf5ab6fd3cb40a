"""The packet filter before the containers: who comes to them, past the ports that Docker publishes."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.files import FileContents

from ollama_stack.facts.guard import GuardRules
from ollama_stack.facts.memory import known
from ollama_stack.paths import GUARD_UNIT
from ollama_stack.shell import Commands, or_explain, ours, placed


@operation()
def closed(path: str, rules: str, revision: str, unit: str) -> Commands:
    """Have the rules in the kernel, and again after a start of the host.

    ``rules``: nft(8)'s own words, kept in ``path``; each rule has ``revision`` as its comment. ``unit``: the
    text of the systemd unit that loads them; "" where there is no systemd.
    """
    texts = {path: rules} | ({GUARD_UNIT: unit} if unit else {})
    missing = {
        file: text
        for file, text in texts.items()
        if known(FileContents, path=file) != text.splitlines()
    }
    expected = [revision] * rules.count(f'comment "{revision}"')
    if not missing and known(GuardRules) == expected:
        host.noop("the kernel has the rules")
        return
    for file, text in missing.items():
        yield ours(file, f"guard: {file} is not ours; move it away, and run again")
        yield from placed(host, file, text)
    if GUARD_UNIT in missing:
        yield "systemctl daemon-reload && systemctl enable ollama-stack-guard.service"
    yield or_explain(
        StringCommand("nft --file", QuoteString(path)),
        "ollama_bind: the kernel takes no nftables rules (its output is above), and without them every "
        "user of the host, and with Docker before 28 its neighbours, pass the gateway by; load the kernel's "
        "module nf_tables, and run again",
    )
