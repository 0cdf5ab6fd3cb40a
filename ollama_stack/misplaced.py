"""Settings where nobody reads them: pyinfra itself takes such a file, or such a name, in silence."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyinfra.api.arguments import all_argument_meta
from pyinfra.connectors.ssh import ConnectorData

from ollama_stack import ROOT
from ollama_stack.config.settings import PROFILES, PYINFRA_KEY, Settings
from ollama_stack.unread import misread


def file_faults(used: Iterable[str]) -> dict[str, list[str]]:
    """Faults of the files in group_data/: a group that nobody has, names that are no settings.

    ``used``: groups of an inventory that may lie elsewhere.
    """
    known = {"all", *PROFILES, *used}
    for inventory in (ROOT / "inventories").glob("*.py"):
        known |= {inventory.stem, *_assigned(inventory)}
    files = sorted((ROOT / "group_data").glob("*.py"))
    found = {f"group_data/{file.name}": _file_faults(file, known) for file in files}
    found |= {f"group_data/{name}": [UNREAD] for name in sorted(_unread(ROOT / "group_data"))}
    return {name: wrong for name, wrong in found.items() if wrong}


UNREAD = "pyinfra reads group_data/GROUP.py alone; write it as that"


def _unread(folder: Path) -> Iterator[str]:
    """Files that look like settings, where pyinfra does not look for them."""
    for file in folder.rglob("*.*"):
        apart = file.suffix == ".py" and file.parent != folder
        if apart or file.suffix in (".yml", ".yaml", ".json", ".toml", ".ini"):
            yield str(file.relative_to(folder))


def inventory_faults(inventory: str) -> dict[str, list[str]]:
    """What an inventory file gives a value to that is no group: pyinfra drops it in silence."""
    file = ROOT / inventory
    if not inventory or not file.is_file():
        return {}
    wrong = [
        f"{name}: is a setting, and there one of no host; put it into group_data/ or into the host"
        for name in sorted(_assigned(file))
        if name in Settings.model_fields or name in all_argument_meta or name.startswith("ssh_")
    ]
    wrong += misread(file)
    return {inventory: wrong} if wrong else {}


def _file_faults(file: Path, known: set[str]) -> list[str]:
    wrong = []
    if file.stem not in known and not file.stem.startswith("@"):  # @: a connector's own group
        wrong.append(f"no inventory has a group {file.stem}; {near(file.stem, known, 'rename it')}")
    names = sorted(name for name in _assigned(file) if not PYINFRA_KEY.match(name))
    return wrong + [no_such(name) for name in names if name not in Settings.model_fields]


def _assigned(file: Path) -> set[str]:
    """Names that a file of literals gives values to, read without running it; of broken ones none."""
    targets: list[ast.expr] = []
    try:
        nodes = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):  # pyinfra says so itself when it comes to read the file
        return set()
    for node in nodes:
        targets += node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, ast.AnnAssign) else []
    return {target.id for target in targets if isinstance(target, ast.Name)}


def login_faults(data: Mapping[str, Any]) -> Iterator[str]:
    """Names of a host's data that are nearly pyinfra's own, and a port that is none: pyinfra takes both in silence."""
    for name in map(str, data):
        known = ConnectorData.__annotations__ if name.startswith("ssh_") else ()
        if known and name not in known:
            yield f"{name}: no such setting; {near(name, known, 'pyinfra has ' + ', '.join(known))}"
        elif name.startswith("_") and name not in all_argument_meta:
            like = difflib.get_close_matches(name, all_argument_meta, n=1, cutoff=0.8)
            yield from (f"{name}: no such setting; did you mean {one}?" for one in like)
    port = data.get("ssh_port")
    if isinstance(port, int) and not 0 < port < 65536:
        yield f"ssh_port: {port} is no port; write one from 1 to 65535"


def no_such(setting: str) -> str:
    """That a name is no setting, and which one was meant."""
    hint = near(setting.lower(), Settings.model_fields, "docs/settings.md lists them all")
    return f"{setting}: no such setting; {hint}"


def near(name: str, known: Iterable[str], otherwise: str) -> str:
    """The known name that is meant, as a question; ``otherwise`` if none is like it."""
    like = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {like[0]}?" if like else otherwise
