"""The gateway's door for real: tokens, routes, bodies; nothing slips through, nothing is told."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import ollama
import openai
import pytest

from tests.lab.conftest import URL, deploy, deployed, generate, run, sh
from tests.lab.test_gateway import MODEL, ask, places, question

ADMIN, PUPIL = "0123456789abcdef-admin", "0123456789abcdef-pupil"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
AS_PUPIL = {"Authorization": f"Bearer {PUPIL}"}
TOKENS = 'gateway_tokens={"admin": "env:LAB_ADMIN", "pupil": "env:LAB_PUPIL"}'


@pytest.fixture(scope="class")
def locked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LAB_ADMIN", ADMIN)
        environment.setenv("LAB_PUPIL", PUPIL)
        done = deployed(TOKENS)
        assert ADMIN not in done.stdout + done.stderr
        yield
        environment.undo()
    deployed()


@pytest.mark.usefixtures("locked")
class TestLocked:
    """With tokens: who may pass, and where to."""

    @pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong-wrong-wrong-wrong"}, {"Authorization": f"Basic {ADMIN}"}, {"Authorization": ""}])  # fmt: skip
    def test_without_a_token_nobody_passes(self, headers: dict[str, str]) -> None:
        for path in ("/", "/api/version", "/api/tags", "/v1/models", "/nowhere"):
            answer = httpx.get(URL + path, headers=headers)
            assert (answer.status_code, "error" in answer.json()) == (401, True)
        assert ask(headers=headers).status_code == 401

    def test_with_a_token_one_passes(self) -> None:
        assert ask(headers=AS_PUPIL).json()["eval_count"] > 0
        assert httpx.get(f"{URL}/api/tags", headers={"authorization": f"bearer {PUPIL}"}).json()

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
    def test_only_the_admin_changes_models(self, method: str, path: str) -> None:
        assert httpx.request(method, URL + path, headers=AS_PUPIL).status_code == 403
        assert httpx.request(method, URL + path, headers=AS_ADMIN).status_code in (400, 404)
        assert "error" in httpx.request(method, URL + path, headers=AS_ADMIN).json()

    def test_the_admin_s_changes_work(self) -> None:
        body = {"source": MODEL, "destination": "copied:1"}
        assert httpx.post(f"{URL}/api/copy", json=body, headers=AS_ADMIN).status_code == 200
        gone = httpx.request("DELETE", f"{URL}/api/delete", json={"model": "copied:1"}, headers=AS_ADMIN)  # fmt: skip
        assert gone.status_code == 200

    @pytest.mark.parametrize(
        "target",
        [
            *("//api/pull", "/api//pull", "/api/./pull", "/api/../api/pull", "/api/pull/"),
            *("/api/%70ull", "/%61pi/pull", "/API/PULL", "/api/pull%00", "/api/pull;x"),
            *("/v1/models/../../api/pull", "/v1/models/%2e%2e", "/api/tags/..", "/metrics", "*"),
        ],
    )
    def test_no_spelling_slips_through(self, target: str) -> None:
        status = raw(f"POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {PUPIL}\r\nContent-Length: 2\r\n\r\n{{}}")  # fmt: skip
        assert status in (400, 403, 404)

    def test_an_authorization_header_of_64_kb_is_refused(self) -> None:
        huge = "x" * 65536
        assert raw(f"GET /api/tags HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {huge}\r\n\r\n") in (400, 401)  # fmt: skip

    def test_two_authorizations_are_none(self) -> None:
        both = f"Authorization: Bearer wrong\r\nAuthorization: Bearer {PUPIL}\r\n"
        assert raw(f"GET /api/tags HTTP/1.1\r\nHost: x\r\n{both}\r\n") == 401

    def test_the_token_stays_at_the_gateway_and_addresses_are_its_own(self) -> None:
        httpx.get(f"{URL}/api/tags", headers=AS_PUPIL | {"X-Forwarded-For": "6.6.6.6"})
        log = sh("docker logs --tail 5 ollama 2>&1")
        assert "6.6.6.6" not in log

    def test_official_clients_stream_with_a_token(self) -> None:
        with ollama.Client(host=URL, headers=AS_PUPIL) as theirs:
            parts = list(theirs.generate(MODEL, "hi", stream=True, options={"num_predict": 8}))
        assert parts[-1]["done"]
        with openai.OpenAI(base_url=f"{URL}/v1", api_key=PUPIL) as client:
            stream = client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=8, stream=True
            )
            assert len(list(stream)) > 1

    def test_secrets_are_nowhere_but_with_their_owner(self) -> None:
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


def raw(request: str) -> int:
    """The status of a request that no client library would send; 0 if there is none."""
    with socket.create_connection(("127.0.0.1", 11434), timeout=30) as one:
        one.sendall(request.encode())
        found = re.match(r"HTTP/1\.[01] (\d+)", one.recv(65536).decode(errors="replace"))
        return int(found[1]) if found else 0


def test_a_secret_that_is_not_there_changes_nothing() -> None:
    done = deploy('gateway_tokens={"admin": "env:NO_SUCH_SECRET"}')
    assert done.returncode == 1
    assert "gateway_tokens.admin: the environment has no NO_SUCH_SECRET; export it" in done.stderr
    assert "Starting operation" not in done.stderr
    assert generate()["eval_count"] > 0


BODY = json.dumps(question())


@pytest.mark.parametrize(
    ("request_text", "statuses"),
    [
        (f"POST /api/generate HTTP/1.0\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}", {200}),
        ("GET /api/tags HTTP/1.0\r\n\r\n", {200}),
        ("GET /api/tags\r\n\r\n", {400}),
        ("GET /api/tags HTTP/9.9\r\nHost: x\r\n\r\n", {200, 400, 505}),
        ("\x00\x01\x02\r\n\r\n", {400}),
        (
            "POST /api/generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            {400},
        ),
        (
            "POST /api/generate HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            {404},  # from Ollama: a model of no name
        ),
        (
            "POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
            "chunked\r\n\r\n0\r\n\r\n",
            {400},
        ),
        ("POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", {400}),
        ("POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n{", {413}),
        ("GET /api/generate HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
        ("POST /api/tags HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", {404}),
        ("TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", {404, 405}),
        ("POST /api/pull HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", {403}),
    ],
)
def test_bad_requests_are_refused_cleanly(request_text: str, statuses: set[int]) -> None:
    assert raw(request_text) in statuses
    assert httpx.get(f"{URL}/api/version").status_code == 200


@pytest.mark.parametrize("words", ["", "--header Transfer-Encoding:chunked", "--http2"])
def test_a_body_over_the_limit_is_refused(words: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (10 * 2**20 + 1))
    said = sh(
        f"curl -sS {words} -H Expect: --data-binary @{tmp_path}/large {URL}/api/generate"
        " --write-out '%{http_code}' --output /dev/null || true"
    )
    assert said == "413"


def test_clear_text_is_http_1_alone() -> None:
    # A refusal over HTTP/2 may come as a broken stream.
    version = ["curl", "-sS", f"{URL}/api/version", "--write-out", "%{http_version}"]
    assert run(*version, "--http2").stdout.endswith("1.1")
    assert run(*version, "--http2-prior-knowledge").returncode != 0


def test_a_body_up_to_the_limit_passes_in_chunks_too() -> None:
    body = json.dumps(question() | {"system": "x" * 10_000, "images": []}).encode()
    answer = httpx.post(f"{URL}/api/generate", content=iter([body[:100], body[100:]]), timeout=300)
    assert answer.json()["eval_count"] > 0


def test_a_body_that_does_not_come_takes_no_slot() -> None:
    head = b"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n"
    slow = [socket.create_connection(("127.0.0.1", 11434)) for _ in range(5)]
    for one in slow:
        one.sendall(head + b" " * 30_000)
    time.sleep(1)
    assert places() == (0, 0)
    assert generate()["eval_count"] > 0
    for one in slow:
        one.settimeout(20)
        assert b" 408 " in one.recv(100)
        one.close()
