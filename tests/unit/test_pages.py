"""What people read: links that lead somewhere, commands and messages that exist, one way in."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from ollama_stack import ROOT, paths
from ollama_stack.cli import cli
from tests.audit.controls import specs
from tests.unit.conftest import group_data

DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *DOCS, ROOT / "bench/rivals/README.md"]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SOURCES = ("ollama_stack", "app", "templates")


def prose(text: str) -> str:
    """Without blocks of code, in which brackets are no links."""
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """As GitHub and GitLab make them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return set(map(slug, headings))


def slug(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        path, _, anchor = link.partition("#")
        if "://" in path:
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_index_leads_to_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    assert not [
        p.name
        for p in DOCS
        if p.name != "index.md" and f"{p.relative_to(ROOT / 'docs')})" not in index
    ]


@pytest.mark.parametrize(
    ("section", "answer"),
    [
        ("docs/operate.md#add-a-host", "ollama-stack deploy inventories/school.py --limit"),
        ("docs/trouble.md#students-and-programs", "| 503,"),
        ("docs/operate.md#rotate-a-token", "openssl rand"),
        ("docs/hosts.md#what-was-tried-on-which-system", "| Debian 13"),
    ],
)
def test_the_first_page_leads_to_an_answer(section: str, answer: str) -> None:
    assert f"]({section})" in (ROOT / "README.md").read_text()
    page, _, anchor = section.partition("#")
    parts = re.split(r"^#+ ", (ROOT / page).read_text(), flags=re.MULTILINE)
    (text,) = [part for part in parts if slug(part.partition("\n")[0]) == anchor]
    assert answer in text


def test_the_first_page_fits_on_three_screens() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len([line for line in lines if not line.startswith("<!--")]) <= 145


PICTURES = [path for path in sorted((ROOT / "docs").rglob("*")) if path.suffix in {".png", ".svg"}]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_and_shown_and_loads_nothing(picture: Path) -> None:
    assert picture.stat().st_size < 300_000
    shown = (picture.name, f"{picture.parent.name}/{picture.name}")
    assert any(f"({path})" in page.read_text() for page in PAGES for path in shown)
    if picture.suffix == ".svg":
        text = picture.read_text()
        assert not re.search(r"url\(\W*http|@import|<script", text)
        assert str(ROOT) not in text


@cache
def options(verb: str) -> set[str]:
    done = CliRunner().invoke(cli, [verb, "--help"])
    assert done.exit_code == 0, verb
    return set(re.findall(r"--[a-z][\w-]*", done.output))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_verb_option_and_target_exists(page: Path) -> None:
    text = page.read_text()
    for verb, rest in re.findall(r"ollama-stack ([a-z]+)([^\n`|&;#]*)", text):
        assert set(re.findall(r"--[a-z][\w-]*", rest)) <= options(verb), verb
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"(?:`|^)make ([a-z-]+)\b", text, re.MULTILINE)
    assert set(made) <= targets


def test_the_first_page_has_the_number_of_controls() -> None:
    assert f"[{len(specs())} controls]" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("file", ["all", "lab"])
def test_the_first_page_has_the_versions_in_both_languages(file: str) -> None:
    _, _, version = group_data(file)["ollama_image"].partition(":")
    english, _, russian = (ROOT / "README.md").read_text().partition("## Быстрый старт")
    named = rf"\s{re.escape(version)}\b"
    assert re.search(named, english)
    assert re.search(named, russian)


def test_what_is_uninstalled_is_what_is_installed() -> None:
    page = (ROOT / "docs/operate.md").read_text()
    passing = {"NEW_KEYRING", "OLD_PIN", "UNITS", "DATA_ROOT", "CONTAINERD_ROOT"}
    stay = {name: path for name, path in vars(paths).items() if name.isupper()}
    files = [f"{paths.UNITS}/ollama.slice"]
    files += [path for name, path in stay.items() if name not in passing]
    assert not [path for path in files if path not in page]


def test_a_message_that_is_explained_is_one_that_is_told() -> None:
    sources = "".join(
        path.read_text()
        for room in SOURCES
        for path in sorted((ROOT / room).rglob("*"))
        if path.suffix in {".py", ".j2", ".lua", ".json", ".sh", ""} and path.is_file()
    )
    sources_joined = re.sub(r'"\s+f?"', "", sources)  # a literal in two lines
    page = (ROOT / "docs/trouble.md").read_text()
    messages = re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", page.partition("## ")[2])
    assert len(messages) > 20
    assert not [message for message in messages if message not in sources_joined]


def test_settings_in_yaml_are_checked_by_an_editor_and_read_by_a_deploy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs/first-inventory.md").read_text().partition("## Settings in an editor")[2]
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    validator = Draft202012Validator(json.loads((ROOT / "docs/settings.schema.json").read_text()))
    settings = yaml.safe_load(text)
    assert validator.is_valid(settings)
    assert not validator.is_valid(settings | {"studnets": 12})
    assert not validator.is_valid(settings | {"app_questions_per_minute": 0})

    (tmp_path / "inventories").mkdir()
    (tmp_path / "inventories/school.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    group: dict[str, object] = {}
    exec(code, group)  # noqa: S102 as pyinfra does
    assert settings.items() <= group.items()
