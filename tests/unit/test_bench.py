"""The attacks of bench/ end, and go to this machine alone."""

from __future__ import annotations

from contextlib import suppress
from inspect import ismodule

import pytest

from bench import attacks
from bench.attacks import ATTACKS, Attack
from bench.target import LONGEST, MOST, Over, Target


@pytest.mark.parametrize("host", ["192.0.2.1", "0.0.0.0", "2001:db8::1", "ollama.example"])
def test_no_attack_goes_to_another_machine(host: str) -> None:
    with pytest.raises(ValueError, match=host):
        Target(host=host)


@pytest.mark.parametrize("more", [{"seconds": LONGEST + 1}, {"connections": MOST + 1}])
def test_no_attack_is_without_an_end(more: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at most"):
        Target(**more)  # type: ignore[arg-type]


@pytest.mark.parametrize("spent", [{"seconds": 0}, {"connections": 0}], ids=["time", "connections"])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_ends_with_its_time_and_its_connections(
    attack: Attack, spent: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*where: object, **how: object) -> None:
        raise AssertionError(f"it goes on: {where}")

    monkeypatch.setattr("socket.create_connection", connect)
    target = Target(**spent)  # type: ignore[arg-type]
    with suppress(Over):
        attack.run(target)
    assert not target.got.keys() - {"held"}


def test_an_attack_has_no_other_way_out_than_its_target() -> None:
    modules = {name for name, value in vars(attacks).items() if ismodule(value)}
    assert modules == {"argparse", "json", "sys"}


def test_every_row_has_an_attack_with_a_name_and_a_sentence_of_its_own() -> None:
    rows = {"-", "1", "2", "3", "3b", "5", "5b", "7", "9", "10", "10b", "haproxy 1"}
    assert {attack.row for attack in ATTACKS} == rows
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert len({attack.what for attack in ATTACKS}) == len(ATTACKS)
