"""What the shipped inventories would do, by pyinfra's own dry run on fake hosts."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.config.settings import PROFILES
from ollama_stack.inventory import Target, read_inventory
from ollama_stack.tasks.login import QUOTED
from tests.unit.commands import command
from tests.unit.facts.test_docker import engine

pytestmark = pytest.mark.process

DEBIAN = ["/etc//os-release", "ID=debian", 'VERSION_ID="12"', "VERSION_CODENAME=bookworm", "---"]
BARE = {
    "id --user": "root",
    "printf %s 'one": QUOTED.splitlines(),
    "-release": DEBIAN,
    "uname -m": "x86_64",
    "/run/systemd/system": "systemd",
    "nproc": "4",
    "MemTotal": "MemTotal:        8032384 kB",
    "df --block-size=1": "w 50000000000 3000000",
    "registry-1.docker.io/v2/ollama/ollama/manifests/0.32.15": ["{}", "401"],
    "registry-1.docker.io/v2/library/haproxy/manifests/3.2.18": ["{}", "401"],
    "registry.ollama.ai/v2/library/qwen2.5/manifests/1.5b": ["{}", "200"],
}


def pyinfra(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command("pyinfra", *arguments)


@cache
def shipped(inventory: str) -> list[Target]:
    return read_inventory(inventory)


def as_fakes(inventory: str, folder: Path, answers: dict[str, Any], **data: Any) -> str:
    """The same hosts, groups and data, but none of them real."""
    groups: dict[str, list[Any]] = {profile: [] for profile in PROFILES}
    for target in shipped(inventory):
        fake = f"@fake/{target.name.lstrip('@')}"
        own = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": answers, "_sudo": False}
        for group in set(target.groups) & set(PROFILES):
            groups[group].append((fake, own | data))
    path = folder / "fakes.py"
    path.write_text("\n".join(f"{group} = {hosts!r}" for group, hosts in groups.items() if hosts))
    return str(path)


def refused_before_anything_changes(answers: dict[str, Any], refusal: str, folder: Path) -> None:
    """A deploy to this machine, as it answers, ends with the refusal alone."""
    fakes = as_fakes("inventories/local.py", folder, answers | BARE | answers)
    run = pyinfra(fakes, "deploy.py", "-y")
    assert run.returncode == 1
    assert "refused, nothing was changed:" in run.stderr
    assert f"    @fake/local: {refusal}" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Starting operation" not in run.stderr


@pytest.mark.parametrize(
    ("inventory", "hosts"),
    [
        ("inventories/local.py", ["@fake/local"]),
        (
            "inventories/example.py",
            [
                "@fake/class-1.school.example",
                "@fake/class-2.school.example",
                "@fake/hall.school.example",
                "@fake/library.school.example",
            ],
        ),
    ],
)
def test_shipped_inventories_plan_the_upstream_parts(
    inventory: str, hosts: list[str], tmp_path: Path
) -> None:
    fakes = as_fakes(inventory, tmp_path, BARE)
    run = pyinfra(fakes, "deploy.py", "--dry", "--diff", "--json")
    assert run.returncode == 0, run.stderr
    plan = {op["name"]: sorted(op["hosts_with_change"]) for op in json.loads(run.stdout)["plan"]}
    assert plan["Docker | Have Docker's repository"] == hosts
    assert plan["Release | Switch to it"] == hosts
    assert "install docker-ce, docker-ce-cli, containerd.io" in run.stderr
    assert "image: ollama/ollama:0.32.15" in run.stderr
    assert "pull qwen2.5:1.5b" in run.stderr


@pytest.mark.parametrize(
    ("answers", "refusal"),
    [
        (
            {"id --user": "ops"},
            "_sudo: ops may not install Docker; run as root, or set _sudo = True in group_data/ or",
        ),
        (
            {"id --user": ["Welcome to class-1!", "Mind the step", "root"]},
            "ssh_user: the login's shell says 'Welcome to class-1!' of its own accord, and so spoils",
        ),
        (
            {"id --user": "Welcome to class-1! root"},
            "ssh_user: the login's shell says 'Welcome to class-1! root' of its own accord, and so",
        ),
        (
            {"printf %s 'one": {"success": False}, "printenv SHELL": "/bin/tcsh"},
            "ssh_user: the login's shell, /bin/tcsh, understands quotes otherwise than sh does, and",
        ),
        (
            {"^DOCKER_": ["DOCKER_HOST=tcp://10.0.0.7:2376", "DOCKER_TLS_VERIFY=1"]},
            "docker: this login has DOCKER_HOST=tcp://10.0.0.7:2376 and DOCKER_TLS_VERIFY=1, so docker",
        ),
        (
            {"printf '%s\\n' 'one": "odd", "currentContext": "rootless"},
            "docker: this login's docker talks to the engine of the context 'rootless'; choose the host's",
        ),
        (
            {"printf '%s\\n' 'one": "odd", "command -v start": "/usr/bin:/bin"},
            "_sudo: this login's PATH, /usr/bin:/bin, lacks /usr/sbin, where dpkg finds what it needs; become",
        ),
        (
            {"PPid": "tailscaled"},
            "ssh_hostname: this login comes by tailscaled, which has no process for it whose end would",
        ),
        (
            {"PPid": "dropbear"},
            "ssh_hostname: this login's SSH server is Dropbear, which ends a line at a command of more",
        ),
        (
            {"id --user": {"success": False, "stderr": "sudo: not found"}},
            "_sudo: sudo does not work for this user without a password and a terminal, see above; allow it",
        ),
        (
            {"daemon.json": {"success": False, "stderr": "cat: permission denied"}},
            "preflight: a command failed on the host (No hosts remaining!); its words are in the",
        ),
        (
            {"ss -Hltnp": 'LISTEN 0 9 0.0.0.0:11434 *:* users:(("nginx",pid=7,fd=4))'},
            'ollama_port: 11434 is taken by "nginx",pid=7,fd=4; stop it or set another ollama_port',
        ),
        (
            {
                "docker container inspect": json.dumps(
                    [{"Config": {"Labels": {"com.docker.compose.project": "theirs"}}}]
                )
            },
            "ollama_project: the container ollama belongs to compose project theirs, not to ollama",
        ),
    ],
)
def test_a_host_that_cannot_serve_is_refused_before_anything_changes(
    answers: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    refused_before_anything_changes(answers, refusal, tmp_path)


def test_a_version_for_an_engine_that_is_kept_is_refused(tmp_path: Path) -> None:
    theirs = BARE | {"command -v dockerd": "/usr/sbin/dockerd"}
    run = pyinfra(
        as_fakes("inventories/local.py", tmp_path, theirs, docker_version="28.5.2"),
        *("deploy.py", "-y"),
    )
    assert run.returncode == 1
    assert "@fake/local: docker_version: the engine there is not docker-ce, and is" in run.stderr
    assert "Traceback" not in run.stderr
    assert "Starting operation" not in run.stderr


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        ({"ollama_port": 8080}, "ollama_port: 8080 is taken by"),
        (
            {
                "ollama_bind": "10.9.9.9",
                "gateway_enabled": False,
                "allow_unusual": ["ollama_bind"],
            },
            "ollama_bind: the host has no address 10.9.9.9; see",
        ),
    ],
)
def test_a_serving_host_is_not_moved_to_an_address_it_cannot_have(
    data: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    """Compose would remove the old container before the new one fails to bind."""
    ours = {
        "Config": {"Labels": {"com.docker.compose.project": "ollama"}},
        "HostConfig": {
            "PortBindings": {"11434/tcp": [{"HostIp": "127.0.0.1", "HostPort": "11434"}]}
        },
    }
    answers = {
        "docker container inspect": json.dumps([ours]),
        "ss -Hltnp": 'LISTEN 0 9 0.0.0.0:8080 *:* users:(("nginx",pid=7,fd=4))',
    }
    fakes = as_fakes("inventories/local.py", tmp_path, BARE | answers, **data)
    run = pyinfra(fakes, "deploy.py", "-y")
    assert run.returncode == 1
    assert f"    @fake/local: {refusal}" in run.stderr


def test_an_engine_from_elsewhere_is_kept(tmp_path: Path) -> None:
    engine = {
        "command -v dockerd": "/usr/sbin/dockerd",
        "dpkg -l": "ii  docker.io  20.10  amd64  x",
    }
    run = pyinfra(
        as_fakes("inventories/local.py", tmp_path, BARE | engine), "deploy.py", "--dry", "--json"
    )
    names = [op["name"] for op in json.loads(run.stdout)["plan"]]
    assert "Docker | Install Docker" not in names
    assert "Docker | Add Docker's repository" not in names


@pytest.mark.parametrize(
    ("source", "half", "installs"),
    [("distro", "docker.io", True), ("docker-ce", "docker-ce", True), ("docker-ce", "x", False)],
)
def test_a_half_configured_engine_is_nobody_else_s(
    source: str, half: str, installs: bool, tmp_path: Path
) -> None:
    """After a power loss: dockerd is there, its package is not yet what dpkg calls installed."""
    lost = {"command -v dockerd": "/usr/sbin/dockerd", "dpkg-query": [f"iF \t{half}"]}
    lost |= {"compose version": "2.26.1"}
    fakes = as_fakes("inventories/local.py", tmp_path, BARE | lost, docker_source=source)
    run = pyinfra(fakes, "deploy.py", "--dry", "--json")
    names = [op["name"] for op in json.loads(run.stdout)["plan"] if op["hosts_with_change"]]
    mend = names.index("Docker | Finish what dpkg left half-done")
    assert ("Docker | Install Docker" in names) is installs
    assert mend < names.index("Docker | Install what the deploy needs")


def test_an_engine_that_is_not_on_the_path_is_somebody_s_all_the_same(tmp_path: Path) -> None:
    theirs = BARE | {"docker info": engine(ServerVersion="27.5.1"), "compose version": "2.40.3"}
    run = pyinfra(
        as_fakes("inventories/local.py", tmp_path, theirs), "deploy.py", "--dry", "--json"
    )
    names = [op["name"] for op in json.loads(run.stdout)["plan"]]
    assert "Docker | Install Docker" not in names


def test_ubuntu_s_compose_and_docker_s_are_not_installed_together(tmp_path: Path) -> None:
    """Both have /usr/libexec/docker/cli-plugins/docker-compose, and dpkg refuses the second."""
    there = BARE | {"dpkg -l": "ii  docker-compose-v2  2.40.3  amd64  x"}
    run = pyinfra(as_fakes("inventories/local.py", tmp_path, there), "deploy.py", "--dry")
    assert "install docker-ce, docker-ce-cli, containerd.io, docker-buildx-plugin\n" in run.stderr


def test_every_host_that_is_too_small_is_on_one_screen(tmp_path: Path) -> None:
    fakes = as_fakes("inventories/example.py", tmp_path, BARE | {"nproc": "1"})
    run = pyinfra(fakes, "deploy.py", "-y")
    assert run.returncode == 1
    assert run.stderr.count("refused, nothing was changed:") == 1
    for name in ("class-1", "class-2", "library", "hall"):
        assert f"    @fake/{name}.school.example: ollama_cpus: " in run.stderr
    assert (
        "    @fake/hall.school.example: profile: high needs 4 CPUs and 8 GB, the host has 1 and "
        "8.2 GB; put it in medium or take a bigger host"
    ) in run.stderr
    assert "Starting operation" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        ([], "there is no terminal to confirm at; add -y to change, --dry to look"),
        (["-y", "--no-wait"], "--no-wait: pyinfra then exits 0 when operations fail; leave it out"),
    ],
)
def test_a_start_that_ends_in_a_false_success_is_refused(
    arguments: list[str], refusal: str, tmp_path: Path
) -> None:
    run = pyinfra(as_fakes("inventories/local.py", tmp_path, BARE), "deploy.py", *arguments)
    assert run.returncode == 1
    assert refusal in run.stderr
    assert "Traceback" not in run.stderr


def test_what_is_unusual_and_allowed_is_warned_of(tmp_path: Path) -> None:
    allowed = {"ollama_max_queue": 30, "allow_unusual": ["ollama_max_queue"]}
    fakes = as_fakes("inventories/local.py", tmp_path, BARE, **allowed)
    run = pyinfra(fakes, "deploy.py", "--dry")
    assert run.returncode == 0, run.stderr
    warning = "@fake/local: ollama_max_queue: 30 is outside 10 to 20; allowed by allow_unusual"
    assert run.stderr.count(warning) == 1
