"""What a measured host is refused for, each in exactly one sentence with its way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ollama_stack.capacity.budget import SHAPES
from ollama_stack.capacity.fit import SUPPORTED_OS, misfits
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.capacity.sums import Measured, disk_sum
from ollama_stack.config.settings import Settings, read_settings
from tests.unit.conftest import group_data

BARE = Measured(
    release="debian 12",
    architecture="x86_64",
    cpus=4,
    memory=8 * 10**9,
    disk_free=50 * 10**9,
    data_root="/var/lib/docker",
    docker=None,
    engine_proxy=False,
    container_owners={},
    port_owners={},
    missing_addresses=[],
    to_pull={
        "ollama_image": Manifest(401),
        "gateway_image": Manifest(401),
        "model_name": Manifest(200, 986 * 10**6, 980 * 10**6),
    },
)
SERVING = replace(
    BARE,
    docker="29.1.3",
    container_owners={"ollama": "ollama", "ollama-gateway": "ollama"},
    to_pull={},
    model_shape=SHAPES["qwen2.5:1.5b"],
)
MIRROR = {"mirror": "http://10.0.0.9:5000"}


def settings(profile: str = "medium", **own: Any) -> Settings:
    return read_settings(group_data("all", profile) | own)


@pytest.mark.parametrize("measured", [BARE, SERVING])
@pytest.mark.parametrize("profile", ["low", "medium", "high"])
def test_the_shipped_profiles_fit_a_host_of_their_size(profile: str, measured: Measured) -> None:
    assert misfits(settings(profile), profile, measured) == []


def test_the_limits_of_all_containers_fit_together() -> None:
    small = replace(SERVING, memory=int(3.6 * 2**30))
    assert misfits(settings(), "medium", small) == []
    assert (
        misfits(settings(gateway_enabled=False), "medium", replace(small, memory=3 * 2**30)) == []
    )
    assert misfits(settings(app_enabled=True), "medium", small) == [
        "ollama_memory: 3G with the gateway's 512M and the app's 256M is more than the 3.6 GiB of the "
        "host; lower it or take a bigger host"
    ]


@pytest.mark.parametrize(
    ("measured", "refusal"),
    [
        (
            {"cpus": 1},
            "ollama_cpus: 2 is more than the 1 CPUs of the host; lower it to 1 or take a bigger host",
        ),
        (
            {"memory": 2 * 2**30},
            "ollama_memory: 3G with the gateway's 512M is more than the 2.0 GiB of the host; lower it "
            "or take a bigger host",
        ),
        (
            {"release": ""},
            "docker_source: this system is not supported; use one of debian 12, debian 13, "
            "ubuntu 22.04, ubuntu 24.04, ubuntu 26.04",
        ),
        (
            {"architecture": "riscv64"},
            "ollama_image: there is none for riscv64; use an x86-64 or arm64 host",
        ),
        (
            {"daemon_config_fault": "Expecting value: line 2 column 5 (char 6)"},
            "docker: /etc/docker/daemon.json is not a JSON object (Expecting value: line 2 column 5 (char 6); JSON "
            "has no comments); correct or remove it",
        ),
        (
            {"other_engine": "snap"},
            "docker: the engine there is from snap, which sees no folder but /home; remove it (snap "
            "remove docker, its containers and volumes go with it), or take another host",
        ),
        (
            {"other_engine": "Podman"},
            "docker: docker is Podman there; remove the package podman-docker (and where /run/docker.sock "
            "links to Podman's, that link), or take another host",
        ),
        (
            {"other_engine": "rootless"},
            "docker: /run/docker.sock leads to the engine of a user without root's rights, which keeps to "
            "no limits; remove that link, so that the host's own is asked",
        ),
        (
            {"docker": "19.03.15"},
            "docker: the engine there is 19.03.15, at least 20.10 is needed; upgrade it",
        ),
        (
            {"disk_free": 5 * 10**9},
            "disk: /var/lib/docker has 5.0 GB free, 6.2 GB are needed (ollama_image 4.0, "
            "gateway_image 0.2, model_name 1.0, a fifth to spare 1.0; ollama_image by our estimate, "
            "gateway_image by our estimate, model_name by the registry's manifest); free some, or "
            "move Docker's data-root",
        ),
        (
            {"to_pull": {"ollama_image": Manifest(0)}},
            "ollama_image: https://registry-1.docker.io does not answer from the host; set mirror "
            "or proxy",
        ),
        (
            {"to_pull": {"ollama_image": Manifest(404)}},
            "ollama_image: ollama/ollama:0.32.15 is not in its registry; check the name and the tag",
        ),
        (
            {"to_pull": {"model_name": Manifest(0)}},
            "model_name: https://registry.ollama.ai does not answer from the host by IPv4, as a container asks; set mirror, "
            "model_registry or proxy",
        ),
        (
            {"to_pull": {"model_name": Manifest(503)}},
            "model_name: https://registry.ollama.ai answers HTTP 503; correct it and run again",
        ),
        (
            {"to_pull": {"model_name": Manifest(404)}},
            "model_name: qwen2.5:1.5b is not in its registry; check the name and the tag",
        ),
        (
            {"container_owners": {"ollama": ""}},
            "ollama_project: the container ollama belongs to no compose project, not to ollama; "
            "remove it (docker rm -f ollama)",
        ),
        (
            {"container_owners": {"ollama-gateway": "theirs"}},
            "ollama_project: the container ollama-gateway belongs to compose project theirs, not to "
            "ollama; remove it (docker rm -f ollama-gateway), or set ollama_project = theirs if that "
            "was this product's",
        ),
        (
            {"port_owners": {"ollama_port": '"nginx",pid=7'}},
            'ollama_port: 11434 is taken by "nginx",pid=7; stop it or set another ollama_port',
        ),
        (
            {"missing_addresses": ["ollama_bind"]},
            "ollama_bind: the host has no address 127.0.0.1; see `ip -4 address` on it",
        ),
    ],
)
def test_a_host_that_does_not_fit_is_refused(measured: dict[str, Any], refusal: str) -> None:
    assert misfits(settings(), "medium", replace(BARE, **measured)) == [refusal]


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
@pytest.mark.parametrize("source", ["docker-ce", "distro"])
@pytest.mark.parametrize("docker", ["20.10.24", "26.1.5+dfsg1", "28.5.2", "29.1.3"])
def test_supported_hosts_are_served(architecture: str, source: str, docker: str) -> None:
    for release in SUPPORTED_OS:
        there = replace(SERVING, release=release, architecture=architecture, docker=docker)
        assert misfits(settings(docker_source=source), "medium", there) == []


@pytest.mark.parametrize(("cpus", "memory"), [(3, 8.0), (4, 7.0)])
def test_high_needs_four_cpus_and_eight_gigabytes(cpus: int, memory: float) -> None:
    small = replace(BARE, cpus=cpus, memory=int(memory * 1e9))
    limits = {"ollama_cpus": 2.0, "ollama_memory": "3G"}
    assert misfits(settings("high", **limits), "high", small) == [
        f"profile: high needs 4 CPUs and 8 GB, the host has {cpus} and {memory} GB; put it in "
        "medium or take a bigger host"
    ]


@pytest.mark.parametrize(
    ("own", "measured", "refusals"),
    [
        (
            MIRROR,
            {"to_pull": {"ollama_image": Manifest(0), "model_name": Manifest(0)}},
            [
                "mirror: http://10.0.0.9:5000 does not answer from the host; start it, or correct "
                "the address"
            ],
        ),
        (
            MIRROR | {"model_registry": "http://models.lan"},
            {"to_pull": {"ollama_image": Manifest(200), "model_name": Manifest(0)}},
            [
                "model_registry: http://models.lan does not answer from the host; start it, or "
                "correct the address"
            ],
        ),
        (
            MIRROR,
            {"to_pull": {"ollama_image": Manifest(404), "model_name": Manifest(404)}},
            [
                "ollama_image: 10.0.0.9:5000/ollama/ollama:0.32.15 is not in its registry; check "
                "the name and the tag",
                "model_name: 10.0.0.9:5000/library/qwen2.5:1.5b is not in its registry; check the "
                "name and the tag",
            ],
        ),
        (
            {"proxy": "http://proxy.lan:3128"},
            {"to_pull": {"ollama_image": Manifest(0)}},
            [
                "proxy: https://registry-1.docker.io (through http://proxy.lan:3128) does not answer "
                "from the host; start it, or correct the address"
            ],
        ),
        # The engine's own way out is not ours to judge; what is there needs no registry.
        ({}, {"to_pull": {"ollama_image": Manifest(0)}, "engine_proxy": True}, []),
        ({}, {"to_pull": {}, "disk_free": 0}, []),
    ],
)
def test_what_is_to_be_pulled_must_be_there(
    own: dict[str, Any], measured: dict[str, Any], refusals: list[str]
) -> None:
    assert misfits(settings(**own), "medium", replace(BARE, **measured)) == refusals


def test_a_full_disk_does_not_matter_once_all_is_there() -> None:
    full = replace(SERVING, disk_free=0)
    assert misfits(settings(), "medium", full) == []
    assert disk_sum(settings(), full).terms == {}


def test_a_model_that_nobody_knows_is_refused() -> None:
    assert misfits(settings(model_name="phi:3b"), "medium", BARE) == [
        "model_name: how much memory phi:3b needs is not known before it is on the server; set "
        "model_shape from its config.json (docs/settings.md)"
    ]


def test_a_limit_that_the_model_outgrows_is_refused_with_the_sum() -> None:
    small = settings(ollama_memory="1G", ollama_memory_reservation="1G")
    assert misfits(small, "medium", SERVING) == [
        "ollama_memory: 1G is less than the 1724 MiB that qwen2.5:1.5b needs at 3 x 4096 tokens "
        "(weights 935, KV cache 336, compute buffer 137, prompt cache 256, processes 60); raise it, "
        "or lower model_num_ctx or ollama_num_parallel"
    ]


def test_a_model_that_is_there_and_unknown_does_not_stop_the_deploy_that_mends_it() -> None:
    stopped = replace(SERVING, model_shape=None)
    assert misfits(settings(model_name="phi:3b"), "medium", stopped) == []


def test_a_listed_model_that_is_in_no_registry_is_refused() -> None:
    both = settings(models=["qwen2.5:1.5b", "lost:1"])
    missing = replace(SERVING, to_pull={"models lost:1": Manifest(404)})
    assert misfits(both, "medium", missing) == [
        "models lost:1: lost:1 is not in its registry; check the name and the tag"
    ]
