"""The app's pages in a real browser, before the real model: what a student and a teacher see."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from bench.app_load import APP
from bench.browser_pages import (
    LONG,
    NAMES,
    ask,
    chromium,
    context,
    crowd,
    gauge,
    look,
    sign_in,
    until_busy,
)
from tests.lab.conftest import sh, until

SHORT = "Say hello."
PATIENCE = 120_000  # milliseconds, on a machine that others use too


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def english(chrome: Browser) -> Iterator[BrowserContext]:
    until_busy(0)
    with context(chrome, "en") as fresh:
        yield fresh


@pytest.fixture
def page(english: BrowserContext) -> Page:
    found = english.new_page()
    found.goto("/")
    return found


def status(page: Page) -> str:
    return page.inner_text("#status")


def answered(page: Page, characters: int = 1) -> None:
    """Wait for so much of the answer."""
    enough = re.compile(rf"[\s\S]{{{characters},}}")
    expect(page.locator("#now .answer")).to_have_text(enough, timeout=PATIENCE)


def test_a_newcomer_asks_and_sees_the_answer_stream(page: Page) -> None:
    ask(page, LONG)
    answered(page)
    early = page.inner_text("#now .answer")
    assert status(page) == "The model is writing…"
    answered(page, len(early) + 20)
    assert page.inner_text("#now .answer").startswith(early.strip()[:5])
    assert page.inner_text("#now .asked") == LONG


def test_stop_frees_the_slot_and_one_can_ask_again(page: Page) -> None:
    ask(page, LONG)
    answered(page)
    assert gauge("app_in_flight") == 1
    page.click("#stop")
    assert status(page) == "Stopped."
    until(lambda: gauge("app_in_flight") == 0, 5)
    kept = page.inner_text("#now .answer")
    ask(page, SHORT)
    answered(page)
    assert page.inner_text("#earlier .answer") == kept


def test_who_closes_the_tab_frees_the_slot(page: Page) -> None:
    ask(page, LONG)
    answered(page)
    page.close()
    until(lambda: gauge("app_in_flight") == 0, 5)


def test_one_sees_the_place_in_the_queue_and_how_it_falls(page: Page) -> None:
    with crowd(5):
        ask(page, SHORT)
        expect(page.locator("#status")).to_have_text(
            re.compile(r"number 3 in the queue, about \d+"), timeout=PATIENCE
        )
    answered(page)


def test_who_is_refused_is_told_when_and_comes_back_by_itself(page: Page) -> None:
    with crowd(18):
        ask(page, SHORT)
        expect(page.locator("#status")).to_have_text(
            re.compile(r"queue is full.*automatically in \d+ s"), timeout=PATIENCE
        )
        left = int(re.findall(r"\d+", status(page))[0])
        page.wait_for_timeout(1500)
        assert int(re.findall(r"\d+", status(page))[0]) < left
    answered(page)


@pytest.mark.slow
def test_who_waits_while_the_app_is_replaced_is_asked_for_again_by_itself(
    english: BrowserContext, page: Page
) -> None:
    for _ in range(3):
        other = english.new_page()
        other.goto("/")
        ask(other, LONG)
    until_busy(3)
    ask(page, SHORT)
    until_busy(4)
    sh("docker restart --time 1 ollama-app")
    expect(page.locator("#status")).to_have_text(
        re.compile(r"restarting\. .*automatically in \d+ s"), timeout=PATIENCE
    )
    answered(page)


@pytest.mark.slow
def test_who_asks_too_often_is_told_so(page: Page) -> None:
    for _ in range(6):
        done = page.request.post(f"{APP}/api/ask", data={"prompt": "hi", "max_tokens": 1})
        assert done.status == 200
    ask(page, SHORT)
    page.wait_for_selector("#stop", state="hidden")
    assert re.fullmatch(r"That was 6 questions in a minute\. The next one .* \d+ s\.", status(page))


def test_it_is_used_by_the_keyboard_alone(page: Page) -> None:
    page.keyboard.press("Tab")  # the name
    page.keyboard.press("Tab")  # the language
    page.keyboard.press("Tab")
    page.keyboard.type(SHORT)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#stop", state="visible")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "stop"
    page.keyboard.press("Enter")
    assert status(page) == "Stopped."


@pytest.mark.slow
def test_the_network_that_goes_is_told(english: BrowserContext, page: Page) -> None:
    english.set_offline(True)
    ask(page, SHORT)
    page.wait_for_selector("#stop", state="hidden")
    assert status(page) == "The connection broke off. Check the network, then ask again."
    english.set_offline(False)
    assert page.input_value("#prompt") == SHORT


def test_without_a_script_a_refusal_keeps_the_question(chrome: Browser) -> None:
    until_busy(0)
    with crowd(18), context(chrome, "en", script=False) as fresh:
        page = fresh.new_page()
        page.goto("/")
        page.fill("#prompt", SHORT)
        with page.expect_navigation() as loaded:
            page.click("#ask button[type=submit]")
        assert loaded.value.status == 503
        assert int(loaded.value.headers["retry-after"]) >= 1
        assert page.inner_text("[role=alert]").startswith("The queue is full. Try again in about")
        assert page.input_value("#prompt") == SHORT


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[2:])  # tests/door_app looks at the others
def test_pages_are_light_and_accessible(name: str, chrome: Browser) -> None:
    until_busy(0)
    scheme = "dark" if NAMES.index(name) % 2 else "light"  # make pages looks at all of them
    for language in ("en", "ru"):
        size, violations = look(chrome, name, language, scheme, keep=False)
        assert violations == []
        assert 0 < size < 50 * 1024


def test_the_teacher_sees_the_class_come_and_go(page: Page) -> None:
    sign_in(page)
    expect(page.locator("#state dd").first).to_have_text("0 of 3")
    with crowd(5):
        expect(page.locator("#state dd").first).to_have_text("3 of 3", timeout=PATIENCE)
        assert re.fullmatch(r"[123] of 15", page.locator("#state dd").nth(1).inner_text())
    expect(page.locator("#state dd").first).to_have_text("0 of 3", timeout=PATIENCE)
    page.click("main form button")
    assert page.locator("#token").is_visible()
