"""The gateway's configuration as text, and the operation that brings it to a host."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from ollama_stack import tokens
from ollama_stack.operations import gateway
from ollama_stack.settings import Settings, read_settings
from ollama_stack.tasks.gateway import gateway_files
from tests.unit.conftest import group_data
from tests.unit.harness import plan

TOKEN = "0123456789abcdef-admin"  # noqa: S105 of no host


def settings(profile: str = "medium", **own: Any) -> Settings:
    return read_settings(group_data("all", profile) | own)


def configured(own: dict[str, Any], digests: dict[str, str] | None = None) -> str:
    return gateway_files(settings(**own), digests or {})[1]["haproxy.cfg"]


@pytest.mark.parametrize(("profile", "flight", "queue"), [("low", 2, 10), ("high", 4, 20)])
def test_the_queue_is_the_profile_s(profile: str, flight: int, queue: int) -> None:
    text = gateway_files(settings(profile), {})[1]["haproxy.cfg"]
    assert f"server ollama ollama:11434 maxconn {flight} " in text
    assert f"queue(generations) ge {queue}" in text


def test_without_tokens_nobody_changes_models_and_no_file_is_looked_up() -> None:
    text = configured({})
    assert "tokens.map" not in text
    assert "if { var(txn.kind) -m str admin }\n" in text


def test_with_tokens_there_is_a_map_of_digests() -> None:
    version, files = gateway_files(settings(gateway_tokens={"admin": "env:A"}), {"aa": "admin"})
    assert files["tokens.map"] == "aa admin\n"
    assert "status 401" in files["haproxy.cfg"]
    assert "{ var(txn.kind) -m str admin } !{ var(txn.token) -m str admin }" in files["haproxy.cfg"]
    assert f"string '{version}' if" in files["haproxy.cfg"]


def test_the_version_changes_with_a_secret_alone() -> None:
    declared = settings(gateway_tokens={"admin": "env:A"})
    one, other = (gateway_files(declared, {digest: "admin"})[0] for digest in ("aa", "bb"))
    assert one != other


def test_limits_are_the_settings() -> None:
    text = configured({"gateway_max_body": "2M", "gateway_queue_timeout": "30s"})
    assert "req.body_size gt 2097152" in text
    assert "timeout queue 30s" in text


FILES = {"haproxy.cfg": "global\n", "tokens.map": f"{tokens.digest(TOKEN)} admin\n"}
LIVE = {
    "sha256sum": [
        f"haproxy.cfg {sha256(FILES['haproxy.cfg'].encode()).hexdigest()} 644 99",
        f"tokens.map {sha256(FILES['tokens.map'].encode()).hexdigest()} 600 99",
    ],
}


FOLDER = "/opt/my ollama/gateway"


def configure(answers: dict[str, Any]) -> list[str]:
    return plan(gateway.config, answers, folder=FOLDER, files=FILES, image="haproxy:3.2.18")


def test_what_is_there_is_left_alone() -> None:
    assert configure(LIVE) == []


def test_a_changed_file_is_checked_before_it_replaces_the_old() -> None:
    commands = configure({})
    checked = next(i for i, c in enumerate(commands) if "haproxy -c" in c)
    moved = next(i for i, c in enumerate(commands) if " && mv " in c)
    assert checked < moved
    assert "'/opt/my ollama/gateway.new/haproxy.cfg'" in " ".join(commands)
    assert "the old one is untouched" in commands[checked]
    assert (
        "mv '/opt/my ollama/gateway.new/tokens.map' '/opt/my ollama/gateway/tokens.map'"
        in (commands[moved])
    )


def test_a_host_s_own_token_is_made_once_and_never_shown() -> None:
    words: dict[str, Any] = {"path": "/opt/ollama/local-token.header", "token": TOKEN}
    commands = plan(gateway.local_token, **words)
    assert commands
    assert TOKEN not in " ".join(commands)
    assert plan(gateway.local_token, {"sha256sum": f"{tokens.digest(TOKEN)}  -"}, **words) == []
