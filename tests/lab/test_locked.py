"""Tokens and the site's own certificate: who may pass and where to, and the audit of it; no secret is told."""

from __future__ import annotations

import json
import runpy
import socket
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import httpx
import ollama
import openai
import pytest

from lab.sshd import ADDRESSES, Sshd
from ollama_stack.containers import CONFIG, PROGRAMS
from ollama_stack.inventory import Target, read_inventory
from tests.lab.conftest import ACTIONS, SUDOER, deployed, run, sh
from tests.lab.mutations import AUTHORITY, LOCKED, SSH_NAME, Batch, batches
from tests.lab.test_audit import Deployed, audit, name, turns_red, with_status
from tests.lab.test_gateway import MODEL, question
from tests.lab.test_gateway_door import status

HTTPS = "https://127.0.0.1:11434"
ADMIN = "0123456789abcdef-admin-of-the-lab"
PUPIL = "0123456789abcdef-pupil-of-the-lab"
SECRETS = {"admin": ADMIN, "pupil": PUPIL}
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
AS_PUPIL = {"Authorization": f"Bearer {PUPIL}"}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Secrets of the operator's; the first deploy makes the authority."""
    with tempfile.TemporaryDirectory(prefix="ollama-lab-") as name:
        folder = Path(name)
        for token, secret in SECRETS.items():
            (folder / token).touch(mode=0o600)
            (folder / token).write_text(secret)
        rmtree(AUTHORITY, ignore_errors=True)  # of a run that was killed
        yield folder
        rmtree(AUTHORITY)


@pytest.fixture(scope="module")
def inventory(folder: Path) -> Iterator[Path]:
    """An inventory with tokens and a certificate of its own authority, deployed twice."""
    path = folder / "lab.py"
    data = {
        "gateway_tokens": {name: f"file:{folder}/{name}" for name in SECRETS},
        "gateway_tls": "own",
        "gateway_tls_folder": AUTHORITY,
        "gateway_tls_names": [SSH_NAME, ADDRESSES[0]],
    }
    path.write_text(f"medium = [('@local', {data!r})]\n")
    done = run(".venv/bin/pyinfra", "-y", path, "deploy.py")
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert not [secret for secret in (*SECRETS.values(), "PRIVATE KEY") if secret in output]
    again = run(".venv/bin/pyinfra", "-y", path, "deploy.py", "--json")
    results = json.loads(again.stdout)["results"]["operations"]
    assert {operation["name"] for operation in results if operation["success"]} <= ACTIONS
    yield path
    deployed()
    left = sh("ls /opt/ollama-lab/gateway").split()
    assert left == sorted((CONFIG, *PROGRAMS))


@pytest.fixture(scope="module")
def trusted(inventory: Path) -> ssl.SSLContext:
    """Trust in that authority alone."""
    assert inventory
    return ssl.create_default_context(cafile=f"{AUTHORITY}/ca.crt")


@pytest.fixture(scope="module")
def door(trusted: ssl.SSLContext) -> Iterator[httpx.Client]:
    """The door as a client that verifies."""
    with httpx.Client(base_url=HTTPS, verify=trusted, timeout=300) as client:
        yield client


def ask(door: httpx.Client, headers: dict[str, str]) -> httpx.Response:
    return door.post("/api/generate", json=question(), headers=headers)


def raw(trusted: ssl.SSLContext, request: str) -> int:
    """The status of a request that no client library would send; 0 if there is none."""
    with (
        socket.create_connection(("127.0.0.1", 11434), timeout=30) as clear,
        trusted.wrap_socket(clear, server_hostname="127.0.0.1") as one,
    ):
        one.sendall(request.encode())
        return status(one)


@pytest.mark.long("the first in this file: the run that gives tokens and TLS")
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}, {"Authorization": f"Basic {ADMIN}"}, {"Authorization": ""}])  # fmt: skip
def test_without_a_token_nobody_passes(headers: dict[str, str], door: httpx.Client) -> None:
    for path in ("/", "/api/version", "/api/tags", "/v1/models", "/nowhere"):
        answer = door.get(path, headers=headers)
        assert (answer.status_code, "error" in answer.json()) == (401, True)
    assert ask(door, headers).status_code == 401


def test_with_a_token_one_passes(door: httpx.Client) -> None:
    assert ask(door, AS_PUPIL).json()["eval_count"] > 0
    assert door.get("/api/tags", headers={"authorization": f"bearer {PUPIL}"}).json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", f"/api/blobs/sha256:{'0' * 64}"),
    ],
)
def test_only_the_admin_changes_models(method: str, path: str, door: httpx.Client) -> None:
    assert door.request(method, path, headers=AS_PUPIL).status_code == 403
    assert door.request(method, path, headers=AS_ADMIN).status_code in (400, 404)
    assert "error" in door.request(method, path, headers=AS_ADMIN).json()


def test_the_admin_s_changes_work(door: httpx.Client) -> None:
    body = {"source": MODEL, "destination": "copied:1"}
    assert door.post("/api/copy", json=body, headers=AS_ADMIN).status_code == 200
    gone = door.request("DELETE", "/api/delete", json={"model": "copied:1"}, headers=AS_ADMIN)  # fmt: skip
    assert gone.status_code == 200


@pytest.mark.parametrize(
    "target",
    [
        *("//api/pull", "/api//pull", "/api/./pull", "/api/../api/pull", "/api/pull/"),
        *("/api/%70ull", "/%61pi/pull", "/API/PULL", "/api/pull%00", "/api/pull;x"),
        *("/v1/models/../../api/pull", "/v1/models/%2e%2e", "/api/tags/..", "/metrics", "*"),
    ],
)
def test_no_spelling_slips_through(target: str, trusted: ssl.SSLContext) -> None:
    status = raw(trusted, f"POST {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {PUPIL}\r\nContent-Length: 2\r\n\r\n{{}}")  # fmt: skip
    assert status in (400, 403, 404)


def test_an_authorization_header_of_64_kb_is_refused(trusted: ssl.SSLContext) -> None:
    huge = "x" * 65536
    head = f"GET /api/tags HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {huge}\r\n\r\n"
    assert raw(trusted, head) == 431


def test_two_authorizations_are_none(trusted: ssl.SSLContext) -> None:
    both = f"Authorization: Bearer wrong\r\nAuthorization: Bearer {PUPIL}\r\n"
    assert raw(trusted, f"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n{both}\r\n") == 401


def test_the_token_stays_at_the_gateway_and_addresses_are_its_own(door: httpx.Client) -> None:
    door.get("/api/tags", headers=AS_PUPIL | {"X-Forwarded-For": "6.6.6.6"})
    log = sh("docker logs --tail 5 ollama 2>&1")
    assert "6.6.6.6" not in log


def test_official_clients_stream_with_a_token(trusted: ssl.SSLContext) -> None:
    with ollama.Client(host=HTTPS, headers=AS_PUPIL, verify=trusted) as theirs:
        parts = list(theirs.generate(MODEL, "hi", stream=True, options={"num_predict": 8}))
    assert parts[-1]["done"]
    trusting = openai.DefaultHttpxClient(verify=trusted)
    with openai.OpenAI(base_url=f"{HTTPS}/v1", api_key=PUPIL, http_client=trusting) as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=8, stream=True
        )
        assert len(list(stream)) > 1


def test_secrets_are_nowhere_but_with_their_owner() -> None:
    assert sh("stat -c '%a %u' /opt/ollama-lab/gateway/tokens.map") == "600 99\n"
    assert sh("stat -c '%a %u' /opt/ollama-lab/local-token.header") == "600 0\n"
    everything = sh(
        "cat /opt/ollama-lab/gateway/*; docker inspect ollama ollama-gateway;"
        "docker logs ollama-gateway 2>&1"
    )
    assert ADMIN not in everything
    assert PUPIL not in everything
    names = {line.split('"token":"')[1].split('"')[0] for line in everything.splitlines() if '"token":"' in line}  # fmt: skip
    assert {"pupil", "admin", "local"} <= names


def test_a_refusal_over_http_2_is_not_lost(inventory: Path) -> None:
    """With HTTP/2 one refusal of five came as a broken stream."""
    refused = f"curl -sk --http2 -d '{{}}' -o /dev/null -w '%{{http_code}} ' {HTTPS}"
    pupil = f"-H 'Authorization: Bearer {PUPIL}'"
    assert sh(f"for i in $(seq 40); do {refused}/api/pull {pupil}; done").split() == ["403"] * 40
    assert sh("stat -c '%a %u' /opt/ollama-lab/gateway/tls.pem") == "600 99\n"


@pytest.fixture(scope="module")
def as_deployed(inventory: Path) -> Deployed:
    assert inventory
    return Deployed(HTTPS)


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
    over_ssh = server.inventory([(SSH_NAME, server.data(ADDRESSES[0], SUDOER) | data)])
    done, report = audit(over_ssh, tmp_path, "--deep")
    assert done.returncode == 0, done.stdout
    assert with_status(report, "pass").keys() >= {"OLS-509", "OLS-608", "OLS-517"}


@pytest.fixture(scope="module")
def targets(inventory: Path) -> list[Target]:
    return read_inventory(str(inventory))


@pytest.mark.long("each other certificate is loaded by two reloads; the way back is a run")
@pytest.mark.parametrize("batch", batches(LOCKED), ids=name)
def test_what_is_broken_turns_red_and_nothing_else(
    batch: Batch, targets: list[Target], as_deployed: Deployed, tmp_path: Path
) -> None:
    turns_red(batch, as_deployed, targets, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("id_", LOCKED)
def test_each_control_turns_red_alone(
    id_: str, targets: list[Target], as_deployed: Deployed, tmp_path: Path
) -> None:
    turns_red({id_: LOCKED[id_]}, as_deployed, targets, tmp_path)
