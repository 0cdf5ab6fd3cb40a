"""Why pyinfra cannot read an inventory, or reads another one than it says: one sentence, no trace."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ollama_stack.config.monitoring import MONITORING
from ollama_stack.config.settings import PROFILES

LIKE = 'write it like medium = ["10.0.0.5", ("class-2", {"ssh_hostname": "10.0.0.6"})]'
_PLACE = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)
_DATA = re.compile(r"Connector data type error: Invalid connector data `(\w+)`:: (.+)")


def why(stderr: str, inventory: str) -> str:
    """What pyinfra's log says of an inventory that it has given up, as ``FILE: problem; way out``."""
    lines = [line for line in stderr.splitlines() if line[:1].strip() and line[:3] != "-->"]
    if data := _DATA.search(stderr):
        return f"{inventory}: {data[1]}: the value of a host is refused ({data[2]}); correct it"
    places = [place for place in _PLACE.findall(stderr) if "/site-packages/" not in place[0]]
    if places and lines:
        file, line = places[-1]
        return f"{file}: line {line} is not understood ({lines[-1]}); correct it"
    found = lines[-1] if lines else "it says nothing of its hosts"
    return f"{inventory}: pyinfra cannot read it ({found}); {LIKE}"


def misread(file: Path) -> Iterator[str]:
    """Groups of an inventory that pyinfra drops, or reads letter by letter, without a word."""
    try:
        nodes = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):  # pyinfra says so itself
        return
    for node in nodes:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if isinstance(target, ast.Name) and target.id[0] != "_":
                fault = _fault(target.id in (*PROFILES, MONITORING), node.value)  # type: ignore[attr-defined]  # an Assign
                if fault:
                    yield f"{target.id}: {fault}; {LIKE}"


def _fault(ours: bool, value: ast.expr) -> str:
    """What is wrong with a group's value, as far as its text says; names and calls may be anything."""
    if isinstance(value, ast.Tuple) and (ours or any(map(_is_text, value.elts))):
        hosts, data = value.elts if len(value.elts) == 2 else (None, None)
        if not (hosts and _may_be(ast.List, hosts) and _may_be(ast.Dict, data)):
            return "is a group in round brackets, of which pyinfra reads the first host's letters as hosts"
        value = hosts
    if isinstance(value, ast.List):
        mine = ours or any(_is_text(host) or isinstance(host, ast.Tuple) for host in value.elts)
        return next(filter(None, map(_host_fault, value.elts)), "") if mine else ""
    wrong = (ast.Constant, ast.Dict, ast.Set, ast.JoinedStr)
    return (
        "is no list of hosts, and pyinfra leaves it out"
        if ours and isinstance(value, wrong)
        else ""
    )


def _host_fault(host: ast.expr) -> str:
    if isinstance(host, ast.Tuple):
        whole = len(host.elts) == 2 and _may_be(ast.Dict, host.elts[1])
        if not (whole and (_is_text(host.elts[0]) or not isinstance(host.elts[0], _LITERALS))):
            return f"{ast.unparse(host)} is no host with its settings"
    elif isinstance(host, _LITERALS) and not (_is_text(host)):
        return f"{ast.unparse(host)} is no host, for which pyinfra leaves the whole group out"
    return ""


_LITERALS = (ast.Constant, ast.List, ast.Tuple, ast.Dict, ast.Set)


def _may_be(kind: type[ast.expr], value: ast.expr | None) -> bool:
    return isinstance(value, kind) or not isinstance(value, _LITERALS)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str) and bool(value.value)
