"""What ``status`` reads of a gateway, of a real one."""

from __future__ import annotations

import subprocess

from lab import plain
from ollama_stack.facts.now import Asked, LastMinutes, Places
from tests.door.conftest import Door, until
from tests.door.test_places import held, statuses


def output(door: Door, command: str) -> list[str]:
    """Of a host's shell, whose Docker knows this gateway's log alone."""
    double = f'docker() {{ test "$1 $4" != "logs ollama-gateway" || cat {door.process.log}; }}'
    done = subprocess.run(["bash", "-c", f"{double}\n{command}"], capture_output=True, text=True)
    return done.stdout.splitlines()


def test_places_and_what_became_of_questions(locked: Door) -> None:
    look = Places().command(port=locked.metrics, page=False)
    assert Places().process(output(locked, look)) == (0, 0)
    before = LastMinutes().process(output(locked, LastMinutes().command()))
    with held(locked) as mine:
        mine += [locked.start("one") for _ in range(9)] + [locked.start("two") for _ in range(9)]
        became = statuses(mine)
        refused = became.count(503)
        assert refused
        waiting = 18 - refused - 3
        until(lambda: Places().process(output(locked, look)) == (3, waiting))
        here = [one for one, status in zip(mine, became, strict=True) if not status]
        for one in (here[0], here[-1]):  # who leaves, answered or waiting, has not failed
            one.close()
        until(lambda: Places().process(output(locked, look)) == (3, waiting - 2))
        locked.ollama.hold.set()
        until(lambda: Places().process(output(locked, look)) == (0, 0))
    after = LastMinutes().process(output(locked, LastMinutes().command()))
    assert after.refused - before.refused == refused
    assert after.failed == before.failed
    assert after.answered - before.answered == 18 - refused - 2
    assert after.wait(1) is not None


def test_a_student_whom_the_page_refuses_is_counted(door: Door) -> None:
    door.app.status = 503
    with plain.Client(base_url=f"http://127.0.0.1:{door.page}") as browser:
        answers = [browser.post("/api/ask", json={"prompt": "hi"}), browser.post("/", data={})]
    door.app.status = 200
    assert [answer.status_code for answer in answers] == [503, 503]
    until(lambda: LastMinutes().process(output(door, LastMinutes().command())) == Asked(refused=2))
