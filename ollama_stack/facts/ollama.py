"""What a running Ollama server says: its API from the host's side, and its runner process."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.containers import OLLAMA, Container

LOOK = 45  # seconds: nine times the longest answer seen on an emulated machine, as health_timeout


def call(
    path: str,
    body: object = None,
    *,
    method: str = "",
    timeout: int = LOOK,
    stream: bool = False,
    fail: str = "--fail-with-body",
) -> StringCommand:
    """A curl command for Ollama's API that fails on an HTTP error; ``timeout`` in seconds.

    No proxy: it goes to the container's own address, so it needs no published port and no gateway.
    """
    curl = f"curl -sS {fail} --noproxy '*' --max-time {timeout}"
    curl += " --no-buffer" if stream else ""
    curl += f" --request {method}" if method else ""
    data = ("--data", QuoteString(json.dumps(body))) if body is not None else ()
    return StringCommand(curl, *data, f'"http://{address(OLLAMA)}:{OLLAMA.port}{path}"')


def address(container: Container) -> str:
    """A shell substitution for a container's own IP address; none for a paused one, which answers nothing."""
    networks = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    form = f"'{{{{if not .State.Paused}}}}{networks}{{{{end}}}}'"
    return f"$(docker inspect --format {form} {container.name} | cut -d' ' -f1)"


def ask(path: str, body: object = None) -> StringCommand:
    """The same for facts: silence where the server does not answer, or answers with an error."""
    return StringCommand(call(path, body, fail="--fail"), "2>/dev/null || true")


class OllamaVersion(FactBase[str | None]):
    """Version of the server that answers; None while none does."""

    @override
    def command(self) -> StringCommand:
        return ask("/api/version")

    @override
    def process(self, output: list[str]) -> str | None:
        found = re.search(r'"version":\s*"([^"]+)"', "".join(output))
        return found[1] if found else None


@dataclass(frozen=True)
class Runner:
    """Threads, slots and total context of a runner, from its command line."""

    threads: int
    parallel: int
    ctx_size: int

    @classmethod
    def parse(cls, command_line: str) -> Runner | None:
        """Ollama <= 0.11.4 (``ollama runner --threads``) and >= 0.30 (``llama-server -t``).

        None for the versions between, which show nothing (facts by llm/server.go at each tag).
        """
        if not re.search(r"\brunner\b|\bllama-server\b", command_line):
            return None
        found = [
            re.search(rf"\s(?:{flags})\s(\d+)", command_line)
            for flags in ("--threads|-t", "--parallel|-np", "--ctx-size|-c")
        ]
        if not all(found):
            return None
        return cls(*(int(match[1]) for match in found if match))


class OllamaRunner(FactBase[Runner | None]):
    """The runner of the loaded model; None if no model is loaded, or its flags are not shown."""

    @override
    def command(self) -> str:
        return f"docker top {OLLAMA.name} -ww -eo pid,args 2>/dev/null || true"

    @override
    def process(self, output: list[str]) -> Runner | None:
        return next(filter(None, map(Runner.parse, output)), None)
