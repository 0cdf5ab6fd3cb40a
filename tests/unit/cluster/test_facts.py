"""A swarm, as its manager and its hosts tell of it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from ollama_stack.cluster.facts import (
    RELEASE,
    STACK,
    KeptModel,
    ModelsInVolume,
    Node,
    View,
)
from ollama_stack.cluster.operations import ModelWanted
from ollama_stack.facts.model import manifest_path
from ollama_stack.facts.swarm import InCluster, troubles

CONTAINER = {"Image": "ollama:1"}


def node(name: str, **status: str) -> dict[str, Any]:
    return {
        "ID": name,
        "Spec": {"Role": "worker", "Availability": "active", "Labels": {"profile": "low"}},
        "Status": {"State": "ready"} | status,
    }


def service(**update: str) -> dict[str, Any]:
    placement = {"Constraints": ["node.labels.profile == low"]}
    return {
        "ID": "s",
        "UpdateStatus": update,
        "Spec": {
            **{"Name": "ollama_ollama-low", "Labels": {STACK: "ollama"}, "Mode": {"Global": {}}},
            "TaskTemplate": {"ContainerSpec": CONTAINER, "Placement": placement},
        },
    }


def task(name: str, state: str = "running", container: Any = None, **status: str) -> dict[str, Any]:
    return {
        **{"ServiceID": "s", "NodeID": name, "DesiredState": "running"},
        **{"Status": {"State": state} | status, "Spec": {"ContainerSpec": container or CONTAINER}},
    }


def view(*tasks: Any, nodes: Any = ("a", "b"), configs: Any = (), **update: str) -> View:
    answers = [[*map(node, nodes)], [service(**update)], list(tasks), list(configs), []]
    return View.parse([json.dumps(answer) for answer in answers], "ollama")


def test_all_is_there_when_every_host_runs_what_is_declared() -> None:
    assert view(task("a"), task("b")).missing() == []


@pytest.mark.parametrize(
    "tasks",
    [
        [task("a")],
        [task("a"), task("b", "starting")],
        [task("a"), task("b", container={"Image": "ollama:0"})],
    ],
)
def test_a_host_without_its_replica_or_with_the_old_one_is_missing(tasks: list[Any]) -> None:
    assert view(*tasks).missing() == ["ollama_ollama-low: 1 of 2, completed"]


def test_who_is_no_longer_declared_goes_the_dead_first_and_a_lost_join_too() -> None:
    seen = view(nodes=("a", "b", "c", "d"))
    for name, state, said in zip(
        "abcd",
        ("ready", "ready", "down", "unknown"),
        ({"Hostname": "class-1"}, {"Hostname": "class-2"}, {"Hostname": "class-3"}, {}),
        strict=True,
    ):
        (one,) = (node for node in seen.nodes if node["ID"] == name)
        one["Status"]["State"], one["Description"] = state, said
    assert list(seen.strangers({"a"}).items()) == [
        ("c", "class-3"),
        ("b", "class-2"),
        ("d", "a host that began to join and never came"),
    ]


def test_a_change_under_way_is_not_done() -> None:
    assert view(task("a"), task("b"), State="updating").missing()


def test_a_dead_host_is_not_waited_for() -> None:
    seen = view(task("a"))
    seen.nodes[1]["Status"]["State"] = "down"
    assert seen.missing() == []


def test_a_change_that_went_back_says_why() -> None:
    seen = view(task("a", "failed", Err="no such file"), State="rollback_completed")
    assert seen.rolled_back() == ["ollama_ollama-low: no such file"]
    assert view(task("a")).rolled_back() == []


def test_releases_are_in_their_order_with_their_texts() -> None:
    def config(number: int) -> dict[str, Any]:
        labels = {RELEASE: str(number), "digest": f"d{number}", "specs": "s"}
        data = base64.b64encode(f"text {number}".encode()).decode()
        return {"Spec": {"Name": f"ollama_release_{number}", "Labels": labels, "Data": data}}

    seen = view(configs=[config(10), config(9)])
    assert [(one.number, one.text) for one in seen.releases] == [(9, "text 9"), (10, "text 10")]


def test_a_spec_that_somebody_changed_by_hand_is_seen() -> None:
    before, after = view(), view()
    after.services[0]["Spec"]["TaskTemplate"]["ContainerSpec"] = {"Image": "other"}
    assert before.specs != after.specs


def test_a_host_says_which_swarm_it_is_in() -> None:
    answer = {
        **{"LocalNodeState": "active", "NodeID": "x", "NodeAddr": "10.0.0.2"},
        **{"ControlAvailable": False, "RemoteManagers": [{"NodeID": "y", "Addr": "10.0.0.1:2377"}]},
    }
    found = Node().process([json.dumps(answer)])
    assert (found.inside, found.managers) == (True, ("10.0.0.1",))
    assert not Node().default().inside


MANIFEST = {
    "layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:w"}],
}


def wanted(**own: Any) -> ModelWanted:
    usual: dict[str, Any] = {
        **{"model": "m:1", "source": "m:1", "insecure": False, "pristine": "m:1-pristine"},
        **{"digest": "", "parameters": {"num_ctx": 4096}, "variables": {}, "seconds": 1},
    }
    return ModelWanted(**usual | own)


def test_a_model_is_there_if_the_volume_has_it_tuned() -> None:
    fact = ModelsInVolume()
    fact.command(volume="v", models=("m:1", "m:1-pristine"))
    lines = [
        json.dumps(MANIFEST),
        "aa  -",
        '{"num_ctx": 4096}',
        json.dumps(MANIFEST),
        "bb  -",
        "{}",
    ]
    found = fact.process(lines)
    assert found["m:1-pristine"] == KeptModel("sha256:w", {}, "bb")
    assert wanted().there(found)
    assert wanted(digest="bb").there(found)
    assert not wanted(digest="cc").there(found)
    assert not wanted(parameters={"num_ctx": 2048}).there(found)
    assert not wanted().there({})


def test_a_model_s_manifest_lies_where_ollama_keeps_it() -> None:
    assert manifest_path("qwen2.5:1.5b") == "manifests/registry.ollama.ai/library/qwen2.5/1.5b"
    assert manifest_path("me/mine:1") == "manifests/registry.ollama.ai/me/mine/1"


def test_a_status_says_what_is_wrong_with_a_host() -> None:
    lines = [
        *("active", "= ollama_ollama-low Up 2 minutes (healthy)", "= ollama_door Up 3 s (healthy)"),
        *("+ class-1 Ready Active", "+ class-2 Down Active"),
    ]
    assert troubles(InCluster().process(lines), "ollama_ollama-low") == [
        "class-2 is down active in the cluster"
    ]
    assert troubles(InCluster().process(["active"]), "ollama_ollama-low") == [
        "ollama_ollama-low: is not there"
    ]
    assert troubles(InCluster().process(["inactive"]), "x") == [
        "it is not in the cluster: its engine says inactive; deploy"
    ]
    assert troubles(None, "x") == ["it is not in the cluster: its engine does not say; deploy"]


def test_a_status_says_that_a_manager_has_no_quorum_and_no_gateway() -> None:
    own = [f"= ollama_{name} Up 2 minutes (healthy)" for name in ("ollama-low", "gateway-2")]
    lines = ["active true 10.0.0.1", *own, "? answer 000"]
    gateway, quorum = troubles(InCluster().process(lines), "ollama_ollama-low")
    assert gateway == "the gateway does not answer at this host's address"
    assert quorum.startswith("the managers have no quorum: ")
    assert "--force-new-cluster --advertise-addr 10.0.0.1` on this host alone" in quorum
    assert troubles(InCluster().process(["pending true 10.0.0.1"]), "x") == [quorum]
    assert troubles(InCluster().process(["pending false 10.0.0.2"]), "x") == [
        "no manager of the cluster answers it: look at those first"
    ]
    worker = ["active false", *lines[1:]]
    assert troubles(InCluster().process(worker), "ollama_ollama-low") == []
    manager = [*lines[:3], "+ class-1 Ready Active", "? answer 401"]
    assert troubles(InCluster().process(manager), "ollama_ollama-low") == []
    assert troubles(InCluster().process([*manager[:2], *manager[3:]]), "ollama_ollama-low") == [
        "no gateway runs on this host, which takes over if the others die; deploy"
    ]


def test_a_status_says_that_a_manager_has_no_page() -> None:
    own = [f"= my_app_{name} Up 2 minutes (healthy)" for name in ("ollama-low", "gateway-2")]
    manager = ["active true 10.0.0.1", *own, "+ class-1 Ready Active", "? answer 401"]
    seen = InCluster().process(manager)
    assert troubles(seen, "my_app_ollama-low") == []
    assert troubles(seen, "my_app_ollama-low", page=True) == [
        "no page runs on this host, which takes over if the others die; deploy"
    ]
    there = InCluster().process([*manager, "= my_app_app-2 Up 2 minutes (healthy)"])
    assert troubles(there, "my_app_ollama-low", page=True) == []
