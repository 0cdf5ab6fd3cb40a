"""The way of ``settings`` through deploy.py, file by file: it seldom comes back to a file that it had left."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from ollama_stack import ROOT

DEPLOY = ROOT / "deploy.py"
PACKAGE = ROOT / "ollama_stack"
MOST_RETURNS = 3


class Function(NamedTuple):
    file: Path
    name: str

    @property
    def body(self) -> list[ast.stmt]:
        found = (n for n in _parsed(self.file).body if isinstance(n, ast.FunctionDef))
        return next(function.body for function in found if function.name == self.name)


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes())


@cache
def _names(file: Path) -> dict[str, Function | Path]:
    """The functions and modules of the package that a file can call, by name."""
    found: dict[str, Function | Path] = {}
    for node in _parsed(file).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = Function(file, node.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ollama_stack"):
            source = ROOT / (node.module or "").replace(".", "/")
            for name in (alias.name for alias in node.names):
                module, own = source / f"{name}.py", source.with_suffix(".py")
                found[name] = module if module.exists() else Function(own, name)
    return found


def _called(file: Path, call: ast.Call) -> Function | None:
    """The package's function to which ``settings`` is handed."""
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    if not any(isinstance(one, ast.Name) and one.id == "settings" for one in given):
        return None
    match call.func:
        case ast.Name(id=name) if isinstance(found := _names(file).get(name), Function):
            return found
        case ast.Attribute(value=ast.Name(id=name), attr=attribute):
            module = _names(file).get(name)
            return Function(module, attribute) if isinstance(module, Path) else None
    return None


def _in_order(node: ast.AST) -> Iterator[ast.Call]:
    for child in ast.iter_child_nodes(node):
        yield from _in_order(child)
    if isinstance(node, ast.Call):
        yield node  # after its arguments


def _outward(file: Path, body: Iterable[ast.AST]) -> Iterator[Function]:
    """The functions of other files that get ``settings``, by whatever function of this one."""
    for call in (call for node in body for call in _in_order(node)):
        function = _called(file, call)
        if function and function.file == file:
            yield from _outward(file, function.body)
        elif function:
            yield function


def _walk(file: Path, body: Iterable[ast.AST]) -> Iterator[tuple[Path, Path, list[str]]]:
    """From which file, into which, and by which calls."""
    for room, calls in groupby(_outward(file, body), key=lambda function: function.file):
        functions = list(calls)
        yield file, room, list(dict.fromkeys(function.name for function in functions))
        yield from _walk(room, [node for function in functions for node in function.body])


def _story() -> list[ast.stmt]:
    """What deploy.py does with a host that serves alone."""
    choice = _parsed(DEPLOY).body[-1]
    assert isinstance(choice, ast.If)
    return choice.orelse


def test_settings_seldom_come_back_and_the_page_shows_their_way() -> None:
    rows, entered = [], list[Path]()
    for source, room, calls in _walk(DEPLOY, _story()):
        mark = "again" if room in entered else ""
        entered.append(room)
        where, to = (
            path.relative_to(PACKAGE if path != DEPLOY else ROOT) for path in (source, room)
        )
        rows.append(f"| {len(entered)} | `{where}` | `{to}` | {', '.join(calls)} | {mark} |")
    returns = len(entered) - len(set(entered))
    assert returns <= MOST_RETURNS, "\n".join(rows)
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert "\n".join(rows) in page, "\n".join(rows)
