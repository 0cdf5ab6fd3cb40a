"""Pure: the text of a new inventory, a comment above each line that says something."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ollama_stack.capacity.budget import least_profile
from ollama_stack.init.answers import Answers, NewHost

TOKENS = ("admin", "class")
"""Names of the gateway's tokens: who changes models, and who asks."""

PROFILE_SIZES = {
    "low": "Fewer than 5 students at once",
    "medium": "5 to 15 students at once",
    "high": "More than 15 students at once, on 4 CPUs and 8 GB or more",
}


class Line(NamedTuple):
    """One entry of the hosts' data, and why it is there."""

    name: str
    value: Any
    comment: str


def inventory_text(answers: Answers) -> str:
    """An inventory as `ruff format` leaves it."""
    profile = least_profile(answers.students)
    return "\n".join(
        [
            f'"""The hosts of {answers.name}; docs/settings.md has what else may be said of them."""',
            "",
            "# What every host below has; a host's own braces may say otherwise.",
            "_every = {",
            *(text for line in _lines(answers) for text in _entry(line)),
            "}",
            "",
            f"# {PROFILE_SIZES[profile]}: the numbers are in group_data/{profile}.py.",
            f"{profile} = [",
            *_names_explained(answers),
            *(text for host in answers.hosts for text in _host(host, answers)),
            "]",
            "",
        ]
    )


def _lines(answers: Answers) -> Iterator[Line]:
    yield Line("ssh_user", answers.user, "The user who logs in over SSH.")
    if answers.user == "root":
        yield Line("_sudo", False, "root needs no sudo.")
    else:
        yield Line("_sudo", True, "This user becomes root by sudo, which must ask for no password.")
    if answers.key:
        yield Line("ssh_key", answers.key, "The login's private key, on the machine that deploys.")
    yield Line("students", answers.students, "At once on each host: a smaller profile is refused.")
    if answers.lan:
        yield from _page(answers.tls)
    if answers.api:
        yield from _api(answers.name)


def _page(tls: str) -> Iterator[Line]:
    yield Line("app_enabled", True, "The page where students ask, and the teacher's page.")
    yield Line("app_bind", "0.0.0.0", "The school's network reaches the page.")  # noqa: S104 written
    yield from _tls(tls)


def _tls(way: str) -> Iterator[Line]:
    """What protects the way between a student's browser and the page."""
    if way == "own":
        why = "https by a certificate authority of the site's own: devices have to trust it (docs/tls.md)."
        yield Line("gateway_tls", way, why)
    elif way == "acme":
        why = "https by Let's Encrypt: each name in public DNS, port 80 open to it (docs/tls.md)."
        yield Line("gateway_tls", way, why)
        yield Line("gateway_acme_agreed", True, "You agree to Let's Encrypt's terms of service.")
    else:
        yield Line("gateway_tls_cert", way, "https: certificate, chain and key, renewed by you.")


def _api(name: str) -> Iterator[Line]:
    yield Line("ollama_bind", "0.0.0.0", "The school's network reaches the API, with a token.")  # noqa: S104 written
    tokens = {token: f"file:{token_file(name, token)}" for token in TOKENS}
    yield Line("gateway_tokens", tokens, "The names that may ask; admin may change models, too.")


def token_file(name: str, token: str) -> str:
    """Where a token of an inventory is, seen from the project's folder; git ignores it."""
    return f"secrets/tokens/{name}/{token}.token"


def _entry(line: Line) -> Iterator[str]:
    yield f"    # {line.comment}"
    if isinstance(line.value, dict):
        yield f"    {_literal(line.name)}: {{"
        yield from (f"        {_literal(k)}: {_literal(v)}," for k, v in line.value.items())
        yield "    },"
    else:
        yield f"    {_literal(line.name)}: {_literal(line.value)},"


def _names_explained(answers: Answers) -> list[str]:
    if not any(host.address for host in answers.hosts):
        return []
    return ["    # Reports and --limit have the name; ssh_hostname is where the host is reached."]


def _host(host: NewHost, answers: Answers) -> Iterator[str]:
    data: dict[str, Any] = {"ssh_hostname": host.address} if host.address else {}
    if answers.lan and answers.tls == "acme":
        data["gateway_tls_names"] = [host.address or host.name]
    entries = [f"{_literal(name)}: {_literal(value)}" for name, value in data.items()]
    own = "".join(f", {entry}" for entry in entries)
    text = f"    ({_literal(host.name)}, {{**_every{own}}}),"
    if len(text) <= 100:
        yield text
        return
    yield from ("    (", f"        {_literal(host.name)},")
    short = f"        {{**_every{own}}},"
    if len(short) <= 100:
        yield short
    else:
        yield from ("        {", "            **_every,")
        for entry in entries:
            yield from _split(f"            {entry},")
        yield "        },"
    yield "    ),"


def _split(entry: str) -> Iterator[str]:
    """A line with a list of one, or the three that it becomes if it is long."""
    name, found, item = entry.removesuffix("],").partition("[")
    if len(entry) <= 100 or not found:
        yield entry
    else:
        yield from (f"{name}[", f"{' ' * 16}{item}", f"{' ' * 12}],")


def _literal(value: Any) -> str:
    """repr(), in the quotes that `ruff format` takes."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    text = repr(value)
    plain = isinstance(value, str) and not set(value) & {'"', "'", "\\"}
    return f'"{text[1:-1]}"' if plain else text
