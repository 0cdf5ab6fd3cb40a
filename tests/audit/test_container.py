"""The container: up, healthy, where it should be, and no more open than declared."""

from __future__ import annotations

from typing import Any

from testinfra.host import Host

from ollama_stack.settings import Settings

Inspected = dict[str, Any]


def test_it_runs(container: Inspected) -> None:
    assert container["State"]["Status"] == "running"


def test_it_is_healthy(container: Inspected) -> None:
    assert container["State"].get("Health", {}).get("Status") == "healthy"


def test_it_is_the_declared_image(container: Inspected, settings: Settings) -> None:
    assert container["Config"]["Image"] == settings.image


def test_it_always_restarts(host_config: Inspected) -> None:
    assert host_config["RestartPolicy"]["Name"] == "always"


def test_models_are_on_their_volume(container: Inspected, settings: Settings) -> None:
    mounts = {mount["Destination"]: mount.get("Name") for mount in container["Mounts"]}
    assert mounts.get("/root/.ollama") == f"{settings.ollama_project}_ollama_data"


def test_it_is_on_the_app_network_alone(container: Inspected, settings: Settings) -> None:
    networks = set(container["NetworkSettings"]["Networks"])
    assert networks == {f"{settings.ollama_project}_app-network"}


def test_docker_publishes_the_declared_address_alone(
    host_config: Inspected, settings: Settings
) -> None:
    bindings = [
        (port, binding["HostIp"] or "0.0.0.0", int(binding["HostPort"]))
        for port, published in (host_config["PortBindings"] or {}).items()
        for binding in published
    ]
    itself = [("11434/tcp", settings.ollama_bind, settings.ollama_port)]
    assert bindings == ([] if settings.gateway_enabled else itself)


def test_the_host_listens_on_the_declared_address_alone(host: Host, settings: Settings) -> None:
    lines = host.check_output(f"ss -Hltn 'sport = :{settings.ollama_port}'").splitlines()
    listening = {line.split()[3].rpartition(":")[0] for line in lines}
    both_families = {"0.0.0.0", "[::]"}
    declared = {settings.ollama_bind}
    assert listening == (both_families if declared < both_families else declared)
