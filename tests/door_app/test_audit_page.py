"""The audit's page in a real browser: read at a desk, on a phone, on paper, without a script."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from bench.browser_pages import chromium, have
from ollama_stack.reports.audit_files import write
from tests.unit.reports import mixed

PDFTOTEXT = "/usr/bin/pdftotext"
# The texts whose contrast to what is under them is below WCAG's 4.5.
POOR = """() => {
  const parts = text => text.match(/[\\d.]+/g).map(Number)
  const light = text => { const [r, g, b] = parts(text).slice(0, 3).map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b }
  const contrast = element => {
    let under = element
    while (under && (parts(getComputedStyle(under).backgroundColor)[3] ?? 1) === 0) under = under.parentElement
    const back = light(getComputedStyle(under ?? document.documentElement).backgroundColor)
    const text = light(getComputedStyle(element).color)
    return (Math.max(back, text) + 0.05) / (Math.min(back, text) + 0.05) }
  return [...document.querySelectorAll("h1, h2, h3, h4, p, dd, dt, td, th, summary, kbd, a, .badge")]
    .filter(element => element.checkVisibility() && contrast(element) < 4.5)
    .map(element => element.textContent.slice(0, 40)) }"""
SEEN = (
    "ids => ids.filter(id => !document.querySelector(`#host-1-${id} .remedy`)?.checkVisibility())"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    have(PDFTOTEXT, "poppler-utils")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    write(mixed(3), folder)
    return folder / "report.html"


def opened(browser: Browser, report: Path, width: int, height: int, scheme: str) -> Page:
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        java_script_enabled=False,
    )
    page.goto(report.as_uri())
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844), (360, 740)])
def test_findings_are_read_without_a_click_or_a_sideways_scroll(
    width: int, height: int, scheme: str, browser: Browser, report: Path
) -> None:
    page = opened(browser, report, width, height, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    findings = [one for one in mixed(3).hosts[0].results if one.status == "finding"]
    assert page.evaluate(SEEN, [one.control for one in findings]) == []
    assert page.evaluate(POOR) == []
    page.close()


def test_dark_and_light_differ(browser: Browser, report: Path) -> None:
    style = "getComputedStyle(document.body).backgroundColor"
    pages = [opened(browser, report, 1280, 900, scheme) for scheme in ("light", "dark")]
    assert pages[0].evaluate(style) != pages[1].evaluate(style)


def test_what_passed_opens_by_a_click(browser: Browser, report: Path) -> None:
    page = opened(browser, report, 390, 844, "light")
    closed = page.locator("details:not([open])").first
    inside = closed.locator(":scope > :not(summary)").first
    assert not inside.is_visible()
    closed.locator("summary").first.click()
    assert page.locator("details[open]").count() > 0
    page.close()


def test_paper_has_every_finding_with_evidence_and_remedy(
    browser: Browser, report: Path, tmp_path: Path
) -> None:
    page = opened(browser, report, 1280, 900, "dark")
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    done = subprocess.run(
        [PDFTOTEXT, "-raw", tmp_path / "report.pdf", "-"], capture_output=True, text=True
    )
    paper = " ".join(done.stdout.split())
    controls = {control.id: control for control in mixed(3).controls}
    for one in mixed(3).hosts[0].results:
        if one.status == "finding":
            assert controls[one.control].title in paper
            assert f"of {one.control}" in paper
            assert controls[one.control].remedy.split(";")[0][:30] in paper
    page.close()
