"""The program that changes a host: what is kept, put back and said; with doubles for Docker and curl."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ollama_stack.containers import PROGRAMS
from ollama_stack.operations.programs import SOURCES
from ollama_stack.stack.compose import COMMAND

SCRIPT = SOURCES / "release"

# Healthy unless the compose file says "broken", and then restarted again and again; an answer unless
# it says "silent"; a gateway if its configuration has a version; an app that answers with the status
# which the compose file names.
DOCKER = """echo "docker $*" >>"$CALLS"
case "$*" in
*" up "*) ! grep -q broken docker-compose.yml;;
*RestartCount*) if grep -q "silent\\|broken" docker-compose.yml; then wc -l <"$CALLS"; else echo 1; fi;;
*logs*) echo "the container's last words";;
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


SECONDS = {"QUEUE": "1", "START": "180", "LOAD": "900", "ANSWER": "300", "LOOK": "45"}
NOTHING: Mapping[str, str] = {}
CONFIG = "http-request return string 'v' if { path /version }"
BODIES = ("create.json", "generate.json", "ask.json")


class Host:
    """A folder with the service, and the program at work in it."""

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
        self.releases = self.folder / "releases"
        self.unconfirmed = self.releases / "unconfirmed"

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.doubles}:{os.environ['PATH']}"
        self.calls.write_text("")
        with self.log.open("w") as log:  # whoever watches goes on with it
            done = subprocess.run(
                ["sh", SCRIPT, self.lock, self.folder, *words],
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
                env=os.environ | {"PATH": path, "CALLS": str(self.calls)} | SECONDS | environment,
            )
        return subprocess.CompletedProcess(words, done.returncode, self.log.read_text(), "")

    def stage(
        self, text: str, config: str = "", secrets: Mapping[str, str] = NOTHING, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Files of which the doubles know what they are by ``text``."""
        new = self.releases / "new"
        (new / "gateway").mkdir(parents=True, exist_ok=True)
        (new / "docker-compose.yml").write_text(text)
        if config:
            (new / "gateway" / "haproxy.cfg").write_text(config)
        for name, secret in secrets.items():
            (new / "gateway" / name).write_text(secret)
            (new / "gateway" / name).chmod(0o600)
        for name in BODIES:
            (new / name).write_text(json.dumps({"model": "m", "of": text}))
        (new / "release.json").write_text(json.dumps({"by": text}))
        env = {"GATEWAY": "v" if config else "", "PRISTINE": "m-p", "SCHEME": "http"} | env
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in env.items()]
        (new / "release.env").write_text("".join(lines))
        return self.run("stage")

    def keep(
        self, text: str, config: str = "", secrets: Mapping[str, str] = NOTHING, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """A release that runs and was found good."""
        assert self.stage(text, config, secrets, **env).returncode == 0
        done = self.run("switch", "staged")
        assert done.returncode == 0, done.stdout
        return self.run("commit", "staged")

    @property
    def now(self) -> str:
        return (self.folder / "docker-compose.yml").read_text()

    @property
    def kept(self) -> list[str]:
        return sorted(path.parent.name for path in self.releases.glob("[0-9]*/good"))

    @property
    def current(self) -> str:
        return str((self.releases / "current").readlink())


@pytest.fixture
def service(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_the_last_five_releases_stay(service: Host) -> None:
    for number in range(1, 8):
        assert service.keep(f"v{number}").stdout == f"release {number} is kept\n"
    assert service.kept == ["3", "4", "5", "6", "7"]
    assert service.current == "7"
    changes = (service.releases / "7" / "changes").read_text()
    assert "-v6" in changes
    assert "+v7" in changes


def test_what_is_staged_touches_nothing_that_runs(service: Host) -> None:
    service.keep("v1")
    assert service.stage("v2").stdout == "release 2 is staged\n"
    assert (service.now, service.kept, service.current) == ("v1", ["1"], "1")
    assert "docker" not in service.calls.read_text()
    service.stage("v3")  # the run that staged the other one never came to it
    service.run("switch", "current", "ollama")  # which is what another one declares
    assert service.now == "v1"
    (two,) = [path for path in service.releases.glob("[0-9]*") if path.name != "1"]
    assert (two / "docker-compose.yml").read_text() == "v3"


@pytest.mark.parametrize(("status", "good"), [(200, True), (503, True), (429, True), (502, False)])
def test_a_release_whose_app_answers_nobody_is_left_again(
    status: int, good: bool, service: Host
) -> None:
    (service.doubles / "sleep").symlink_to("/bin/true")
    service.keep(f"v1 app says {status}", APP="yes")
    service.keep("v2 app says 200", APP="yes")
    done = service.run("back", "previous")
    assert done.returncode == (0 if good else 1)
    assert service.now.startswith("v1" if good else "v2")
    deaf = f"the app does not answer a question (HTTP {status}): docker logs --tail 50 ollama-app\n"
    assert (deaf in done.stdout) == (not good)


def test_a_release_that_somebody_has_changed_is_not_run(service: Host) -> None:
    service.keep("v1")
    service.keep("v2")
    (service.releases / "1" / "docker-compose.yml").write_text("theirs")
    done = service.run("back", "previous")
    assert done.returncode == 1
    assert "release 1 is not what was kept: somebody has changed " in done.stdout
    assert "returned to release 2, which answers" in done.stdout
    assert service.now == "v2"


def test_secrets_are_in_no_release_and_in_no_list_of_changes(service: Host) -> None:
    for number in (1, 2):
        service.keep(f"v{number}", CONFIG, {"tls.pem": f"PRIVATE KEY {number}"}, SCHEME="https")
    live = service.folder / "gateway" / "tls.pem"
    assert live.read_text() == "PRIVATE KEY 2"
    assert live.stat().st_mode & 0o777 == 0o600
    assert list(service.releases.rglob("tls.pem")) == []
    assert "PRIVATE" not in (service.releases / "2" / "changes").read_text()
    service.run("back", "previous")
    assert live.read_text() == "PRIVATE KEY 2"


def test_a_token_that_was_taken_away_does_not_come_back(service: Host) -> None:
    tokens = service.folder / "gateway" / "tokens.map"
    service.keep("v1", CONFIG, {"tokens.map": "leaked"}, TOKENS="yes")
    service.keep("v2", CONFIG, {"tokens.map": "new"}, TOKENS="yes")
    service.run("back", "1")
    assert (service.now, tokens.read_text()) == ("v1", "new")
    service.keep("v3", CONFIG)
    assert not tokens.exists()
    done = service.run("back", "1")
    assert done.returncode == 1
    assert (
        "release 1 asks for tokens, and this host has none any more: declare gatew" in done.stdout
    )
    assert service.now == "v3"


def test_what_only_another_release_needed_goes(service: Host) -> None:
    service.keep("v1", CONFIG)
    (service.folder / "gateway" / "old.lua").touch()
    service.keep("v2", CONFIG)
    assert [path.name for path in (service.folder / "gateway").iterdir()] == ["haproxy.cfg"]
    service.keep("v3")
    assert not (service.folder / "gateway").exists()


def test_a_change_that_is_not_healthy_goes_back_by_itself(service: Host) -> None:
    service.keep("v1")
    service.stage("broken")
    done = service.run("switch", "staged", "ollama")
    assert done.returncode == 1
    assert "the container's last words" in done.stdout
    assert 'returned to release 1, which answers: {"by": "v1"}' in done.stdout
    assert service.now == "v1"
    assert (service.releases / "staged").readlink() == Path("1")


def test_a_first_deploy_has_nothing_to_go_back_to(service: Host) -> None:
    service.stage("broken")
    done = service.run("switch", "staged")
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
    service.keep("v1")
    service.keep("v2")
    for double in service.doubles.iterdir():  # it has become so
        double.write_text(double.read_text().replace("silent", "v1"))
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


@pytest.mark.parametrize("number", ["0", "new", "current/../1", "", "2"])
def test_what_was_never_found_good_is_no_release(number: str, service: Host) -> None:
    service.keep("v1")
    service.stage("v2")
    (service.releases / "new").mkdir()
    assert service.run("back", number).returncode == 1
    assert "docker" not in service.calls.read_text()


def test_the_one_before_is_never_one_that_was_gone_back_from(service: Host) -> None:
    for number in (1, 2, 3):
        service.keep(f"v{number}")
    service.run("back", "previous")
    service.keep("v4")
    service.run("back", "previous")
    assert service.now == "v2"


def calls(service: Host, *words: str) -> list[str]:
    """Which of these words the program's calls had, in their order."""
    lines = service.calls.read_text().splitlines()
    return [word for line in lines for word in words if word in line]


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
    said = [line for line in service.calls.read_text().splitlines() if map_ in line or "USR2" in line]  # fmt: skip
    assert [line.rpartition(" ")[2] for line in said] == ["bb", "ollama-gateway"]


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
    told = json.dumps({"by": "CORP\\new@pc"})
    assert service.run("adopt", told).stdout == "release 1 is kept\n"
    assert (service.releases / "1" / "release.json").read_text() == f"{told}\n"
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
    service.stage("v2")
    assert service.run("switch", "staged").returncode == 0
    assert service.unconfirmed.exists()
    assert service.now == "v2"
    operator.kill()
    until(lambda: not service.unconfirmed.exists())
    assert service.now == "v1"
    why = r"the run of ops@school, begun 20\S+Z, ended before it found its change good"
    until((service.releases / "returned").exists)
    assert re.fullmatch(rf"20\S+Z: {why}\n", (service.releases / "returned").read_text())
    assert re.search(rf"^{why}\nreturned to release 1,", service.log.read_text(), re.MULTILINE)
    service.keep("v3")  # which somebody has found good
    assert not (service.releases / "returned").exists()


def test_a_change_that_was_found_good_stays_when_its_run_ends(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.keep("v2")
    operator.kill()
    assert service.run("settle").stdout == ""
    assert (service.now, service.current) == ("v2", "2")


def test_what_is_good_again_is_confirmed_without_another_release(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    service.run("switch", "staged", "ollama")
    assert service.unconfirmed.exists()
    service.run("commit", "current")
    assert (service.unconfirmed.exists(), service.kept) == (False, ["1"])


def test_a_host_that_was_switched_off_goes_back_when_it_starts(
    service: Host, operator: subprocess.Popen[bytes]
) -> None:
    """Nobody watches there any more, and no run tells it how long to wait."""
    service.stage("v2")
    service.run("switch", "staged")
    service.unconfirmed.write_text(
        "1 2 2026-11-23T08:00:00Z ops@school\nQUEUE=1 START=180 LOAD=900 ANSWER=300 LOOK=45\n"
    )
    seconds = dict.fromkeys(SECONDS, "")
    assert "returned to release 1" in service.run("settle", **seconds).stdout
    assert (service.now, service.unconfirmed.exists()) == ("v1", False)


def test_a_run_begins_once(service: Host, operator: subprocess.Popen[bytes]) -> None:
    for _ in range(2):
        service.run("begin")
    watching = subprocess.run(["pgrep", "--full", f"{service.folder} begin"], capture_output=True)
    assert len(watching.stdout.split()) == 1
    assert service.calls.read_text() == ""
