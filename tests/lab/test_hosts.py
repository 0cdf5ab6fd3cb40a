"""Bare Debian servers over SSH, as an ordinary user with sudo: several at once, and what befalls them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab import faults
from lab.fleet import MEMBERS, Member
from lab.inject import INVENTORY, Fault, inject, on, serves
from lab.repository import VERSIONS, Repository, docker_ce
from tests.lab.conftest import ACTIONS, ROOT, Done, run
from tests.lab.test_audit import audit, with_status

HOSTS = MEMBERS[:2]  # Debian 12 and 13
DEPLOY = [".venv/bin/pyinfra", "-y", INVENTORY, "deploy.py"]


def limit(members: Sequence[Member]) -> list[str]:
    return [argument for member in members for argument in ("--limit", member.name)]


def deploy(*arguments: str) -> Done:
    return run(*DEPLOY, *limit(HOSTS), *arguments)


@contextmanager
def bare(members: Sequence[Member]) -> Iterator[None]:
    """Servers as an installer leaves them."""
    run("docker", "rm", "--force", "--volumes", *(member.container for member in members))
    count = MEMBERS.index(members[-1]) + 1
    hosts = run("env", f"HOSTS={count}", *DEPLOY[:2], "inventories/lab.py", "lab/hosts.py")
    assert hosts.returncode == 0, hosts.stderr
    for member in members:
        assert on(member, "command -v docker").returncode != 0
    try:
        yield
    finally:
        run("docker", "rm", "--force", "--volumes", *(member.container for member in members))


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    with bare(HOSTS):
        yield


@pytest.fixture(scope="module")
def packages(servers: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    """Docker's own packages, for the Debian 12 server."""
    with docker_ce(tmp_path_factory.mktemp("apt"), HOSTS[0].codename) as repository:
        yield repository


def official(packages: Repository, folder: Path, **other: str) -> Path:
    """The inventory, but with Docker's own packages on the Debian 12 server."""
    data = {
        **{"ssh_port": HOSTS[0].port, "docker_source": "docker-ce", "docker_version": VERSIONS[0]},
        **{"docker_repository": packages.url, "docker_repository_key": packages.key_sha256},
    }
    inventory = folder / "lab_ssh.py"
    replaced = repr(data | other)[1:-1]
    inventory.write_text((ROOT / INVENTORY).read_text().replace('"ssh_port": 2301', replaced))
    return inventory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("docker_repository_key", "/debian/gpg is another key than the declared one; Docker was"),
        ("docker_repository", "has nothing for bookworm that is signed with its key; Docker was"),
    ],
)
def test_packages_that_are_not_docker_s_own_are_not_installed(
    wrong: str, message: str, packages: Repository, tmp_path: Path
) -> None:
    value = {"docker_repository_key": "f" * 64, "docker_repository": packages.forged}[wrong]
    inventory = official(packages, tmp_path, **{wrong: value})
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--limit", HOSTS[0].name)
    assert done.returncode == 1
    assert f"{wrong}: " in done.stderr
    assert message in done.stderr
    assert on(HOSTS[0], "command -v dockerd || ls /etc/apt/sources.list.d/docker*").returncode != 0


def version(member: Member) -> str:
    return on(member, "dpkg-query --show --showformat '${Version}' docker-ce").stdout


@pytest.mark.slow
def test_bare_servers_serve_after_one_run(packages: Repository, tmp_path: Path) -> None:
    done = run(".venv/bin/pyinfra", "-y", official(packages, tmp_path), "deploy.py", *limit(HOSTS))
    assert done.returncode == 0, done.stderr
    assert all(map(serves, HOSTS))
    assert on(HOSTS[0], "systemctl is-active docker").stdout == "active\n"
    assert version(HOSTS[0]) == f"5:{VERSIONS[0]}-1~debian.12~bookworm"
    assert on(HOSTS[1], "dpkg --status docker.io").returncode == 0


@pytest.mark.slow
def test_apt_leaves_a_pinned_engine_until_the_setting_says_otherwise(
    packages: Repository, tmp_path: Path
) -> None:
    member = HOSTS[0]
    upgrade = on(member, "apt-get -qq update && apt-get -q --yes --simulate upgrade").stdout
    assert "docker-ce" not in upgrade
    inventory = official(packages, tmp_path, docker_version=VERSIONS[1])
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--limit", member.name)
    assert done.returncode == 0, done.stderr
    assert version(member) == f"5:{VERSIONS[1]}-1~debian.12~bookworm"
    assert serves(member)


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_a_second_run_changes_nothing() -> None:
    done = deploy("--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_the_audit_finds_them_as_declared(tmp_path: Path) -> None:
    done, report = audit(INVENTORY, tmp_path, *(f"--limit={member.name}" for member in HOSTS))
    assert not with_status(report, "finding", "error"), done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.LIST, ids=lambda fault: fault.what)
def test_nothing_is_lost_and_the_next_run_mends_it(fault: Fault) -> None:
    assert not inject(fault).wrong


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_rolling_stops_at_the_first_that_fails(tmp_path: Path) -> None:
    before = on(HOSTS[1], "docker inspect --format '{{.Id}}' ollama").stdout
    broken = '"ssh_port": 2301, "ollama_image": "haproxy:3.0.11"'  # another program by that name
    inventory = tmp_path / "lab_ssh.py"
    inventory.write_text((ROOT / INVENTORY).read_text().replace('"ssh_port": 2301', broken))
    done = run("make", "deploy", f"INVENTORY={inventory}", "ROLLING=1", "LIMIT=host-[12]")
    assert done.returncode != 0
    assert "stopped at host-1; who has what now:" in done.stderr
    assert serves(HOSTS[0])  # it went back
    assert on(HOSTS[1], "docker inspect --format '{{.Id}}' ollama").stdout == before


@pytest.mark.usefixtures("servers")
@pytest.mark.slow
def test_the_app_comes_by_sudo_and_goes_by_a_rollback(tmp_path: Path) -> None:
    assert deploy().returncode == 0  # a release without it
    inventory = tmp_path / "lab_ssh.py"
    enabled = '"ssh_port": 2301, "app_enabled": True'
    inventory.write_text((ROOT / INVENTORY).read_text().replace('"ssh_port": 2301', enabled))
    done = run(".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--limit", HOSTS[0].name)
    assert done.returncode == 0, done.stderr
    done, report = audit(inventory, tmp_path / "report", f"--limit={HOSTS[0].name}")
    assert not with_status(report, "finding", "error"), done.stdout
    assert with_status(report, "pass").keys() >= {"OLS-1206", "OLS-1210", "OLS-1211", "OLS-1215"}
    done = run("make", "rollback", f"INVENTORY={INVENTORY}", f"LIMIT={HOSTS[0].name}")
    assert done.returncode == 0, done.stderr
    assert on(HOSTS[0], "docker inspect ollama-app").returncode != 0
    assert serves(HOSTS[0])
