"""Every recipe of docs/clients.md, run as it stands there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from string import Template

import httpx
import playwright
import pytest
from playwright.sync_api import Browser, Error, Page, expect

from bench.browser_pages import chromium
from lab import plain
from lab.packages import modules
from tests.door.conftest import SECRETS, Door
from tests.door.double import CHUNKS

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
NODE = Path(playwright.__file__).parent / "driver" / "node"
ADDRESS = "http://127.0.0.1:11434"  # what a reader of the browser's recipe replaces
ANSWER, NO_TOKEN = "".join(CHUNKS), "a token is needed"


BY = {"sh": ("sh", "-e", "ask.sh"), "python": (sys.executable, "ask.py"), "js": (NODE, "ask.mjs")}


@dataclass(frozen=True)
class Recipe:
    """A block of the page, below its client's name."""

    client: str
    line: int
    language: str
    code: str

    @property
    def streams(self) -> bool:
        return bool(re.search(r"stream\W+true|stream=True|\.stream\(", self.code))


def recipe(block: re.Match[str]) -> Recipe:
    before = PAGE[: block.start()]
    client = re.findall(r"^## (.+)$", before, re.M)[-1].replace("`", "")
    return Recipe(client, before.count("\n") + 1, block[1], block[2])


RECIPES = [recipe(block) for block in re.finditer(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)]
SENT = {
    (client.replace("`", ""), route): set(re.findall(r"`(\w+)`", fields))
    for client, route, fields in re.findall(r"^\| (.+) \| `(/.+)` \| (.+) \|$", PAGE, re.M)
}


def each(*languages: str) -> pytest.MarkDecorator:
    found = [recipe for recipe in RECIPES if recipe.language in languages]
    return pytest.mark.parametrize(
        "recipe", found, ids=lambda one: f"{one.client}, line {one.line}"
    )


def test_every_client_has_its_recipe() -> None:
    assert {recipe.language for recipe in RECIPES} == {"sh", "python", "js", "html", "ini"}
    assert {recipe.client for recipe in RECIPES} == {client for client, _ in SENT}
    whole = {recipe.client for recipe in RECIPES} - {one.client for one in RECIPES if one.streams}
    assert whole == {"Moodle"}


@contextmanager
def running(
    recipe: Recipe, url: str, token: str, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """The recipe as a program, with nothing in its environment but what the page names."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    names = {"PATH": path, "HOME": str(folder), "OLLAMA_URL": url, "OLLAMA_TOKEN": token}
    command = BY[recipe.language]
    (folder / command[-1]).write_text(recipe.code)
    if recipe.language == "js":
        (folder / "node_modules").symlink_to(modules("ollama@0.6.4", "whatwg-fetch@3.6.20"))
    with subprocess.Popen(
        command, cwd=folder, env=names, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        yield process


def output(process: subprocess.Popen[bytes], text_part: str) -> str:
    """What it has printed up to the word, or up to its end."""
    assert process.stdout
    text = ""
    while text_part not in text and (piece := os.read(process.stdout.fileno(), 65536)):
        text += piece.decode()
    return text


@contextmanager
def one_chunk(door: Door) -> Iterator[None]:
    """Ollama says its first word, and the others afterwards."""
    door.ollama.second.clear()
    try:
        yield
    finally:
        door.ollama.second.set()


def check_what_came(door: Door, client: str) -> None:
    """It is what the page says that the client sends, and no token is in it."""
    path, headers, body = door.ollama.came[-1]
    assert set(json.loads(body)) == SENT[client, path]
    assert "authorization" not in {name.lower() for name in headers}


@each("sh", "python", "js")
def test_it_prints_the_answer(locked: Door, recipe: Recipe, tmp_path: Path) -> None:
    with running(recipe, locked.url, SECRETS["one"], tmp_path) as process:
        with one_chunk(locked):
            text = output(process, CHUNKS[0] if recipe.streams else ANSWER)
            assert CHUNKS[0] in text, text
            assert (CHUNKS[-1] not in text) == recipe.streams
        text += output(process, "its end")
    assert process.returncode == 0, text
    assert re.search(".*".join(CHUNKS), text, re.S)
    check_what_came(locked, recipe.client)


@each("sh", "python", "js")
def test_it_says_that_the_token_is_wrong(locked: Door, recipe: Recipe, tmp_path: Path) -> None:
    before = len(locked.ollama.came)
    with running(recipe, locked.url, "wrong", tmp_path) as process:
        text = output(process, "its end")
    assert process.returncode != 0
    assert NO_TOKEN in text
    assert "401" in text or recipe.language == "js"
    assert len(locked.ollama.came) == before


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@contextmanager
def visited(browser: Browser, door: Door, address: str, token: str) -> Iterator[Page]:
    """The recipe as a page of this address, before somebody who types this token."""
    (code,) = (one.code for one in RECIPES if one.language == "html")
    assert code.count(ADDRESS) == 1

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(code.replace(ADDRESS, door.url).encode())

    with ThreadingHTTPServer((address, 0), Site) as site, browser.new_page() as page:
        threading.Thread(target=site.serve_forever, args=(0.01,)).start()
        page.on("dialog", lambda dialog: dialog.accept(token))
        try:
            page.goto(f"http://{address}:{site.server_port}")
            yield page
        finally:
            site.shutdown()


def test_a_page_shows_the_answer(locked: Door, browser: Browser) -> None:
    with one_chunk(locked), visited(browser, locked, "127.0.0.1", SECRETS["one"]) as page:
        expect(page.locator("#answer")).to_have_text(CHUNKS[0])
        locked.ollama.second.set()
        expect(page.locator("#answer")).to_have_text(ANSWER)
    check_what_came(locked, "A page in a browser")


def test_a_page_says_that_the_token_is_wrong(locked: Door, browser: Browser) -> None:
    with visited(browser, locked, "127.0.0.1", "wrong") as page:
        expect(page.locator("#answer")).to_contain_text(NO_TOKEN)


def test_a_page_whose_origin_nobody_named_gets_nothing(locked: Door, browser: Browser) -> None:
    before = len(locked.ollama.came)
    with (
        visited(browser, locked, "127.0.0.2", SECRETS["one"]) as page,
        pytest.raises(Error, match="Failed to fetch"),
    ):
        page.evaluate("url => fetch(url, {headers: {Authorization: 'x'}})", locked.url)
    assert len(locked.ollama.came) == before


def moodle(form: dict[str, str]) -> httpx.Response:
    """What Moodle asks: create_request_object() and add_authentication_headers() of its providers."""
    body: dict[str, object] = {"user": "a1b2"}
    url, auth, headers = form["API endpoint"], None, {}
    if key := form.get("OpenAI API key"):
        headers["Authorization"] = f"Bearer {key}"
        message = {"role": "user", "content": "Why?"}
        body |= {"model": form["Custom model name"], "messages": [message]}
    else:
        url = url.rstrip("/") + "/api/generate"
        if form["Enable basic authentication"] == "yes":
            auth = (form["Username"], form["Password"])
        body |= {"model": form["Text generation model"], "stream": False, "prompt": "Why?"}
        body |= {"options": {}, "system": "Answer shortly."}
    return plain.post(url, json=body, auth=auth, headers=headers)


@each("ini")
@pytest.mark.parametrize(("token", "status"), [(SECRETS["one"], 200), ("wrong", 401)])
def test_moodle_is_answered(locked: Door, recipe: Recipe, token: str, status: int) -> None:
    filled = Template(recipe.code).substitute(OLLAMA_URL=locked.url, OLLAMA_TOKEN=token)
    answer = moodle(dict(line.split(" = ") for line in filled.splitlines()))
    assert answer.status_code == status
    assert (ANSWER if status == 200 else NO_TOKEN) in answer.text
    if status == 200:
        check_what_came(locked, recipe.client)
