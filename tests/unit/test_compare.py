"""The comparison with stock and with the rules of thumb: what a class met, and the rules as they are written."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import httpx
import pytest
import yaml

from bench import compare
from bench.compare import Met, hold, line
from ollama_stack import ROOT
from tests.door.double import Double, Handler
from tests.door.haproxy import free_ports
from tests.unit.test_compose_template import RULES

pytestmark = pytest.mark.process


class Busy(Handler):
    """It refuses the first ones."""

    def do_POST(self) -> None:
        self.server.status = 503 if len(self.server.came) < 3 else 200
        super().do_POST()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    for name, seconds in (("WINDOW", 600.0), ("PATIENCE", 60.0), ("AGAIN", 0.1)):
        monkeypatch.setattr(compare, name, seconds)
    double = Double(free_ports(1)[0], Busy)
    yield double
    double.hold.set()
    double.shutdown()
    double.server_close()


def met(server: Double, monkeypatch: pytest.MonkeyPatch, last: int) -> Met:
    """What two students meet; they ask no question after the last."""
    ask, questions = compare.ask, itertools.count(1)

    async def counted(client: httpx.AsyncClient) -> bool:
        if next(questions) == last:
            monkeypatch.setattr(compare, "WINDOW", 0.0)
        return await ask(client)

    monkeypatch.setattr(compare, "ask", counted)
    return asyncio.run(hold(f"http://127.0.0.1:{server.server_port}", 2))


def test_the_rules_are_compared_as_they_are_written() -> None:
    written = yaml.safe_load((ROOT / "bench/rivals/rules/docker-compose.yml").read_text())
    assert written["services"]["ollama"] == yaml.safe_load(RULES)


def test_who_is_answered_asks_again_and_who_is_refused_within_the_same_question(
    server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = met(server, monkeypatch, last=6)
    assert (found.asked, found.success) == (6, 1)
    assert len(server.came) > 6


def test_a_class_that_is_not_answered_loses_patience(
    server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "PATIENCE", 0.5)
    server.hold.clear()
    found = met(server, monkeypatch, last=2)
    assert (found.took, found.asked, found.success, found.rate) == ([], 2, 0, 0)
    assert found.seconds >= 0.5


def test_the_table_has_medians_and_ratios_and_nothing_for_nobody() -> None:
    ours = [Met([1.0, 1.0], 2, seconds) for seconds in (10.0, 20.0, 60.0)]
    found = {(3, "ours"): ours, (3, "stock"): [Met([4.0], 2, 20.0)], (3, "rules"): [Met([], 2, 9)]}
    assert line(3, "ours", found)[2:] == [6, 6, "100%", "6.0", "1.00", "1.0 s", "1.0 s", "1.00"]
    assert line(3, "stock", found)[2:] == [2, 1, "50%", "3.0", "0.50", "4.0 s", "4.0 s", "4.00"]
    assert line(3, "rules", found)[2:] == [2, 0, "0%", "0.0", "-", "-", "-", "-"]
