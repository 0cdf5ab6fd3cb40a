"""The gateway's configuration as text, and the token of the host's own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.config.types import size_bytes
from ollama_stack.operations import secrets
from ollama_stack.stack import door
from ollama_stack.stack.rendering import gateway_files
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
    assert "acl free always_false" in text


def test_with_tokens_there_is_a_map_of_digests() -> None:
    version, files = gateway_files(settings(gateway_tokens={"admin": "env:A"}), {"aa": "admin"})
    assert files["tokens.map"] == "aa admin\n"
    assert '"401 a token is needed' in files["haproxy.cfg"]
    assert "acl free var(txn.token) -m str admin" in files["haproxy.cfg"]
    assert f"string '{version}' if" in files["haproxy.cfg"]


def test_the_version_changes_with_a_secret_alone() -> None:
    declared = settings(gateway_tokens={"admin": "env:A"})
    one, other = (gateway_files(declared, {digest: "admin"})[0] for digest in ("aa", "bb"))
    assert one != other


def test_names_of_tokens_are_no_longer_than_what_the_gateway_counts_by() -> None:
    """HAProxy cuts a longer key: two tokens whose names begin alike would be one."""
    longest = "c" * 50
    text = configured({"gateway_tokens": {longest: "env:A"}})
    assert {int(most) for most in re.findall(r"type string len (\d+)", text)} == {64}
    assert len(f"list ={longest}") <= 64
    with pytest.raises(ValidationError):
        configured({"gateway_tokens": {f"{longest}c": "env:A"}})


def test_limits_are_the_settings() -> None:
    text = configured({"gateway_max_body": "2M", "gateway_queue_timeout": "30s"})
    assert "wait-for-body time 26s" in text
    assert "req.body_size gt 2097152" in text
    assert "timeout queue 30s" in text


def test_everybody_has_a_share_and_the_page_keeps_its_own() -> None:
    own: dict[str, Any] = {
        "app_enabled": True,
        "gateway_tokens": {"admin": "env:A", "one": "env:B"},
    }
    declared = settings(**own, gateway_token_limits={"one": {"parallel": 1, "per_minute": 60}})
    assert door.shares(declared) == {"admin": door.Places(2, 2), "one": door.Places(1, 2, 60)}
    assert door.everybody_else(declared) == 3 + 15 - (2 + 8)
    assert door.everybody_else(settings()) == 3 + 15


@pytest.mark.parametrize("profile", ["low", "medium", "high"])
@pytest.mark.parametrize("body", ["64K", "128K", "256K", "1M", "4M", "10M"])
def test_the_gateway_s_memory_is_all_that_it_can_come_to_hold(profile: str, body: str) -> None:
    declared = settings(profile, gateway_max_body=body)
    text = gateway_files(declared, {})[1]["haproxy.cfg"]

    def declared_in(keyword: str) -> int:
        return int(re.findall(rf"^    {re.escape(keyword)} (\d+)", text, re.M)[0])

    buffers = declared_in("tune.bufsize") * declared_in("tune.buffers.limit")
    kernel = 2 * (
        declared_in("tune.rcvbuf.client") + declared_in("tune.sndbuf.client")
    )  # it doubles what is said
    connections = declared_in("maxconn") * (52 * 1024 + kernel)  # TLS, and HAProxy's own
    worker = buffers + connections + declared_in("tune.lua.maxmem") * 2**20
    assert 24 * 2**20 + 2 * worker <= size_bytes(declared.container_memory["gateway"])
    assert declared_in("tune.bufsize") > declared.max_body_bytes
    doors = [int(most) for most in re.findall(r"^    maxconn (\d+)", text, re.M)]
    assert sum(doors[1:]) <= doors[0]


def test_a_large_body_takes_memory_and_a_small_one_none() -> None:
    found = [settings(gateway_max_body=body).container_memory["gateway"] for body in ("128K", "1M", "4M")]  # fmt: skip
    assert found == ["512M", "512M", "812M"]


def test_a_host_s_own_token_is_made_once_and_never_shown() -> None:
    arguments: dict[str, Any] = {"path": "/opt/ollama/local-token.header", "token": TOKEN}
    commands = plan(secrets.local_token, **arguments)
    assert commands
    assert TOKEN not in " ".join(commands)
    assert plan(secrets.local_token, {"sha256sum": f"{tokens.digest(TOKEN)}  -"}, **arguments) == []
