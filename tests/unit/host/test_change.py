"""A change on a host: what clients see of it, what is put in place, what is taken over."""

from __future__ import annotations

import json

import pytest

from ollama_stack.containers import PROGRAMS
from ollama_stack.operations.programs import SOURCES
from ollama_stack.stack.compose import COMMAND
from tests.unit.host.double import CONFIG, CURL, Host

pytestmark = pytest.mark.process


def calls(service: Host, *patterns: str) -> list[str]:
    """Which of these patterns the program's calls had, in their order."""
    lines = service.calls.read_text().splitlines()
    return [pattern for line in lines for pattern in patterns if pattern in line]


STEPS = ("pull", "ollama state maint", " up --detach --remove", "/api/create", "ollama state ready")


def test_requests_wait_while_the_container_is_replaced_and_no_longer(service: Host) -> None:
    service.stage("v1", CONFIG)
    done = service.run("switch", "staged", "ollama")
    assert done.returncode == 0, done.stdout
    assert calls(service, *STEPS) == list(STEPS)


def test_requests_do_not_wait_for_ever_when_a_change_fails(service: Host) -> None:
    service.stage("broken", CONFIG)
    assert service.run("switch", "staged", "ollama").returncode == 1
    assert calls(service, "ollama state maint", "ollama state ready")[-1] == "ollama state ready"


def test_nobody_waits_where_the_failure_has_changed_nothing(service: Host) -> None:
    service.keep("v1", CONFIG)
    done = service.run("back", "current")
    assert "returned to release 1, which answers" in done.stdout
    assert calls(service, *STEPS) == ["ollama state ready", "/api/create"]


def test_a_token_that_was_taken_away_is_told_to_the_running_gateway(service: Host) -> None:
    service.stage("v1", CONFIG, {"tokens.map": "aa one\n"}, TOKENS="yes")
    stale = CURL.replace("*8404/version*) sed", '*8404/version*) grep -q USR2 "$CALLS" && sed')
    (service.doubles / "curl").write_text(f"#!/bin/sh\n{stale}")
    assert service.run("switch", "staged").returncode == 0
    map_ = "del map /usr/local/etc/haproxy/tokens.map"
    commands = [line for line in service.calls.read_text().splitlines() if map_ in line or "USR2" in line]  # fmt: skip
    assert [line.rpartition(" ")[2] for line in commands] == ["bb", "ollama-gateway"]


def test_programs_of_the_gateway_come_back_with_its_configuration(service: Host) -> None:
    for text in ("old", "new"):
        (service.releases / "new" / "gateway").mkdir(parents=True)
        for name in PROGRAMS:
            (service.releases / "new" / "gateway" / name).write_text(text)
        service.keep(text, CONFIG)
    assert service.run("back", "previous").returncode == 0
    assert {(service.folder / "gateway" / name).read_text() for name in PROGRAMS} == {"old"}


def test_a_file_whose_mode_somebody_changed_has_its_own_again(service: Host) -> None:
    service.keep("v1", CONFIG)
    config = service.folder / "gateway" / "haproxy.cfg"
    mode = config.stat().st_mode
    config.chmod(0o600)
    service.run("switch", "staged")
    assert config.stat().st_mode == mode


def test_an_ollama_that_was_once_restarted_is_waited_for(service: Host) -> None:
    service.stage("v1")
    (service.doubles / "curl").write_text(
        '#!/bin/sh\necho "curl $*" >>"$CALLS"\ntest "$(grep -c ^curl "$CALLS")" -gt 3\n'
    )
    assert service.run("switch", "staged").returncode == 0


def test_a_model_whose_pristine_copy_is_gone_is_not_pulled_from_upstream(service: Host) -> None:
    service.stage("v1")
    curl = (service.doubles / "curl").read_text()
    (service.doubles / "curl").write_text(curl.replace("*) !", "*/api/show*) false;;\n*) !"))
    service.run("switch", "staged")
    assert calls(service, "/api/create", "/api/generate") == ["/api/generate"]


def test_compose_sees_our_file_and_nothing_of_the_host_s(service: Host) -> None:
    """A variable for all users, or a .env in the folder, once made a second project of it."""
    double = service.doubles / "docker"
    double.write_text(double.read_text().replace("CALLS=", 'env >>"$0.env"\nCALLS=', 1))
    service.stage("v1")
    composed = []
    for theirs in ({}, {"HOME": "/home/ops"}):
        done = service.run("switch", "staged", COMPOSE_PROJECT_NAME="moodle", **theirs)
        assert done.returncode == 0, done.stdout
        composed += [line for line in service.calls.read_text().splitlines() if " compose " in line]
    assert composed
    for line in composed:
        assert line.startswith("docker compose --env-file /dev/null --file ")
    seen = (service.doubles / "docker.env").read_text()
    assert "HOME=/home/ops" in seen  # where an operator's login to a registry is
    assert COMMAND in " ".join((SOURCES / "service").read_text().replace("\\\n", "").split())


def test_what_runs_without_a_release_becomes_one(service: Host) -> None:
    (service.folder / "docker-compose.yml").write_text("theirs")
    record = json.dumps({"by": "CORP\\new@pc"})
    assert service.run("adopt", record).stdout == "release 1 is kept\n"
    assert (service.releases / "1" / "release.json").read_text() == f"{record}\n"
    # Of its model nothing is known, so nothing is done to it.
    service.stage("broken")
    done = service.run("switch", "staged")
    assert "returned to release 1, which answers" in done.stdout
    assert service.now == "theirs"
    assert "/api/generate" not in service.calls.read_text()


def test_releases_of_an_earlier_version_can_be_gone_back_to(service: Host) -> None:
    """Their secrets were beside them, and what they are stood in their text."""
    old = service.releases / "3"
    (old / "gateway").mkdir(parents=True)
    gateway = "services:\n  gateway:\n    container_name: ollama-gateway\n"
    (old / "docker-compose.yml").write_text(gateway)
    (old / "gateway" / "haproxy.cfg").write_text(f"bind :11434 ssl crt tls.pem\n{CONFIG}\n")
    (old / "gateway" / "tls.pem").write_text("PRIVATE")
    create = {"model": "m", "from": "m-p", "parameters": {"num_thread": 2}, "stream": False}
    (old / "create.json").write_text(json.dumps(create) + "\n")
    (old / "generate.json").write_text('{"model": "m"}\n')
    (old / "release.json").write_text('{"by": "v3"}\n')
    (service.releases / "current").symlink_to("3")
    service.keep("v4", CONFIG)
    assert service.current == "4"
    done = service.run("back", "previous")
    assert done.returncode == 0, done.stdout
    assert service.now == gateway
    assert not (old / "gateway" / "tls.pem").exists()
    env = dict(line.split("=", 1) for line in (old / "release.env").read_text().splitlines())
    assert env == {"GATEWAY": "v", "SCHEME": "https", "PRISTINE": "m-p"}
    ask = json.loads((old / "ask.json").read_text())
    assert ask == {"model": "m", "prompt": "hi", "stream": False, "options": {"num_predict": 1}}
