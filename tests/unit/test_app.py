"""The companion app as the deploy sees it: what is refused, what is rendered, what is kept secret."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyinfra.api import DeployError

from app.settings import Settings as AppSettings
from ollama_stack.capacity.fit import misfits
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.page_image import REQUIREMENTS, built_name
from ollama_stack.rules import faults, warnings
from ollama_stack.stack.rendering import compose_file, gateway_files
from ollama_stack.tasks import preflight
from tests.unit.conftest import group_data
from tests.unit.harness import fake_host
from tests.unit.test_fit import BARE, MIRROR


def data(**own: Any) -> dict[str, Any]:
    return group_data("all", "medium") | {"app_enabled": True} | own


def settings(**own: Any) -> Settings:
    return read_settings(data(**own))


@pytest.mark.parametrize(
    ("own", "refusals"),
    [
        ({}, []),
        (
            {"gateway_enabled": False},
            ["app_enabled: the app stands behind the gateway; set gateway_enabled = True"],
        ),
        ({"app_port": 11434}, ["app_port: 11434 is ollama_port; take another"]),
        ({"app_port": 8404}, ["app_port: 8404 is gateway_metrics_port; take another"]),
        (
            {"app_max_answer": 4000},
            [
                "app_max_answer: 4000 tokens and app_max_prompt = 2000 are more than "
                "model_num_ctx = 4096; lower one of them"
            ],
        ),
        (
            {"app_bind": "0.0.0.0"},
            [
                "app_bind: 0.0.0.0 lets others in without TLS; set gateway_tls = own, or gateway_tls_cert; "
                'allow_unusual = ["app_bind"] overrides this rule'
            ],
        ),
        ({"app_bind": "0.0.0.0", "gateway_tls_cert": "/tls.pem"}, []),
        (
            {"gateway_tokens": {"app": "env:A"}},
            ["gateway_tokens.app: is the deploy's own name; take another"],
        ),
        (
            {"app_base_image": "ollama-lab/python:3"},
            [
                "app_base_python: ollama-lab/python:3 does not say which Python it has; set app_base_python, "
                "like 3.13"
            ],
        ),
        ({"app_base_image": "ollama-lab/python:3", "app_base_python": 3.11}, []),
        (
            {"app_base_image": "python:3.13-alpine"},
            [
                "app_base_image: python:3.13-alpine is Alpine's, for which the page's packages are not made; "
                "take one of Debian's, like python:3.13-slim"
            ],
        ),
        ({"app_base_image": "ollama-lab/python:3", "app_image": "a/b:1"}, []),
        (
            {"app_base_python": "3.1"},
            ["app_base_python: '3.1' is not understood; write it like 3.13"],
        ),
        (
            {"app_image": "ollama-stack/app"},
            [
                "app_image: 'ollama-stack/app' is not understood; write it like "
                "ollama/ollama:0.32.15 or ollama/ollama@sha256:..."
            ],
        ),
    ],
)
def test_what_cannot_work_is_refused(own: dict[str, Any], refusals: list[str]) -> None:
    assert faults(["medium"], data(**own)) == refusals


TWO: dict[str, Any] = {"models": ["qwen2.5:1.5b", "qwen2.5:3b"], "ollama_max_loaded_models": 2}
PROMPT = 'Be "brief", don\'t\nsay $HOME or ${X:-y} #1: {{ 7 }} — спроси\u2028🙂'


@pytest.mark.parametrize(
    ("own", "refusals"),
    [
        (TWO | {"app_models": TWO["models"]}, []),
        (
            TWO | {"app_models": ["qwen2.5:3b"]},
            [
                "app_models: the first is qwen2.5:3b, and a deploy leaves qwen2.5:1.5b (model_name) in memory; "
                "put qwen2.5:1.5b first"
            ],
        ),
        (
            TWO | {"app_models": ["qwen2.5:1.5b", "qwen2.5:7b", "qwen2.5:7b"]},
            [
                "app_models: qwen2.5:7b is not served; add it to models, or take it off the list",
                "app_models: qwen2.5:7b is there twice; name each model once",
            ],
        ),
        ({"app_system_prompt": PROMPT}, []),
        ({"app_system_prompt": "x" * 1584}, []),
        (
            {"app_system_prompt": "x" * 1585},
            [
                "app_max_answer: 512 tokens, the 1585 characters of app_system_prompt and app_max_prompt = "
                "2000 are more than model_num_ctx = 4096; lower one of them"
            ],
        ),
        (
            {"app_system_prompt": "я" * 1000, "gateway_max_body": "8K"},
            [
                "gateway_max_body: 8K is less than the 11026 bytes that a question with app_system_prompt may "
                "have; raise it"
            ],
        ),
        *(
            (
                {"app_system_prompt": wrong},
                [
                    "app_system_prompt: is no text of at most 20000 characters; write it between quotes"
                ],
            )
            for wrong in ("x" * 20_001, ["Be brief."], "\ud800")
        ),
    ],
)
def test_what_a_page_cannot_offer_or_say_is_refused_without_its_words(
    own: dict[str, Any], refusals: list[str]
) -> None:
    assert faults(["medium"], data(**own)) == refusals


def test_a_teacher_s_words_reach_the_app_as_they_are_written_and_stand_nowhere_in_plain() -> None:
    own = settings(app_system_prompt=PROMPT, **TWO, app_models=TWO["models"])
    text = compose_file(own)
    lines = yaml.safe_load(text)["services"]["app"]["environment"]
    declared = dict(line.split("=", 1) for line in lines)
    app = AppSettings.read(declared)
    assert app.app_system_prompt == PROMPT
    assert app.models == TWO["models"]
    assert "brief" not in text
    shown = f"{own!r} {own.model_dump()} {own.model_dump_json()}"  # as in a plan
    assert "brief" not in shown
    assert sha256(PROMPT.encode()).hexdigest() in shown
    assert "$" not in declared["APP_SYSTEM_PROMPT"]
    plain = settings().app_environment
    assert {"APP_MODELS", "APP_SYSTEM_PROMPT"}.isdisjoint(plain)  # as before there were any
    assert AppSettings.read(plain).models == ["qwen2.5:1.5b"]


def test_switched_off_it_stands_in_nobody_s_way() -> None:
    own = {"app_enabled": False, "app_port": 11434, "app_bind": "0.0.0.0", "app_max_answer": 9999}
    assert faults(["medium"], data(**own)) == []


def test_a_page_left_open_by_name_is_warned_of() -> None:
    assert warnings(data(app_bind="0.0.0.0", allow_unusual=["app_bind"])) == [
        "app_bind: 0.0.0.0 lets others in without TLS; set gateway_tls = own, or gateway_tls_cert; allowed by "
        "allow_unusual"
    ]


LOADED = "school/app:1"


def test_an_image_that_nobody_has_published_is_not_looked_for_at_docker_hub() -> None:
    wanted = replace(BARE, to_pull={"app_image": Manifest(401)})
    unpublished = settings(app_image=LOADED)
    assert misfits(unpublished, "medium", replace(wanted, docker="29.1.3")) == [
        f"app_image: {LOADED} is not published, and not on the host; unset app_image: the deploy then "
        "builds the page; or push it to a registry of yours, or load it there"
    ]
    assert misfits(unpublished, "medium", wanted) == [
        f"app_image: {LOADED} is not published, and not on the host, where no Docker runs; unset app_image: "
        "the deploy then builds the page; or push it to a registry of yours"
    ]
    own = settings(app_image="registry.school.lan/app:1")
    missing = replace(BARE, to_pull={"app_image": Manifest(404)})
    assert misfits(own, "medium", replace(wanted, to_pull={"app_image": Manifest(200)})) == []
    assert misfits(own, "medium", missing) == [
        "app_image: registry.school.lan/app:1 is not in its registry; check the name and the tag"
    ]
    assert misfits(settings(app_image=LOADED, **MIRROR), "medium", missing) == [
        f"app_image: 10.0.0.9:5000/{LOADED} is not in its registry; check the name and the tag"
    ]


def test_what_the_page_is_built_on_must_be_there() -> None:
    base = {"app_base_image": "python:3.13"}
    there = replace(BARE, to_pull={"app_base_image": Manifest(200, 45 * 10**6)})
    assert misfits(settings(), "medium", there) == []
    missing = replace(BARE, to_pull={"app_base_image": Manifest(404)})
    assert misfits(settings(**base), "medium", missing) == [
        "app_base_image: python:3.13 is not in its registry; check the name and the tag"
    ]
    silent = replace(BARE, to_pull={"app_base_image": Manifest(0)})
    assert misfits(settings(**base), "medium", silent) == [
        "app_base_image: https://registry-1.docker.io does not answer from the host; set mirror or proxy"
    ]
    (full,) = misfits(settings(**base), "medium", replace(there, disk_free=10**8))
    assert "0.2 GB are needed (app_base_image 0.1, a fifth to spare 0.0; " in full


def test_what_the_page_is_built_from_must_be_had() -> None:
    offline = replace(BARE, no_packages="ERROR: No matching distribution found for flask==3.1.3")
    assert misfits(settings(), "medium", offline) == [
        "app_image: the page's packages cannot be downloaded on this machine (ERROR: No matching distribution "
        "found for flask==3.1.3); correct the index of its pip (pip config), or name a ready image"
    ]


BUILT = built_name(settings().app_base_image)


@pytest.mark.parametrize(
    ("own", "there", "builds", "urls"),
    [
        ({}, [], True, ["app_base_image"]),
        ({}, [settings().app_base_image], True, []),
        ({}, [BUILT], False, []),
        (MIRROR, [BUILT], False, []),
        ({"app_image": LOADED}, [BUILT], False, ["app_image"]),
        ({"app_image": LOADED}, [LOADED], False, []),
        ({"app_enabled": False}, [], False, []),
    ],
)
def test_nothing_is_pulled_for_a_page_that_is_there(
    own: dict[str, Any], there: list[str], builds: bool, urls: list[str]
) -> None:
    found = {f"docker image inspect {image}": '[{"Id": "sha256:1"}]' for image in there}
    with fake_host(found):
        wanted = preflight._to_pull(settings(**own))
        assert preflight._is_to_be_built(settings(**own)) == builds
    assert [name for name in wanted if name.startswith("app_")] == urls


def test_wheels_that_cannot_be_had_are_no_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetched(*wanted: object) -> Path:
        asked.append(wanted)
        raise DeployError("requirements.txt: pip could not\nWARNING: no route\nERROR: flask")

    monkeypatch.setattr(preflight, "downloaded", fetched)
    for _ in ("host-1", "host-2"):
        assert preflight._packages("3.13", "of-this-test").get() == "ERROR: flask"
    assert asked == [(REQUIREMENTS, "3.13", "of-this-test")]
    monkeypatch.setattr(preflight, "downloaded", lambda *_: Path())
    assert preflight._no_packages("3.13", "x86_64") == ""


@pytest.mark.parametrize(
    ("own", "image", "policy"),
    [
        ({}, BUILT, "never"),
        (MIRROR, BUILT, "never"),
        ({"app_image": LOADED}, LOADED, None),
        ({"app_image": LOADED, **MIRROR}, f"10.0.0.9:5000/{LOADED}", None),
    ],
)
def test_an_image_that_was_built_is_never_pulled(
    own: dict[str, Any], image: str, policy: str | None
) -> None:
    app = services(**own)["app"]
    assert (app["image"], app.get("pull_policy")) == (image, policy)


def test_its_address_and_port_must_be_had() -> None:
    found = replace(BARE, missing_addresses=["app_bind"], port_owners={"app_port": "nginx"})
    assert misfits(settings(app_bind="10.0.0.5"), "medium", found) == [
        "app_port: 8080 is taken by nginx; stop it or set another app_port",
        "app_bind: the host has no address 10.0.0.5; see `ip -4 address` on it",
    ]


def services(**own: Any) -> dict[str, Any]:
    rendered: dict[str, Any] = yaml.safe_load(compose_file(settings(**own)))["services"]
    return rendered


@pytest.mark.parametrize(("parallel", "queue"), [(3, 15), (2, 10)])
def test_its_numbers_are_ollama_s_own(parallel: int, queue: int) -> None:
    rendered = services(ollama_num_parallel=parallel, ollama_max_queue=queue)
    environments = [set(rendered[name]["environment"]) for name in ("ollama", "app")]
    shared = {f"OLLAMA_NUM_PARALLEL={parallel}", f"OLLAMA_MAX_QUEUE={queue}"}
    assert all(shared <= environment for environment in environments)
    threads = f"APP_THREADS={parallel + queue + 16}"
    assert threads in environments[1]
    assert rendered["app"]["deploy"]["resources"]["limits"]["pids"] >= 3 * parallel + queue + 16


def test_the_gateway_is_as_patient_as_the_last_in_the_queue() -> None:
    short = {"gateway_queue_timeout": "10s", "gateway_answer_timeout": "50s", "app_max_answer": 99}
    assert settings(ollama_num_parallel=3, ollama_max_queue=15, **short).app_silence == 6 * 60
    assert settings(ollama_num_parallel=2, ollama_max_queue=11, **short).app_silence == 7 * 60
    longest = settings(gateway_answer_timeout="99h")
    assert longest.app_silence == 24 * 86400  # as far as HAProxy counts


def test_an_answer_may_take_longer_than_it_may_be_silent() -> None:
    short = {"gateway_queue_timeout": "10s", "gateway_answer_timeout": "30s"}
    assert settings(app_max_answer=512, **short).app_max_seconds == 10 + 256
    assert settings(app_max_answer=20, **short).app_max_seconds == 10 + 30


def test_it_has_no_power_no_port_and_no_secret_in_its_declaration() -> None:
    app = services()["app"]
    assert app["user"] == "10001:10001"
    assert app["read_only"] is True
    assert app["cap_drop"] == ["ALL"]
    assert app["security_opt"] == ["no-new-privileges:true"]
    assert app["memswap_limit"] == app["deploy"]["resources"]["limits"]["memory"]
    assert app["volumes"] == ["/opt/ollama/app:/run/secrets/app:ro"]
    assert "ports" not in app
    assert not [line for line in app["environment"] if "token" in line.lower()]


def test_the_gateway_has_its_door() -> None:
    ports = services(app_bind="10.0.0.5", app_port=80, allow_unusual=["app_bind"])["gateway"]["ports"]  # fmt: skip
    assert "10.0.0.5:80:8080" in ports
    text = gateway_files(settings(), {})[1]["haproxy.cfg"]
    assert "    bind :8080\n" in text
    assert "    bind :11435 " in text
    assert "server app app:8080 maxconn 34 " in text
    assert "set-header X-Forwarded-Proto https\n" not in text
    off = gateway_files(settings(app_enabled=False), {})[1]["haproxy.cfg"]
    assert "8080" not in off
    assert "11435" not in off


def test_with_a_certificate_the_door_is_tls_and_the_app_knows_it(tmp_path: Any) -> None:
    pem = tmp_path / "tls.pem"
    pem.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    text = gateway_files(settings(gateway_tls_cert=str(pem)), {})[1]["haproxy.cfg"]
    assert "    bind :8080 ssl crt " in text
    assert "    bind :11435 " in text
    assert "set-header X-Forwarded-Proto https\n" in text
