"""The gateway for real: a queue that is bounded, a door with a lock, and no answer ever cut."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from lab import plain
from tests.lab.conftest import URL, deploy, deployed, generate, sh, until
from tests.lab.mutations import UNLOAD

MIRRORS = "docker ps --all --quiet --filter name=ollama-lab-"
METRICS = "http://127.0.0.1:8404/metrics"
MODEL = "smollm2:135m"


def question(tokens: int = 8, stream: bool = False) -> dict[str, object]:
    options = {"num_predict": tokens, "temperature": 0}
    return {"model": MODEL, "prompt": "hi", "stream": stream, "options": options}


def ask(tokens: int = 8, headers: dict[str, str] | None = None) -> httpx.Response:
    return plain.post(f"{URL}/api/generate", json=question(tokens), headers=headers, timeout=300)


def places() -> tuple[int, int]:
    """How many are in flight and how many wait, by the gateway's metrics."""
    text = plain.get(METRICS).text
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
    """At Ollama's own address: the gateway lets nobody do that to others."""
    sh(UNLOAD)
    until(lambda: plain.get(f"{URL}/api/ps").json()["models"] == [])


@pytest.mark.long("eighteen answers, three at a time")
@pytest.mark.parametrize("cold", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_queue_is_bounded_warm_or_cold(cold: bool) -> None:
    unload() if cold else generate()
    answers, flight, queue = at_once(40, tokens=8)
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
        answer = plain.post(f"{URL}/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] == "api_error"


class busy:
    """Streams that hold slots and places in the queue until the end of the block."""

    def __init__(self, running: int, waiting: int) -> None:
        self.wanted = running, waiting
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> None:
        body = json.dumps(question(1024, stream=True))
        for _ in range(sum(self.wanted)):
            one = socket.create_connection(("127.0.0.1", 11434))
            one.sendall(
                f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
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
            assert plain.get(URL + path, timeout=5).status_code == 200
        assert plain.post(f"{URL}/api/show", json={"model": MODEL}, timeout=5).status_code == 200
    assert generate()["eval_count"] > 0  # the slots are free at once


def test_a_stream_comes_token_by_token() -> None:
    arrivals = []
    with plain.stream("POST", f"{URL}/api/generate", json=question(24, stream=True)) as answer:
        for line in answer.iter_lines():
            arrivals.append((time.monotonic(), json.loads(line)))
    assert len(arrivals) == 25
    assert arrivals[-1][1]["done"] is True
    assert arrivals[-1][0] - arrivals[0][0] > 0.1  # not all at once


@pytest.mark.slow
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
    with plain.stream("POST", f"{URL}/api/generate", json=body, timeout=300) as answer:
        *_, line = answer.iter_lines()
    last: dict[str, Any] = json.loads(line)
    return last


@pytest.mark.slow
def test_ollama_s_restart_is_survived() -> None:
    sh("docker restart ollama")
    until(lambda: plain.get(f"{URL}/api/version").status_code == 200)
    assert generate()["eval_count"] > 0


@pytest.mark.slow
def test_gateway_and_app_can_be_left_out_and_put_back() -> None:
    deployed("gateway_enabled=false", "app_enabled=false")
    try:
        assert sh("docker ps --all --quiet --filter name=ollama-") == sh(MIRRORS)
        assert generate()["eval_count"] > 0
        with pytest.raises(httpx.ConnectError):
            plain.get("http://127.0.0.1:8080")
    finally:
        deployed()
    assert generate()["eval_count"] > 0
    assert places() == (0, 0)


@pytest.mark.slow
def test_a_configuration_that_haproxy_refuses_changes_nothing(tmp_path: Path) -> None:
    """A certificate whose key is another's passes our own look at it."""
    pem = tmp_path / "tls.pem"
    made = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=x -keyout {0}.key -out {0}.crt"
    )
    sh(f"cd {tmp_path}; {made.format('one')}; {made.format('two')}; cat one.crt two.key >{pem}")
    loaded = plain.get("http://127.0.0.1:8404/version").text
    done = deploy(f"gateway_tls_cert={pem}")
    assert done.returncode == 1
    assert "gateway: HAProxy refuses the new configuration, the old one is untouched" in done.stderr
    assert plain.get("http://127.0.0.1:8404/version").text == loaded
    assert generate()["eval_count"] > 0
    deployed()


def test_a_log_line_tells_all_but_the_prompt() -> None:
    secret = question() | {"prompt": "my secret prompt"}
    plain.post(f"{URL}/api/generate", json=secret, timeout=300)
    plain.get(f"{URL}/unknown/my-secret-path?q=my-secret-query")
    log = sh("docker logs --tail 20 ollama-gateway 2>&1")
    assert "secret" not in log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    asked = [line for line in lines if line.get("route") == "/api/generate"][-1]
    assert (asked["model"], asked["status"]) == (MODEL, 200)
    assert 0 <= asked["wait_ms"] <= asked["total_ms"]
    assert (lines[-1]["route"], lines[-1]["status"]) == ("-", 404)


@pytest.mark.slow
def test_somebody_removed_the_folder_under_the_gateway() -> None:
    sh("rm -r /opt/ollama-lab/gateway")
    deployed()
    assert generate()["eval_count"] > 0


@pytest.mark.slow
def test_four_hundred_silent_connections_of_one_address_leave_room_for_others() -> None:
    """At the container's own address, as they come from other machines; tests/door has the bounds.

    On loopback Docker's own proxy stands between.
    """
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = sh(f"docker inspect --format '{form}' ollama-gateway").strip()
    with ExitStack() as connections:
        for number in range(400):
            one = connections.enter_context(socket.create_connection((address, 11434)))
            if number % 10 == 0:  # slow loris: a header that never ends
                with suppress(ConnectionResetError):
                    one.sendall(b"GET /api/tags HTTP/1.1\r\nX-")
        page = {"prompt": "hi", "max_tokens": 1}  # the app is another address
        inside = f"import httpx; print(httpx.post('http://127.0.0.1:8080/api/ask', json={page}, timeout=60).status_code)"
        assert sh(f'docker exec ollama-app python3 -c "{inside}"') == "200\n"
    until(lambda: places() == (0, 0))
    assert generate()["eval_count"] > 0
