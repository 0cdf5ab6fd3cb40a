"""A host is asked many things in one round trip, and each answer is its own."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from ollama_stack.inventory import Target
from tests.audit.control import Reading, Unreadable
from tests.audit.conversation import Output, Pending
from tests.audit.live import Live
from tests.unit.conftest import group_data

pytestmark = pytest.mark.process


def asked(*commands: str, seconds: int = 30) -> list[Output]:
    """What this machine answers to all of them at once."""
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    for command in commands:
        with pytest.raises(Pending):
            live.run(command, seconds=seconds)
    live.answer()
    return [live.run(command, seconds=seconds) for command in commands]


def test_every_command_has_its_own_output_errors_and_exit_code() -> None:
    one, two, three = asked("echo a; echo b >&2; exit 3", "printf no-newline", "cat")
    assert (one.text, one.error, one.code) == ("a\n", "b\n", 3)
    assert (two.text, two.error, two.code) == ("no-newline", "", 0)
    assert three.text == ""  # nobody answers a question of the host's


def test_quotes_and_several_lines_arrive_as_they_are() -> None:
    (output,) = asked("""printf '%s\\n' "it's \\$HOME" '"two"'""")
    assert output.text == 'it\'s $HOME\n"two"\n'


def test_bytes_that_are_no_text_break_nothing() -> None:
    (output,) = asked("printf 'a\\377b \\303\\251'")
    assert output.text == "a\ufffdb é"


def test_a_command_that_hangs_is_no_answer_and_holds_up_no_other() -> None:
    with pytest.raises(Unreadable, match="`sleep 5` said nothing in time"):
        asked("sleep 5", "echo on", seconds=1)


def test_what_was_asked_is_asked_once() -> None:
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    for _ in range(2):
        with pytest.raises(Pending):
            live.run("date +%s%N")
    live.answer()
    assert live.run("date +%s%N") is live.run("date +%s%N")


def test_a_host_without_curl_is_told_to_have_it() -> None:
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    with pytest.raises(Pending):
        live.curl("PATH=; curl -sS 127.0.0.1")
    live.answer()
    with pytest.raises(Unreadable, match="no curl on the host; apt-get install curl"):
        live.curl("PATH=; curl -sS 127.0.0.1")


def test_programs_say_why_in_the_words_that_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "ru_RU.UTF-8")
    assert asked("echo $LC_ALL")[0].text == "C\n"


def test_the_time_of_an_answer_is_known() -> None:
    (output,) = asked("date +%s.%N")
    before, after = output.asked
    assert before <= float(output.text) <= after


class Noisy:
    """A double of a host whose login shell greets everybody."""

    def run(self, command: str, script: str) -> SimpleNamespace:
        done = subprocess.run(["sh", "-c", script], capture_output=True)
        return SimpleNamespace(
            stdout_bytes=b"Welcome!\n" + done.stdout, stderr_bytes=b"banner\n" + done.stderr
        )


def test_a_greeting_is_no_answer() -> None:
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    live.__dict__["_host"] = Noisy()
    with pytest.raises(Pending):
        live.run("echo a; echo b >&2")
    live.answer()
    output = live.run("echo a; echo b >&2")
    assert (output.text, output.error, output.code) == ("a\n", "b\n", 0)


SUDO = """case "$*" in
*"timeout 30 sh -c "*) echo "sudo: unable to resolve host web-1: Name or service not known" >&2
    echo root; exit 1;;
esac"""


def double(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that answers instead of this machine's own."""
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    "error", ["permission denied", "cat: /proc/12/cgroup: No such file or directory"]
)
def test_sudo_that_only_warns_is_heard(
    error: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double(tmp_path, "sudo", SUDO, monkeypatch)
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    command = f"echo {error} >&2; exit 1"
    for _ in range(2):
        with pytest.raises(Pending):
            live.run(command)
        live.answer()
    assert live.run(command).text == "root\n"


@pytest.mark.parametrize(
    ("script", "lines"),
    [("echo 'a level=ERROR b'; exit 0", 1), ("printf 'x\\0 level=ERROR\\n'", 1), ("exit 0", 0)],
)
def test_a_log_is_read_whole(
    script: str, lines: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double(tmp_path, "docker", script, monkeypatch)
    assert len(log("level=ERROR").value.splitlines()) == lines


def test_a_log_that_cannot_be_read_is_no_quiet_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = "Error response from daemon: configured logging driver does not support reading"
    double(tmp_path, "docker", f"echo '{error}' >&2; exit 1", monkeypatch)
    with pytest.raises(Unreadable, match="`docker logs ollama` failed"):
        log("level=ERROR")


def log(pattern: str) -> Reading:
    live = Live(Target("@local", ("medium",), group_data("all", "medium")))
    while True:
        try:
            return live.log("ollama", pattern)
        except Pending:
            live.answer()
