"""The rendered compose file: the service of the rules of thumb key by key, and what we add to it by name."""

from __future__ import annotations

import re
import socketserver
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.stack.rendering import compose_file, guard_files
from tests.unit.conftest import group_data

RULES = """
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
AS_THE_RULES: dict[str, Any] = {
    "gateway_enabled": False,
    "ollama_image": "ollama/ollama:latest",
    "ollama_bind": "0.0.0.0",
}


def service(name: str = "ollama", **data: Any) -> dict[str, Any]:
    settings = read_settings(group_data("all", "medium") | data)
    rendered: dict[str, Any] = yaml.safe_load(compose_file(settings))["services"][name]
    return rendered


def without_our_additions(rendered: dict[str, Any]) -> dict[str, Any]:
    """The service without each key that we add to it; a KeyError if one is not there."""
    for key in ("memswap_limit", "read_only", "tmpfs", "cap_drop", "security_opt"):
        del rendered[key]
    for key in ("init", "healthcheck", "logging"):
        del rendered[key]
    del rendered["deploy"]["resources"]["limits"]["pids"]
    for ours in ("LLAMA_ARG_THREADS=2", "LLAMA_ARG_CACHE_RAM=256", "OLLAMA_NO_CLOUD=1"):
        rendered["environment"].remove(ours)
    return rendered


def test_medium_is_the_seed_s_service_and_our_named_additions() -> None:
    assert without_our_additions(service("ollama", **AS_THE_RULES)) == yaml.safe_load(RULES)


def test_all_containers_are_in_the_slice_where_there_is_one() -> None:
    settings = read_settings(group_data("all", "medium") | {"app_enabled": True})
    for parent in ("", "ollama.slice"):
        services = yaml.safe_load(compose_file(settings, parent))["services"]
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
    assert rendered["volumes"] == ["/opt/ollama/gateway:/usr/local/etc/haproxy:ro"]


def test_swap_is_closed_and_the_container_has_no_power(medium: Settings) -> None:
    rendered = service()
    assert rendered["memswap_limit"] == rendered["deploy"]["resources"]["limits"]["memory"]
    assert rendered["read_only"] is True
    assert rendered["cap_drop"] == ["ALL"]
    assert rendered["security_opt"] == ["no-new-privileges:true"]
    assert rendered["logging"]["options"] == {"max-size": "10m", "max-file": "3"}


class Answers(socketserver.StreamRequestHandler):
    """Stands in for a container's server: it has an answer to one request, and may hang."""

    def handle(self) -> None:
        asked = self.rfile.readline()
        while (line := self.server.says.get(asked, b"HTTP/1.0 404 No\r\n\r\n")) is None:  # type: ignore[attr-defined]
            if not self.rfile.readline():  # who asked has gone
                return
        self.wfile.write(line)


ASKED = {
    "ollama": b"OPTIONS * HTTP/1.0\r\n",  # Go's own answer, of which Ollama logs nothing
    "gateway": b"GET /alive HTTP/1.0\r\n",
    "app": b"GET /healthz HTTP/1.0\r\n",
}
EVERY = pytest.mark.parametrize("name", ASKED)


def asked(name: str, flag: Path, says: bytes | None) -> subprocess.CompletedProcess[str]:
    """What a service's health check does where a server says so, and None is silence."""
    app = {"app_enabled": True, "app_image": "registry.example/app:1"}
    cmd, *arguments, script = service(name, **app, health_timeout="1s")["healthcheck"]["test"]
    assert cmd == "CMD"
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Answers) as server:
        server.says = {ASKED[name]: says}  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        port = server.server_address[1]
        script = re.sub(r"(/127.0.0.1)/\d+", rf"\1/{port}", script.replace("$$", "$"))
        # On this host, nothing may be ended.
        for inside, here in (
            ("/dev/shm/answered", str(flag)),  # noqa: S108
            ("kill -9 -1", "echo ended"),
            ("</proc/1/comm", "<" + str(flag)),
            ("/proc/1/fd/2", "/dev/stderr"),
            ("timeout 1 ", "timeout 0.2 " if says is None else "timeout 9 "),
        ):
            assert inside in script
            script = script.replace(inside, here)
        assert "kill" not in script
        done = subprocess.run([*arguments, script], capture_output=True, text=True)
        server.shutdown()
    return done


@EVERY
@pytest.mark.parametrize(
    ("says", "healthy"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.0 503 Busy\r\n\r\n", False),
        (b"", False),
    ],
)
def test_health_is_an_answer(name: str, says: bytes, healthy: bool, tmp_path: Path) -> None:
    done = asked(name, tmp_path / "answered", says)
    assert (done.returncode == 0, done.stdout) == (healthy, "")
    assert (tmp_path / "answered").exists() is healthy


def test_an_answer_is_health_where_nothing_can_be_noted(tmp_path: Path) -> None:
    """As where somebody shares the host's memory with the containers, and root's note is in the way."""
    assert (
        asked("gateway", tmp_path / "none" / "answered", b"HTTP/1.0 200 OK\r\n\r\n").returncode == 0
    )


@EVERY
def test_who_answered_once_and_hangs_is_ended(name: str, tmp_path: Path) -> None:
    flag = tmp_path / "answered"
    flag.write_text("docker-init")
    done = asked(name, flag, None)
    assert (done.returncode, done.stdout) == (1, "ended\n")
    assert "no answer for 1 s" in done.stderr


@EVERY
@pytest.mark.parametrize("process_1", [None, "systemd"])
def test_who_still_starts_or_has_no_init_is_not_ended(
    name: str, process_1: str | None, tmp_path: Path
) -> None:
    """A first start may take minutes; and without an init, process 1 would be somebody else's."""
    flag = tmp_path / "answered"
    if process_1:
        flag.write_text(process_1)
    done = asked(name, flag, None)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_server_that_does_not_listen_is_not_healthy() -> None:
    *_, script = service()["healthcheck"]["test"]
    closed = script.replace("11434", "1").replace("$$", "$").replace("kill", "false")
    assert subprocess.run(["bash", "-c", closed], capture_output=True).returncode != 0


@pytest.mark.parametrize("name", ["volumes", "networks"])
def test_volume_and_network_belong_to_the_project(name: str, medium: Settings) -> None:
    """No ``name:`` of their own: two projects on one host never share models."""
    (declared,) = yaml.safe_load(compose_file(medium))[name].values()
    assert "name" not in (declared or {})


def test_the_network_s_interface_is_the_one_that_the_packet_filter_knows() -> None:
    settings = read_settings(group_data("all", "medium") | {"ollama_project": "a-school-with-a-long-name"})  # fmt: skip
    (network,) = yaml.safe_load(compose_file(settings))["networks"].values()
    bridge = network["driver_opts"]["com.docker.network.bridge.name"]
    assert len(bridge) <= 15  # the kernel's own limit
    assert guard_files(settings.bridge, settings.guard_file)[0].count(f'oifname "{bridge}"') == 2


@pytest.mark.parametrize(("mtu", "declared"), [(1400, "1400"), (1500, None), (9000, None)])
def test_packets_are_no_larger_than_the_way_out_takes(mtu: int, declared: str | None) -> None:
    """Docker's network has 1500 whatever the host has, and a pull through a tunnel then hangs."""
    settings = read_settings(group_data("all", "medium"))
    (network,) = yaml.safe_load(compose_file(settings, mtu=mtu))["networks"].values()
    assert network["driver_opts"].get("com.docker.network.driver.mtu") == declared


def test_the_host_s_authorities_are_ollama_s_where_that_is_declared() -> None:
    assert service()["volumes"] == ["ollama_data:/root/.ollama"]
    assert service(host_certificates=True)["volumes"] == [
        "ollama_data:/root/.ollama",
        "/etc/ssl/certs:/etc/ssl/certs:ro",
    ]


def test_every_container_is_asked_as_often_as_declared() -> None:
    for name in ("ollama", "gateway", "app"):
        rendered = service(
            name, app_enabled=True, app_image="registry.example/app:1", health_interval="2s"
        )
        assert rendered["healthcheck"]["interval"] == "2s"
        assert rendered["healthcheck"]["start_period"] == ("180s" if name == "ollama" else "45s")
        assert rendered["init"] is True


@pytest.mark.parametrize("project", ["null", "true", "123", "0123", "1e5"])
def test_a_project_s_name_is_text_whatever_yaml_makes_of_it(project: str) -> None:
    settings = read_settings(group_data("all", "medium") | {"ollama_project": project})
    made = yaml.safe_load(compose_file(settings))
    options = made["networks"]["app-network"]["driver_opts"]
    assert (made["name"], options["com.docker.network.bridge.name"]) == (project, project)
