"""The rules of the house that a machine can hold."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from pyinfra.api.arguments import all_argument_meta

from ollama_stack.operations import (
    docker,
    gateway,
    lock,
    model,
    packages,
    release,
    secrets,
    slice,
    smoke,
)

ROOT = Path(__file__).parents[2]

# Folder or file: the modules of ours that it may import, besides what lies in itself.
MAY_IMPORT = {
    "ollama_stack/forms.py": (),
    "ollama_stack/app.py": ("forms",),
    "ollama_stack/gateway.py": ("forms",),
    "ollama_stack/tokens.py": (),
    "ollama_stack/settings.py": ("forms", "gateway", "app"),
    "ollama_stack/door.py": ("settings", "gateway", "forms"),
    "ollama_stack/capacity.py": (),
    "ollama_stack/manifest.py": (),
    "ollama_stack/misplaced.py": ("settings",),
    "ollama_stack/rules.py": ("settings", "forms", "capacity", "tokens", "misplaced"),
    "ollama_stack/sums.py": ("settings", "forms", "capacity", "manifest"),
    "ollama_stack/fit.py": ("settings", "forms", "capacity", "manifest", "sums"),
    "ollama_stack/compose.py": (),
    "ollama_stack/answers.py": (),
    "ollama_stack/reference.py": ("settings", "plan", "audit"),
    "ollama_stack/audit.py": ("forms",),
    "ollama_stack/guard.py": ("inventory", "rules"),
    "ollama_stack/plan.py": ("inventory", "settings", "rules", "fit", "sums", "capacity"),
    "ollama_stack/shell.py": (),
    "ollama_stack/status.py": ("inventory", "settings"),
    "ollama_stack/rolling.py": ("inventory", "plan", "status"),
    "ollama_stack/wheels.py": (),
    "ollama_stack/inventory.py": (),
    "ollama_stack/revision.py": (),
    "ollama_stack/facts": ("compose", "manifest"),
    "ollama_stack/operations": ("facts", "answers", "compose", "shell", "wheels"),
    "ollama_stack/tasks": (
        *("operations", "facts", "settings", "forms", "rules", "fit", "sums", "capacity"),
        *("manifest", "tokens", "revision", "wheels", "door"),
    ),
    "tests/audit": ("inventory", "settings", "forms", "rules", "audit", "revision"),
}
PACKAGE = ROOT / "ollama_stack"


def imports(path: Path) -> set[str]:
    """The second part of every ``ollama_stack.X`` that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative imports hide where they go"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("ollama_stack.")}
    return found


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_imports_go_one_way(place: str) -> None:
    path = ROOT / place
    files = [path] if path.is_file() else list(path.rglob("*.py"))
    allowed = {*MAY_IMPORT[place], Path(place).stem}
    assert files
    for file in files:
        assert imports(file) <= allowed, file


def test_every_module_of_ours_has_its_place() -> None:
    held = {ROOT / place for place in MAY_IMPORT}
    for file in PACKAGE.rglob("*.py"):
        assert file.name == "__init__.py" or held & {file, *file.parents}, file


def test_deploy_is_a_table_of_contents() -> None:
    assert len((ROOT / "deploy.py").read_text().splitlines()) < 50


@pytest.mark.parametrize(
    "module", [docker, gateway, lock, model, packages, release, secrets, slice, smoke]
)
def test_no_operation_has_a_parameter_that_pyinfra_takes_for_itself(module: object) -> None:
    operations = [member for member in vars(module).values() if hasattr(member, "_inner")]
    assert operations
    for operation in operations:
        assert not set(inspect.signature(operation._inner).parameters) & set(all_argument_meta)


def test_requirements_are_hash_pinned_and_name_no_index() -> None:
    text = (ROOT / "requirements.txt").read_text()
    pins = [line for line in text.splitlines() if "==" in line]
    assert pins
    assert all(line.rstrip().endswith("\\") for line in pins)
    assert "://" not in text
