"""Bad input on a serving host: a sentence, exit 1, and the old service still answers."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import plain
from tests.lab.conftest import COMPOSE_FILE, LABEL, deploy, deployed, generate, run, sh

MIRROR = "http://172.17.0.1:5000"
SHAPE = json.dumps(
    {
        "weights": "94M",
        "layers": 30,
        "embedding": 576,
        "heads": 9,
        "kv_heads": 3,
        "vocabulary": 49152,
    }
)


@contextmanager
def mirror_down() -> Iterator[None]:
    sh("docker stop --time 1 ollama-lab-mirror-registry-1 ollama-lab-mirror-front-1")
    try:
        yield
    finally:
        sh("docker start ollama-lab-mirror-registry-1 ollama-lab-mirror-front-1")


def refused(*data: str) -> str:
    """What an operator reads when these settings cannot be; the old service must still answer."""
    declared = COMPOSE_FILE.read_text()
    done = deploy(*data)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert COMPOSE_FILE.read_text() == declared
    assert generate()["response"]
    return done.stderr


def published(repository: str, tag: str) -> dict[str, Any]:
    """A manifest of the mirror's."""
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    answer = plain.get(f"{MIRROR}/v2/{repository}/manifests/{tag}", headers=accept)
    manifest: dict[str, Any] = answer.raise_for_status().json()
    return manifest


def publish(repository: str, tag: str, manifest: dict[str, Any]) -> None:
    httpx.put(
        f"{MIRROR}/v2/{repository}/manifests/{tag}",
        content=json.dumps(manifest),
        headers={"Content-Type": manifest["mediaType"]},
    ).raise_for_status()


def publish_without_config(repository: str, tag: str, broken: str) -> None:
    """Give the mirror a manifest whose config blob is lost: it is there, and cannot be pulled."""
    manifest = published(repository, tag)
    config = f'{{"lost": "{broken}"}}'.encode()
    digest = f"sha256:{sha256(config).hexdigest()}"
    upload = plain.post(f"{MIRROR}/v2/{repository}/blobs/uploads/").headers["Location"]
    httpx.put(f"{upload}&digest={digest}", content=config).raise_for_status()
    publish(
        repository,
        broken,
        manifest | {"config": manifest["config"] | {"digest": digest, "size": len(config)}},
    )
    sh(f"docker exec ollama-lab-mirror-registry-1 find / -path '*{digest[7:]}/data' -delete")


def test_what_is_not_there_or_does_not_fit_is_told_on_one_screen() -> None:
    lacking = ("ollama_image=ollama/ollama:0.0.0", "model_name=smollm2:0m", "ollama_cpus=512")
    with socket.create_server(("127.0.0.1", 11999)):
        output = refused(*lacking, "ollama_port=11999")
    registry = "is not in its registry; check the name and the tag"
    for sentence in (
        f"@local: ollama_image: 172.17.0.1:5000/ollama/ollama:0.0.0 {registry}",
        f"@local: model_name: 172.17.0.1:5000/library/smollm2:0m {registry}",
        "@local: ollama_cpus: 512 is more than the ",
        "@local: ollama_port: 11999 is taken by ",
    ):
        assert sentence in output
    assert "Starting operation" not in output


def test_an_image_that_breaks_off() -> None:
    publish_without_config("ollama/ollama", "0.9.3", "0.9.3-lost")
    assert (
        "ollama_image: 172.17.0.1:5000/ollama/ollama:0.9.3-lost cannot be pulled; check the name "
        "and that its registry answers (mirror); the old compose file is untouched"
    ) in refused("ollama_image=ollama/ollama:0.9.3-lost")


@pytest.mark.slow
def test_a_model_that_breaks_off() -> None:
    publish_without_config("library/smollm2", "135m", "135m-lost")
    output = refused("model_name=smollm2:135m-lost", f"model_shape={SHAPE}")
    assert (
        "model_name: 172.17.0.1:5000/library/smollm2:135m-lost cannot be pulled; check the name "
        "and that its registry answers (mirror, model_registry), then run again: what has arrived "
        "is kept"
    ) in output


@pytest.mark.exclusive
def test_a_mirror_that_does_not_answer() -> None:
    with mirror_down():
        output = refused("model_name=qwen2.5:1.5b")
        assert (
            "@local: mirror: http://172.17.0.1:5000 does not answer from the host; start it, or "
            "correct the address"
        ) in output
        deployed()  # what is there needs no mirror


def test_a_model_that_the_disk_has_no_room_for() -> None:
    manifest = published("library/smollm2", "135m")
    manifest["layers"][0]["size"] = 10**15
    publish("library/smollm2", "135m-huge", manifest)
    output = refused("model_name=smollm2:135m-huge", f"model_shape={SHAPE}")
    assert "@local: disk: /var/lib/docker has " in output
    assert (
        " GB free, 1200000.0 GB are needed (model_name 1000000.0, a fifth to spare 200000.0; "
        "model_name by the registry's manifest); free some, or move Docker's data-root"
    ) in output


def test_a_profile_that_this_machine_cannot_carry(tmp_path: Path) -> None:
    cpus = os.cpu_count() or 1
    inventory = tmp_path / "lab.py"  # its name makes it the group whose data is the lab's
    inventory.write_text(f"high = [('@local', {{'ollama_cpus': {cpus + 1}.0}})]")
    began = sh("docker inspect --format '{{.State.StartedAt}}' ollama")
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py")
    assert done.returncode == 1
    assert "refused, nothing was changed:" in done.stderr
    assert f"ollama_cpus: {cpus + 1} is more than the {cpus} CPUs of the host" in done.stderr
    small = "@local: profile: high needs 4 CPUs and 8 GB, the host has" in done.stderr
    assert small is (cpus < 4)
    assert "Starting operation" not in done.stderr
    assert sh("docker inspect --format '{{.State.StartedAt}}' ollama") == began
    assert generate()["response"]


@pytest.mark.parametrize(
    "sentences",
    [
        {
            "ollama_num_paralel=3": "@local: ollama_num_paralel: no such setting; did you mean",
            "mirror=172.17.0.1:5000": "@local: mirror: '172.17.0.1:5000' is not understood",
        },
        {
            "ollama_num_parallel=5": "@local: ollama_num_parallel: 5 is more than 2 per CPU",
            "ollama_bind=192.0.2.1": "@local: gateway_tokens: ollama_bind = 192.0.2.1 lets others",
        },
    ],
)
def test_settings_that_cannot_be(sentences: dict[str, str]) -> None:
    output = refused(*sentences)
    assert "refused, nothing was changed:" in output
    for sentence in sentences.values():
        assert sentence in output
    assert "Starting operation" not in output


def test_an_address_that_the_host_does_not_have() -> None:
    open_door = ("gateway_enabled=false", "app_enabled=false", 'allow_unusual=["ollama_bind"]')
    output = refused("ollama_bind=192.0.2.1", *open_door)
    assert "@local: ollama_bind: the host has no address 192.0.2.1" in output


@pytest.mark.long("a refused run, and one that makes two containers anew")
def test_a_port_and_a_container_of_somebody_else_are_left_alone() -> None:
    sh("docker rm --force ollama ollama-gateway")
    theirs = f"--label {LABEL} --name ollama --entrypoint sleep"
    sh(f"docker run --detach {theirs} ollama-lab/ollama:0.9.3 600")
    try:
        with socket.create_server(("127.0.0.1", 11434)):
            done = deploy()
        assert done.returncode == 1
        assert "@local: ollama_port: 11434 is taken by " in done.stderr
        none = "the container ollama belongs to no compose project, not to ollama-lab"
        assert none in done.stderr
        assert "Starting operation" not in done.stderr
        assert sh("docker inspect --format '{{.Path}}' ollama").strip() == "sleep"
    finally:
        sh("docker rm --force ollama")
        deployed()
