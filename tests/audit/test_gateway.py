"""The gateway: the only door, a queue as declared, and no way to change models for others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from testinfra.host import Host

from ollama_stack.settings import Settings
from tests.audit.conftest import inspect, status

Inspected = dict[str, Any]


@pytest.fixture(scope="session")
def gateway(host: Host, settings: Settings) -> Inspected:
    """The gateway's ``docker inspect``."""
    if not settings.gateway_enabled:
        pytest.skip("gateway_enabled is False")
    return inspect(host, "ollama-gateway")


@pytest.fixture(scope="session")
def configuration(host: Host, settings: Settings, gateway: Inspected) -> str:
    """What the gateway's folder holds."""
    text: str = host.file(f"{settings.ollama_dir}/gateway/haproxy.cfg").content_string
    return text


def test_gateway_is_healthy(gateway: Inspected) -> None:
    assert gateway["State"].get("Health", {}).get("Status") == "healthy"


def test_gateway_is_the_declared_image(gateway: Inspected, settings: Settings) -> None:
    assert gateway["Config"]["Image"] == settings.haproxy_image


def test_gateway_is_not_root(gateway: Inspected) -> None:
    assert gateway["Config"]["User"] == "99:99"


def test_gateway_publishes_the_declared_addresses_alone(
    gateway: Inspected, settings: Settings
) -> None:
    bindings = {
        (port, binding["HostIp"] or "0.0.0.0", int(binding["HostPort"]))
        for port, published in (gateway["HostConfig"]["PortBindings"] or {}).items()
        for binding in published
    }
    assert bindings == {
        ("11434/tcp", settings.ollama_bind, settings.ollama_port),
        ("8404/tcp", "127.0.0.1", settings.gateway_metrics_port),
    }


def test_gateway_runs_the_configuration_of_its_folder(
    host: Host, settings: Settings, configuration: str
) -> None:
    loaded = host.check_output(
        f"curl -fsS --noproxy '*' http://127.0.0.1:{settings.gateway_metrics_port}/version"
    )
    assert loaded
    assert f"string '{loaded}' if" in configuration


def test_gateway_lets_the_declared_number_in(
    host: Host, settings: Settings, gateway: Inspected
) -> None:
    metrics = host.check_output(
        f"curl -fsS --noproxy '*' http://127.0.0.1:{settings.gateway_metrics_port}/metrics"
    )
    limit = re.search(r'^haproxy_server_limit_sessions\{proxy="generations".*\} (\d+)', metrics, re.M)  # fmt: skip
    assert limit
    assert int(limit[1]) == settings.ollama_num_parallel


def test_gateway_s_queue_is_as_declared(configuration: str, settings: Settings) -> None:
    bounds = set(re.findall(r"queue\(generations\) ge (\d+)", configuration))
    assert bounds == {str(settings.ollama_max_queue)}


@pytest.mark.usefixtures("gateway")
def test_gateway_asks_for_a_token_where_one_is_declared(host: Host, settings: Settings) -> None:
    answered = status(host, settings, "/api/tags", token=False)
    assert answered == (401 if settings.gateway_tokens else 200)


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("route", ["pull", "push", "create", "copy"])
def test_gateway_lets_nobody_but_the_admin_change_models(
    route: str, host: Host, settings: Settings
) -> None:
    assert status(host, settings, f"/api/{route}", body={}) == 403
