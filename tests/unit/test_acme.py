"""A certificate of an ACME authority: what is refused, when one is ordered, and how a host has it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ollama_stack.config.settings import read_settings
from ollama_stack.facts.gateway import KeptCertificate
from ollama_stack.operations import certificate
from ollama_stack.rules import faults, secret_faults
from ollama_stack.shell import MARK
from ollama_stack.stack.acme import Kept, to_order
from ollama_stack.stack.certificates import issue, new_authority
from ollama_stack.stack.page import page_address
from ollama_stack.stack.rendering import gateway_files
from tests.unit.conftest import group_data
from tests.unit.harness import plan
from tests.unit.test_plan import BARE, as_fakes, pyinfra

NOW = datetime.now(timezone.utc)
NAME, DIRECTORY = "ai.school.example", "https://acme-v02.api.letsencrypt.org/directory"
ACME: dict[str, Any] = {"gateway_tls": "acme", "gateway_tls_names": [NAME], "gateway_acme_agreed": True}  # fmt: skip
ORDERED: dict[str, Any] = {
    "folder": "/opt/o k", "called": [NAME], "directory": DIRECTORY, "email": "it@school.example"
}  # fmt: skip


def pem(*names: str, ago: int = 0) -> str:
    """Good for 396 days from then on."""
    then = NOW - timedelta(days=ago)
    return issue(new_authority("theirs", then), list(names), then).partition("-----BEGIN PRIV")[0]


def kept(*names: str, ago: int = 0, directory: str = DIRECTORY) -> Kept:
    return Kept(x509.load_pem_x509_certificate(pem(*names, ago=ago).encode()), directory, True)


def found(**own: Any) -> list[str]:
    return faults(["medium"], group_data("all", "medium") | ACME | own)


def test_a_public_name_and_an_agreement_are_all_that_is_needed() -> None:
    assert found() == []
    assert secret_faults(group_data("all", "medium") | ACME) == []


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        (
            {"gateway_tls_names": []},
            "gateway_tls_names: acme gives certificates for names; say what this host is called in public",
        ),
        (
            {"gateway_tls_names": [NAME, "10.0.0.5"]},
            "gateway_tls_names: 10.0.0.5 is no public name, and with acme the certificate is for these "
            "alone; take it out, or set gateway_tls = own",
        ),
        (
            {"gateway_tls_names": ["class-1"]},
            "gateway_tls_names: class-1 is no public name, and with acme the certificate is for these "
            "alone; take it out, or set gateway_tls = own",
        ),
        (
            {"gateway_acme_agreed": False},
            f"gateway_acme_agreed: {DIRECTORY} has terms of service; read them, then set "
            "gateway_acme_agreed = True",
        ),
        (
            {"app_port": 80},
            "app_port: acme needs port 80 for itself; take another, or set gateway_tls = own",
        ),
        (
            {"gateway_acme_directory": "http://ca.lan/dir"},
            "gateway_acme_directory: 'http://ca.lan/dir' is not understood; write it like "
            "https://ca.school.lan/acme/acme/directory",
        ),
        (
            {"gateway_acme_email": "it at school"},
            "gateway_acme_email: 'it at school' is not understood; write it like it@school.example",
        ),
        (
            {"gateway_tls_cert": "/tls.pem"},
            "gateway_tls: acme makes a certificate, and gateway_tls_cert = /tls.pem is a ready one; unset "
            "one of them",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_way_out(own: dict[str, Any], fault: str) -> None:
    assert found(**own) == [fault]


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (kept(NAME), ""),
        (kept(NAME, ago=396 - 100), ""),
        (Kept(), "there is none yet"),
        (kept("other.example"), f"the host is now called {NAME}"),
        (kept(NAME, "other.example"), f"the host is now called {NAME}"),
        (kept(NAME, directory="https://ca/dir"), "the kept one is of https://ca/dir"),
        (
            kept(NAME, ago=396 - 98),
            f"the kept one ends on {NOW + timedelta(days=98):%Y-%m-%d}, and the host has not renewed it: "
            "journalctl --unit certbot",
        ),
    ],
)
def test_one_is_ordered_where_the_host_cannot_have_renewed_it(one: Kept, why: str) -> None:
    assert to_order(one, [NAME], DIRECTORY, NOW) == why


def test_students_are_told_the_name_that_the_certificate_has() -> None:
    data = {"app_enabled": True, "app_bind": "0.0.0.0", **ACME}
    settings = read_settings(group_data("all", "medium") | data)
    assert page_address(settings, "10.0.0.5").url == f"https://{NAME}:8080"


def test_a_renewal_is_no_other_release() -> None:
    version, files = gateway_files(read_settings(group_data("all", "medium") | ACME), {})
    assert version in files["haproxy.cfg"]
    assert "ssl crt /usr/local/etc/haproxy/tls.pem" in files["haproxy.cfg"]
    assert "tls.pem" not in files


def there(*lines: str, hook: str = "") -> dict[Any, Any]:
    return {"cmp -s": [*pem(NAME).splitlines(), *lines], certificate.HOOK: hook.splitlines()}


def test_a_bare_host_orders_once_and_has_a_hook_for_renewals() -> None:
    mark, folder, hook, name, order, renewed = plan(certificate.ordered, there(), **ORDERED)
    assert f"{certificate.HOOK} is not ours; move it away, and run again" in mark
    assert folder == "mkdir -p /etc/letsencrypt/renewal-hooks/deploy"
    assert MARK in hook
    assert certificate.HOOK in name
    assert order.startswith(
        "certbot certonly --non-interactive --agree-tos --standalone --key-type ecdsa --force-renewal "
        f"--renew-with-new-domains --cert-name ollama-stack --domain {NAME} --server {DIRECTORY} "
        "--email it@school.example || "
    )
    assert "whose port 80 has to be free and open" in order
    assert renewed.endswith("/release' /run/ollama-stack.lock '/opt/o k' renewed")
    commands = plan(certificate.ordered, there(), **ORDERED | {"email": ""})
    assert "--register-unsafely-without-email" in commands[4]


def test_one_that_is_good_and_in_place_is_left_alone() -> None:
    hook = plan(certificate.ordered, there(), **ORDERED)[2]
    text = hook[hook.index("#") : hook.index("renewed") + len("renewed")].replace("'\"'\"'", "'")
    good = [DIRECTORY, "in place 600"]
    assert plan(certificate.ordered, there(*good, hook=text), **ORDERED) == []
    for bad in ([DIRECTORY, "in place 644"], [DIRECTORY]):
        (renewed,) = plan(certificate.ordered, there(*bad, hook=text), **ORDERED)
        assert renewed.endswith(" renewed")


@pytest.mark.parametrize("answer", [[], ["rubbish"], [f"{'-' * 5}END CERTIFICATE{'-' * 5}"]])
def test_what_certbot_has_not_whole_is_none(answer: list[str]) -> None:
    assert KeptCertificate().process(answer) == Kept()


def test_a_plan_says_what_is_ordered_where_and_why(tmp_path: Path) -> None:
    fakes = as_fakes("inventories/example.py", tmp_path, BARE, **ACME)
    run = pyinfra(fakes, "deploy.py", "--dry", "--diff", "--json")
    assert run.returncode == 0, run.stderr
    operations = {op["name"]: op["hosts_with_change"] for op in json.loads(run.stdout)["plan"]}
    assert len(operations["Have a certificate of the ACME authority"]) == 4
    assert f"order a certificate for {NAME} at {DIRECTORY}: there is none yet" in run.stderr
    assert "install certbot" in run.stderr


def test_a_host_whose_timer_could_not_renew_it_is_refused(tmp_path: Path) -> None:
    answers = BARE | {"/run/systemd/system": "none"}
    run = pyinfra(as_fakes("inventories/local.py", tmp_path, answers, **ACME), "deploy.py", "-y")
    assert run.returncode == 1
    assert (
        "gateway_tls: acme needs systemd, whose timer renews; set gateway_tls = own, or gateway_tls_cert"
    ) in run.stderr
    assert "Traceback" not in run.stderr
