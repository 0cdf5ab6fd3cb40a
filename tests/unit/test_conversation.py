"""A host is asked many things in one round trip, and each answer is its own."""

from __future__ import annotations

import pytest

from ollama_stack.inventory import Target
from tests.audit.control import Unreadable
from tests.audit.conversation import Output, Pending
from tests.audit.live import Live
from tests.unit.conftest import group_data


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
    (said,) = asked("""printf '%s\\n' "it's \\$HOME" '"two"'""")
    assert said.text == 'it\'s $HOME\n"two"\n'


def test_bytes_that_are_no_text_break_nothing() -> None:
    (said,) = asked("printf 'a\\377b \\303\\251'")
    assert said.text == "a\ufffdb é"


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


def test_the_time_of_an_answer_is_known() -> None:
    (said,) = asked("date +%s.%N")
    before, after = said.asked
    assert before <= float(said.text) <= after
