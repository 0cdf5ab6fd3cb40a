"""Every real client by its own way: pages, tokens as they are sent, names, and how errors are written."""

from __future__ import annotations

import base64
import socket

import httpx
import ollama
import openai
import pytest

from lab import plain
from ollama_stack.config import tokens
from ollama_stack.stack.door import LIMITS
from tests.door.conftest import SECRETS, TOKENS, Door, Opener, bearer, question, status, until
from tests.door.double import CHUNKS, MODEL

PAGE = {"Origin": "http://localhost:3000"}
ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize(
    "origin",
    ["http://localhost:3000", "https://127.0.0.1", "http://0.0.0.0:1", "app://obsidian.md", "vscode-webview://a1-b2"],
)  # fmt: skip
def test_a_page_of_this_machine_asks_beforehand_without_a_token(locked: Door, origin: str) -> None:
    answer = locked.client.options("/api/chat", headers=ASKED | {"Origin": origin})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization"
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert locked.client.options("/api/chat", headers={"Origin": origin}).status_code == 401


def test_its_script_reads_answers_and_refusals(locked: Door) -> None:
    answer = locked.client.post("/api/generate", json=question(), headers=PAGE | bearer("one"))
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, PAGE["Origin"])  # fmt: skip
    assert "origin" not in {name.lower() for name in locked.ollama.came[-1][1]}
    refusal = locked.client.post("/api/generate", json=question(), headers=PAGE)
    assert (refusal.status_code, refusal.headers["Access-Control-Allow-Origin"]) == (401, PAGE["Origin"])  # fmt: skip


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost.evil.example", "http://localhost:80@evil.example", "null"],
)  # fmt: skip
def test_other_pages_may_not_ask(door: Door, origin: str) -> None:
    before = len(door.ollama.came)
    for method in ("GET", "OPTIONS"):
        answer = door.client.request(method, "/api/tags", headers=ASKED | {"Origin": origin})
        assert answer.status_code == 403
        assert "gateway_origins" in answer.json()["error"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert len(door.ollama.came) == before


def test_a_site_names_its_pages_and_its_host(opened: Opener) -> None:
    door = opened(gateway_origins=["https://*.school.example"], gateway_hosts=["ai.school.example"])
    ours, named = {"Origin": "https://a.school.example"}, {"Host": "ai.school.example:80"}
    assert door.client.get("/api/tags", headers=ours | named).status_code == 200
    assert door.client.get("/api/tags", headers=PAGE).status_code == 403
    assert door.client.get("/api/tags", headers={"Host": "aixschool.example"}).status_code == 403


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:11434", "[::1]:11434", "10.0.0.5", "gateway:11435", "x.localhost"])  # fmt: skip
def test_this_host_may_be_called_so(door: Door, name: str) -> None:
    assert door.client.get("/api/tags", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "", "a"])  # fmt: skip
def test_a_name_that_leads_here_by_dns_is_none_of_ours(door: Door, name: str) -> None:
    answer = door.client.get("/api/tags", headers={"Host": name})
    assert answer.status_code in (400, 403)


def basic(secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anybody:{secret}".encode()).decode()}


def test_the_token_may_be_a_password(locked: Door) -> None:
    """Moodle's own provider knows Basic alone."""
    assert locked.client.get("/api/tags", headers=basic(SECRETS["one"])).status_code == 200
    assert locked.client.get("/api/tags", headers=basic("x")).status_code == 401
    assert locked.client.get("/api/tags", headers={"Authorization": "Basic !"}).status_code == 401
    assert "authorization" not in {name.lower() for name in locked.ollama.came[-1][1]}


def test_two_tokens_are_none(locked: Door) -> None:
    two = [("Authorization", f"Bearer {SECRETS['one']}"), ("Authorization", f"Bearer {SECRETS['two']}")]  # fmt: skip
    assert locked.client.get("/api/tags", headers=two).status_code == 401


def test_a_token_that_is_taken_away_ends_on_open_connections(opened: Opener) -> None:
    """As host/release takes it away before it loads the new map."""
    door = opened(**TOKENS)
    with plain.Client(base_url=door.url, headers=bearer("one")) as theirs:
        assert theirs.get("/api/tags").status_code == 200
        map_ = door.process.log.parent / "tokens.map"
        with socket.create_connection(("127.0.0.1", door.runtime)) as runtime:
            runtime.sendall(f"del map {map_} {tokens.digest(SECRETS['one'])}\n".encode())
            runtime.recv(1000)
        assert theirs.get("/api/tags").status_code == 401


def test_anthropic_s_clients_are_heard_and_answered_in_their_shape(locked: Door) -> None:
    body = {"model": MODEL, "max_tokens": 8, "messages": [{"role": "user", "content": "hi"}]}
    key = {"x-api-key": SECRETS["one"], "anthropic-version": "2023-06-01"}
    assert locked.client.post("/v1/messages", json=body, headers=key).status_code == 200
    assert "x-api-key" not in {name.lower() for name in locked.ollama.came[-1][1]}
    refusal = locked.client.post("/v1/messages", json=body | {"max_tokens": 9999}, headers=key)
    assert refusal.status_code == 400
    assert (refusal.json()["type"], refusal.json()["error"]["type"]) == ("error", "api_error")
    assert locked.client.get("/api/tags", headers=key).status_code == 401


def test_the_official_clients_stream(locked: Door) -> None:
    with ollama.Client(host=locked.url, headers=bearer("one")) as theirs:
        parts = theirs.generate(MODEL, "hi", stream=True, options={"num_predict": 8})
        assert [part.response for part in parts] == [*CHUNKS, ""]
        assert [model.model for model in theirs.list().models] == [MODEL]
        with pytest.raises(ollama.ResponseError, match="model_num_ctx"):
            theirs.generate(MODEL, "hi", options={"num_ctx": 9999})
    with (
        openai.OpenAI(base_url=f"{locked.url}/v1", api_key=SECRETS["one"], max_retries=0) as client,
        pytest.raises(openai.BadRequestError, match="model_num_predict"),
    ):
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hi"}], max_tokens=9999
        )


def test_openai_s_client_tells_why_there_is_no_answer(opened: Opener) -> None:
    """Of an error in another shape it shows the number alone."""
    door = opened(gateway_answer_timeout="1s", **TOKENS)
    door.ollama.hold.clear()
    with (
        openai.OpenAI(base_url=f"{door.url}/v1", api_key=SECRETS["one"], max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match="Ollama did not answer in time"),
    ):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "hi"}])
    assert door.ask(who="one").json() == {"error": "Ollama did not answer in time"}


def test_no_proxy_keeps_answers_back(door: Door) -> None:
    assert door.ask().headers["X-Accel-Buffering"] == "no"
    page = plain.get(f"http://127.0.0.1:{door.page}/")
    assert page.headers["X-Accel-Buffering"] == "no"


def test_with_tls_browsers_are_told_to_stay_with_it(opened: Opener, certificate: str) -> None:
    door = opened(app_enabled=True, gateway_tls_cert=certificate)
    for port in (door.api, door.page):
        url = f"https://127.0.0.1:{port}/"
        answer = httpx.get(url, verify=False, trust_env=False)  # noqa: S501 its own
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_gateway_answers_for_its_health(door: Door) -> None:
    assert plain.get(f"http://127.0.0.1:{door.health}/alive").text == "alive"


@pytest.mark.parametrize("host", ["", "http://localhost"])
def test_ollama_s_log_has_no_words_of_a_client_s(door: Door, host: str) -> None:
    """Ollama logs what is asked with its query: 150 kB a line, or words that the audit looks for."""
    for path in ("/api/tags", f"/v1/models/{MODEL}"):
        with door.connect() as one:
            query = "?level=ERROR&GGML_ASSERT=" + "y" * 20_000
            one.sendall(f"GET {host}{path}{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert status(one) == 200
        assert door.ollama.came[-1][0] == path


def test_the_app_hears_no_expectation_and_no_date(door: Door) -> None:
    """Both went to its log with what a client had written, or as a traceback."""
    headers = {
        "Expect": '"outcome": "late"',
        "If-Modified-Since": "Mon, 01 Jan 99999999999 00:00:00 GMT",
    }
    plain.get(f"http://127.0.0.1:{door.page}/static/style.css", headers=headers)
    assert not {name.lower() for name in door.app.came[-1][1]} & {name.lower() for name in headers}


def test_what_is_logged_is_json_whatever_comes(door: Door) -> None:
    before = len(door.lines())
    for path in ('/api/"},{"', "/api/tags?x=%22%0a", "/api/generate%0a"):
        door.client.get(path)
        door.client.post(path, content=b'{"model":"abc\n"}')
    until(lambda: len(door.lines()) == before + 6)  # each of them is read as JSON
    for line in door.lines():
        assert set(line) >= {"time", "client", "status", "end"}


def test_a_flood_of_refusals_leaves_the_log_to_others(opened: Opener) -> None:
    """Attack 10b: 22 MB of log in 4 s."""
    door = opened(**TOKENS)
    for _ in range(400):
        door.client.get("/api/tags")
    assert 190 < len(door.lines()) < 230
    before = len(door.lines())
    for _ in range(20):
        door.client.options("/api/chat", headers=ASKED | PAGE)
    assert len(door.lines()) == before
    metrics = plain.get(f"http://127.0.0.1:{door.metrics}/metrics").text
    name = 'haproxy_frontend_http_responses_total{proxy="clients",code="4xx"} '
    assert int(metrics.split(name)[1].split("\n")[0]) >= 400
    door.ask(who="one")
    assert door.lines()[-1]["status"] == 200  # an answer is no refusal


def test_what_no_model_answers_is_logged_up_to_a_rate(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ollama and the app refuse in a millisecond, and a model that is loaded is loaded as fast."""
    monkeypatch.setitem(LIMITS, "logged", 20)
    door = opened(app_enabled=True, **TOKENS)
    door.app.status = 405
    with plain.Client() as stranger:
        for _ in range(40):
            stranger.get(f"http://127.0.0.1:{door.page}/api/ask")
    door.ollama.status = 400
    for _ in range(20):
        assert door.ask(who="one").status_code == 400
    assert len(door.lines()) == 20
    door.ollama.status = 200
    for _ in range(80):
        door.ask(who="one")
    assert len(door.lines()) == 60


@pytest.mark.parametrize("bytes_", [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\n:\r\n\r\n", b"A\0B\r\n\r\n", b""])  # fmt: skip
def test_what_is_no_http_is_counted_and_not_logged(door: Door, bytes_: bytes) -> None:
    """A new connection each time: no bound on requests would hold it."""
    before = len(door.lines())
    for port in (door.api, door.page):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as stranger:
            stranger.sendall(bytes_)
            stranger.shutdown(socket.SHUT_WR)
            stranger.recv(1000)
    door.ask()
    until(lambda: len(door.lines()) > before)
    assert [line["status"] for line in door.lines()[before:]] == [200]
    if bytes_:
        metrics = plain.get(f"http://127.0.0.1:{door.metrics}/metrics").text
        name = 'haproxy_frontend_request_errors_total{proxy="students"} '
        assert int(metrics.split(name)[1].split("\n")[0]) > 0
