"""The page's image as each host builds it: by Docker 20.10's builder, and by one of today without BuildKit."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.images import PYTHONS
from lab.inject import INVENTORY, on, serves
from ollama_stack.page_image import built_name
from tests.lab.conftest import ACTIONS, ROOT, Done, run
from tests.lab.test_audit import audit, with_status
from tests.lab.test_hosts import HOSTS, bare, limit

BASE = "ollama-lab/python:3"
PAGE = "docker inspect --format '{{.Config.Image}}' ollama-app"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two bare servers that build the page, on the Python of this machine's distribution."""
    python = PYTHONS[platform.freedesktop_os_release()["VERSION_CODENAME"]]
    page = {"app_enabled": True, "app_image": "", "app_base_image": BASE, "app_base_python": python}
    path = tmp_path_factory.mktemp("page") / "lab_ssh.py"
    own = f"_ssh = {{{repr(page)[1:-1]},"
    path.write_text((ROOT / INVENTORY).read_text().replace("_ssh = {", own, 1))
    with bare(HOSTS):
        yield path


def deploy(inventory: Path, *arguments: str) -> Done:
    return run(".venv/bin/pyinfra", "-y", inventory, "deploy.py", *limit(HOSTS), *arguments)


@pytest.mark.kind
def test_bare_servers_have_the_page_and_nothing_else_of_its_build(
    inventory: Path, tmp_path: Path
) -> None:
    done = deploy(inventory)
    assert done.returncode == 0, done.stderr
    for member in HOSTS:
        assert serves(member)
        assert on(member, PAGE).stdout == f"{built_name(BASE)}\n"
        assert on(member, "docker images --quiet --filter dangling=true; ls /opt/ollama/build").stdout == ""  # fmt: skip
        assert on(member, "docker ps --all --quiet | wc -l").stdout == "3\n"
    done, report = audit(inventory, tmp_path, *(f"--limit={member.name}" for member in HOSTS))
    assert not with_status(report, "finding", "error"), done.stdout


@pytest.mark.kind
def test_a_second_run_builds_nothing(inventory: Path) -> None:
    done = deploy(inventory, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS


@pytest.mark.kind
def test_a_page_whose_image_is_gone_is_built_again(inventory: Path) -> None:
    (member, _) = HOSTS
    on(member, f"docker rm --force ollama-app; docker rmi --force {built_name(BASE)}")
    done = deploy(inventory)
    assert done.returncode == 0, done.stderr
    assert on(member, PAGE).stdout == f"{built_name(BASE)}\n"


@pytest.mark.kind
def test_a_base_that_is_no_python_changes_nothing(inventory: Path) -> None:
    """The old page still answers; nothing of the build stays."""
    other = ("--data", "app_base_image=haproxy:3.0.11")
    done = deploy(inventory, *other)
    assert done.returncode == 1
    assert "app_base_image: the page cannot be built on 172.17.0.1:5000/haproxy:3.0.11, " in done.stderr  # fmt: skip
    for member in HOSTS:
        assert on(member, PAGE).stdout == f"{built_name(BASE)}\n"
        assert on(member, "ls /opt/ollama/build").returncode != 0
        assert serves(member)
