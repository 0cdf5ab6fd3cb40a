"""Bad input on a serving host: a sentence, exit 1, and the old service still answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.conftest import COMPOSE_FILE, LABEL, deploy, deployed, generate, sh


@contextmanager
def mirror_down() -> Iterator[None]:
    sh("docker stop ollama-lab-mirror-registry-1 ollama-lab-mirror-front-1")
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


def test_an_image_that_does_not_exist() -> None:
    said = refused("ollama_image=ollama/ollama:0.0.0")
    assert (
        "ollama_image: 172.17.0.1:5000/ollama/ollama:0.0.0 cannot be pulled; check the name and "
        "that its registry answers (mirror); the old compose file is untouched"
    ) in said


def test_a_model_that_does_not_exist() -> None:
    said = refused("model_name=smollm3:135m")
    assert "file does not exist" in said
    assert (
        "model_name: 172.17.0.1:5000/library/smollm3:135m cannot be pulled; check the name and "
        "that its registry answers (mirror, model_registry), then run again: what has arrived is "
        "kept"
    ) in said


def test_a_mirror_that_does_not_answer() -> None:
    with mirror_down():
        said = refused("model_name=smollm3:135m")
        assert "connection refused" in said
        assert "check the name and that its registry answers (mirror, model_registry)" in said
        deployed()  # what is there needs no mirror


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ("ollama_num_paralel=3", "@local: ollama_num_paralel: no such setting; did you mean"),
        ("ollama_num_parallel=5", "@local: ollama_num_parallel: 5 is more than 2 per CPU"),
        ("ollama_cpus=512", "@local: ollama_cpus: 512 is more than the "),
        ("ollama_bind=192.0.2.1", "@local: ollama_bind: the host has no address 192.0.2.1"),
        ("mirror=172.17.0.1:5000", "@local: mirror: '172.17.0.1:5000' is not understood"),
    ],
)
def test_a_setting_that_cannot_be(data: str, sentence: str) -> None:
    said = refused(data)
    assert "refused, nothing was changed:" in said
    assert sentence in said
    assert "Starting operation" not in said


def test_a_port_that_is_taken_by_somebody_else_is_not_moved_to() -> None:
    with socket.create_server(("127.0.0.1", 11999)):
        said = refused("ollama_port=11999")
    assert "@local: ollama_port: 11999 is taken by " in said


def test_a_port_that_is_taken() -> None:
    sh("docker rm --force ollama")
    try:
        with socket.create_server(("127.0.0.1", 11434)):
            done = deploy()
        assert done.returncode == 1
        assert "@local: ollama_port: 11434 is taken by " in done.stderr
        assert "Starting operation" not in done.stderr
    finally:
        deployed()


def test_a_container_of_somebody_else_is_left_alone() -> None:
    sh("docker rm --force ollama")
    theirs = f"--label {LABEL} --name ollama --entrypoint sleep"
    sh(f"docker run --detach {theirs} ollama-lab/ollama:0.9.3 600")
    try:
        done = deploy()
        assert done.returncode == 1
        assert (
            "the container ollama belongs to no compose project, not to ollama-lab" in done.stderr
        )
        assert sh("docker inspect --format '{{.Path}}' ollama").strip() == "sleep"
    finally:
        sh("docker rm --force ollama")
        deployed()
