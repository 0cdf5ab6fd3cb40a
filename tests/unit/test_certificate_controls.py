"""The controls of the certificate that an address shows: each sees what is wrong, and only that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from ollama_stack import authority
from ollama_stack.inventory import Target
from ollama_stack.stack.certificates import Authority, issue, names, new_authority
from tests.audit.control import Blocked, Finding, NotApplicable, Unreadable
from tests.audit.conversation import Output
from tests.audit.live import Live
from tests.audit.test_certificate import (
    test_the_certificate_does_not_end_soon as does_not_end,
)
from tests.audit.test_certificate import (
    test_the_certificate_has_the_names_in_use as has_names,
)
from tests.audit.test_certificate import (
    test_the_certificate_is_the_own_authority_s as is_ours,
)
from tests.unit.conftest import group_data

NOW = datetime.now(timezone.utc)


class Host(Live):
    """A double of a host that shows a certificate, as openssl writes it."""

    def __init__(self, certificate: str, **own: Any) -> None:
        data = group_data("all", "medium") | {"ssh_hostname": "10.0.0.7"} | own
        super().__init__(Target("class-1", ("medium",), data))
        self.certificate = certificate

    def run(self, command: str, *, seconds: int = 30) -> Output:
        assert command.startswith("openssl s_client -connect 127.0.0.1:11434 ")
        text = f"notAfter=some day\n{self.certificate}" if self.certificate else ""
        return Output(command, not text, text, "" if text else "Could not read certificate")


def look(control: Any, host: Host) -> Finding:
    (mark,) = control.pytestmark
    found: Finding = mark.args[0].look(host)
    return found


@pytest.fixture(scope="module")
def ours() -> Authority:
    return new_authority("school", NOW)


Shown = Callable[..., Host]


@pytest.fixture
def shown(ours: Authority, tmp_path: Path) -> Shown:
    """A host with a certificate of its own, made for the names that it has then."""
    authority.keep(tmp_path / "tls", ours, "class-1", "")
    own = {"gateway_tls": "own", "gateway_tls_folder": str(tmp_path / "tls")}

    def host(
        signer: Authority = ours, ago: int = 0, called: list[str] | None = None, **more: Any
    ) -> Host:
        wanted = called or names(Host("", **own).settings, "class-1", "10.0.0.7")
        pem = issue(signer, wanted, NOW - timedelta(days=ago))
        return Host(pem.partition("-----BEGIN PRIVATE")[0], **own | more)

    return host


def test_a_good_one_conforms(shown: Shown) -> None:
    for control in (does_not_end, has_names, is_ours):
        assert look(control, shown()).conforms
    found = look(has_names, shown())
    assert found.expected == "class-1, 10.0.0.7, 127.0.0.1, localhost"
    assert found.live == "10.0.0.7, 127.0.0.1, class-1, localhost"


def test_one_that_ends_soon_is_found(shown: Shown) -> None:
    assert look(does_not_end, shown(ago=381)).conforms
    assert not look(does_not_end, shown(ago=383)).conforms
    assert look(has_names, shown(ago=383)).conforms


def test_one_that_the_host_should_have_renewed_is_found(shown: Shown) -> None:
    acme = {"gateway_tls": "acme", "gateway_tls_names": ["ai.school.example"]}
    good = look(does_not_end, shown(ago=296, called=["ai.school.example"], **acme))
    assert (good.conforms, good.expected) == (True, "more than 99.2 days")
    assert not look(does_not_end, shown(ago=298, **acme)).conforms
    assert look(has_names, shown(called=["ai.school.example"], **acme)).conforms
    assert not look(has_names, shown(**acme)).conforms
    with pytest.raises(NotApplicable, match="gateway_tls is not own"):
        look(is_ours, shown(**acme))


def test_a_name_that_students_use_and_it_has_not_is_found(shown: Shown) -> None:
    assert not look(has_names, shown(gateway_tls_names=["ai.lan"])).conforms
    few = shown(called=["localhost", "127.0.0.1"])
    assert not look(has_names, few).conforms
    assert look(is_ours, few).conforms


def test_one_of_another_authority_of_the_same_name_is_found(shown: Shown) -> None:
    foreign = shown(signer=new_authority("school", NOW))
    found = look(is_ours, foreign)
    assert (found.conforms, found.expected in found.live) == (False, True)
    assert "another key than the one in ca.crt" in found.live
    assert look(has_names, foreign).conforms


def test_an_auditor_without_the_authority_s_file_is_told(shown: Shown, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "none")
    message = r"gateway_tls: \S+ca.crt cannot be read \(FileNotFoundError\); copy it from the contr"
    with pytest.raises(Unreadable, match=message):
        look(is_ours, shown(gateway_tls_folder=elsewhere))


def test_an_auditor_needs_no_key(shown: Shown, tmp_path: Path) -> None:
    (tmp_path / "tls" / "ca.key").unlink()
    assert look(is_ours, shown()).conforms


def test_an_address_that_shows_none_is_one_finding() -> None:
    mute = Host("", gateway_tls="own")
    assert not look(does_not_end, mute).conforms
    for control in (has_names, is_ours):
        with pytest.raises(Blocked, match="OLS-610"):
            look(control, mute)


@pytest.mark.parametrize(
    ("called", "own", "conforms"),
    [
        (["ai.lan"], {}, False),
        (["class-1"], {}, True),
        (["localhost"], {}, False),
        (["127.0.0.1"], {}, True),
        (["*.lan"], {"gateway_hosts": ["ai.lan"]}, True),
        (["ai.lan", "class-1"], {"gateway_tls_names": ["ai.lan"]}, True),
        (["class-1"], {"gateway_tls_names": ["ai.lan"]}, False),
    ],
)
def test_a_ready_one_has_a_name_in_use_or_all_that_are_declared(
    called: list[str], own: dict[str, Any], conforms: bool, ours: Authority
) -> None:
    pem = issue(ours, called, NOW).partition("-----BEGIN PRIVATE")[0]
    ready = Host(pem, gateway_tls_cert="/tls.pem", **own)
    assert look(has_names, ready).conforms is conforms
    with pytest.raises(NotApplicable, match="gateway_tls is not own"):
        look(is_ours, ready)


def test_without_tls_there_is_nothing_to_hold() -> None:
    with pytest.raises(NotApplicable, match="gateway_tls and gateway_tls_cert are empty"):
        look(does_not_end, Host(""))
