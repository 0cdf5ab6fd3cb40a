"""The exact commands on the host: what changes, what is left alone, what is refused."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytest
from pyinfra.api import FileUploadCommand

from lab.operations import project
from ollama_stack import paths, pinned_wheels
from ollama_stack.operations import docker
from ollama_stack.shell import MARK
from ollama_stack.stack.compose import COMMAND
from tests.unit.facts.test_docker import engine
from tests.unit.harness import fake_host, plan
from tests.unit.test_compose import CONFIG, CONTAINER, changed

FILE = "/opt/o/docker-compose.yml"


@pytest.mark.parametrize("version", ["2.26.1", "v2.22.0", "5.6.1", "2.40.3+ds1-0ubuntu1"])
def test_compose_that_is_there_is_left_alone(version: str) -> None:
    assert plan(docker.compose_plugin, {"compose version": version}) == []


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_compose_is_this_machine_s(
    machine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(requirements: Path, wanted: str) -> Path:
        assert wanted == machine
        scripts = tmp_path / "compose.data" / "scripts"
        scripts.mkdir(parents=True)
        (scripts / "docker-compose").touch()
        return tmp_path

    monkeypatch.setattr(docker, "unpacked", fetched)
    commands = plan(docker.compose_plugin, {"uname -m": machine})
    assert f"{paths.CLI_PLUGIN}.new version" in commands  # it runs there before it has its name


def test_compose_is_pinned_for_both_machines() -> None:
    assert pinned_wheels.COMPOSE_PLUGIN.read_text().count("--hash=sha256:") == 2


def uploads(operation: Any, responses: dict[str, Any], **arguments: Any) -> list[str]:
    """The content of every file that an operation would upload."""
    with fake_host(responses):
        return [
            cast(StringIO, command.src).getvalue()
            for command in operation._inner(**arguments)
            if isinstance(command, FileUploadCommand)
        ]


ANSWERS = {"docker info": engine()}
UNSAFE = {"IndexConfigs": {"10.0.0.9:5000": {"Secure": False}}}


def test_an_engine_that_answers_is_left_alone() -> None:
    assert plan(docker.engine, ANSWERS) == []


def test_an_engine_is_started_past_the_pids_of_a_killed_one() -> None:
    stale_engine, stale_containerd, start, wait = plan(docker.engine)
    assert stale_engine.endswith(f"--exec {docker.DOCKERD} || rm -f /run/docker.pid")
    assert stale_containerd.endswith("|| rm -f /run/docker/containerd/containerd.pid")
    assert start.startswith('env --ignore-environment PATH="$PATH" start-stop-daemon --start ')
    assert wait.endswith(
        "|| { printf '%s\\n' 'docker: the engine did not answer within 180 s; read "
        "/var/log/dockerd.log on the host' >&2; exit 1; }"
    )


def test_only_an_engine_of_ours_that_runs_nothing_is_stopped() -> None:
    assert plan(docker.engine, ANSWERS, running=False) == [
        'test -n "$(docker ps --all --quiet)" || { start-stop-daemon --stop --oknodo --retry 30 '
        f"--pidfile /run/ollama-stack-dockerd.pid --remove-pidfile --exec {docker.DOCKERD} "
        "&& rm -f /var/log/dockerd.log; }"
    ]


WAY = {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "localhost,10.0.0.9"}
DROP_IN = f"""{MARK}
[Service]
Environment="HTTPS_PROXY=http://p:1"
Environment="NO_PROXY=localhost,10.0.0.9\""""


def test_the_engine_is_led_through_the_proxy_by_a_file_of_ours() -> None:
    whose, folder, write, _, rename, restart = plan(docker.engine_variables, variables=WAY)
    assert "is not ours; remove it, or unset proxy" in whose
    assert folder == "umask 022; mkdir -p /etc/systemd/system/docker.service.d"
    assert DROP_IN in write
    assert rename.startswith("sync ")
    assert restart == "systemctl daemon-reload && systemctl restart docker"
    there = {"ollama-stack.conf": DROP_IN.splitlines()}
    assert plan(docker.engine_variables, there, variables=WAY) == []
    assert plan(docker.engine_variables, variables={}) == []
    _, remove, restart = plan(docker.engine_variables, there, variables={})
    assert remove == f"rm -f {paths.DROP_IN}"
    assert restart.endswith("restart docker")


def test_an_engine_with_a_proxy_of_the_site_s_own_keeps_it() -> None:
    theirs = {"docker info": engine(HttpProxy="http://theirs:3128")}
    assert plan(docker.engine_variables, theirs, variables=WAY) == []
    other = theirs | {"ollama-stack.conf": [MARK, "[Service]", 'Environment="HTTPS_PROXY=x"']}
    assert plan(docker.engine_variables, other, variables=WAY) != []


def test_an_engine_without_systemd_is_started_with_its_way_out() -> None:
    start = plan(docker.engine, variables=WAY)[2]
    assert start.startswith(
        'env --ignore-environment PATH="$PATH" HTTPS_PROXY=http://p:1 NO_PROXY='
    )


def test_a_trusted_registry_is_left_alone() -> None:
    trusted = {
        "daemon.json": '{"insecure-registries": ["10.0.0.9:5000"]}',
        "docker info": engine(RegistryConfig=UNSAFE),
    }
    assert plan(docker.insecure_registry, trusted, registry="10.0.0.9:5000") == []


def test_a_registry_that_is_trusted_by_a_flag_is_not_written_besides() -> None:
    """With both, dockerd does not start again."""
    trusted = {
        "cmdline": ["/usr/bin/dockerd", "--insecure-registry", "10.0.0.9:5000"],
        "docker info": engine(RegistryConfig=UNSAFE),
    }
    assert plan(docker.insecure_registry, trusted, registry="10.0.0.9:5000") == []


def test_trusting_a_registry_keeps_the_engine_s_other_settings_and_needs_no_restart() -> None:
    commands = plan(
        docker.insecure_registry, {"test -s": '{"bip": "10.1.0.1/24"}'}, registry="10.0.0.9:5000"
    )
    assert commands[0] == "umask 022; mkdir -p /etc/docker"
    assert "mv /etc/docker/daemon.json.new /etc/docker/daemon.json" in commands[-2]
    assert commands[-1] == 'kill -HUP "$(cat /run/docker.pid)"'
    (written,) = uploads(
        docker.insecure_registry,
        {"test -s": '{"bip": "10.1.0.1/24", "insecure-registries": ["other:1"]}'},
        registry="10.0.0.9:5000",
    )
    assert json.loads(written) == {
        "bip": "10.1.0.1/24",
        "insecure-registries": ["other:1", "10.0.0.9:5000"],
    }


def test_a_registry_written_but_not_yet_trusted_is_announced_to_the_engine() -> None:
    """A run killed between the two is mended by the next."""
    written = {"test -s": '{"insecure-registries": ["10.0.0.9:5000"]}'}
    commands = plan(docker.insecure_registry, written, registry="10.0.0.9:5000")
    assert commands[-1] == 'kill -HUP "$(cat /run/docker.pid)"'


def test_the_last_registry_takes_an_empty_daemon_json_with_it() -> None:
    only = {
        "test -s": '{"insecure-registries": ["10.0.0.9:5000"]}',
        "docker info": engine(RegistryConfig=UNSAFE),
    }
    commands = plan(docker.insecure_registry, only, registry="10.0.0.9:5000", present=False)
    assert commands[1] == "rm -f /etc/docker/daemon.json"


STAT = (
    "user=root group=root mode=-rw-r--r-- atime=1 mtime=1 ctime=1 size={} '/etc/docker/daemon.json'"
)


@pytest.mark.parametrize(("size", "steps"), [(0, 2), (2, 0), (None, 0)])
def test_an_empty_daemon_json_is_removed_and_no_other(size: int | None, steps: int) -> None:
    there = {} if size is None else {"daemon.json": STAT.format(size)}
    commands = plan(docker.settings_whole, there)
    assert len(commands) == steps
    assert commands[:1] == ["rm -f /etc/docker/daemon.json"][:steps]


def compose_answer(*containers: object) -> dict[str, str]:
    return {
        "config --hash": f"{json.dumps(CONFIG)}\n----\nollama abc\n----\nollama/ollama:1 sha256:one\n----\n{json.dumps(containers)}\n----\n"
    }


def lines(answer: dict[str, str]) -> dict[str, list[str]]:
    return {key: text.splitlines() for key, text in answer.items()}


def test_a_project_as_declared_is_left_alone() -> None:
    assert plan(project, lines(compose_answer(CONTAINER)), path=FILE, up_failed="ollama: no") == []


def test_a_first_start_waits_for_health() -> None:
    (up,) = plan(project, path=FILE, up_failed="ollama: no")
    assert up == (
        f"{COMMAND} --file {FILE} --progress plain up --detach --wait --wait-timeout 180 "
        "--remove-orphans || "
        f"{{ {COMMAND} --file {FILE} logs --no-color --tail 20 >&2; false; }} || "
        "{ printf '%s\\n' 'ollama: no' >&2; exit 1; }"
    )


def test_a_limit_changed_by_hand_recreates_the_container() -> None:
    drifted = lines(compose_answer(changed("HostConfig.Memory", 2**30)))
    up, refusal = plan(project, drifted, path=FILE, up_failed="ollama: no")
    assert "--force-recreate ollama ||" in up
    assert "ollama: after the start it still Memory is 1073741824, declared" in refusal


def test_a_container_that_is_starting_is_waited_for_not_replaced() -> None:
    starting = lines(compose_answer(changed("State.Health.Status", "starting")))
    up, _ = plan(project, starting, path=FILE, up_failed="ollama: no")
    assert "--force-recreate" not in up
