"""The rendered compose file: the seed's service key by key, and what we add to it by name."""

from __future__ import annotations

import socketserver
import subprocess
import threading
from typing import Any

import pytest
import yaml

from ollama_stack.settings import Settings, read_settings
from ollama_stack.tasks.ollama import render_compose
from tests.unit.conftest import group_data

SEED = """
image: ollama/ollama:latest
container_name: ollama
restart: always
ports:
  - "11434:11434"
volumes:
  - ollama_data:/root/.ollama
networks:
  - app-network
environment:
  - OLLAMA_NUM_PARALLEL=3
  - OLLAMA_MAX_LOADED_MODELS=1
  - OLLAMA_NUM_THREAD=2
  - OLLAMA_HOST=0.0.0.0:11434
  - OLLAMA_KEEP_ALIVE=5m
  - OLLAMA_MAX_QUEUE=15
deploy:
  resources:
    limits:
      memory: 3G
      cpus: '2.0'
    reservations:
      memory: 2G
      cpus: '1.0'
"""
AS_THE_SEED: dict[str, Any] = {
    "gateway_enabled": False,
    "ollama_image": "ollama/ollama:latest",
    "ollama_bind": "0.0.0.0",
}


def service(name: str = "ollama", **data: Any) -> dict[str, Any]:
    settings = read_settings(group_data("all", "medium") | data)
    rendered: dict[str, Any] = yaml.safe_load(render_compose(settings))["services"][name]
    return rendered


def without_our_additions(rendered: dict[str, Any]) -> dict[str, Any]:
    """The service without each key that we add to the seed's; a KeyError if one is not there."""
    for key in ("memswap_limit", "read_only", "tmpfs", "cap_drop", "security_opt"):
        del rendered[key]
    for key in ("healthcheck", "logging"):
        del rendered[key]
    del rendered["deploy"]["resources"]["limits"]["pids"]
    for ours in ("LLAMA_ARG_THREADS=2", "LLAMA_ARG_CACHE_RAM=256", "OLLAMA_NO_CLOUD=1"):
        rendered["environment"].remove(ours)
    return rendered


def test_medium_is_the_seed_s_service_and_our_named_additions() -> None:
    assert without_our_additions(service("ollama", **AS_THE_SEED)) == yaml.safe_load(SEED)


def test_all_containers_are_in_the_slice_where_there_is_one() -> None:
    settings = read_settings(group_data("all", "medium") | {"app_enabled": True})
    for parent in ("", "ollama.slice"):
        services = yaml.safe_load(render_compose(settings, parent))["services"]
        assert {s.get("cgroup_parent", "") for s in services.values()} == {parent}
        assert len(services) == 3


def test_the_port_is_on_loopback_unless_told() -> None:
    assert service(gateway_enabled=False)["ports"] == ["127.0.0.1:11434:11434"]


def test_the_gateway_is_the_only_door() -> None:
    assert "ports" not in service()
    assert service("gateway", ollama_bind="10.0.0.5", ollama_port=80)["ports"] == [
        "10.0.0.5:80:11434",
        "127.0.0.1:8404:8404",
    ]


def test_the_gateway_has_no_power_and_is_not_root() -> None:
    rendered = service("gateway")
    assert rendered["user"] == "99:99"
    assert rendered["read_only"] is True
    assert rendered["cap_drop"] == ["ALL"]
    assert rendered["security_opt"] == ["no-new-privileges:true"]
    assert rendered["memswap_limit"] == rendered["deploy"]["resources"]["limits"]["memory"]
    assert rendered["deploy"]["resources"]["limits"]["cpus"] == "0.5"
    assert (
        "GET /alive HTTP/1.0\\r\\n" in rendered["healthcheck"]["test"][3]
    )  # an answer, not a socket
    assert rendered["volumes"] == ["/opt/ollama/gateway:/usr/local/etc/haproxy:ro"]


def test_swap_is_closed_and_the_container_has_no_power(medium: Settings) -> None:
    rendered = service()
    assert rendered["memswap_limit"] == rendered["deploy"]["resources"]["limits"]["memory"]
    assert rendered["read_only"] is True
    assert rendered["cap_drop"] == ["ALL"]
    assert rendered["security_opt"] == ["no-new-privileges:true"]
    assert rendered["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


class Answers(socketserver.StreamRequestHandler):
    """Stands in for Go's server: it has an answer of its own to a ping, the app for all else."""

    def handle(self) -> None:
        ping = self.rfile.readline() == b"OPTIONS * HTTP/1.0\r\n"
        self.wfile.write(self.server.says if ping else b"HTTP/1.0 404 No\r\n\r\n")  # type: ignore[attr-defined]


def looked(says: bytes) -> int:
    """The exit status of Ollama's health check where a server says so."""
    cmd, *words = service()["healthcheck"]["test"]
    assert cmd == "CMD"
    with socketserver.TCPServer(("127.0.0.1", 0), Answers) as server:
        server.says = says  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = str(server.server_address[1])
        inside = [word.replace("11434", port).replace("$$", "$") for word in words]
        done = subprocess.run(inside, capture_output=True)
        server.shutdown()
    return done.returncode


@pytest.mark.parametrize(
    ("says", "healthy"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 503 Busy\r\n\r\n", False),
        (b"", False),
    ],
)
def test_health_is_an_answer_of_which_ollama_logs_nothing(says: bytes, healthy: bool) -> None:
    """A request that reached Ollama's own router would be a line in its log every 5 s."""
    assert (looked(says) == 0) is healthy


def test_a_server_that_does_not_listen_is_not_healthy() -> None:
    *_, script = service()["healthcheck"]["test"]
    closed = script.replace("11434", "1").replace("$$", "$")
    assert subprocess.run(["bash", "-c", closed], capture_output=True).returncode != 0


@pytest.mark.parametrize("name", ["volumes", "networks"])
def test_volume_and_network_belong_to_the_project(name: str, medium: Settings) -> None:
    """No ``name:`` of their own: two projects on one host never share models."""
    (declared,) = yaml.safe_load(render_compose(medium))[name].values()
    assert declared is None


def test_every_container_is_asked_as_often_as_declared() -> None:
    for name in ("ollama", "gateway", "app"):
        rendered = service(
            name, app_enabled=True, app_image="registry.example/app:1", health_interval="2s"
        )
        assert rendered["healthcheck"]["interval"] == "2s"
