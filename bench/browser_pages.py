"""The app's pages in a real browser: their weight, what axe-core finds, how they look. ``make pages``.

Writes a table into docs/benchmarks.md and screenshots into docs/app/.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, Request, expect, sync_playwright

from bench.app_load import APP, APP_METRICS
from lab import plain
from lab.packages import have, modules
from lab.tables import markdown, publish

CHROMIUM = "/usr/bin/chromium"
SHOTS = Path(__file__).parents[1] / "docs" / "app"
TOKEN = Path("/opt/ollama-lab/app/teacher.token")
# The lab's small model writes at least 60 tokens about it: the shortest of 96 answers.
LONG = "Write a very long story about a fox, a river and a school, in many chapters."


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page: every rule it has, best practices too."""
    axe = modules("axe-core@4.14.1") / "axe-core" / "axe.min.js"
    found = page.evaluate(f"{axe.read_text()}; axe.run()")
    assert found["passes"]  # noqa: S101 it has looked
    return [
        f"{one['id']}: {node['html'][:100]}" for one in found["violations"] for node in one["nodes"]
    ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium."""
    have(CHROMIUM, "chromium")
    with sync_playwright() as playwright:
        yield (found := playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"]))
        found.close()


@contextmanager
def crowd(size: int) -> Iterator[None]:
    """So many other students, who keep their places until the end; they have them when it begins."""
    until_busy(0)
    over, asking = threading.Event(), []

    def one() -> None:
        body = {"prompt": LONG}
        headers = {"Accept": "text/event-stream"}
        with plain.Client(base_url=APP, timeout=60) as client:
            client.get("/")
            while not over.is_set():
                with client.stream("POST", "/api/ask", json=body, headers=headers) as reply:
                    if reply.status_code != 200:
                        # A student that does not come back leaves a place that is kept.
                        over.wait(int(reply.headers["Retry-After"]))
                        continue
                    for _ in reply.iter_lines():
                        if over.is_set():
                            break
                client.cookies.clear()
                client.get("/")

    for _ in range(size):
        asking.append(threading.Thread(target=one))
        asking[-1].start()
    try:
        until_busy(size)
        yield
    finally:
        over.set()
        for thread in asking:
            thread.join()


def gauge(name: str) -> int:
    """A figure that the app tells of itself."""
    lines = plain.get(APP_METRICS).text.splitlines()
    return int(float(next(line.split()[1] for line in lines if line.startswith(f"{name} "))))


def until_busy(size: int, seconds: float = 30) -> None:
    """Wait until so many are answered or wait; AssertionError if that does not come."""
    end = time.monotonic() + seconds
    while gauge("app_in_flight") + gauge("app_waiting") != size:
        assert time.monotonic() < end, f"there are not {size} in the app"  # noqa: S101 see above
        time.sleep(0.1)


def ask(page: Page, question: str) -> None:
    """Write a question and press the button."""
    page.fill("#prompt", question)
    page.click("#ask button[type=submit]")


def sign_in(page: Page, token: Path = TOKEN) -> None:
    """As the teacher."""
    page.goto("/teacher")
    page.fill("#token", token.read_text())
    page.click("main form button")
    page.wait_for_selector("#state")


def context(
    chrome: Browser,
    language: str,
    scheme: str = "light",
    width: int = 390,
    script: bool = True,
    app: str = APP,
) -> BrowserContext:
    """A browser of its own: ``en`` or ``ru``, ``light`` or ``dark``; its addresses begin with the app's."""
    return chrome.new_context(
        base_url=app,
        locale={"en": "en-GB", "ru": "ru-RU"}[language],
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": width, "height": 800},
        java_script_enabled=script,
    )


@contextmanager
def visited(page: Page, name: str) -> Iterator[None]:
    """A page of the app in one of its states, as long as it is looked at."""
    match name:
        case "question":
            page.goto("/")
            yield
        case "answer":
            page.goto("/")
            ask(page, "Name three colours.")
            page.wait_for_selector("#stop", state="hidden", timeout=60000)
            yield
        case "waiting" | "refused":
            with crowd(5 if name == "waiting" else 18):
                page.goto("/")
                ask(page, "Name three colours.")
                expect(page.locator("#status")).to_have_text(re.compile(r"\d"), timeout=30000)
                yield
        case "teacher":
            with crowd(5):
                sign_in(page)
                yield
        case "sign in":
            page.goto("/teacher")
            yield
        case "lost":
            page.goto("/nothing")
            yield


NAMES = ("question", "answer", "waiting", "refused", "sign in", "teacher", "lost")
SHOWN = {("answer", "en", "light"): 1000, ("waiting", "ru", "light"): 390, ("refused", "ru", "dark"): 390, ("teacher", "ru", "light"): 390}  # fmt: skip


def look(
    chrome: Browser, name: str, language: str, scheme: str, keep: bool = True, app: str = APP
) -> tuple[int, list[str]]:
    """Bytes of a page's files, fetched without a cache, and what axe-core finds on it.

    What a student is answered is none of them. ``keep``: the screenshot, if docs/ has one of it.
    """
    width = SHOWN.get((name, language, scheme), 390)
    with context(chrome, language, scheme, width, app=app) as fresh:
        page = fresh.new_page()
        fetched: list[Request] = []
        page.on("requestfinished", lambda one: fetched.append(one))  # it takes no built-in method
        with visited(page, name):
            found = violations(page)
            if keep and (name, language, scheme) in SHOWN:
                SHOTS.mkdir(exist_ok=True)
                page.screenshot(path=SHOTS / f"{name}-{language}.png")
            sizes = [request.sizes() for request in fetched if request.method == "GET"]
            return sum(s["responseBodySize"] + s["responseHeadersSize"] for s in sizes), found


def main() -> None:
    """All pages in both languages, light and dark; SystemExit with what axe-core found."""
    rows, wrong = [], []
    with chromium() as chrome:
        for name in NAMES:
            looks = {
                (language, scheme): look(chrome, name, language, scheme)
                for language in ("en", "ru")
                for scheme in ("light", "dark")
            }
            found = [f"{name}: {one}" for _, several in looks.values() for one in several]
            largest = max(size for size, _ in looks.values())
            rows.append([name, f"{largest / 1024:.1f} KiB", len(looks), len(found)])
            wrong += found
    head = ["page", "all its files, fetched anew", "looks (language, light and dark)"]
    publish("pages", markdown([*head, "axe-core violations"], rows))
    if wrong:
        raise SystemExit(json.dumps(wrong, indent=1))


if __name__ == "__main__":
    main()
