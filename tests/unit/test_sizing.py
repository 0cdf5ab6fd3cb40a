"""How many students a host carries: by speeds that were measured, told by sizing and by plan."""

from __future__ import annotations

import io
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from rich.console import Console

from ollama_stack.check import Checked
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.inventory import Target
from ollama_stack.load import corpus, speeds
from ollama_stack.load.sizing import Speeds, carried, demand, expected, holds, too_many
from ollama_stack.reports.plan import make_plan
from ollama_stack.reports.sizing import Sizing, _host_sizing, show_sizing
from tests.unit.conftest import group_data

AT = datetime(2026, 11, 28, tzinfo=timezone.utc)


def settings(**own: Any) -> Settings:
    return read_settings(group_data("all", "medium") | own)


def measured(**own: Any) -> Speeds:
    figures = {
        "at": AT,
        "image": settings().ollama_image_ref,
        "model": "qwen2.5:1.5b",
        "cpus": 2.0,
        "parallel": 3,
        "read": 120.0,
        "growth": 0.0,
        "alone": 45.0,
        "together": 15.0,
        "crowded": 1.0,
        "overhead": 30,
        "latin": 0.25,
        "cyrillic": 0.5,
    }
    return Speeds.model_validate(figures | own)


def test_a_question_takes_what_it_reads_and_writes() -> None:
    assert measured().tokens("four чары") == 30 + 5 * 0.25 + 4 * 0.5
    class_hour = demand(measured(), 512)
    assert class_hour.together == pytest.approx(3 * class_hour.alone)
    assert 20 < class_hour.think < 40
    longer = demand(measured(latin=0.5, cyrillic=1.0), 512)
    assert longer.alone > class_hour.alone
    assert demand(measured(), 64).alone < class_hour.alone


def test_the_longer_a_text_the_longer_each_of_its_tokens() -> None:
    slower = measured(growth=1e-5)
    assert slower.reading(1000) == pytest.approx(1000 / 120 + 10)
    assert demand(slower, 512).alone > demand(measured(), 512).alone
    assert slower.doubled().reading(1000) == pytest.approx(slower.reading(1000) / 1.4)


def test_a_crowded_class_takes_as_much_longer_as_was_measured() -> None:
    plain, crowded = demand(measured(), 512), demand(measured(crowded=1.5), 512)
    assert crowded.together == pytest.approx(1.5 * plain.together)
    assert crowded.alone == plain.alone
    assert crowded.variation == pytest.approx(plain.variation)
    assert carried(measured(crowded=1.5), settings()) < carried(measured(), settings())


def test_a_small_class_asks_as_a_large_one_does() -> None:
    asked = corpus.sample(28, 512)
    assert asked == corpus.sample(28, 512)
    long, every = {text for text in corpus.DECK if len(text) > 1000}, len(corpus.DECK)
    share = len([text for text in corpus.DECK if text in long]) / every
    assert len([text for text, _ in asked if text in long]) / 28 == pytest.approx(share, abs=0.04)
    assert {text for text, _ in asked} >= long
    lengths = [length for _, length in asked]
    assert median(lengths) == pytest.approx(corpus.MEDIAN_ANSWER, rel=0.05)
    assert (max(lengths) > 350, min(lengths) < 40) == (True, True)
    assert max(length for _, length in corpus.sample(28, 64)) == 64


def test_what_one_reads_all_wait_for_and_what_one_writes_nobody() -> None:
    """Three texts take as long as one after the other; three answers as long as one, where all are as quick."""
    side_by_side = demand(measured(together=45.0), 512)
    reads = 2 * (side_by_side.together - side_by_side.alone) / (3 - 1) / 2
    alone = demand(measured(alone=1e9, together=1e9), 512).alone
    assert reads == pytest.approx(alone)


def test_what_a_host_carries_is_where_its_bounds_still_hold() -> None:
    most = carried(measured(), settings())
    assert 5 < most < 15
    for students, true in ((most, True), (most + 1, False)):
        assert holds(expected(students, measured(), settings()), settings()) is true
    assert carried(measured().doubled(), settings()) > most
    assert carried(measured(read=1, alone=0.1, together=0.1), settings()) == 3


def test_refusals_break_a_bound_as_waits_do() -> None:
    patient = settings(slo_p95_wait=10_000)
    assert not holds(expected(60, measured(), patient), patient)
    unbounded = settings(slo_p95_wait=10_000, gateway_enabled=False)
    assert holds(expected(60, measured(), unbounded), unbounded)


def test_too_many_students_are_told_with_the_way_out() -> None:
    assert too_many(measured(), settings()) == ""
    assert too_many(measured(), settings(students=3)) == ""
    fault = too_many(measured(), settings(students=15))
    assert fault.startswith("students: 15 at once wait 4")
    slower = measured(read=12, together=1.5)
    assert "15 at once wait over 120 s at p95" in too_many(slower, settings(students=15))
    assert "(slo_p95_wait: 30 s)" in fault
    assert "by the speeds measured on 2026-11-28; this host carries " in fault


def planned(**own: Any) -> list[str]:
    target = Target("class-1", ("medium",), group_data("all", "medium") | own)
    gone = subprocess.CompletedProcess[str]([], 1, "", "--> it is off")
    (host,) = make_plan(Checked("x.py", [target], {}, {}), lambda *arguments: gone).hosts
    return host.warnings


def test_the_plan_warns_by_speeds_of_the_host_as_it_is_declared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "KEPT", tmp_path / "speeds.json")
    assert planned(students=15) == []
    speeds.keep({"x.py class-1": measured(), "y.py class-1": measured(cpus=4.0)})
    (warning,) = planned(students=15)
    assert warning.startswith("students: 15 at once wait ")
    assert planned() == planned(students=3) == []
    assert planned(students=15, ollama_cpus=1) == []
    assert planned(students=15, model_name="smollm2:135m") == []


def test_speeds_of_others_stay_and_what_is_not_ours_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speeds, "KEPT", tmp_path / "speeds.json")
    speeds.keep({"x.py one": measured()})
    speeds.keep({"x.py two": measured(cpus=4.0)})
    assert {name: one.cpus for name, one in speeds.kept().items()} == {"x.py one": 2, "x.py two": 4}
    (tmp_path / "speeds.json").write_text("notes")
    with pytest.raises(ValueError, match="is not understood; remove it, and measure again"):
        speeds.keep({})
    assert (tmp_path / "speeds.json").read_text() == "notes"


def test_a_host_that_lets_nobody_in_is_told() -> None:
    host = _host_sizing(Target("nobody.invalid", ("medium",), group_data("all", "medium")))
    (reason,) = host.reasons
    assert "nobody.invalid" in reason
    assert (host.verdict, host.speeds) == ("unmeasured", None)


def test_the_table_says_what_is_carried_first() -> None:
    host = _host_sizing(Target("@docker/x", ("medium",), group_data("all", "medium")))
    assert host.reasons == ["@docker/x: only @local and SSH hosts are looked at"]
    out = io.StringIO()
    show_sizing(
        Sizing(time=AT, inventory="x.py", verdict="unmeasured", hosts=[host]),
        Console(file=out, width=80),
    )
    assert out.getvalue().startswith("@docker/x: not measured\n")
