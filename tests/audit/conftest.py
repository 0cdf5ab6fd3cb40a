"""Which hosts, and what each says of itself: read once a host."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from testinfra.host import Host

from ollama_stack.inventory import Target, read_inventory
from ollama_stack.rules import faults
from ollama_stack.settings import Settings, read_settings
from tests.audit.cgroup import Cgroup

CONTAINER = "ollama"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--inventory", help="inventory of the hosts to audit")
    parser.addoption("--limit", action="append", default=[], help="only this group or host")


@cache
def targets(inventory: str, limit: tuple[str, ...]) -> list[Target]:
    return read_inventory(inventory, limit)


def _chosen(config: pytest.Config) -> list[Target]:
    inventory = config.getoption("--inventory")
    if not inventory:
        raise pytest.UsageError("which hosts? pytest tests/audit --inventory inventories/X.py")
    try:
        chosen = targets(inventory, tuple(config.getoption("--limit")))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    refused = [f"{t.name}: {fault}" for t in chosen for fault in faults(t.groups, t.data)]
    if refused:
        raise pytest.UsageError("\n".join(refused))
    return chosen


def pytest_report_header(config: pytest.Config) -> str:
    names = ", ".join(target.name for target in _chosen(config))
    return f"audit: {config.getoption('--inventory')}: {names}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        hosts = _chosen(metafunc.config)
        metafunc.parametrize("target", hosts, ids=lambda t: t.name, scope="session", indirect=True)


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    chosen: Target = request.param
    return chosen


@pytest.fixture(scope="session")
def settings(target: Target) -> Settings:
    return read_settings(target.data)


@pytest.fixture(scope="session")
def host(target: Target) -> Host:
    return target.connect()


def inspect(host: Host, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.check_output("docker inspect %s", container))[0]
    return found


@pytest.fixture(scope="session")
def container(host: Host) -> dict[str, Any]:
    """What Docker says of the container."""
    return inspect(host, CONTAINER)


@pytest.fixture(scope="session")
def host_config(container: dict[str, Any]) -> dict[str, Any]:
    """Its limits and ports, as Docker applied them."""
    found: dict[str, Any] = container["HostConfig"]
    return found


@pytest.fixture(scope="session")
def cgroup(host: Host, container: dict[str, Any]) -> Cgroup:
    """What the kernel says of it."""
    return Cgroup.of(host, container["State"]["Pid"])


def ask(host: Host, settings: Settings, path: str, body: object = None) -> Any:
    """The answer at the published address, from the host's own side, to the host's own token."""
    words = [*_curl(body), *_token(settings), "--fail-with-body", settings.url + path]
    return json.loads(_run(host, words))


def status(
    host: Host, settings: Settings, path: str, body: object = None, token: bool = True
) -> int:
    """The HTTP status of such an answer; 0 without one."""
    words = [*_curl(body), *(_token(settings) if token else ()), settings.url + path]
    return int(_run(host, [*words, "--output", "/dev/null", "--write-out", "%{http_code}"]))


def _curl(body: object) -> list[str]:
    data = ["--data", json.dumps(body)] if body is not None else []
    return ["curl", "-sS", "--insecure", "--noproxy", "*", "--max-time", "900", *data]


def _token(settings: Settings) -> list[str]:
    return ["--header", f"@{settings.token_header_file}"] if settings.token_header_file else []


def _run(host: Host, words: list[str]) -> str:
    output: str = host.check_output(" ".join(["%s"] * len(words)), *words)
    return output
