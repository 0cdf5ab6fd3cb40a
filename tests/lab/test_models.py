"""Several models on one server: each asked by what it can, chosen on the page, refused when not listed, removed."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from bench.app_load import APP
from bench.browser_pages import ask, chromium, context, until_busy, violations
from lab import plain
from lab.second import CHATS, EMBEDS
from tests.lab.conftest import ACTIONS, URL, Done, deployed, pyinfra, run, sh
from tests.lab.test_audit import audit, with_status

pytestmark = pytest.mark.slow  # six deploys

FIRST = "smollm2:135m"
ALL = [FIRST, CHATS, EMBEDS]
PROMPT = 'Whatever you are asked, answer "The xyzzy opens at nine"\nand nothing else. It\'s $1 or ${X:-y}.'
KEYWORD = "xyzzy"  # of the prompt
PAGE = {"app_models": [FIRST, CHATS], "app_system_prompt": PROMPT, "app_max_answer": 24}
QUESTION = "Say hello."
PATIENCE = 120_000  # milliseconds, on a machine that others use too


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ollama-lab-") as folder:
        yield Path(folder) / "lab.py"


def declare(path: Path, **data: Any) -> None:
    path.write_text(f"medium = [('@local', {data!r})]\n")


def deploy(path: Path, **data: Any) -> Done:
    declare(path, **data)
    return run(".venv/bin/pyinfra", "-y", path, "deploy.py", "--json")


def on_disk() -> list[str]:
    """All models, as the host has them."""
    lines = sh("docker exec ollama ollama list").splitlines()[1:]
    return sorted(line.split()[0] for line in lines)


@pytest.fixture(scope="module", autouse=True)
def several(path: Path) -> Iterator[Done]:
    """Three models deployed, of which the page offers two; the lab as it was afterwards."""
    before = on_disk()
    published = pyinfra("lab/models.py")
    assert published.returncode == 0, published.stderr
    done = deploy(path, models=ALL, **PAGE)
    assert done.returncode == 0, done.stderr
    yield done
    assert deploy(path, models_prune=True).returncode == 0
    deployed()
    sh("rm -f /opt/ollama-lab/model-*.digest")
    assert on_disk() == before


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def post(url: str, **body: Any) -> httpx.Response:
    return plain.post(url, json=body, timeout=300)


def generate(model: str, **more: Any) -> dict[str, Any]:
    body = {"prompt": QUESTION, "stream": False, "options": {"num_predict": 24}} | more
    answer = post(f"{URL}/api/generate", model=model, **body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def afresh(**more: Any) -> str:
    """The second one's answer by a runner just loaded: what is in its cache is not summed again, and rounds otherwise."""
    generate(FIRST)
    return str(generate(CHATS, **more)["response"])


def in_memory() -> list[str]:
    return [one["name"] for one in plain.get(f"{URL}/api/ps").json()["models"]]


def test_each_was_asked_by_what_it_can_and_the_first_is_in_memory(several: Done) -> None:
    assert in_memory() == [FIRST]
    log = sh("docker logs --tail 99 ollama-gateway 2>&1 | grep '\"route\"'")
    asked = {
        (one["model"], one["route"], one["status"]) for one in map(json.loads, log.splitlines())
    }
    assert {(CHATS, "/api/generate", 200), (EMBEDS, "/api/embed", 200)} <= asked
    output = several.stdout + several.stderr
    assert KEYWORD not in output
    assert b64encode(PROMPT.encode()).decode() not in output


def test_a_second_run_changes_nothing(path: Path) -> None:
    done = run(".venv/bin/pyinfra", "-y", path, "deploy.py", "--json")
    results = json.loads(done.stdout)["results"]["operations"]
    done_something = {one["name"] for one in results if one["success"]}
    assert done_something <= ACTIONS | {"Smoke | Ask another model"}
    assert in_memory() == [FIRST]


def test_a_plan_says_which_models_count_and_that_they_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "lab.py"

    def planned(**more: Any) -> dict[str, Any]:
        declare(path, models=ALL, **PAGE, **more)
        done = run(".venv/bin/ollama-stack", "plan", path, "--json")
        assert KEYWORD not in done.stdout + done.stderr
        (host,) = json.loads(done.stdout)["hosts"]
        return dict(host)

    two, one = planned(ollama_max_loaded_models=2), planned()
    # By its file, which is 2 MB more than the first one's weights alone.
    assert one["memory"]["models"] == [CHATS]
    assert one["warnings"] == [
        "models: 3 models take turns in 1 (ollama_max_loaded_models); every change waits for answers to end "
        "and for a load"
    ]
    assert one["changes"] == []
    assert two["memory"]["models"] == [FIRST, CHATS]
    assert f"{CHATS} beside it" in two["memory"]["terms"]
    assert f"{CHATS} taken as large as {FIRST}" in two["memory"]["source"]


def test_the_audit_conforms_and_has_a_checksum_of_the_words_alone(
    path: Path, tmp_path: Path
) -> None:
    done, report = audit(path, tmp_path, "--deep")
    assert done.returncode == 0, done.stdout
    passed = with_status(report, "pass")
    assert passed["OLS-1220"]["live"] == f"{FIRST}, {CHATS}"
    assert passed["OLS-1221"]["live"] == sha256(PROMPT.encode()).hexdigest()
    assert {"OLS-401", "OLS-403", "OLS-404", "OLS-405", "OLS-406", "OLS-407"} <= passed.keys()
    text = (tmp_path / "report.json").read_text() + (tmp_path / "report.html").read_text()
    assert KEYWORD not in text
    assert b64encode(PROMPT.encode()).decode() not in text


def test_one_embeds_for_real_and_cannot_chat() -> None:
    texts = ["A man is eating food.", "A man eats bread.", "The girl plays the violin."]
    vectors = post(f"{URL}/api/embed", model=EMBEDS, input=texts).json()["embeddings"]
    same, other = (sum(a * b for a, b in zip(vectors[0], v, strict=True)) for v in vectors[1:])
    assert (len(vectors[0]), same > 0.6, other < 0.2) == (384, True, True)
    refused = post(f"{URL}/api/generate", model=EMBEDS, prompt=QUESTION)
    assert refused.status_code == 400
    assert "does not support generate" in refused.json()["error"]


def test_a_change_of_model_costs_a_load() -> None:
    generate(FIRST)
    again = generate(FIRST)["load_duration"]
    changed = generate(CHATS)["load_duration"]
    assert changed > 3 * again
    assert in_memory() == [CHATS]


@pytest.mark.parametrize("model", ["smollm2:360m", f"{CHATS}-pristine"])
def test_what_is_not_listed_is_refused_at_the_door(model: str) -> None:
    refused = post(f"{URL}/api/generate", model=model, prompt=QUESTION)
    assert refused.status_code == 404
    assert refused.json()["error"].startswith(f"model: '{model}' not found; this server has ")
    listed = plain.get(f"{URL}/api/tags").json()["models"]
    assert sorted(one["name"] for one in listed) == sorted(ALL)


def answer_of(page: Page, question: str) -> str:
    ask(page, question)
    page.wait_for_selector("#stop", state="hidden", timeout=PATIENCE)
    return str(page.locator("#now .answer").text_content())


def test_students_choose_and_the_model_has_heard_the_teacher(chrome: Browser) -> None:
    until_busy(0)
    generate(FIRST)
    with context(chrome, "en") as fresh:
        page = fresh.new_page()
        page.goto(APP)
        choice = page.get_by_label("Model")
        assert choice.input_value() == FIRST
        assert violations(page) == []
        choice.select_option(CHATS)
        answer = answer_of(page, QUESTION)
        assert in_memory() == [CHATS]
        assert answer == afresh(system=PROMPT)
        assert answer != afresh()
        assert choice.input_value() == CHATS
        page.goto(APP)
        assert choice.input_value() == CHATS  # by the cookie
        assert KEYWORD not in page.content()
        choice.select_option(FIRST)
        answer_of(page, QUESTION)
        assert in_memory() == [FIRST]


def test_without_a_script_the_choice_is_kept_too(chrome: Browser) -> None:
    until_busy(0)
    with context(chrome, "ru", script=False) as fresh:
        page = fresh.new_page()
        page.goto(APP)
        page.get_by_label("Модель").select_option(CHATS)
        ask(page, QUESTION)
        expect(page.locator("p[role=status]").first).to_be_visible(timeout=PATIENCE)
        assert page.get_by_label("Модель").input_value() == CHATS
        assert in_memory() == [CHATS]


def test_the_page_refuses_what_it_does_not_offer() -> None:
    for model in (EMBEDS, "smollm2:360m"):
        refused = post(f"{APP}/api/ask", prompt=QUESTION, model=model)
        assert (refused.status_code, refused.json()["error"]) == (400, "no_model")
        assert refused.json()["message"].startswith("This model is not offered here.")


def test_the_words_are_in_no_log_and_no_declaration() -> None:
    output = sh(
        "docker logs ollama-app 2>&1; docker logs ollama-gateway 2>&1; docker logs ollama 2>&1"
    )
    output += sh("cat /opt/ollama-lab/docker-compose.yml; docker inspect ollama-app")
    assert KEYWORD not in output


def test_one_that_cannot_chat_is_none_for_students(path: Path) -> None:
    done = deploy(path, models=ALL, **PAGE | {"app_models": [FIRST, EMBEDS]})
    assert done.returncode == 1
    assert f"app_models: {EMBEDS} embeds and cannot chat; take it off the list" in done.stderr
    assert post(f"{APP}/api/ask", prompt=QUESTION, model=CHATS, max_tokens=2).status_code == 200


def test_off_the_list_a_model_is_refused_at_once_and_stays_on_the_disk(path: Path) -> None:
    done = deploy(path, models=[FIRST, EMBEDS])
    assert done.returncode == 0, done.stderr
    assert post(f"{URL}/api/generate", model=CHATS, prompt=QUESTION).status_code == 404
    assert post(f"{APP}/api/ask", prompt=QUESTION, model=CHATS).json()["error"] == "no_model"
    assert "<select" not in plain.get(APP).text
    assert {CHATS, f"{CHATS}-pristine"} <= set(on_disk())


def test_only_what_a_deploy_has_pulled_is_pruned(path: Path) -> None:
    sh(f"docker exec ollama ollama cp {CHATS} mine:1")
    try:
        assert deploy(path, models=[FIRST, EMBEDS], models_prune=True).returncode == 0
        assert on_disk() == sorted(
            [FIRST, f"{FIRST}-pristine", EMBEDS, f"{EMBEDS}-pristine", "mine:1"]
        )
        records = {file.name for file in Path("/opt/ollama-lab").glob("*.digest")}
        assert records == {"model.digest", f"model-{quote(EMBEDS, safe='')}.digest"}
        assert generate(FIRST)["response"]
    finally:
        sh("docker exec ollama ollama rm mine:1")
