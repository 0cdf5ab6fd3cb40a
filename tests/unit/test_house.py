"""The rules of the house that a machine can hold."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from pyinfra.api.arguments import all_argument_meta

from ollama_stack import operations
from tests.lab.lanes import SERVERS

ROOT = Path(__file__).parents[2]


def test_deploy_is_a_table_of_contents() -> None:
    assert len((ROOT / "deploy.py").read_text().splitlines()) < 50


@pytest.mark.parametrize("name", [module.name for module in iter_modules(operations.__path__)])
def test_no_operation_has_a_parameter_that_pyinfra_takes_for_itself(name: str) -> None:
    module = import_module(f"ollama_stack.operations.{name}")
    ours = [member for member in vars(module).values() if hasattr(member, "_inner")]
    assert ours
    for operation in ours:
        assert not set(inspect.signature(operation._inner).parameters) & set(all_argument_meta)


@pytest.mark.parametrize(
    "lock",
    [
        *("requirements.txt", "requirements-pip.txt", "requirements-load.txt"),
        *("requirements-dev.txt", "app/requirements.txt"),
    ],
)
def test_requirements_are_hash_pinned_and_name_no_index(lock: str) -> None:
    text = (ROOT / lock).read_text()
    pins = [line for line in text.splitlines() if "==" in line]
    assert pins
    assert all(line.rstrip().endswith("\\") for line in pins)
    assert "://" not in text


def test_who_deploys_installs_what_the_tests_run_with() -> None:
    run, dev = (
        {line.split()[0] for line in (ROOT / lock).read_text().splitlines() if "==" in line}
        for lock in ("requirements.txt", "requirements-dev.txt")
    )
    assert run <= dev


def test_tests_with_servers_of_their_own_are_in_the_lane_of_servers() -> None:
    files = (ROOT / "tests" / "lab").glob("test_*.py")
    assert {file.stem for file in files if "bare(" in file.read_text()} <= set(SERVERS)
