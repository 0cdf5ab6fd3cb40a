"""What is refused by the settings alone, before any connection; and the words for it."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pyinfra import logger
from pyinfra.api import DeployError, Inventory

from ollama_stack.capacity import least_profile
from ollama_stack.forms import size_bytes
from ollama_stack.settings import PROFILES, PYINFRA_KEY, Settings, profile_of, read_settings

ROOT = Path(__file__).parents[1]


def check_inventory(inventory: Inventory) -> None:
    """Refuse the run, every fault of every host of it at once, before anything is touched."""
    refuse(_checked(inventory))


@cache
def _checked(inventory: Inventory) -> dict[str, list[str]]:
    """Faults by host or file; pyinfra runs deploy.py once a host, this runs once a run."""
    hosts = inventory.get_active_hosts()  # within --limit
    data = {host.name: host.data.dict() for host in hosts}
    wrong = {host.name: faults(host.groups, data[host.name]) for host in hosts}
    for name in (name for name in data if not wrong[name]):
        for unusual in warnings(data[name]):
            logger.warning(f"{name}: {unusual}")
    return file_faults(group for host in hosts for group in host.groups) | wrong


def refuse(reasons: Mapping[str, list[str]]) -> None:
    """DeployError with the reasons of all hosts, if there are any."""
    lines = [f"    {name}: {reason}" for name, own in reasons.items() for reason in own]
    if lines:
        raise DeployError("refused, nothing was changed:\n" + "\n".join(lines))


def faults(groups: Iterable[str], data: Mapping[str, Any]) -> list[str]:
    """What is wrong with one host, each as ``setting: problem; way out``; no connection is made."""
    profile = profile_of(groups)
    wrong = [] if profile else [f"profile: put the host in exactly one of {', '.join(PROFILES)}"]
    try:
        settings = read_settings(data)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # Without a profile its values are missing too: that says nothing new.
        return wrong + [_sentence(f) for f in found if profile or f["type"] != "missing"]
    wrong += [*_impossible(settings), *_too_small(settings, profile)]
    if "ollama_max_queue" not in settings.allow_unusual:
        override = 'allow_unusual = ["ollama_max_queue"] overrides this rule'
        wrong += [f"{fault}; {override}" for fault in _unusual(settings)]
    return wrong


def warnings(data: Mapping[str, Any]) -> list[str]:
    """What is unusual with one host, and goes on all the same; the data must be free of faults."""
    settings = read_settings(data)
    said = [f"{fault}; allowed by allow_unusual" for fault in _unusual(settings)]
    places = settings.ollama_num_parallel + settings.ollama_max_queue
    if settings.students and settings.students > places:
        said.append(
            f"students: {settings.students} at once find {places} places (ollama_num_parallel + "
            "ollama_max_queue); the others have to ask again"
        )
    return said


def file_faults(used: Iterable[str]) -> dict[str, list[str]]:
    """Faults of the files in group_data/: a group that nobody has, names that are no settings.

    ``used``: groups of the hosts at hand, whose inventory may lie elsewhere. pyinfra itself takes
    such a file, and such a name, in silence.
    """
    known = {"all", *PROFILES, *used}
    for inventory in (ROOT / "inventories").glob("*.py"):
        known |= {inventory.stem, *_assigned(inventory)}
    files = sorted((ROOT / "group_data").glob("*.py"))
    found = {f"group_data/{file.name}": _file_faults(file, known) for file in files}
    return {name: wrong for name, wrong in found.items() if wrong}


def _file_faults(file: Path, known: set[str]) -> list[str]:
    wrong = []
    if file.stem not in known:
        wrong.append(
            f"no inventory has a group {file.stem}; {_near(file.stem, known, 'rename it')}"
        )
    names = sorted(name for name in _assigned(file) if not PYINFRA_KEY.match(name))
    return wrong + [_no_such(name) for name in names if name not in Settings.model_fields]


def _assigned(file: Path) -> set[str]:
    """Names that a file of literals gives values to, read without running it; of broken ones none."""
    targets: list[ast.expr] = []
    try:
        nodes = ast.parse(file.read_text()).body
    except SyntaxError:  # pyinfra says so itself when it comes to read the file
        return set()
    for node in nodes:
        targets += node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _impossible(settings: Settings) -> Iterator[str]:
    """Rules that no operator can override: what they forbid cannot work."""
    cpus, most = settings.ollama_cpus, max(1, int(2 * settings.ollama_cpus))
    if settings.ollama_num_parallel > most:
        yield (
            f"ollama_num_parallel: {settings.ollama_num_parallel} is more than 2 per CPU of "
            f"ollama_cpus = {cpus}; at most {most}"
        )
    if settings.ollama_cpu_reservation > cpus:
        yield (
            f"ollama_cpu_reservation: {settings.ollama_cpu_reservation} is more than "
            f"ollama_cpus = {cpus}; lower it"
        )
    if size_bytes(settings.ollama_memory_reservation) > size_bytes(settings.ollama_memory):
        yield (
            f"ollama_memory_reservation: {settings.ollama_memory_reservation} is more than "
            f"ollama_memory = {settings.ollama_memory}; lower it"
        )


def _too_small(settings: Settings, profile: str | None) -> Iterator[str]:
    """A profile below the one that so many students need."""
    if settings.students is None or profile is None:
        return
    least = least_profile(settings.students)
    if PROFILES.index(profile) < PROFILES.index(least):
        yield f"students: {settings.students} at once are too many for {profile}; put the host in {least}"


def _unusual(settings: Settings) -> Iterator[str]:
    """Rules of the seed that may be overridden by name."""
    if not 10 <= settings.ollama_max_queue <= 20:
        yield f"ollama_max_queue: {settings.ollama_max_queue} is outside 10 to 20"


def _sentence(fault: Any) -> str:
    setting, given = ".".join(str(part) for part in fault["loc"]), fault["input"]
    match fault["type"]:
        case "missing" if "." not in setting:
            return f"{setting}: has no value; set it in group_data/ (docs/settings.md)"
        case "missing":
            return f"{setting}: has no value; write it like {_examples(fault)}"
        case "extra_forbidden" if "." not in setting:
            return _no_such(setting)
        case "extra_forbidden":
            return f"{setting}: no such setting; write it like {_examples(fault)}"
        case "string_pattern_mismatch":
            return f"{setting}: {given!r} is not understood; write it like {_examples(fault)}"
        case "value_error":
            return f"{setting}: {fault['ctx']['error']}"
    said = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{setting}: {given!r} is refused: {said} (docs/settings.md)"


def _examples(fault: Any) -> str:
    return " or ".join(Settings.model_fields[fault["loc"][0]].examples or ())


def _no_such(setting: str) -> str:
    hint = _near(setting.lower(), Settings.model_fields, "docs/settings.md lists them all")
    return f"{setting}: no such setting; {hint}"


def _near(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else otherwise
