"""What sizing measures of a host: real shells and curl, through a real gateway, of a double whose speeds are known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest

from ollama_stack.inventory import Target
from ollama_stack.load import speeds
from ollama_stack.reports.sizing import HostSizing, find_sizing, keep_speeds
from tests.door.conftest import SECRETS, Door, Opener
from tests.door.double import Handler, whole
from tests.unit.conftest import group_data

READ, WRITE = 100.0, 20.0  # tokens a second, shared by those who are answered at once
OVERHEAD, LATIN, CYRILLIC = 30, 4, 2  # tokens, and characters a token


class Clocked(Handler):
    """Says how long it would have taken, and answers soon: it reads texts one after the other."""

    waited = 0.0  # seconds
    crowded = 1.0  # how many times as long a class's questions take
    broken = 0  # how many of them it breaks off
    growth = 0.0
    power = 2
    at_once = Barrier(3)

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._note(json.dumps(asked).encode())
        of_class = "temperature" not in asked["options"]
        beside = 3 if of_class else self._beside()
        prompt = asked["prompt"]
        latin = sum(map(str.isascii, prompt))
        read = round(OVERHEAD + latin / LATIN + (len(prompt) - latin) / CYRILLIC)
        reading = read / READ + self.growth * read**self.power
        slower = beside * (self.crowded if of_class else 1)
        spent = {"prompt_eval": reading * slower, "eval": 32 / WRITE * slower}
        spent["total"] = sum(spent.values()) + self.waited
        took = {f"{name}_duration": int(1e9 * seconds) for name, seconds in spent.items()}
        told: dict[str, Any] = took | {"prompt_eval_count": read, "eval_count": 32}
        if of_class and type(self).broken:
            type(self).broken -= 1
            told = {"done": False}
        self._send(json.dumps(whole(self.path) | told).encode())

    def _beside(self) -> int:
        """Three come one after the other, then three who wait for each other here."""
        if len(self.server.came) <= 1 + 3:  # the knock, too
            return 1
        with suppress(BrokenBarrierError):
            self.at_once.wait(10)
            return 3
        return 1


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(speeds, "KEPT", tmp_path / "speeds.json")
    return tmp_path / "speeds.json"


@pytest.fixture(scope="module")
def clocked(opened: Opener) -> Iterator[Door]:
    door = opened(gateway_tokens={"one": "env:A"})
    door.ollama.RequestHandlerClass = Clocked
    yield door


def sized(door: Door, folder: Path, **own: Any) -> HostSizing:
    data: dict[str, Any] = group_data("all", "medium") | {"ollama_port": door.api}
    data |= {"gateway_tokens": {"one": "env:A"}, "ollama_dir": str(folder)} | own
    header = folder / "local-token.header"
    header.write_text(f"Authorization: Bearer {SECRETS['local']}\n")
    door.ollama.came.clear()
    found = find_sizing("x.py", [Target("@local", ("medium",), data)])
    keep_speeds(found)
    return found.hosts[0]


def test_speeds_are_the_host_s_own(clocked: Door, tmp_path: Path, kept: Path) -> None:
    found = sized(clocked, tmp_path)
    assert found.verdict == "held", found.reasons
    measured = found.speeds
    assert measured is not None
    assert (measured.read, measured.growth) == pytest.approx((READ, 0.0), rel=0.01, abs=1e-9)
    assert (measured.alone, measured.together) == pytest.approx((WRITE, WRITE / 3), rel=0.01)
    # A prompt's own number before it is counted with what stands beside every prompt.
    assert measured.overhead == pytest.approx(OVERHEAD, abs=4)
    assert measured.latin == pytest.approx(1 / LATIN, rel=0.05)
    assert measured.cyrillic == pytest.approx(1 / CYRILLIC, rel=0.05)
    assert speeds.kept() == {"x.py @local": measured}
    prompts = [json.loads(body)["prompt"] for _, _, body in clocked.ollama.came if body]
    assert len({prompt.split()[0] for prompt in prompts}) == len(prompts), (
        "an answer may be another's"
    )


def test_long_texts_that_are_read_more_slowly_are_seen(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clocked, "growth", 2e-5)
    measured = sized(clocked, tmp_path).speeds
    assert measured is not None
    assert (measured.read, measured.growth) == pytest.approx((READ, 2e-5), rel=0.01)
    assert measured.together == pytest.approx(WRITE / 3, rel=0.02)


def test_a_small_class_says_how_much_longer_its_questions_take(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = sized(clocked, tmp_path).speeds
    monkeypatch.setattr(Clocked, "crowded", 2.0)
    crowded = sized(clocked, tmp_path).speeds
    assert plain is not None
    assert crowded is not None
    assert (plain.crowded, crowded.crowded) == pytest.approx((1.0, 2.0), rel=0.02)
    asked = [json.loads(body) for _, _, body in clocked.ollama.came if body][6:]
    assert len({one["options"]["num_predict"] for one in asked}) > 5
    assert 7 <= len(asked) <= 66


def test_what_a_model_breaks_off_does_not_count(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clocked, "broken", 2)
    found = sized(clocked, tmp_path).speeds
    assert found is not None
    assert found.crowded == pytest.approx(1.0, rel=0.02)
    monkeypatch.setattr(Clocked, "broken", 99)
    (why,) = sized(clocked, tmp_path).reasons
    assert " questions at once " in why
    assert "(HTTP 200 with done: false: " in why


def test_no_class_is_held_where_it_would_take_too_long(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "PERIOD", 20.0)
    found = sized(clocked, tmp_path).speeds
    assert found is not None
    assert found.crowded == 1.0
    assert len([body for _, _, body in clocked.ollama.came if body]) == 6


def test_figures_that_cannot_be_are_not_kept(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clocked, "growth", 1.0)
    monkeypatch.setattr(Clocked, "power", 4)  # by which the first tokens take less than no time
    (why,) = sized(clocked, tmp_path).reasons
    assert why == ("its figures contradict each other; measure while nothing else computes there")


def test_no_answer_is_longer_than_the_model_may_write(
    opened: Opener, tmp_path: Path, kept: Path
) -> None:
    """The gateway refused 32 tokens where `model_num_predict` is less, and nothing was measured."""
    short = {"model_num_predict": 16}
    door = opened(gateway_tokens={"one": "env:A"}, **short)
    door.ollama.RequestHandlerClass = Clocked
    found = sized(door, tmp_path, **short)
    assert found.verdict == "held", found.reasons


def test_too_many_students_break_the_bound(clocked: Door, tmp_path: Path, kept: Path) -> None:
    found = sized(clocked, tmp_path, students=15)
    assert found.verdict == "broken"
    assert found.reasons[0].startswith("students: 15 at once wait ")
    here, more = found.servers
    assert (here.cpus, here.estimated, more.cpus, more.estimated) == (2, False, 4, True)
    assert 1 <= here.carries < more.carries < 15
    assert [row.holds for row in here.rows] == [row.students <= here.carries for row in here.rows]


def test_what_cannot_be_measured_is_told_and_not_kept(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = sized(clocked, tmp_path, ollama_port=1)
    assert (gone.verdict, gone.speeds) == ("unmeasured", None)
    (why,) = gone.reasons
    assert why.startswith("http://127.0.0.1:1 does not answer (curl: (7) ")
    assert why.endswith("); look at it with status")
    clocked.ollama.RequestHandlerClass = Handler  # who says no durations
    try:
        odd = sized(clocked, tmp_path)
        assert len([path for path, *_ in clocked.ollama.came if path == "/api/generate"]) == 6
        monkeypatch.setattr(clocked.ollama, "status", 500)
        assert "answered HTTP 500" in sized(clocked, tmp_path).reasons[0]
        assert len(clocked.ollama.came) == 1 + 1
    finally:
        clocked.ollama.RequestHandlerClass = Clocked
    assert odd.reasons == ["qwen2.5:1.5b answered no eval_count or eval_duration; look with status"]
    assert speeds.kept() == {}


def test_a_busy_host_is_not_measured(
    clocked: Door, tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clocked, "waited", 1.5)
    busy = ["others ask it now; measure while nobody does"]
    assert sized(clocked, tmp_path).reasons == busy
    monkeypatch.setattr(Clocked, "waited", 0.0)
    monkeypatch.setattr(clocked.ollama, "status", 503)
    assert sized(clocked, tmp_path).reasons == busy
