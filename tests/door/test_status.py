"""What ``status`` reads of a gateway, of a real one."""

from __future__ import annotations

import subprocess

from ollama_stack.facts.now import LastMinutes, Places
from tests.door.conftest import Door, until
from tests.door.test_places import held, statuses


def said(door: Door, command: str) -> list[str]:
    """Of a host's shell, whose Docker knows this gateway's log alone."""
    double = f'docker() {{ test "$1 $4" != "logs ollama-gateway" || cat {door.process.log}; }}'
    done = subprocess.run(["bash", "-c", f"{double}\n{command}"], capture_output=True, text=True)
    return done.stdout.splitlines()


def test_places_and_what_became_of_questions(locked: Door) -> None:
    look = Places().command(port=locked.metrics, page=False)
    assert Places().process(said(locked, look)) == (0, 0)
    before = LastMinutes().process(said(locked, LastMinutes().command()))
    with held(locked) as mine:
        mine += [locked.start("one") for _ in range(9)] + [locked.start("two") for _ in range(9)]
        refused = statuses(mine).count(503)
        assert refused
        waiting = 18 - refused - 3
        until(lambda: Places().process(said(locked, look)) == (3, waiting))
        mine[0].close()  # who leaves has not failed
        locked.ollama.hold.set()
        until(lambda: Places().process(said(locked, look)) == (0, 0))
    after = LastMinutes().process(said(locked, LastMinutes().command()))
    assert after.refused - before.refused == refused
    assert after.failed == before.failed
    assert 18 - refused - 1 <= after.answered - before.answered <= 18 - refused
    assert after.wait(1) is not None
