"""The stack of a cluster: who is in it, what it is told, and what hosts cannot be together."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from ollama_stack.cluster.change import with_secrets_of
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.rules import faults, run_faults
from ollama_stack.stack.cluster import Hosts, Stack, members, own_part, stack, workers
from ollama_stack.stack.cluster_rules import cluster_faults
from ollama_stack.stack.rendering import haproxy_config
from tests.unit.conftest import group_data

OWN: dict[str, Any] = {
    **{"cluster": "school", "ollama_bind": "0.0.0.0"},
    "gateway_tokens": {"class": "env:CLASS_TOKEN"},
}
DIGESTS = {"0" * 64: "class"}


def host(*groups: str, **own: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    return groups, group_data("all", groups[0]) | OWN | own


def four(**own: Any) -> dict[str, tuple[tuple[str, ...], dict[str, Any]]]:
    return {
        "a": host("low", **own),
        "b": host("low"),
        "c": host("medium"),
        "d": host("medium"),
    }


def test_a_host_that_watches_the_cluster_is_no_member_of_it() -> None:
    watch = (["monitoring"], {"cluster": "school"})
    assert [one.name for one in members({"watch": watch, **four()}, "school")] == list("abcd")


def made(hosts: Hosts | None = None) -> Stack:
    return stack(members(hosts or four(), "school"), DIGESTS)


def text_of(what: str, there: Stack) -> str:
    return next(text for name, text in there.configs.items() if f"_{what}_" in name)


def test_managers_are_the_first_three_or_the_group_s() -> None:
    def managers(hosts: Hosts) -> list[str]:
        return [one.name for one in members(hosts, "school") if one.manager]

    assert managers(four()) == ["a", "b", "c"]
    assert managers({name: four()[name] for name in ("a", "b")}) == ["a"]
    chosen = four() | {"d": host("medium", "managers")}
    assert managers(chosen) == ["d"]


def test_an_ollama_for_each_profile_runs_on_each_of_its_hosts() -> None:
    services = yaml.safe_load(made().text)["services"]
    gateways = {"gateway", "gateway-2", "gateway-3"}
    assert set(services) == {"ollama-low", "ollama-medium", "door"} | gateways
    for profile in ("low", "medium"):
        deploy = services[f"ollama-{profile}"]["deploy"]
        assert deploy["mode"] == "global"
        assert deploy["placement"]["constraints"] == [f"node.labels.profile == {profile}"]
        assert deploy["resources"]["reservations"] == {"memory": "2G", "cpus": "1.0"}
        assert (
            deploy["update_config"] | {"failure_action": "rollback", "parallelism": 1}
            == (deploy["update_config"])
        )


def test_one_gateway_has_the_places_of_all() -> None:
    there = made()
    gateway = text_of("haproxy.cfg", there)
    assert "queue(generations) ge 50 }" in gateway  # 10 + 10 + 15 + 15
    assert "server-template low- 2 ollama-low:11434 maxconn 2 " in gateway
    assert "server-template medium- 2 ollama-medium:11434 maxconn 3 " in gateway


def test_each_manager_has_a_gateway_and_all_doors_the_same_order() -> None:
    there = made()
    services = yaml.safe_load(there.text)["services"]
    for rank, name in enumerate(("gateway", "gateway-2", "gateway-3"), 1):
        placement = services[name]["deploy"]["placement"]["constraints"]
        assert placement == ["node.role == manager", f"node.labels.gateway == {rank}"]
    door = re.findall(
        r"server(?:-template)? (\S+) (?:2 )?(\S+) (backup)?", text_of("door.cfg", there)
    )
    assert door == [
        ("gateway-", "gateway:11434", ""),
        ("gateway-2-", "gateway-2:11434", "backup"),
        ("gateway-3-", "gateway-3:11434", "backup"),
        ("hold", "127.0.0.1:1", "backup"),
    ]


def test_a_manager_is_known_by_its_rank_and_one_alone_has_no_other() -> None:
    assert [one.rank for one in members(four(), "school")] == [1, 2, 3, 0]
    chosen = four() | {"d": host("medium", "managers")}
    assert [one.rank for one in members(chosen, "school")] == [0, 0, 0, 1]
    assert "gateway-2" not in made(chosen).text


def test_nothing_is_published_but_the_door_on_each_manager_past_the_mesh() -> None:
    services = yaml.safe_load(made().text)["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["door"]
    assert services["door"]["ports"] == [{"target": 11434, "published": 11434, "mode": "host"}]


@pytest.mark.parametrize("service", ["ollama-low", "gateway", "gateway-2", "door", "app", "app-2"])
def test_no_container_can_gain_anything(service: str) -> None:
    declared = yaml.safe_load(with_a_page().text)["services"][service]
    assert declared["read_only"]
    assert declared["cap_drop"] == ["ALL"]
    assert "--no-new-privs" in declared.get("entrypoint", declared["command"])
    assert declared["healthcheck"]["test"][:4] == ["CMD", "setpriv", "--no-new-privs", "bash"]


def test_what_changes_has_another_name_and_nothing_else_has() -> None:
    before, after = made(), stack(members(four(), "school"), DIGESTS | {"1" * 64: "other"})
    assert before.secrets.keys() != after.secrets.keys()
    assert before.configs.keys() == after.configs.keys()
    assert before.digest != after.digest
    assert made().digest == before.digest
    assert all(name in before.text for name in (*before.configs, *before.secrets))


def test_no_secret_is_in_the_file() -> None:
    assert "0" * 64 not in made().text


def test_a_certificate_of_the_site_s_own_authority_is_a_secret_of_the_gateway_s() -> None:
    hosts = {name: host("low", gateway_tls="own") for name in "abc"}
    there = stack(members(hosts, "school"), DIGESTS, "the certificate")
    assert "the certificate" in there.secrets.values()
    assert "the certificate" not in there.text
    assert " ssl crt /usr/local/etc/haproxy/tls.pem " in text_of("haproxy.cfg", there)
    assert " ssl " not in text_of("door.cfg", there)


def test_the_network_is_encrypted_unless_that_is_declared_otherwise() -> None:
    assert "encrypted" in yaml.safe_load(made().text)["networks"]["inside"]["driver_opts"]
    open_ = {name: host("low", cluster_encrypted=False) for name in "abc"}
    assert "driver_opts" not in yaml.safe_load(made(open_).text)["networks"]["inside"]


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"model_name": "other:1b"}, "model_name: is "),
        ({"ollama_port": 8000}, "ollama_port: is "),
    ],
)
def test_hosts_of_one_cluster_have_the_same_settings(own: dict[str, Any], message: str) -> None:
    wrong = cluster_faults(four() | {"d": host("medium", **own)})
    assert list(wrong) == ["d"]
    assert wrong["d"][0].startswith(message)
    assert wrong["d"][0].endswith("on another host of the cluster school; give both the same")


def test_hosts_of_one_profile_have_the_same_limits() -> None:
    wrong = cluster_faults(four() | {"b": host("low", ollama_cpus=1.0)})
    assert wrong == {
        "b": [
            "ollama_cpus: is 1.0, and 2.0 on another host of the cluster school; give both the same"
        ]
    }


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (
            {"app_enabled": True},
            "app_bind: a cluster's managers publish on all their addresses, and not on 127.0.0.1 alone; set app_bind =",
        ),
        ({"gateway_tls": "acme"}, "gateway_tls: acme is for a host alone; set gateway_tls = own"),
        ({"ollama_bind": "127.0.0.1"}, "ollama_bind: a cluster's managers publish on all their"),
    ],
)
def test_what_is_for_a_host_alone_is_refused(own: dict[str, Any], message: str) -> None:
    hosts = {name: host("low", **own) for name in "abc"}
    assert cluster_faults(hosts)["a"][0].startswith(message)


PAGE = {"app_enabled": True, "app_bind": "0.0.0.0", "gateway_tls": "own"}
APP_SECRETS = {"cookie.key": "a" * 64, "gateway.token": "b" * 64, "teacher.token": "c" * 64}


def with_a_page() -> Stack:
    hosts = {name: (groups, data | PAGE) for name, (groups, data) in four().items()}
    assert not cluster_faults(hosts)
    return stack(members(hosts, "school"), DIGESTS, "the certificate", APP_SECRETS)


def test_each_manager_has_a_page_that_asks_its_own_gateway() -> None:
    services = yaml.safe_load(with_a_page().text)["services"]
    for rank, suffix in enumerate(("", "-2", "-3"), 1):
        page, gateway = services[f"app{suffix}"], services[f"gateway{suffix}"]
        assert f"OLLAMA_HOST=http://gateway{suffix}:11435" in page["environment"]
        assert "OLLAMA_MAX_QUEUE=50" in page["environment"]
        assert gateway["environment"] == [f"APP=app{suffix}"]
        placement = page["deploy"]["placement"]["constraints"]
        assert placement == ["node.role == manager", f"node.labels.gateway == {rank}"]
        assert page["deploy"]["resources"]["limits"] == {
            **{"memory": "256M", "cpus": "1.0"},
            "pids": 76 + 2 * 10 + 32,
        }
    assert not any(name.startswith("app") for name in yaml.safe_load(made().text)["services"])


def test_no_registry_gives_the_page_that_a_manager_builds() -> None:
    page = yaml.safe_load(with_a_page().text)["services"]["app"]
    assert page["image"].startswith("127.0.0.1:1/ollama-stack/app:")


def test_the_page_s_port_is_the_door_s_too_and_leads_to_the_same_gateways() -> None:
    there = with_a_page()
    ports = yaml.safe_load(there.text)["services"]["door"]["ports"]
    assert [(port["published"], port["mode"]) for port in ports] == [
        (11434, "host"),
        (8080, "host"),
    ]
    door = text_of("door.cfg", there)
    servers = re.findall(r"server-template (\S+) 2 \S+:8080 (backup )?check port 8404", door)
    assert servers == [("gateway-", ""), ("gateway-2-", "backup "), ("gateway-3-", "backup ")]
    assert "bind :8080 accept-proxy ssl crt" in text_of("haproxy.cfg", there)
    assert 'server app "${APP}:8080"' in text_of("haproxy.cfg", there)


def test_the_page_s_secrets_are_files_of_the_first_manager_by_their_content() -> None:
    there = with_a_page()
    assert there.files == {
        f"ollama_{name}_{digest[:12]}": f"/opt/ollama/app/{name}"
        for name, digest in APP_SECRETS.items()
    }
    declared = yaml.safe_load(there.text)
    given = declared["services"]["app-2"]["secrets"]
    assert {one["target"] for one in given} == {f"/run/secrets/app/{name}" for name in APP_SECRETS}
    assert {one["uid"] for one in given} == {"10001"}
    names = {one["name"] for one in declared["secrets"].values()}
    assert set(there.files) < names


def test_a_door_has_its_connections_for_all_its_ports_and_the_health_check_has_its_own() -> None:
    for there, each in ((made(), ["800"]), (with_a_page(), ["400", "400"])):
        door = text_of("door.cfg", there)
        assert re.findall(r"frontend clients-.*\n.*\n +maxconn (\d+)", door) == each
        assert "\n    maxconn 810 " in door


def test_the_page_s_door_asks_whether_the_page_lives_and_keeps_no_connection() -> None:
    door, gateway = (text_of(name, with_a_page()) for name in ("door.cfg", "haproxy.cfg"))
    assert re.findall("httpchk GET (\\S+)", door) == ["/version", "/page"]
    assert "if { path /page } { srv_is_up(app/app) }" in gateway
    students = gateway.partition("frontend students")[2].partition("\nbackend ")[0]
    assert re.search("\n    http-after-response set-header Connection close\n", students)


def test_a_worker_runs_neither_gateway_nor_page() -> None:
    hosts = {name: (groups, data | PAGE) for name, (groups, data) in four().items()}
    assert workers(hosts) == {"d"}
    settings = read_settings(hosts["d"][1])
    assert list(own_part(settings, worker=True).container_memory) == ["ollama"]
    assert list(own_part(settings, worker=True).declared_images) == ["ollama_image"]
    assert list(own_part(settings, worker=False).container_memory) == [
        *("ollama", "gateway"),
        *("door", "app"),
    ]


def test_a_ready_page_of_docker_hub_s_needs_its_digest() -> None:
    def wrong(**own: Any) -> list[str]:
        hosts = {name: (["low"], group_data("all", "low") | OWN | PAGE | own) for name in "abc"}
        return cluster_faults(hosts).get("a", [])

    (fault,) = wrong(app_image="me/page:1")
    assert fault.startswith("app_image: Swarm asks Docker Hub for me/page:1 before each start")
    assert not wrong(app_image=f"me/page:1@sha256:{'a' * 64}")
    assert not wrong(app_image="me/page:1", mirror="http://registry.lan:5000")


def test_no_refusal_shows_the_teacher_s_words() -> None:
    hosts = four(**PAGE, app_system_prompt="be kind") | {
        "d": host("medium", app_system_prompt="be strict")
    }
    assert not any("be " in fault for found in cluster_faults(hosts).values() for fault in found)


def test_more_places_than_the_door_has_connections_are_refused() -> None:
    def wrong(number: int, **own: Any) -> list[str]:
        return cluster_faults({f"h{n}": host("low", **own) for n in range(number)}).get("h0", [])

    assert not wrong(29)
    assert wrong(30)[0].startswith(
        "cluster: its hosts have 360 places, and its gateway's door has 350 "
    )
    assert not wrong(25, **PAGE)
    assert "has 300 connections" in wrong(26, **PAGE)[0]


def test_an_older_stack_gets_the_last_one_s_secrets() -> None:
    old, new = made(), stack(members(four(), "school"), {"1" * 64: "class"})
    back = with_secrets_of(old.text, new.text)
    assert yaml.safe_load(back)["secrets"] == yaml.safe_load(new.text)["secrets"]
    assert yaml.safe_load(back)["services"] == yaml.safe_load(old.text)["services"]
    assert with_secrets_of(old.text, "services: {}") == old.text
    with_more = with_a_page().text
    assert "gateway.token" in with_secrets_of(with_more, new.text)


def test_an_even_number_of_managers_is_refused() -> None:
    hosts = four() | {name: host("medium", "managers") for name in "cd"}
    assert "has 2 managers" in cluster_faults(hosts)["a"][0]


def test_a_cluster_without_a_token_is_refused() -> None:
    data = group_data("all", "low") | {"cluster": "school", "ollama_bind": "0.0.0.0"}
    assert any(fault.startswith("gateway_tokens: ") for fault in faults(["low"], data))


def test_a_run_is_refused_for_what_hosts_cannot_be_together(monkeypatch: Any) -> None:
    monkeypatch.setenv("CLASS_TOKEN", "f" * 64)
    hosts = four() | {"d": host("medium", model_name="other:1b")}
    assert list(run_faults(hosts, ["low", "medium"])) == ["d"]
    assert not run_faults(four(), ["low", "medium"])


def test_a_host_alone_knows_nothing_of_clusters(medium: Settings) -> None:
    assert medium.cluster == ""
    config = haproxy_config(medium, "v")
    for keyword in ("server-template", "accept-proxy", "grace", "a door decides anew", "retry-on"):
        assert keyword not in config
    data = group_data("all", "medium") | {"cluster_encrypted": False}
    assert haproxy_config(read_settings(data), "v") == config
