"""Clients of real TLS at the gateway, with a certificate of the site's own authority and its file."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from warnings import catch_warnings, simplefilter

import httpx
import pytest

from ollama_stack import authority
from ollama_stack.config import tokens
from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target
from ollama_stack.stack.certificates import issue, names, new_authority
from ollama_stack.stack.rendering import gateway_files
from tests.audit.controls import specs
from tests.audit.looking import look
from tests.door.conftest import SECRETS, TOKENS, Door, bearer, until
from tests.unit.conftest import group_data

NOW = datetime.now(timezone.utc)
NAME = "ai.school.example"
OWN = {"app_enabled": True, "gateway_tls": "own", "gateway_hosts": [NAME], **TOKENS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a deploy leaves it on the controller."""
    folder = tmp_path_factory.mktemp("site") / "tls"
    ours, called = new_authority("school", NOW), names(read_settings(group_data("all", "medium") | OWN), "class-1")  # fmt: skip
    authority.keep(folder, ours, "class-1", issue(ours, called, NOW))
    return folder


@pytest.fixture(scope="module")
def secured(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    settings = read_settings(group_data("all", "medium") | OWN)
    digests = {tokens.digest(secret): name for name, secret in SECRETS.items()}
    files = gateway_files(settings, digests, authority.kept(folder, "class-1"))[1]
    door = Door(tmp_path_factory.mktemp("door"), OWN, files=files)
    yield door
    door.end()


def asked(port: int, name: str, file: Path | None) -> httpx.Response:
    """By a strict client that trusts this file and no other, or what the machine trusts."""
    trust = ssl.create_default_context(cafile=file)
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    with httpx.Client(verify=trust, trust_env=False, timeout=60) as client:
        return client.get(
            f"https://127.0.0.1:{port}/",
            headers=bearer("one") | {"Host": f"{name}:{port}"},
            extensions={"sni_hostname": name},
        )


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", NAME, "class-1"])
def test_who_trusts_the_file_reaches_both_doors_by_address_and_by_name(
    name: str, secured: Door, folder: Path
) -> None:
    for port in (secured.api, secured.page):
        assert asked(port, name, folder / "ca.crt").status_code == 200


def test_who_does_not_trust_it_turns_away(secured: Door, folder: Path) -> None:
    other = folder.parent / "other"
    theirs = new_authority("school", NOW)
    authority.keep(other, theirs, "class-1", "")
    for file in (None, other / "ca.crt"):
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asked(secured.api, NAME, file)


def test_who_shakes_hands_without_end_is_turned_away_and_others_are_not(
    secured: Door, folder: Path
) -> None:
    trust = ssl.create_default_context(cafile=folder / "ca.crt")

    def greeted(source: str) -> bool:
        with catch_warnings():  # Python leaves a socket open that is reset before its handshake
            simplefilter("ignore", ResourceWarning)
            try:
                raw = secured.connect(source=source)
                with raw, trust.wrap_socket(raw, server_hostname=NAME) as secret:
                    return bool(secret.version())
            except OSError:
                return False

    for _ in range(15 * secured.settings.gateway_source_connections):
        with suppress(ConnectionResetError):
            secured.connect(source="127.0.0.7").close()
    until(lambda: "conn_cur=0" in secured.source("127.0.0.7"))
    assert not greeted("127.0.0.7")
    assert greeted("127.0.0.8")


def test_by_another_name_nobody_is_fooled(secured: Door, folder: Path) -> None:
    for name in ("evil.example", "10.0.0.5"):
        with pytest.raises(httpx.ConnectError, match="mismatch"):
            asked(secured.api, name, folder / "ca.crt")


def test_the_audit_sees_by_its_own_road_that_it_is_so(secured: Door, folder: Path) -> None:
    own = OWN | {"ollama_port": secured.api, "gateway_tls_folder": str(folder)}
    target = Target("@local", ("medium",), group_data("all", "medium") | own)
    wanted = {"OLS-609", "OLS-610", "OLS-613", "OLS-614"}
    (found,) = look([target], [spec for spec in specs() if spec.control.id in wanted])
    assert {result.control: result.status for result in found.results} == dict.fromkeys(
        wanted, "pass"
    ), found
