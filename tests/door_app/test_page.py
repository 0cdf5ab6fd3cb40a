"""The app's pages in a real browser, before a double for the model; tests/lab has the model itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bench.browser_pages import NAMES, ask, chromium, context, look, sign_in
from tests.door_app.conftest import ROOT, App, Speaker, started

RUSSIAN = json.loads((ROOT / "app" / "texts" / "ru.json").read_text())
TIMEOUT = 60_000  # milliseconds, on a machine that others use too


class Shouter(Speaker):
    """Answers with one word that no line has room for."""

    def do_POST(self) -> None:
        self._hear(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self._say(response="W" * 200, done=False)
        self._say(response="", done=True, done_reason="stop", eval_count=1)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Shouter) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        ollama = f"http://127.0.0.1:{server.server_port}"
        with started(tmp_path_factory.mktemp("pages"), ollama) as found:
            yield found
        server.shutdown()


@pytest.fixture
def teacher(app: App) -> Path:
    return Path(app.environment["APP_SECRETS"]) / "teacher.token"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def english(chrome: Browser, app: App) -> Iterator[BrowserContext]:
    with context(chrome, "en", app=app.url) as fresh:
        fresh.set_default_timeout(TIMEOUT)
        yield fresh


@pytest.fixture
def page(english: BrowserContext) -> Page:
    found = english.new_page()
    found.goto("/")
    return found


def test_what_a_model_seldom_says_is_not_lost(page: Page) -> None:
    events = 'event: text\ndata: {"text": "one\u2028two"}\n\nevent: done\ndata: {"cut": false}\n\n'
    # A double: it cannot be provoked.
    page.route("**/api/ask", lambda route: route.fulfill(body=events))
    ask(page, "Say hello.")
    page.wait_for_selector("#stop", state="hidden")
    assert page.locator("#now .answer").text_content() == "one\u2028two"


# A double for the network: every answer is over at once, but its connection ends when told to.
LATE_END = """() => {
  window.connections = [];
  window.fetch = function () {
    var over = new TextEncoder().encode('event: done\\ndata: {"cut": false}\\n\\n');
    return Promise.resolve(new Response(new ReadableStream({ start: function (stream) {
      if (window.connections.push(stream) === 1) stream.enqueue(over);
    } })));
  };
}"""


def test_an_answer_s_late_end_does_not_disturb_the_next_question(page: Page) -> None:
    page.evaluate(LATE_END)
    ask(page, "Say hello.")
    page.wait_for_selector("#stop", state="hidden")
    ask(page, "And again.")
    page.wait_for_function("connections.length === 2")
    page.evaluate("connections[0].close()")
    page.wait_for_timeout(300)
    assert page.inner_text("#status") == "Your question is on its way…"
    assert page.inner_text("#now .asked") == "And again."


@pytest.mark.parametrize(
    ("language", "width"), [("ru", 320), ("en", 320), ("en", 390), ("ru", 390)]
)
def test_nothing_is_wider_than_a_phone(
    language: str, width: int, chrome: Browser, app: App, teacher: Path
) -> None:
    with context(chrome, language, width=width, app=app.url) as fresh:
        page = fresh.new_page()
        page.goto("/")
        ask(page, "Repeat this: " + "W" * 200)
        expect(page.locator("#now .answer")).to_have_text("W" * 200, timeout=TIMEOUT)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sign_in(page, teacher)
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_a_script_the_form_answers(chrome: Browser, app: App) -> None:
    with context(chrome, "ru", script=False, app=app.url) as fresh:
        page = fresh.new_page()
        page.goto("/")
        ask(page, "<b>Say hello.</b>")
        expect(page.locator("p[role=status]").first).to_be_visible(timeout=TIMEOUT)
        assert page.inner_text(".asked") == "<b>Say hello.</b>"
        assert page.inner_text(".answer") == "W" * 200
        assert page.inner_text("p[role=status]") == RUSSIAN["done"]
        assert page.inner_text("#ask button[type=submit]") == "Спросить ещё"


@pytest.mark.parametrize("name", NAMES[:2])
def test_pages_are_light_and_accessible(name: str, chrome: Browser, app: App) -> None:
    scheme = "dark" if NAMES.index(name) % 2 else "light"  # make pages looks at all of them
    for language in ("en", "ru"):
        size, violations = look(chrome, name, language, scheme, keep=False, app=app.url)
        assert violations == []
        assert 0 < size < 50 * 1024


def test_no_script_or_style_of_elsewhere_is_asked_for(
    english: BrowserContext, page: Page, app: App, teacher: Path
) -> None:
    asked: list[str] = []
    english.on("request", lambda request: asked.append(request.url))
    page.goto("/")
    sign_in(page, teacher)
    assert asked
    assert all(url.startswith(app.url) for url in asked)
