"""A release on its way: staged whole, switched to, committed; what is so already is left alone."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any

import pytest

from ollama_stack.facts.files import file_digest
from ollama_stack.operations import release
from ollama_stack.operations.programs import VERSION
from ollama_stack.stack.compose import CLEAN, COMMAND
from tests.unit.facts.test_docker import engine
from tests.unit.harness import plan
from tests.unit.operations.test_docker import compose_answer, lines
from tests.unit.test_compose import CONTAINER, changed

FOLDER = "/opt/o k"
COMPOSE_TEXT, CONFIG_TEXT, TOKENS = "a: 1\n", "global\n", "feed admin\n"
FILES = {"docker-compose.yml": COMPOSE_TEXT, "gateway/haproxy.cfg": CONFIG_TEXT, "ask.json": "{}"}
DECLARED = release.Declared(FILES, {"tokens.map": TOKENS}, "abc")
RECORD = {"at": "2026-11-23T08:00:00+00:00", "by": "ops@school", "commit": "abc"}
PATIENCE = release.Patience(queue=1, start=180, load=900, answer=300, look=45)


def current(version: str = DECLARED.version, touched: int = 0, begun: int = 0) -> dict[Any, Any]:
    link = ["3", json.dumps({"version": version}), str(touched), str(begun)]
    return {"readlink current": link}


def digests(owner: int = 99, other: dict[str, str] | None = None) -> dict[Any, Any]:
    texts = {"haproxy.cfg": CONFIG_TEXT, "tokens.map": TOKENS} | (other or {})
    modes = {"haproxy.cfg": "644", "tokens.map": "600", "tls.pem": "600"}
    return {"sum=$(": [f"{n} {file_digest(t, modes[n], owner)}" for n, t in texts.items()]}


COMPOSE_FILE = {re.compile(rf"test -e '{FOLDER}/docker-compose.yml'"): COMPOSE_TEXT.splitlines()}
UP = lines(compose_answer(CONTAINER))
AS_DECLARED = current() | digests() | COMPOSE_FILE | {":8404/version": "abc"} | UP
STAGE: dict[str, Any] = {
    **{"folder": FOLDER, "declared": DECLARED, "record": RECORD, "image": "haproxy:3.2.18"},
    "pull_failed": "ollama_image: no",
}
SWITCH: dict[str, Any] = {
    **{"folder": FOLDER, "declared": DECLARED, "patience": PATIENCE},
    "up_failed": "ollama: no",
}


def test_what_is_as_declared_is_left_alone() -> None:
    assert plan(release.staged, AS_DECLARED, **STAGE) == []
    assert plan(release.switched, AS_DECLARED, **SWITCH) == []
    assert plan(release.committed, AS_DECLARED, folder=FOLDER, declared=DECLARED) == []


def test_the_version_is_that_of_the_files() -> None:
    other = release.Declared(FILES | {"ask.json": "{1}"}, DECLARED.secrets)
    assert other.version != DECLARED.version
    assert release.Declared(dict(reversed(FILES.items())), {}).version == DECLARED.version


@pytest.mark.parametrize(
    "found",
    [
        {},
        current("older") | digests(),
        current(touched=1) | digests(),
        current() | digests(other={"tokens.map": "theirs admin\n"}),
    ],
    ids=["nothing", "another release", "one that somebody changed", "other tokens"],
)
def test_another_release_is_checked_whole_before_it_has_a_number(found: dict[Any, Any]) -> None:
    commands = plan(release.staged, found, **STAGE)
    compose = f"{COMMAND} --file '{FOLDER}/releases/new/docker-compose.yml'"
    (check,) = (n for n, c in enumerate(commands) if c.startswith(f"{compose} config --quiet || "))
    (pull,) = (
        n for n, c in enumerate(commands) if c.startswith(f"{compose} --progress quiet pull")
    )
    (haproxy,) = (n for n, c in enumerate(commands) if "haproxy -c -dW -dD" in c)
    assert check < pull < haproxy == len(commands) - 2
    assert commands[haproxy].startswith(f"{CLEAN} docker run ")  # whatever platform others prefer
    assert "'ollama_image: no' >&2" in commands[pull]
    assert commands[-1].endswith(f"/bin/{VERSION}/release' /run/ollama-stack.lock '{FOLDER}' stage")
    live = re.compile(rf"'{FOLDER}/(docker-compose\.yml|gateway)")
    assert not [command for command in commands if live.search(command)]


def test_who_made_it_and_when_stands_in_it() -> None:
    (command,) = (c for c in plan(release.staged, {}, **STAGE) if "release.json" in c)
    assert json.loads(shlex.split(command)[5]) == {"version": DECLARED.version, **RECORD}


def test_files_are_readable_whatever_root_s_own_umask_is() -> None:
    made = [c for c in plan(release.staged, {}, **STAGE) if "printf %s" in c or "mkdir" in c]
    assert len(made) == len(FILES) + 2
    assert all("umask 022 && " in command for command in made if "exit 1" not in command)


def test_tokens_are_in_no_command() -> None:
    commands = plan(release.staged, {}, **STAGE)
    assert "feed" not in " ".join(commands)
    assert any("gateway/tokens.map" in command for command in commands)


def test_where_the_engine_maps_users_the_files_are_theirs() -> None:
    """Else its HAProxy cannot read the tokens: dockerd's userns-remap."""
    mapped = {
        "docker info": engine(
            DockerRootDir="/srv/docker/1000.1000", SecurityOptions=["name=userns"]
        )
    }
    commands = plan(release.staged, mapped, **STAGE)
    for name in ("haproxy.cfg", "tokens.map"):
        assert f"chown 1099:1099 '{FOLDER}/releases/new/gateway/{name}'" in " ".join(commands)
    assert plan(release.staged, mapped | current() | digests(1099), **STAGE) == []
    assert plan(release.staged, mapped | current() | digests(), **STAGE) != []


def arguments_of(command: str) -> list[str]:
    arguments = shlex.split(command)
    return arguments[arguments.index("switch") : arguments.index("2>&1") - 1]


def test_a_gateway_that_was_never_told_is_told_by_the_next_run() -> None:
    for loaded in ("", "old"):
        command, *_ = plan(release.switched, AS_DECLARED | {":8404/version": loaded}, **SWITCH)
        assert arguments_of(command) == ["switch", "current"]


@pytest.mark.parametrize(
    "other",
    [
        {re.compile(rf"test -e '{FOLDER}/docker-compose.yml'"): ["theirs"]},
        digests(other={"haproxy.cfg": "theirs"}),
    ],
)
def test_a_file_changed_by_hand_is_put_back(other: dict[Any, Any]) -> None:
    command, *_ = plan(release.switched, AS_DECLARED | other, **SWITCH)
    assert arguments_of(command) == ["switch", "current"]


def test_a_limit_changed_by_hand_replaces_the_container() -> None:
    drifted = lines(compose_answer(changed("HostConfig.Memory", 2**30)))
    command, refusal = plan(release.switched, AS_DECLARED | drifted, **SWITCH)
    assert arguments_of(command) == ["switch", "current", "ollama"]
    assert "ollama: after the start it still Memory is 1073741824, declared" in refusal


def test_what_answered_is_committed() -> None:
    for found, which in (
        (current("older"), "staged"),
        (current(touched=1), "staged"),
        (current(begun=1), "current"),
    ):
        (command,) = plan(release.committed, found, folder=FOLDER, declared=DECLARED)
        assert shlex.split(command)[-2:] == ["commit", which]


def test_secrets_with_another_owner_are_staged_anew() -> None:
    command, *_ = plan(release.switched, AS_DECLARED | digests(0), **SWITCH)
    assert arguments_of(command)[:2] == ["switch", "staged"]


def test_what_another_run_has_staged_is_not_run() -> None:
    command, *_ = plan(release.switched, current("older") | digests() | UP, **SWITCH)
    assert arguments_of(command)[:2] == ["switch", "staged"]


SETTLE: dict[str, Any] = {
    **{"folder": FOLDER, "path": f"{FOLDER}/docker-compose.yml"},
    **{"record": RECORD, "patience": PATIENCE},
}


def test_before_the_first_change_there_is_something_to_go_back_to() -> None:
    (adopt,) = plan(release.settled, UP, **SETTLE)
    *_, verb, link = shlex.split(adopt)
    assert (verb, json.loads(link)) == ("adopt", {"version": "found", **RECORD})
    assert plan(release.settled, current() | UP, **SETTLE) == []
    assert plan(release.settled, {}, **SETTLE) == []


def test_what_nobody_found_good_is_left_first_and_hinders_nothing() -> None:
    (settle,) = plan(release.settled, current(begun=1), **SETTLE)
    assert " settle >>" in settle
    assert settle.endswith(" || true")


def test_the_program_goes_on_without_the_line() -> None:
    command = str(release.on_host("back", FOLDER, PATIENCE, "current"))
    log = "/run/ollama-stack.log"
    assert command.startswith(
        f"(umask 077; : >{log}); setsid env QUEUE=1 START=180 LOAD=900 ANSWER=300 LOOK=45 "
        f"sh '{FOLDER}/bin/{VERSION}/release' "
    )
    assert command.endswith(
        f"'{FOLDER}' back current >>{log} 2>&1 </dev/null & change=$!; "
        f"tail --lines=+1 --sleep-interval=0.2 --pid=$change --follow {log}; wait $change"
    )


def test_a_certificate_that_the_host_keeps_is_taken_there_and_its_renewal_is_no_change() -> None:
    renewed = replace(DECLARED, renewed=True)
    own = digests(other={"tls.pem": "renewed"})
    assert plan(release.switched, AS_DECLARED | own, **SWITCH | {"declared": renewed}) == []
    assert plan(release.switched, AS_DECLARED | own, **SWITCH) != []
    commands = plan(release.staged, {}, **STAGE | {"declared": renewed})
    wanted = f"sh '/opt/o k/bin/{VERSION}/certificate' '/opt/o k/releases/new/gateway/tls.pem' >&2"
    assert wanted in commands
    assert wanted not in plan(release.staged, {}, **STAGE)
