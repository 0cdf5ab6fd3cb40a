"""What joins leave in a swarm."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from pyinfra.api import Host, State, StringCommand

from ollama_stack.cluster import operations
from ollama_stack.cluster.facts import NodeInfo, View


def node(name: str, **said: str) -> dict[str, Any]:
    return {"ID": name, "Status": {"State": "unknown"}, "Description": said}


@pytest.mark.parametrize("done", [True, False])
def test_a_join_that_failed_and_was_tried_again_leaves_nobody_to_wait_for(
    monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Those who have joined may not have told their name yet; other strangers went before, drained."""
    ran, faults = list[str](), list[str]()
    seen = View(nodes=[node("new"), node("lost"), node("other", Hostname="class-9")])

    def run_now(state: State, host: Host, command: StringCommand) -> tuple[bool, list[str]]:
        ran.append(str(command))
        return done, ["no"]

    def failed(host: Host, fault: str) -> bool:
        faults.append(fault)
        return False

    monkeypatch.setattr(operations, "view", lambda *_: seen)
    monkeypatch.setattr(operations, "node_of", lambda *_: NodeInfo(id="new"))
    monkeypatch.setattr(operations, "run_now", run_now)
    monkeypatch.setattr(operations, "fail", failed)
    host = cast("Host", SimpleNamespace(name="class-1"))
    assert operations.clear(cast("State", None), host, [host], "ollama") is done
    assert ran == ["docker node demote lost >/dev/null 2>&1; docker node rm --force lost 2>&1"]
    way_out = "on class-1, docker node rm --force lost, then run again"
    assert faults == ([] if done else [f"cluster: no; {way_out}"])
