"""What of an inventory has a newer one at its registry? Asks registries alone, no host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Literal

from packaging.version import Version
from pydantic import BaseModel
from pyinfra.api import DeployError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.inventory import Target
from ollama_stack.page_image import REQUIREMENTS
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, for_python, newest, pinned
from ollama_stack.registry import RegistryFault, Repository, digest_of

State = Literal["current", "unpinned", "outdated", "unknown"]
EXIT: dict[State, int] = {"current": 0, "unpinned": 0, "outdated": 1, "unknown": 2}
PYTHON = "3.13"  # whose wheels are asked for where no page is built


class Item(BaseModel, frozen=True):
    """One thing that is declared, and what its registry has."""

    kind: Literal["image", "model", "wheel"]
    name: str
    """As declared; of a wheel its package."""
    declared: str
    """Tag, digest or version; "" where none is pinned."""
    state: State
    newest: str = ""
    """Of the declared branch (3.2 of HAProxy 3.2.18); Ollama and wheels have none."""
    note: str = ""
    hosts: list[str]


class Outdated(BaseModel, frozen=True):
    """The report; time in UTC. Its verdict is that of the worst."""

    version: Literal[1] = 1
    time: datetime
    inventory: str
    verdict: State
    items: list[Item]


def find_outdated(inventory: str, targets: Iterable[Target]) -> Outdated:
    """Everything once, with the hosts that declare it."""
    hosts = {target.name: read_settings(target.data) for target in targets}
    users: dict[tuple[str, str, str, str], list[str]] = {}
    for host, settings in hosts.items():
        for key in _declared(settings):
            users.setdefault(key, []).append(host)
    items = [_item(*key, own) for key, own in users.items()] + _wheels(hosts)
    verdict = max((item.state for item in items), key=EXIT.__getitem__)
    return Outdated(
        time=datetime.now(timezone.utc), inventory=inventory, verdict=verdict, items=items
    )


def _declared(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Setting, name, the URL of its manifest, and the tag or digest that is declared."""
    for setting, name in settings.declared_images.items():
        tag = name.rpartition("/")[2].partition(":")[2]
        yield setting, name, settings.image_manifest(name), tag
    for model in settings.served_models:
        yield model.setting, model.name, model.manifest, model.digest


def _item(setting: str, name: str, url: str, declared: str, hosts: list[str]) -> Item:
    kind: Literal["image", "model"] = "image" if setting.endswith("_image") else "model"
    item = Item(kind=kind, name=name, declared=declared, state="unknown", hosts=hosts)
    repository, version = Repository.of(url)
    try:
        if kind == "model":
            update = _model(setting, digest_of(repository.manifest(version)), declared)
        else:
            update = _image(repository, declared, branched=setting != "ollama_image")
    except RegistryFault as fault:
        update = {"note": f"{setting}: {fault}"}
    return item.model_copy(update=update)


def _model(setting: str, found: str, declared: str) -> dict[str, str]:
    digest = found.removeprefix("sha256:")
    if not declared:
        first = "no digest is declared: with model_digest no other one is taken"
        note = first if setting == "model_name" else "model_digest is the first model's alone"
        return {"state": "unpinned", "newest": digest, "note": note}
    return {"state": "current" if digest == declared else "outdated", "newest": digest}


def _image(repository: Repository, declared: str, branched: bool) -> dict[str, str]:
    tag, _, digest = declared.partition("@")
    found = newer_tags(tag, repository.tags())
    branch = [one for one in found if not branched or _numbers(one)[:2] == _numbers(tag)[:2]]
    update: dict[str, str] = {
        "state": "outdated" if branch else "current",
        "newest": (branch or [tag])[-1],
    }
    if found and found[-1] not in branch:
        update["note"] = f"another branch is at {found[-1]}"
    if tag and digest and (now := digest_of(repository.manifest(tag))) != digest:
        update |= {"state": "outdated", "note": f"{tag} is {now} now"}
    if not _numbers(tag):
        update["note"] = "the tag is no version: nothing is newer than what moves"
    return update


def newer_tags(tag: str, tags: Iterable[str]) -> list[str]:
    """Those that are written like ``tag``, but for a higher version; the highest last."""
    shape = re.fullmatch(r"(v?)\d+(?:\.\d+)*(.*)", tag)
    if not shape or not _numbers(tag):
        return []
    like = re.compile(re.escape(shape[1]) + r"\d+(?:\.\d+)*" + re.escape(shape[2]))
    numbers = _numbers(tag)
    found = [one for one in tags if like.fullmatch(one) and len(_numbers(one)) == len(numbers)]
    return sorted((one for one in found if _numbers(one) > numbers), key=_numbers)


def _numbers(tag: str) -> list[int]:
    found = re.match(r"v?(\d+(?:\.\d+)*)", tag)
    return list(map(int, found[1].split("."))) if found else []


def _wheels(settings: dict[str, Settings]) -> list[Item]:
    """Those of Compose, and of the page where a host builds it, asked for in one go."""
    building = [name for name, one in settings.items() if one.app_is_built]
    python = next((settings[name].app_python for name in building), PYTHON)
    pins = {pin: list(settings) for pin in pinned(COMPOSE_PLUGIN.read_text()).items()}
    if building:
        page = pinned(for_python(REQUIREMENTS.read_text(), python))
        pins |= dict.fromkeys(page.items(), building)
    try:
        found = newest([name for name, _ in pins], python)
    except DeployError as error:
        note = f"pip cannot say ({error}); correct the index of this machine's pip (pip config)"
        return [
            Item(kind="wheel", name=name, declared=version, state="unknown", note=note, hosts=hosts)
            for (name, version), hosts in pins.items()
        ]
    return [
        Item(
            kind="wheel",
            name=name,
            declared=version,
            newest=found[name],
            state=_state(version, found[name]),
            hosts=hosts,
        )
        for (name, version), hosts in pins.items()
    ]


def _state(declared: str, found: str) -> State:
    return "outdated" if Version(found) > Version(declared) else "current"


COLOURS: dict[State, str] = {
    **{"current": "green", "unpinned": "green"},
    **{"outdated": "yellow", "unknown": "red"},
}


def show_outdated(report: Outdated, console: Console) -> None:
    """The report for people; wheels that are the newest are one line."""
    table = Table(title=f"Newer than {escape(report.inventory)}")
    for column in ("what", "declared", "newest", "state", "note"):
        table.add_column(column, overflow="fold")
    quiet = [one for one in report.items if one.kind == "wheel" and one.state == "current"]
    for item in report.items:
        if item not in quiet:
            cells = (f"{item.kind} {item.name}", _short(item.declared), _short(item.newest))
            state = f"[{COLOURS[item.state]}]{item.state}[/]"
            table.add_row(*map(escape, cells), state, escape(item.note))
    if quiet:
        table.add_row(f"{len(quiet)} wheels", "", "", "[green]current[/]", "")
    console.print(table)


def _short(version: str) -> str:
    """A digest as Docker and Ollama show it."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1", version)
