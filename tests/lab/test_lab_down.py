"""`make lab-down` removes what the lab made and nothing else. The last file of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.conftest import LABEL, run, sh


@pytest.mark.exclusive
def test_nothing_of_the_lab_stays_and_nothing_else_goes() -> None:
    sh("docker tag ollama-lab/ollama:0.9.3 someone/image:1")
    sh(f"docker volume create --label {LABEL} someone_volume")
    sh(f"docker run --detach --label {LABEL} --name someone --entrypoint sleep someone/image:1 600")
    try:
        done = run("make", "lab-down")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "The lab is gone." in done.stdout
        names = sh("docker ps --all --format '{{.Names}}'").split()
        assert "someone" in names
        assert not [name for name in names if name.startswith(("ollama-lab", "ollama"))]
        assert "someone_volume" in sh("docker volume ls --quiet")
        assert "ollama-lab" not in sh("docker volume ls --quiet")
        images = sh("docker images --format '{{.Repository}}'").split()
        assert "someone/image" in images
        assert not [image for image in images if image.startswith(("ollama-lab", "172.17.0.1"))]
        title = "label=org.opencontainers.image.title=ollama-stack-app"
        assert sh(f"docker images --all --quiet --filter {title}") == ""
        assert not Path("/opt/ollama-lab").exists()
        assert "172.17.0.1:5000" not in sh("cat /etc/docker/daemon.json 2>/dev/null || true")
    finally:
        sh("docker rm --force someone; docker volume rm someone_volume; docker rmi someone/image:1")
