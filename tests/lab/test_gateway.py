"""The gateway for real: a queue that is bounded, a door with a lock, and no answer ever cut."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest

from tests.lab.conftest import URL, deploy, deployed, generate, sh, until

METRICS = "http://127.0.0.1:8404/metrics"
MODEL = "smollm2:135m"
ADMIN, PUPIL = "0123456789abcdef-admin", "0123456789abcdef-pupil"
AS_ADMIN = {"Authorization": f"Bearer {ADMIN}"}
AS_PUPIL = {"Authorization": f"Bearer {PUPIL}"}
TOKENS = 'gateway_tokens={"admin": "env:LAB_ADMIN", "pupil": "env:LAB_PUPIL"}'


def question(tokens: int = 8, stream: bool = False) -> dict[str, object]:
    options = {"num_predict": tokens, "temperature": 0}
    return {"model": MODEL, "prompt": "hi", "stream": stream, "options": options}


def ask(tokens: int = 8, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.post(f"{URL}/api/generate", json=question(tokens), headers=headers, timeout=300)


def places() -> tuple[int, int]:
    """How many are in flight and how many wait, by the gateway's metrics."""
    text = httpx.get(METRICS).text
    names = ("haproxy_server_current_sessions", "haproxy_backend_current_queue")
    found = [re.search(rf'^{name}\{{proxy="generations".*\}} (\d+)', text, re.M) for name in names]
    assert all(found)
    flight, queue = (int(match[1]) for match in found if match)
    return flight, queue


def at_once(clients: int, tokens: int) -> tuple[list[httpx.Response], int, int]:
    """So many requests in one moment; the answers, and the most seen in flight and waiting."""
    done = threading.Event()
    seen = [(0, 0)]

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(places())

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda _: ask(tokens), range(clients)))
    done.set()
    watcher.join()
    return answers, max(flight for flight, _ in seen), max(queue for _, queue in seen)


def unload() -> None:
    generate(keep_alive=0)
    until(lambda: httpx.get(f"{URL}/api/ps").json()["models"] == [])


@pytest.mark.parametrize("cold", [False, True])
def test_the_queue_is_bounded_warm_or_cold(cold: bool) -> None:
    unload() if cold else generate()
    answers, flight, queue = at_once(40, tokens=48)
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 503}
    assert (flight, queue) == (3, 15)
    assert 18 <= statuses[200] <= 24  # a slot may free while the last arrive
    for answer in answers:
        if answer.status_code == 503:
            assert answer.headers["Retry-After"] == "5"
            assert answer.json()["error"].startswith("server busy")
        else:
            assert answer.json()["eval_count"] > 0


def test_openai_clients_are_refused_in_their_own_shape() -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    with busy(running=3, waiting=15):
        answer = httpx.post(f"{URL}/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "api_error"


class busy:
    """Streams that hold slots and places in the queue until the end of the block."""

    def __init__(self, running: int, waiting: int) -> None:
        self.wanted = running, waiting
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> None:
        body = json.dumps(question(2000, stream=True))
        for _ in range(sum(self.wanted)):
            one = socket.create_connection(("127.0.0.1", 11434))
            one.sendall(
                f"POST /api/generate HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
                f"{body}".encode()
            )
            self.sockets.append(one)
        until(lambda: places() == self.wanted)

    def __exit__(self, *error: object) -> None:
        for one in self.sockets:
            one.close()
        until(lambda: places() == (0, 0))


def test_short_requests_do_not_wait_and_who_leaves_frees_a_place() -> None:
    with busy(running=3, waiting=5):
        for path in ("/api/version", "/api/tags", "/api/ps", "/v1/models"):
            assert httpx.get(URL + path, timeout=5).status_code == 200
        assert httpx.post(f"{URL}/api/show", json={"model": MODEL}, timeout=5).status_code == 200
    assert generate()["eval_count"] > 0  # the slots are free at once


def test_who_waits_too_long_is_told() -> None:
    deployed("gateway_queue_timeout=1s")
    try:
        with busy(running=3, waiting=0):
            answer = ask()
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert answer.json()["error"].startswith("no place became free in time")
    finally:
        deployed()


def test_an_answer_may_be_longer_than_every_timeout() -> None:
    deployed("gateway_queue_timeout=1s", "gateway_answer_timeout=3s")
    try:
        began = time.monotonic()
        assert last_line(400)["done"]
        assert time.monotonic() - began > 3
    finally:
        deployed()


def test_a_stream_comes_token_by_token() -> None:
    arrivals = []
    with httpx.stream("POST", f"{URL}/api/generate", json=question(24, stream=True)) as answer:
        for line in answer.iter_lines():
            arrivals.append((time.monotonic(), json.loads(line)))
    assert len(arrivals) == 25
    assert arrivals[-1][1]["done"] is True
    assert arrivals[-1][0] - arrivals[0][0] > 0.1  # not all at once


def test_a_reload_cuts_no_answer() -> None:
    deployed("ollama_max_queue=17")
    before = sh("docker inspect --format '{{.State.StartedAt}}' ollama-gateway")
    try:
        with ThreadPoolExecutor(20) as pool:
            streams = [pool.submit(last_line, 16) for _ in range(20)]
            until(lambda: places() == (3, 17))
            deployed("ollama_max_queue=17", "gateway_queue_timeout=119s")
            assert [stream.result()["done"] for stream in streams] == [True] * 20
        assert sh("docker inspect --format '{{.State.StartedAt}}' ollama-gateway") == before
    finally:
        deployed()


def last_line(tokens: int) -> dict[str, Any]:
    """How a streamed answer ends."""
    body = question(tokens, stream=True)
    with httpx.stream("POST", f"{URL}/api/generate", json=body, timeout=300) as answer:
        *_, line = answer.iter_lines()
    last: dict[str, Any] = json.loads(line)
    return last


def test_ollama_s_restart_is_survived() -> None:
    sh("docker restart ollama")
    until(lambda: httpx.get(f"{URL}/api/version").status_code == 200)
    assert generate()["eval_count"] > 0


def test_the_gateway_can_be_left_out_and_put_back() -> None:
    deployed("gateway_enabled=false")
    try:
        assert sh("docker ps --quiet --filter name=ollama-gateway") == ""
        assert generate()["eval_count"] > 0
    finally:
        deployed()
    assert generate()["eval_count"] > 0
    assert places() == (0, 0)


def test_a_configuration_that_haproxy_refuses_changes_nothing(tmp_path: Path) -> None:
    """A certificate whose key is another's passes our own look at it."""
    pem = tmp_path / "tls.pem"
    made = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -keyout {0}.key -out {0}.crt"
    )
    sh(f"cd {tmp_path}; {made.format('one')}; {made.format('two')}; cat one.crt two.key >{pem}")
    loaded = httpx.get("http://127.0.0.1:8404/version").text
    done = deploy(f"gateway_tls_cert={pem}")
    assert done.returncode == 1
    assert "gateway: HAProxy refuses the new configuration, the old one is untouched" in done.stderr
    assert httpx.get("http://127.0.0.1:8404/version").text == loaded
    assert generate()["eval_count"] > 0
    deployed()


def test_a_certificate_makes_it_https(tmp_path: Path) -> None:
    name = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    sh(
        f"cd {tmp_path}; openssl req -x509 -newkey rsa:2048 -nodes -days 1 {name} -keyout key -out crt"
    )
    sh(f"cd {tmp_path}; cat crt key >tls.pem")
    done = deployed(f"gateway_tls_cert={tmp_path}/tls.pem")
    try:
        assert "PRIVATE KEY" not in done.stdout + done.stderr
        trusted = ssl.create_default_context(cafile=tmp_path / "crt")
        with httpx.Client(verify=trusted) as client:
            url = "https://127.0.0.1:11434/api/generate"
            assert client.post(url, json=question(), timeout=300).json()["eval_count"] > 0
        assert sh("stat -c '%a %u' /opt/ollama-lab/gateway/tls.pem") == "600 99\n"
        # With HTTP/2 one refusal of five came as a broken stream.
        refused = "curl -sk --http2 -d '{}' -o /dev/null -w '%{http_code} ' https://127.0.0.1:11434"
        assert sh(f"for i in $(seq 40); do {refused}/api/pull; done").split() == ["403"] * 40
    finally:
        deployed()
    assert sh("ls /opt/ollama-lab/gateway") == "haproxy.cfg\n"


def test_a_log_line_tells_all_but_the_prompt() -> None:
    httpx.post(f"{URL}/api/generate", json=question() | {"prompt": "my secret prompt"})
    httpx.get(f"{URL}/unknown/my-secret-path?q=my-secret-query")
    said = sh("docker logs --tail 20 ollama-gateway 2>&1")
    assert "secret" not in said
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["route"] == "/api/generate"][-1]
    assert (asked["model"], asked["status"]) == (MODEL, 200)
    assert 0 <= asked["wait_ms"] <= asked["total_ms"]
    assert (lines[-1]["route"], lines[-1]["status"]) == ("-", 404)


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


@pytest.mark.parametrize("words", ["", "--header Transfer-Encoding:chunked", "--http2-prior-knowledge"])  # fmt: skip
def test_a_body_over_the_limit_is_refused(words: str, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b" " * (10 * 2**20 + 1))
    said = sh(
        f"curl -sS {words} -H Expect: --data-binary @{tmp_path}/large {URL}/api/generate"
        " --write-out '%{http_code}' --output /dev/null || true"
    )
    assert said == "413"


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


def test_somebody_removed_the_folder_under_the_gateway() -> None:
    sh("rm -r /opt/ollama-lab/gateway")
    deployed()
    assert generate()["eval_count"] > 0


def test_ten_thousand_idle_and_dribbling_connections_disturb_nobody() -> None:
    """At the container's own address, as they come from other machines.

    On loopback Docker's own proxy stands between, and ends where its descriptors do.
    """
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = sh(f"docker inspect --format '{form}' ollama-gateway").strip()
    idle = []
    try:
        for number in range(10_000):
            one = socket.create_connection((address, 11434))
            if number % 10 == 0:  # slow loris: a header that never ends
                one.sendall(b"GET /api/tags HTTP/1.1\r\nX-")
            idle.append(one)
        assert ask().json()["eval_count"] > 0
        until(lambda: b"408" in idle[0].recv(100), seconds=20)
    finally:
        for one in idle:
            one.close()
    assert generate()["eval_count"] > 0
