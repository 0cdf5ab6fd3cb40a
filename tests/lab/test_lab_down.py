"""`make lab-down` removes what the lab made and nothing else. The last file of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.conftest import LABEL, run, sh


@pytest.fixture
def copies() -> Iterator[list[str]]:
    """Somebody else's names for all images of the lab, which has them again if it is to be up again."""
    ours = sh("docker images --format '{{.Repository}}:{{.Tag}}' 'ollama-lab/*'").split()
    named = {one.replace("ollama-lab/", "someone/"): one for one in ours}
    for copy, one in named.items():
        sh(f"docker tag {one} {copy}")
    yield [*named]
    for copy, one in named.items():
        sh(f"docker tag {copy} {one}" if os.environ.get("LAB_FOUND") else "true")
        sh(f"docker rmi {copy}")


@pytest.mark.exclusive
def test_nothing_of_the_lab_stays_and_nothing_else_goes(copies: list[str]) -> None:
    image = next(one for one in copies if one.startswith("someone/ollama:"))
    sh(f"docker volume create --label {LABEL} someone_volume")
    sh(f"docker run --detach --label {LABEL} --name someone --entrypoint sleep {image} 600")
    try:
        done = run("make", "lab-down")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The lab is gone." in done.stdout
        names = sh("docker ps --all --format '{{.Names}}'").split()
        assert "someone" in names
        assert not [name for name in names if name.startswith(("ollama-lab", "ollama"))]
        assert "someone_volume" in sh("docker volume ls --quiet")
        assert "ollama-lab" not in sh("docker volume ls --quiet")
        images = sh("docker images --format '{{.Repository}}:{{.Tag}}'").split()
        assert {*copies} <= {*images}
        assert not [one for one in images if one.startswith(("ollama-lab", "172.17.0.1"))]
        title = "label=org.opencontainers.image.title=ollama-stack-app"
        apps = sh(f"docker images --format '{{{{.Repository}}}}' --filter {title}").split()
        assert {*apps} <= {"someone/app"}
        assert not Path("/opt/ollama-lab").exists()
        assert "172.17.0.1:5000" not in sh("cat /etc/docker/daemon.json 2>/dev/null || true")
    finally:
        sh("docker rm --force someone; docker volume rm someone_volume")
