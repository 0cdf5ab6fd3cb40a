"""What Docker and the host say, and what they say when there is nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.facts.docker import (
    Compose,
    ComposeVersion,
    DaemonConfig,
    DaemonConfigFault,
    Engine,
    EngineInfo,
    MaskedUnits,
    PortOwner,
)
from tests.unit.harness import fake_host


def test_a_bare_host_has_nothing() -> None:
    with fake_host() as host:
        assert host.get_fact(Engine) == EngineInfo()
        assert host.get_fact(ComposeVersion) is None
        assert host.get_fact(DaemonConfig) == {}
        assert host.get_fact(PortOwner, port=11434) is None
        assert host.get_fact(Compose, path="/opt/ollama/docker-compose.yml") is None


def test_a_port_s_owner_is_named() -> None:
    line = 'LISTEN 0 4096 127.0.0.1:11434 0.0.0.0:* users:(("nginx",pid=7,fd=4))'
    assert PortOwner().process([line]) == '"nginx",pid=7,fd=4'


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"mtu": 1400}', ""),
        (
            '\ufeff{"mtu": 1400}',
            "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
        ),
        (
            "{\n  // of 2019\n}",
            "Expecting property name enclosed in double quotes: line 2 column 3 (char 4)",
        ),
        ("[]", "it is a list"),
    ],
)
def test_why_a_daemon_json_is_none_is_known(text: str, fault: str) -> None:
    """As Windows' editor leaves one, and as other JSON's friends do."""
    assert DaemonConfigFault().process(text.splitlines()) == fault
    assert (DaemonConfig().process(text.splitlines()) is None) is bool(fault)


@pytest.mark.process
def test_units_that_systemd_may_not_start_are_found(tmp_path: Path) -> None:
    for folder in ("etc", "run"):
        (tmp_path / folder / "systemd/system").mkdir(parents=True)
    (tmp_path / "etc/systemd/system/docker.service").symlink_to("/dev/null")
    (tmp_path / "run/systemd/system/containerd.service").touch()
    (tmp_path / "etc/systemd/system/docker.socket").write_text("[Socket]\n")
    command = MaskedUnits().command().replace("cd /;", f"cd {tmp_path};")
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["docker.service", "containerd.service"]


def test_a_daemon_json_that_is_none_is_not_an_empty_one() -> None:
    assert DaemonConfig().process(["{,"]) is None
    assert DaemonConfig().process(["[]"]) is None
    assert DaemonConfig().process(["{}"]) == {}
    assert DaemonConfig().process(['{"features": null, "mtu": 1400}']) == {"mtu": 1400}


SNAPSHOTTER = [["driver-type", "io.containerd.snapshotter.v1"]]


@pytest.mark.parametrize(
    ("info", "config", "root"),
    [
        ({"DriverStatus": [["Backing Filesystem", "extfs"]]}, ["root = '/srv/c'"], None),
        ({"DriverStatus": None}, [], None),
        ({"DriverStatus": SNAPSHOTTER}, [], "/var/lib/containerd"),
        ({"DriverStatus": SNAPSHOTTER}, ["root = '/srv/c'"], "/srv/c"),
        ({"DriverStatus": SNAPSHOTTER}, ['root = "/srv/c"'], "/srv/c"),
        (
            {
                "DriverStatus": SNAPSHOTTER,
                "Containerd": {"Address": "/run/docker/containerd/containerd.sock"},
            },
            [],
            None,
        ),
    ],
)
def test_images_are_where_their_store_is(
    info: dict[str, Any], config: list[str], root: str | None
) -> None:
    assert Engine().process([engine(**info), *config]).image_root == root


def engine(**answer: Any) -> str:
    """What ``docker info`` prints."""
    return json.dumps({"ServerVersion": "20.10.24", "DockerRootDir": "/var/lib/docker"} | answer)


@pytest.mark.parametrize(
    "answer", ["", '{"ServerErrors": ["Cannot connect"]}', '{"ServerVersion": ""}']
)
def test_an_engine_that_does_not_answer_is_none(answer: str) -> None:
    assert Engine().process([answer]) == EngineInfo()


def test_an_engine_says_what_it_trusts_and_by_what_it_goes_out() -> None:
    indexes = {"docker.io": {"Secure": True}, "10.0.0.9:5000": {"Secure": False}}
    found = Engine().process(
        [
            engine(
                RegistryConfig={"IndexConfigs": indexes},
                HttpsProxy="http://theirs:3128",
                CgroupDriver="systemd",
                CgroupVersion="2",
            )
        ]
    )
    assert (found.cgroups, found.proxied) == ("systemd 2", True)
    assert found.insecure_registries == ("10.0.0.9:5000",)


@pytest.mark.parametrize(
    ("root", "options", "offset"),
    [
        ("/var/lib/docker", ["name=seccomp,profile=default"], 0),
        ("/srv/1.2", ["name=seccomp,profile=default"], 0),
        ("/srv/docker/231072.231072", ["name=apparmor", "name=userns"], 231072),
        ("/srv/docker", None, 0),
    ],
)
def test_the_users_of_an_engine_that_maps_them_have_an_offset(
    root: str, options: list[str] | None, offset: int
) -> None:
    answer = engine(DockerRootDir=root, SecurityOptions=options)
    assert Engine().process([answer]).user_offset == offset


def test_a_file_that_compose_refuses_is_no_project() -> None:
    assert Compose().process(['{"services": {}}', "----"]) is None


def test_a_project_without_containers_is_one() -> None:
    found = Compose().process(['{"services": {"a": {}}}', "----", "a abc", "----", "----", "----"])
    assert found is not None
    assert found.drift() == {"a": "has no container"}
