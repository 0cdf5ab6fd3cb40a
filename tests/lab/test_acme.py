"""A bare server gets its certificate of a real ACME authority, by one deploy, and renews it by its own timer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from lab.inject import INVENTORY, must
from tests.door.pebble import Pebble
from tests.lab.conftest import ACTIONS, ROOT, Done, run, sh
from tests.lab.test_audit import audit, with_status
from tests.lab.test_hosts import HOSTS, bare
from tests.lab.test_three_commands import ADDRESS

pytestmark = pytest.mark.kind

NAME = "ai.school.example"
BRIDGE = "172.17.0.1"  # this machine, as a server of the lab sees it
SERVER = HOSTS[1]
TRUSTED = "/usr/local/share/ca-certificates/pebble.crt"
SHOWN = f"openssl s_client -connect 127.0.0.1:11434 -servername {NAME} </dev/null 2>/dev/null | openssl x509"


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The server alone, called by a public name."""
    with bare(HOSTS):
        address = sh(ADDRESS + SERVER.container).strip()
        authority = Pebble(tmp_path_factory.mktemp("pebble"), BRIDGE, address)
        try:
            must(SERVER, "apt-get -qq update && apt-get -qq install --yes ca-certificates")
            run("docker", "cp", authority.trust, f"{SERVER.container}:{TRUSTED}")
            must(SERVER, "update-ca-certificates")
            acme = {
                "gateway_tls": "acme",
                "gateway_tls_names": [NAME],
                "gateway_acme_agreed": True,
                "gateway_acme_directory": authority.directory,
            }
            path = tmp_path_factory.mktemp("acme") / "lab_ssh.py"
            own = f'"ssh_port": {SERVER.port}'
            text = (ROOT / INVENTORY).read_text()
            path.write_text(text.replace(own, f"{own}, {repr(acme)[1:-1]}"))
            yield path
        finally:
            authority.end()


def deploy(inventory: Path, *arguments: str) -> Done:
    command = (".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--limit", SERVER.name)
    return run(*command, *arguments)


def shown() -> x509.Certificate:
    return x509.load_pem_x509_certificate(must(SERVER, SHOWN).encode())


def test_one_deploy_orders_it_and_a_second_changes_nothing(inventory: Path) -> None:
    done = deploy(inventory)
    assert done.returncode == 0, done.stderr
    names = shown().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [NAME]
    assert "Pebble" in shown().issuer.rfc4514_string()
    again = deploy(inventory, "--json")
    assert again.returncode == 0, again.stderr
    results = json.loads(again.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS


def test_the_audit_finds_it_as_declared(inventory: Path, tmp_path: Path) -> None:
    done, report = audit(inventory, tmp_path, f"--limit={SERVER.name}")
    assert not with_status(report, "finding", "error"), done.stdout
    assert with_status(report, "pass").keys() >= {"OLS-609", "OLS-610", "OLS-613"}


def test_the_host_s_timer_renews_it(inventory: Path) -> None:
    before = shown().serial_number
    assert must(SERVER, "systemctl is-active certbot.timer") == "active\n"
    must(SERVER, "certbot renew --force-renewal --no-random-sleep-on-renew")
    assert shown().serial_number != before
    assert deploy(inventory).returncode == 0
