"""Inventories that pyinfra gives up, drops in part or reads by the letter: one sentence says where and why."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ollama_stack.inventory import read_hosts
from ollama_stack.misplaced import inventory_faults
from ollama_stack.unread import LIKE

ROUND = "is a group in round brackets, of which pyinfra reads the first host's letters as hosts"
NO_LIST = "is no list of hosts, and pyinfra leaves it out"
DROPPED = "is no host, for which pyinfra leaves the whole group out"


@pytest.mark.process
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            'medium = ["a"',
            "line 1 is not understood (SyntaxError: '[' was never closed); correct it",
        ),
        (
            "a = 1\nmedium = [b]",
            "line 2 is not understood (NameError: name 'b' is not defined); correct it",
        ),
        (
            "raise SystemExit(0)",
            "pyinfra cannot read it (it says nothing of its hosts); " + LIKE,
        ),
        ("", "it has no hosts; " + LIKE),
        ('medium = "10.0.0.5"', f"medium: {NO_LIST}; {LIKE}"),
        ('medium = ("10.0.0.5", "10.0.0.6")', f"medium: {ROUND}; {LIKE}"),
        ('medium = [("a", "b")]', f"medium: ('a', 'b') is no host with its settings; {LIKE}"),
        ('medium = [""]', f"medium: '' {DROPPED}; {LIKE}"),
        (
            'medium = [("a", {"ssh_port": "22"})]',
            "ssh_port: the value of a host is refused (str is not an instance of int); correct it",
        ),
        ('medium = ["a", "a"]', "a is in medium 2 times; leave it in once"),
    ],
)
def test_an_inventory_that_cannot_be_read_is_one_sentence(
    text: str, fault: str, tmp_path: Path
) -> None:
    (tmp_path / "hosts.py").write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(f'{tmp_path}/hosts.py: {fault}')}$"):
        read_hosts(str(tmp_path / "hosts.py"))


@pytest.mark.parametrize(
    ("group", "fault"),
    [
        ('high = "10.0.0.7"', f"high: {NO_LIST}; {LIKE}"),
        ('high = ("10.0.0.7")', f"high: {NO_LIST}; {LIKE}"),
        ('high = {"10.0.0.7"}', f"high: {NO_LIST}; {LIKE}"),
        ('high = ["10.0.0.7", 5]', f"high: 5 {DROPPED}; {LIKE}"),
        ('building = ["10.0.0.7", ["10.0.0.8"]]', f"building: ['10.0.0.8'] {DROPPED}; {LIKE}"),
        ('high = ("10.0.0.7", {"students": 20})', f"high: {ROUND}; {LIKE}"),
        ('high = [("a", {}, {})]', f"high: ('a', {{}}, {{}}) is no host with its settings; {LIKE}"),
    ],
)
def test_a_group_that_pyinfra_would_lose_is_refused(group: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "hosts.py"
    file.write_text(f'medium = ["10.0.0.5"]\n{group}\n')
    assert inventory_faults(str(file)) == {str(file): [fault]}


@pytest.mark.parametrize(
    "group",
    [
        'high = (["10.0.0.7", ("a", {"students": 20})], {"ssh_user": "ops"})',
        'high = [("a", {**_every}), ("b", _every), name, *names, f"web-{1}", ("c", dict(x=1))]',
        "high = [f'web-{n}' for n in range(3)]",
        "high = hosts()",
        'PORTS = [22, 2222]\nVERSION = "1"\nPAIR = (1, 2)\n_own = [5]',
    ],
)
def test_what_pyinfra_reads_as_it_is_written_is_fine(group: str, tmp_path: Path) -> None:
    (tmp_path / "hosts.py").write_text(group)
    assert inventory_faults(str(tmp_path / "hosts.py")) == {}
