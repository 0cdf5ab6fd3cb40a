"""Secrets: read on the controller, refused in words that do not tell them, never sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api import DeployError

from ollama_stack import pinned_wheels
from ollama_stack.config import tokens
from ollama_stack.inventory import Target, unusable_files
from ollama_stack.rules import faults, secret_faults, warnings
from tests.unit.conftest import group_data

GOOD = "0123456789abcdef-admin"


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """References to two good secrets."""
    path = tmp_path / "class-1"
    path.write_text("0123456789abcdef-class\n")
    path.chmod(0o600)
    monkeypatch.setenv("ADMIN", GOOD)
    return {"admin": "env:ADMIN", "class-1": f"file:{path}"}


def test_good_secrets_become_digests(secrets: dict[str, str]) -> None:
    assert tokens.faults(secrets) == []
    found = tokens.digests(secrets)
    assert sorted(found.values()) == ["admin", "class-1"]
    assert all(len(key) == 64 for key in found)
    assert GOOD not in str(found)


def test_a_user_without_a_home_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a CI container: neither HOME nor a line in passwd."""

    def homeless(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert tokens.faults({"a": "file:~/a.token"}) == [
        "gateway_tokens.a: ~/a.token cannot be read (RuntimeError); check the path and its permissions"
    ]
    with pytest.raises(ValueError, match="cannot be read"):
        tokens.certificate("~/tls.pem")
    with pytest.raises(DeployError, match="this user has no home; set XDG_CACHE_HOME"):
        pinned_wheels.cache()
    assert unusable_files([Target("a", (), {"ssh_key": "~/no such key"})])


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert tokens.faults({"admin": "env:NO_SUCH", "a": f"file:{tmp_path}/none"}) == [
        "gateway_tokens.admin: the environment has no NO_SUCH; export it",
        f"gateway_tokens.a: {tmp_path}/none cannot be read (FileNotFoundError); check the path and its permissions",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "short",
            "the secret in BAD is shorter than 16 characters; make one with openssl rand -hex 32",
        ),
        ("", "the secret in BAD is shorter than 16 characters; make one with openssl rand -hex 32"),
        (
            "with a space in it 0123456789",
            "the secret in BAD has characters that no bearer token has (RFC 6750)",
        ),
    ],
)
def test_a_bad_secret_is_refused_and_not_told(
    text: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD", text)
    (fault,) = tokens.faults({"admin": "env:BAD"})
    assert fault == f"gateway_tokens.admin: {problem}"


def test_a_file_that_others_may_read_is_refused(secrets: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "class-1").chmod(0o644)
    assert tokens.faults(secrets) == [
        f"gateway_tokens.class-1: {tmp_path}/class-1 is open to others; chmod 600 it"
    ]


def test_a_file_that_is_no_text_is_refused(secrets: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "class-1").write_bytes(b"\xff\xfe")
    assert tokens.faults(secrets) == [
        f"gateway_tokens.class-1: {tmp_path}/class-1 cannot be read (UnicodeDecodeError); check the path and its permissions"
    ]


def test_two_names_with_one_secret_are_refused(secrets: dict[str, str]) -> None:
    assert tokens.faults(secrets | {"other": "env:ADMIN"}) == [
        "gateway_tokens.other: has the secret of admin; make another"
    ]


@pytest.mark.parametrize(
    ("data", "refusals"),
    [
        (
            {"ollama_bind": "10.0.0.5"},
            [
                "gateway_tokens: ollama_bind = 10.0.0.5 lets others in; name a token "
                "(docs/gateway.md), or set ollama_bind = 127.0.0.1"
            ],
        ),
        ({"ollama_bind": "127.0.0.2"}, []),
        ({"ollama_bind": "0.0.0.0", "gateway_tokens": {"a": "env:A"}}, []),
        (
            {"ollama_bind": "0.0.0.0", "gateway_enabled": False},
            [
                "ollama_bind: 0.0.0.0 lets others in without a lock; "
                'allow_unusual = ["ollama_bind"] overrides this rule'
            ],
        ),
        (
            {"gateway_tokens": {"local": "env:A"}},
            ["gateway_tokens.local: is the deploy's own name; take another"],
        ),
        (
            {"ollama_port": 8404},
            ["gateway_metrics_port: 8404 is ollama_port; take another"],
        ),
        (
            {"gateway_tokens": {"a": "0123456789abcdef"}},
            [
                "gateway_tokens: is not understood; write it like "
                '{"admin": "env:OLLAMA_ADMIN_TOKEN", "class-1": "file:~/.ollama-tokens/class-1"}'
            ],
        ),
    ],
)
def test_the_door_has_a_lock_where_others_reach_it(
    data: dict[str, object], refusals: list[str]
) -> None:
    assert faults(["medium"], group_data("all", "medium") | data) == refusals


@pytest.mark.parametrize(
    "given",
    ["sk-very-secret", ["sk-very-secret"], {"a": ["sk-very-secret"]}, {"SK-very-secret": "env:A"}],
)
def test_a_secret_in_the_wrong_place_is_not_told(given: object) -> None:
    (fault, *_) = faults(["medium"], group_data("all", "medium") | {"gateway_tokens": given})
    assert "very-secret" not in fault
    assert fault.startswith("gateway_tokens: is not understood; write it like ")


def test_a_door_left_open_by_name_is_warned_of() -> None:
    data = {"ollama_bind": "0.0.0.0", "gateway_enabled": False, "allow_unusual": ["ollama_bind"]}
    assert warnings(group_data("all", "medium") | data) == [
        "ollama_bind: 0.0.0.0 lets others in without a lock; allowed by allow_unusual"
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read (FileNotFoundError); check the path and its permissions"),
        (
            "BEGIN CERTIFICATE BEGIN ENCRYPTED PRIVATE KEY",
            "has an encrypted key, which nobody could unlock; decrypt it",
        ),
        ("-----BEGIN CERTIFICATE-----", "needs a certificate and its private key, both in PEM"),
    ],
)
def test_a_certificate_must_be_one(text: str | None, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "tls.pem"
    if text:
        path.write_text(text)
    data = group_data("all", "medium") | {"gateway_tls_cert": str(path)}
    assert secret_faults(data) == [f"gateway_tls_cert: {path} {problem}"]


def test_without_a_gateway_no_secret_is_asked_for() -> None:
    data = {"gateway_enabled": False, "gateway_tokens": {"a": "env:NO_SUCH"}}
    assert secret_faults(group_data("all", "medium") | data) == []
