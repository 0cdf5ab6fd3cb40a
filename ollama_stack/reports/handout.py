"""A sheet of paper for each host: where students ask, by which rules, and what the teacher needs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import segno

from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target
from ollama_stack.stack.cluster import leader, members
from ollama_stack.stack.page import page_address, read_command
from ollama_stack.stack.rendering import TEMPLATES

MARK = '<meta name="generator" content="ollama-stack handout">'

RULES = {
    "ru": (
        "Не пишите личного: ни имён, ни телефонов, ни паролей.",
        "Модель ошибается, и очень уверенно: проверяйте ответ.",
        "Один вопрос за раз. Очередь видно на экране: дождитесь своей.",
    ),
    "en": (
        "Keep personal things out: no names, no phone numbers, no passwords.",
        "The model can be wrong and sound sure: check what it says.",
        "One question at a time. The page shows your place: wait for your turn.",
    ),
}


class Sheet(NamedTuple):
    """One host's page: the file's name, its text, and why students cannot open the page ("": they can)."""

    file: str
    text: str
    problem: str


def make_sheets(targets: Iterable[Target], inventory: Sequence[Target] = ()) -> dict[str, Sheet]:
    """A sheet by host, or for a cluster; settings must be free of faults. ValueError if two had the same file.

    ``inventory``: all hosts, of which ``targets`` may be some.
    """
    targets = list(targets)
    sheets = {
        target.name: _sheet(target) for target in _one_a_cluster(targets, inventory or targets)
    }
    owners: dict[str, str] = {}
    for name, sheet in sheets.items():
        if (other := owners.setdefault(sheet.file, name)) != name:
            raise ValueError(
                f"handout: {other} and {name} would both have {sheet.file}; take one at a time (--limit)"
            )
    return sheets


def _one_a_cluster(targets: Sequence[Target], inventory: Sequence[Target]) -> Iterator[Target]:
    """The hosts that serve alone, and of a cluster the first manager: that one has the teacher's token as a file."""
    hosts = {target.name: (target.groups, target.data) for target in inventory}
    firsts = {
        cluster: leader(members(hosts, cluster))
        for cluster in {target.data.get("cluster", "") for target in targets} - {""}
    }
    for target in targets:
        first = firsts.get(target.data.get("cluster", ""), target.name)
        if target.name == first:
            yield target
        elif first not in {other.name for other in targets}:
            raise ValueError(
                f"handout: {target.name} is of a cluster whose first manager is {first}, which has the teacher's "
                f"token; name that one (--limit {first})"
            )


def _sheet(target: Target) -> Sheet:
    settings = read_settings(target.data)
    url, problem = page_address(settings, target.address)
    text = (
        TEMPLATES.overlay(autoescape=True)
        .get_template("handout/sheet.html.j2")
        .render(
            host=target.name,
            url=url,
            problem=problem,
            qr=segno.make_qr(url, error="m").svg_inline(omitsize=True) if url else "",
            rules=RULES,
            teacher=f"{url or settings.app_url}/teacher" if settings.app_enabled else "",
            authority=f"{settings.gateway_tls_folder}/ca.crt"
            if settings.gateway_tls == "own"
            else "",
            token_command=token_command(target, f"{settings.app_dir}/teacher.token"),
            mark=MARK,
        )
    )
    name = re.sub(r"[^\w.-]", "_", target.name.lstrip("@"))
    return Sheet(f"{name}.html", text, problem)


def token_command(target: Target, path: str) -> str:
    """The command that shows a secret of the host to whoever may log in there."""
    read = read_command(target.data, path)
    if target.name == "@local":
        return shlex.join(read)
    return target.ssh_command(*read)


def write_sheets(sheets: Iterable[Sheet], folder: Path) -> list[Path]:
    """The files written, over older sheets alone; ValueError names a file that is none, or a folder."""
    paths = {folder / sheet.file: sheet.text for sheet in sheets}
    try:
        for path in paths:
            if path.exists() and MARK not in path.read_text(errors="replace"):
                raise ValueError(
                    f"handout: {path} is no handout and stays as it is; name another folder with --out"
                )
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(
            f"handout: {error.filename} cannot be written ({error.strerror}); name another folder with --out"
        ) from error
    return list(paths)
