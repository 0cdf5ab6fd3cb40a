"""Releases: what is kept, what is put back, and what is said; with doubles for Docker and curl."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.compose import COMMAND
from ollama_stack.operations import release
from ollama_stack.operations.gateway import PROGRAMS
from ollama_stack.operations.programs import SOURCES, VERSION
from tests.unit.harness import plan
from tests.unit.operations.test_docker import compose_answer, lines
from tests.unit.test_compose import CONTAINER, changed

SCRIPT = SOURCES / "release"

# Healthy unless the compose file says "broken", and then restarted again and again; an answer unless
# it says "silent"; a gateway if its configuration has a version; an app that answers with the status
# which the compose file names.
DOCKER = """echo "docker $*" >>"$CALLS"
case "$*" in
*" up "*) ! grep -q broken docker-compose.yml;;
*RestartCount*) if grep -q "silent\\|broken" docker-compose.yml; then wc -l <"$CALLS"; else echo 1; fi;;
*logs*) echo "the container's last words";;
*"config --services"*) echo ollama; ! grep -q app docker-compose.yml || echo app; ! grep -q /version gateway/haproxy.cfg || echo gateway;;
*"show map"*) printf '0x1 aa one\n0x2 bb two\n0x3 x;y three\n';;
*"show servers conn"*) echo generations/ollama 1 2 3 4 5 0;;
esac
"""
CURL = """echo "curl $*" >>"$CALLS"
case "$*" in
*8080/api/ask*) sed -n "s/.*app says //p" docker-compose.yml | tr -d "\\n";;
*8404/version*) sed -n "s/.*string '\\([^']*\\)'.*/\\1/p" gateway/haproxy.cfg;;
*) ! grep -q silent docker-compose.yml;;
esac
"""


PATIENCE = release.Patience(queue=1, start=180, load=900, answer=300, look=45)


class Host:
    """A folder with the service, and the script at work in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "ollama"
        (self.folder / "gateway").mkdir(parents=True)
        self.doubles = folder / "bin"
        self.doubles.mkdir()
        for name, script in (("docker", DOCKER), ("curl", CURL)):
            calls = f"CALLS='{folder}/calls'"  # no variable of the caller's comes to Compose
            (self.doubles / name).write_text(f"#!/bin/sh\n{calls}\n{script}")
            (self.doubles / name).chmod(0o755)
        self.calls = folder / "calls"
        self.lock = folder / "lock"
        self.log = folder / "log"
        self.unconfirmed = self.folder / "releases" / "unconfirmed"

    def is_(self, text: str) -> None:
        (self.folder / "docker-compose.yml").write_text(text)
        (self.folder / "gateway" / "haproxy.cfg").write_text(f"# {text}")

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.doubles}:{os.environ['PATH']}"
        self.calls.write_text("")
        with self.log.open("w") as log:  # whoever watches goes on with it
            done = subprocess.run(
                ["sh", SCRIPT, self.lock, self.folder, *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ
                | {"PATH": path, "CALLS": str(self.calls)}
                | {name.upper(): str(value) for name, value in PATIENCE._asdict().items()}
                | environment,
            )
        return subprocess.CompletedProcess(words, done.returncode, self.log.read_text(), "")

    def keep(self, text: str) -> subprocess.CompletedProcess[str]:
        self.is_(text)
        return self.run("keep", json.dumps({"by": text}), '{"model": "m"}', '{"model": "m"}')

    @property
    def now(self) -> str:
        text = (self.folder / "docker-compose.yml").read_text()
        assert (self.folder / "gateway" / "haproxy.cfg").read_text() == f"# {text}"
        return text

    @property
    def kept(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "releases").glob("[0-9]*"))

    @property
    def current(self) -> str:
        return str((self.folder / "releases" / "current").readlink())


@pytest.fixture
def service(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_last_five_releases_stay(service: Host) -> None:
    for number in range(1, 8):
        assert service.keep(f"v{number}").stdout == f"release {number} is kept\n"
    assert service.kept == ["3", "4", "5", "6", "7"]
    assert service.current == "7"
    changes = (service.folder / "releases" / "7" / "changes").read_text()
    assert "-v6" in changes
    assert "+v7" in changes


@pytest.mark.parametrize(("status", "good"), [(200, True), (503, True), (429, True), (502, False)])
def test_a_release_whose_app_answers_nobody_is_left_again(
    status: int, good: bool, service: Host
) -> None:
    (service.doubles / "sleep").symlink_to("/bin/true")
    service.keep(f"v1 app says {status}")
    service.keep("v2 app says 200")
    done = service.run("back", "previous")
    assert done.returncode == (0 if good else 1)
    assert service.now.startswith("v1" if good else "v2")
    deaf = f"the app does not answer a question (HTTP {status}): docker logs --tail 50 ollama-app\n"
    assert (deaf in done.stdout) == (not good)


def test_half_a_release_is_none(service: Host) -> None:
    service.keep("v1")
    (service.doubles / "cp").write_text("#!/bin/sh\nfalse")  # the disk is full
    (service.doubles / "cp").chmod(0o755)
    assert service.keep("v2").returncode != 0
    assert (service.kept, service.current) == (["1"], "1")
    (service.doubles / "cp").unlink()
    assert service.keep("v2").stdout == "release 2 is kept\n"


def test_secrets_are_kept_and_in_no_list_of_changes(service: Host) -> None:
    secret = service.folder / "gateway" / "tls.pem"
    for number in (1, 2):
        secret.write_text(f"PRIVATE KEY {number}")
        secret.chmod(0o600)
        service.keep(f"v{number}")
    two = service.folder / "releases" / "2"
    assert (two / "gateway" / "tls.pem").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in (two / "changes").read_text()


def test_a_change_that_is_not_healthy_goes_back_by_itself(service: Host) -> None:
    service.keep("v1")
    service.is_("broken")
    done = service.run("up", "{}", "{}", "ollama")
    assert done.returncode == 1
    assert "the container's last words" in done.stdout
    assert 'returned to release 1, which answers: {"by": "v1"}' in done.stdout
    assert service.now == "v1"


def test_a_first_deploy_has_nothing_to_go_back_to(service: Host) -> None:
    service.is_("broken")
    done = service.run("up", "{}", "{}")
    assert done.returncode == 1
    assert "there is no earlier release to return to" in done.stdout
    assert service.now == "broken"


def test_the_one_before_is_run_again_and_then_the_one_before_that(service: Host) -> None:
    for number in (1, 2, 3):
        service.keep(f"v{number}")
    for expected in ("2", "1"):
        done = service.run("back", "previous")
        assert done.returncode == 0, done.stdout
        assert service.current == expected
        assert service.now == f"v{expected}"
    done = service.run("back", "previous")
    assert done.returncode == 1
    assert "there is no release to go back to; kept are:" in done.stdout
    assert service.now == "v1"


def test_a_release_by_number_that_does_not_answer_is_left_again(service: Host) -> None:
    service.keep("silent")
    service.keep("v2")
    done = service.run("back", "1")
    assert done.returncode == 1
    assert "returned to release 2" in done.stdout
    assert (service.current, service.now) == ("2", "v2")


def test_an_unknown_release_changes_nothing_and_the_kept_ones_are_shown(service: Host) -> None:
    service.keep("v1")
    done = service.run("back", "9")
    assert done.returncode == 1
    assert "there is no release 9; kept are:" in done.stdout
    assert 'releases/1/release.json:{"by": "v1"}' in done.stdout
    assert "docker" not in service.calls.read_text()


@pytest.mark.parametrize("number", ["0", "new", "current/../1", ""])
def test_what_is_no_number_is_no_release(number: str, service: Host) -> None:
    service.keep("v1")
    (service.folder / "releases" / "new").mkdir()
    assert service.run("back", number).returncode == 1
    assert "docker" not in service.calls.read_text()


def test_the_one_before_is_never_one_that_was_gone_back_from(service: Host) -> None:
    for number in (1, 2, 3):
        service.keep(f"v{number}")
    service.run("back", "previous")
    service.keep("v4")
    service.run("back", "previous")
    assert service.now == "v2"


LOADED = "http-request return string 'v' if { path /version }"


def calls(service: Host, *words: str) -> list[str]:
    """Which of these words the script's calls had, in their order."""
    lines = service.calls.read_text().splitlines()
    return [word for line in lines for word in words if word in line]


STEPS = ("pull", "ollama state maint", " up --detach --remove", "/api/create", "ollama state ready")


def test_requests_wait_while_the_container_is_replaced_and_no_longer(service: Host) -> None:
    service.is_("v1")
    (service.folder / "gateway" / "haproxy.cfg").write_text(LOADED)
    done = service.run("up", '{"model": "m", "from": "m-p"}', '{"model": "m"}', "ollama")
    assert done.returncode == 0, done.stdout
    assert calls(service, *STEPS) == list(STEPS)


def test_requests_do_not_wait_for_ever_when_a_change_fails(service: Host) -> None:
    service.is_("broken")
    (service.folder / "gateway" / "haproxy.cfg").write_text(LOADED)
    assert service.run("up", "{}", "{}", "ollama").returncode == 1
    assert calls(service, "ollama state maint", "ollama state ready")[-1] == "ollama state ready"


def test_nobody_waits_where_the_failure_has_changed_nothing(service: Host) -> None:
    service.keep("v1")
    (service.folder / "gateway" / "haproxy.cfg").write_text(LOADED)
    service.run("keep", "{}", '{"from": "m-p"}', '{"model": "m"}')
    done = service.run("back", "current")
    assert "returned to release 2, which answers" in done.stdout
    assert calls(service, *STEPS) == ["ollama state ready", "/api/create"]


def test_a_token_that_was_taken_away_is_told_to_the_running_gateway(service: Host) -> None:
    service.is_("v1")
    (service.folder / "gateway" / "haproxy.cfg").write_text(LOADED)
    (service.folder / "gateway" / "tokens.map").write_text("aa one\n")
    stale = CURL.replace("*8404/version*) sed", '*8404/version*) grep -q USR2 "$CALLS" && sed')
    (service.doubles / "curl").write_text(f"#!/bin/sh\n{stale}")
    assert service.run("up", "{}", "").returncode == 0
    map_ = "del map /usr/local/etc/haproxy/tokens.map"
    said = [line for line in service.calls.read_text().splitlines() if map_ in line or "USR2" in line]  # fmt: skip
    assert [line.rpartition(" ")[2] for line in said] == ["bb", "ollama-gateway"]


def test_programs_of_the_gateway_come_back_with_its_configuration(service: Host) -> None:
    programs = [service.folder / "gateway" / name for name in PROGRAMS]
    for number, text in enumerate(("old", "new"), 1):
        for program in programs:
            program.write_text(text)
        service.keep(f"v{number}")
    assert service.run("back", "previous").returncode == 0
    assert {program.read_text() for program in programs} == {"old"}


def test_an_ollama_that_was_once_restarted_is_waited_for(service: Host) -> None:
    service.is_("v1")
    (service.doubles / "curl").write_text(
        '#!/bin/sh\necho "curl $*" >>"$CALLS"\ntest "$(grep -c ^curl "$CALLS")" -gt 3\n'
    )
    assert service.run("up", "{}", "").returncode == 0


def test_a_model_whose_pristine_copy_is_gone_is_not_pulled_from_upstream(service: Host) -> None:
    service.is_("v1")
    curl = (service.doubles / "curl").read_text()
    (service.doubles / "curl").write_text(curl.replace("*) !", "*/api/show*) false;;\n*) !"))
    service.run("up", '{"model": "m", "from": "m-p"}', '{"model": "m"}')
    assert calls(service, "/api/create", "/api/generate") == ["/api/generate"]


def test_a_token_that_was_taken_away_does_not_come_back(service: Host) -> None:
    tokens = service.folder / "gateway" / "tokens.map"
    tokens.write_text("leaked")
    service.keep("v1")
    tokens.write_text("new")
    service.is_("silent")
    assert service.run("up", "{}", "{}").returncode == 1
    assert service.now == "v1"
    assert tokens.read_text() == "new"
    tokens.unlink()  # and where there is none, the release's own is needed
    service.is_("silent")
    service.run("up", "{}", "{}")
    assert tokens.read_text() == "leaked"


def test_compose_sees_our_file_and_nothing_of_the_host_s(service: Host) -> None:
    """A variable for all users, or a .env in the folder, once made a second project of it."""
    double = service.doubles / "docker"
    double.write_text(double.read_text().replace("CALLS=", 'env >>"$0.env"\nCALLS=', 1))
    service.is_("v1")
    for theirs in ({}, {"HOME": "/home/ops"}):
        done = service.run("up", "{}", "", COMPOSE_PROJECT_NAME="moodle", **theirs)
        assert done.returncode == 0, done.stdout
    composed = [line for line in service.calls.read_text().splitlines() if " compose " in line]
    assert composed
    for line in composed:
        assert line.startswith("docker compose --env-file /dev/null --file docker-compose.yml ")
    seen = (service.doubles / "docker.env").read_text()
    assert "HOME=/home/ops" in seen  # where an operator's login to a registry is
    assert COMMAND in " ".join(SCRIPT.read_text().replace("\\\n", "").split())


def test_a_record_is_kept_as_it_was_told(service: Host) -> None:
    service.is_("v1")
    told = json.dumps({"by": "CORP\\new@pc"})
    service.run("keep", told, "{}", "{}")
    assert (service.folder / "releases" / "1" / "release.json").read_text() == f"{told}\n"


def test_a_killed_keep_is_begun_anew(service: Host) -> None:
    (service.folder / "releases" / "new").mkdir(parents=True)
    (service.folder / "releases" / "new" / "rubbish").touch()
    assert service.keep("v1").returncode == 0
    assert not (service.folder / "releases" / "1" / "rubbish").exists()


@pytest.fixture
def operator(service: Host) -> Iterator[subprocess.Popen[bytes]]:
    """A run that has the lock, as long as this process lives; release 1 is what it found."""
    service.keep("v1")
    with subprocess.Popen(["sleep", "60"]) as process:
        take = ["sh", str(SOURCES / "lock"), str(service.lock), "ops@school", str(process.pid)]
        subprocess.run(take, check=True)
        yield process
        process.kill()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_run_that_ends_before_it_has_found_its_change_good_leaves_the_old_release(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.is_("v2")
    assert service.run("up", "{}", "").returncode == 0
    assert service.unconfirmed.exists()
    assert service.now == "v2"
    operator.kill()
    until(lambda: not service.unconfirmed.exists())
    assert service.now == "v1"
    why = r"the run of ops@school, begun 20\S+Z, ended before it found its change good"
    until((service.folder / "releases" / "returned").exists)
    assert re.fullmatch(rf"20\S+Z: {why}\n", (service.folder / "releases" / "returned").read_text())
    assert re.search(rf"^{why}\nreturned to release 1,", service.log.read_text(), re.MULTILINE)
    service.keep("v3")  # which somebody has found good
    assert not (service.folder / "releases" / "returned").exists()


def test_a_change_that_was_found_good_stays_when_its_run_ends(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.is_("v2")
    service.run("up", "{}", "")
    service.keep("v2")
    operator.kill()
    assert service.run("settle").stdout == ""
    assert (service.now, service.current) == ("v2", "2")


def test_what_is_good_again_is_confirmed_without_another_release(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.run("up", "{}", "", "ollama")
    assert service.unconfirmed.exists()
    service.run("confirm")
    assert (service.unconfirmed.exists(), service.kept) == (False, ["1"])


def test_a_host_that_was_switched_off_goes_back_when_it_starts(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    """Nobody watches there any more, and no run tells it how long to wait."""
    service.is_("v2")
    service.unconfirmed.write_text(
        "1 2 2026-11-23T08:00:00Z ops@school\nQUEUE=1 START=180 LOAD=900 ANSWER=300 LOOK=45\n"
    )
    seconds = dict.fromkeys((name.upper() for name in PATIENCE._fields), "")
    assert "returned to release 1" in service.run("settle", **seconds).stdout
    assert (service.now, service.unconfirmed.exists()) == ("v1", False)


def test_a_run_begins_once(service: Host, operator: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        service.run("begin")
    watching = subprocess.run(["pgrep", "--full", f"{service.folder} begin"], capture_output=True)
    assert len(watching.stdout.split()) == 1
    assert service.calls.read_text() == ""


FILE = "/opt/o/docker-compose.yml"
RECORD = {"at": "2026-11-23T08:00:00+00:00", "by": "ops@school", "commit": "abc"}
TUNED = release.Tuned("m", "m-p", {"num_thread": 2})
KEEP: dict[str, Any] = {"folder": "/opt/o", "tuned": TUNED, "record": RECORD}


def test_what_is_kept_already_is_not_kept_again() -> None:
    (command,) = plan(release.kept, {"sha256sum": "feed  -"}, **KEEP)
    words = shlex.split(command)
    told = json.loads(words[words.index("keep") + 1])
    assert told == {"version": told["version"], **RECORD}
    version = told["version"]
    current = ["3", json.dumps({"version": version}), "0"]
    assert plan(release.kept, {"sha256sum": "feed  -", "readlink": current}, **KEEP) == []
    assert plan(release.kept, {"sha256sum": "beef  -", "readlink": current}, **KEEP) != []


CURRENT = ["3", '{"version": "v"}']
SETTLED: dict[str, Any] = {
    **{"folder": "/opt/o", "path": FILE, "record": RECORD, "patience": PATIENCE}
}


def test_what_runs_without_a_release_becomes_one(service: Host) -> None:
    runs = lines(compose_answer(CONTAINER))
    (command,) = plan(release.settled, runs, **SETTLED)
    assert shlex.split(command)[-2:] == ["", ""]
    assert plan(release.settled, runs | {"readlink": [*CURRENT, "0"]}, **SETTLED) == []
    assert plan(release.settled, {}, **SETTLED) == []
    (settle,) = plan(release.settled, runs | {"readlink": [*CURRENT, "1"]}, **SETTLED)
    assert " settle >>" in settle
    assert settle.endswith(" || true")
    # Of its model nothing is known, so nothing is done to it.
    service.is_("v1")
    service.run("keep", '{"by": "found"}', "", "")
    service.is_("broken")
    done = service.run("up", "{}", "{}")
    assert "returned to release 1, which answers" in done.stdout
    assert service.now == "v1"
    assert "/api/generate" not in service.calls.read_text()


def test_the_script_goes_on_without_the_line() -> None:
    command = str(release.on_host("back", "/opt/o k", PATIENCE, "current"))
    log = "/run/ollama-stack.log"
    assert command.startswith(
        f"(umask 077; : >{log}); setsid env QUEUE=1 START=180 LOAD=900 ANSWER=300 LOOK=45 "
        f"sh '/opt/o k/bin/{VERSION}/release' "
    )
    assert command.endswith(
        f"'/opt/o k' back current >>{log} 2>&1 </dev/null & change=$!; "
        f"tail --lines=+1 --sleep-interval=0.2 --pid=$change --follow {log}; wait $change"
    )


LIVE: dict[str, Any] = {
    **{"folder": "/opt/o", "path": FILE, "tuned": TUNED, "gateway": "", "patience": PATIENCE},
    "up_failed": "ollama: no",
}


def words_of(command: str) -> list[str]:
    words = shlex.split(command)
    return words[words.index("up") : words.index("2>&1") - 1]


def test_what_runs_as_declared_is_left_alone() -> None:
    up = lines(compose_answer(CONTAINER))
    assert plan(release.live, up, **LIVE) == []
    assert plan(release.live, up | {":8404/version": "abc"}, **LIVE | {"gateway": "abc"}) == []


def test_a_gateway_that_was_never_told_is_told_by_the_next_run() -> None:
    up = lines(compose_answer(CONTAINER))
    for loaded in ({}, {":8404/version": "old"}):
        command, *_ = plan(release.live, up | loaded, **LIVE | {"gateway": "abc"})
        assert words_of(command) == ["up", *TUNED.bodies]


def test_a_limit_changed_by_hand_replaces_the_container() -> None:
    drifted = lines(compose_answer(changed("HostConfig.Memory", 2**30)))
    command, refusal = plan(release.live, drifted, **LIVE)
    assert words_of(command) == ["up", *TUNED.bodies, "ollama"]
    assert "ollama: after the start it still Memory is 1073741824, declared" in refusal
