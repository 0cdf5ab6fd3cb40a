"""Drift of a live project from its file, as a pure function."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ollama_stack import ROOT
from ollama_stack.stack.compose import COMMAND, ComposeProject

CONFIG = {
    "name": "p",
    "services": {
        "ollama": {
            "image": "ollama/ollama:1",
            "memswap_limit": "3221225472",
            "restart": "always",
            "networks": {"app-network": None},
            "deploy": {
                "resources": {
                    "limits": {"cpus": 2, "memory": "3221225472", "pids": 256},
                    "reservations": {"cpus": 1, "memory": "2147483648"},
                }
            },
        }
    },
}
CONTAINER = {
    "Image": "sha256:one",
    "Config": {
        "Labels": {
            "com.docker.compose.service": "ollama",
            "com.docker.compose.project": "p",
            "com.docker.compose.config-hash": "abc",
        }
    },
    "State": {"Status": "running", "Pid": 7, "Health": {"Status": "healthy"}},
    "HostConfig": {
        "NanoCpus": 2000000000,
        "Memory": 3221225472,
        "MemorySwap": 3221225472,
        "MemoryReservation": 2147483648,
        "PidsLimit": 256,
        "RestartPolicy": {"Name": "always"},
    },
    "NetworkSettings": {"Networks": {"p_app-network": {}}},
}


def project(
    *containers: Any,
    hash_: str = "abc",
    image: str = "sha256:one",
    kernel: str = "",
    parent: str = "",
) -> ComposeProject:
    config = copy.deepcopy(CONFIG)
    if parent:
        config["services"]["ollama"]["cgroup_parent"] = parent  # type: ignore[index]
    return ComposeProject.parse(
        json.dumps(config),
        f"ollama {hash_}\n",
        f"ollama/ollama:1 {image}\n",
        json.dumps(containers),
        kernel,
    )


def changed(path: str, value: Any) -> dict[str, Any]:
    container = copy.deepcopy(CONTAINER)
    *folders, key = path.split(".")
    part: Any = container
    for folder in folders:
        part = part[folder]
    part[key] = value
    return container


def test_a_project_as_declared_has_no_drift() -> None:
    assert project(CONTAINER).drift() == {}


def test_compose_s_rounding_of_cpus_is_no_drift() -> None:
    """Compose counts CPUs in 32-bit floats: 4.5 becomes 4499999744 NanoCpus."""
    assert project(changed("HostConfig.NanoCpus", 1999999872)).drift() == {}


# Recorded on a VM (kernel 6.12, systemd 257, Docker 26.1.5): scope, then its parent.
SYSTEM_SLICE = "7 {swap} 2147483648\n7 max 0"
OURS = "7 {swap} {low}\n7 0 2147483648"


@pytest.mark.parametrize(
    ("kernel", "parent", "reasons"),
    [
        (SYSTEM_SLICE.format(swap="0"), "", []),  # as just started
        (SYSTEM_SLICE.format(swap="max"), "", ["may use any bytes of swap, declared 0"]),
        (
            SYSTEM_SLICE.format(swap="0"),
            "ollama.slice",
            ["keeps 0 bytes under pressure, declared 2147483648"],
        ),
        (OURS.format(swap="max", low="2147483648"), "ollama.slice", []),  # after a daemon-reload
        (
            OURS.format(swap="max", low="1073741824"),
            "ollama.slice",
            ["keeps 1073741824 bytes under pressure, declared 2147483648"],
        ),
        ("8 max 0", "", []),  # another container's
        ("7 4096 2147483648", "", ["may use 4096 bytes of swap, declared 0"]),
    ],
)
def test_what_the_kernel_keeps_otherwise_is_drift(
    kernel: str, parent: str, reasons: list[str]
) -> None:
    assert list(project(CONTAINER, kernel=kernel, parent=parent).drift().values()) == reasons


def test_an_image_that_was_removed_meanwhile_is_drift() -> None:
    """As after a build that went to the registry alone: the next start would be another one."""
    (reason,) = project(CONTAINER, image="").drift().values()
    assert reason == "its image is not what is called ollama/ollama:1 now"


def test_no_container_is_drift() -> None:
    assert project().drift() == {"ollama": "has no container"}


def test_another_declaration_is_drift() -> None:
    assert project(CONTAINER, hash_="def").drift() == {"ollama": "its declaration changed"}


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("Image", "sha256:two", "its image is not what is called ollama/ollama:1 now"),
        ("State.Status", "exited", "is exited"),
        ("State.Health.Status", "unhealthy", "is unhealthy"),
        ("HostConfig.Memory", 2**30, "Memory is 1073741824, declared 3221225472"),
        ("HostConfig.MemorySwap", -1, "MemorySwap is -1, declared 3221225472"),
        ("HostConfig.NanoCpus", 10**9, "NanoCpus is 1000000000, declared 2000000000"),
        ("HostConfig.MemoryReservation", 0, "MemoryReservation is 0, declared 2147483648"),
        ("HostConfig.PidsLimit", None, "PidsLimit is 0, declared 256"),
        ("HostConfig.RestartPolicy.Name", "no", "RestartPolicy is no, declared always"),
        ("NetworkSettings.Networks", {}, "is on the networks [], not ['app-network']"),
        (
            "NetworkSettings.Networks",
            {"p_app-network": {}, "other": {}},
            "is on the networks ['app-network', 'other'], not ['app-network']",
        ),
    ],
)
def test_what_was_changed_behind_compose_s_back_is_drift(
    path: str, value: Any, reason: str
) -> None:
    assert project(changed(path, value)).drift() == {"ollama": reason}


def test_no_command_of_compose_s_is_without_that() -> None:
    for file in (ROOT / "ollama_stack").rglob("*.py"):
        for line in file.read_text().splitlines():
            if "docker compose" in line and file.name != "compose.py":
                assert "version --short" in line or "logs" in line, (file, line)
    assert "--ignore-environment" in COMMAND
    assert COMMAND.endswith("docker compose --env-file /dev/null")
