"""The audit of a gateway with a lock: its own controls, and no secret in any report."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.sshd import ADDRESSES, Sshd
from ollama_stack.inventory import Target, read_inventory
from tests.lab.conftest import SUDOER, URL, deployed, run, sh
from tests.lab.mutations import LOCKED, batches
from tests.lab.test_audit import Deployed, audit, turns_red, with_status

SECRETS = {
    "admin": "0123456789abcdef-admin-of-the-lab",
    "pupil": "0123456789abcdef-pupil-of-the-lab",
}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An inventory with tokens and a certificate, deployed."""
    folder = tmp_path_factory.mktemp("locked")
    for name, secret in SECRETS.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(secret)
    sh(
        f"cd {folder} && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN=localhost "
        "-keyout key.pem -out cert.pem 2>/dev/null && cat cert.pem key.pem > tls.pem && chmod 600 tls.pem"
    )
    path = folder / "lab.py"
    data = {
        "gateway_tokens": {name: f"file:{folder}/{name}" for name in SECRETS},
        "gateway_tls_cert": f"{folder}/tls.pem",
    }
    path.write_text(f"medium = [('@local', {data!r})]\n")
    done = run(".venv/bin/pyinfra", "-y", path, "deploy.py")
    assert done.returncode == 0, done.stderr
    yield path
    deployed()


@pytest.fixture(scope="module")
def as_deployed(inventory: Path) -> Deployed:
    assert inventory
    return Deployed(URL.replace("http:", "https:"))


def test_a_locked_gateway_conforms_and_no_report_has_a_secret(
    inventory: Path, tmp_path: Path
) -> None:
    done, report = audit(inventory, tmp_path, "--deep")
    assert done.returncode == 0, done.stdout
    assert with_status(report, "pass").keys() >= {*LOCKED, "OLS-606", "OLS-608", "OLS-517"}
    own = sh("sed -n 's/.*Bearer //p' /opt/ollama-lab/local-token.header").strip()
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) == 4
    for secret in (own, *SECRETS.values(), "PRIVATE KEY"):
        assert all(secret not in text for text in (*written, done.stdout, done.stderr))


def test_who_may_not_read_the_token_uses_sudo(
    inventory: Path, server: Sshd, tmp_path: Path
) -> None:
    """The header file is root's alone, and curl says nothing of a file that it cannot read."""
    (_, data), *_ = runpy.run_path(str(inventory))["medium"]
    over_ssh = server.inventory([("web-1", server.data(ADDRESSES[0], SUDOER) | data)])
    done, report = audit(over_ssh, tmp_path, "--deep")
    assert done.returncode == 0, done.stdout
    assert with_status(report, "pass").keys() >= {"OLS-509", "OLS-608", "OLS-517"}


@pytest.fixture(scope="module")
def targets(inventory: Path) -> list[Target]:
    return read_inventory(str(inventory))


def test_what_is_broken_turns_red_and_nothing_else(
    targets: list[Target], as_deployed: Deployed, tmp_path: Path
) -> None:
    (batch,) = batches(LOCKED)
    turns_red(batch, as_deployed, targets, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("id_", LOCKED)
def test_each_control_turns_red_alone(
    id_: str, targets: list[Target], as_deployed: Deployed, tmp_path: Path
) -> None:
    turns_red({id_: LOCKED[id_]}, as_deployed, targets, tmp_path)
