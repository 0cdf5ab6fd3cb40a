"""The pages, in both languages, with nothing but a browser's form."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from markupsafe import escape
from werkzeug.datastructures import LanguageAccept

from app import create_app
from app.texts import TEXTS
from tests.unit.app.conftest import TOKENS, Double, occupy, unheard

HERE = Path(__file__).parents[3] / "app"
LANGUAGES = sorted(TEXTS)


def csrf(client: FlaskClient, path: str = "/") -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(path).text)
    assert found
    return found[1]


def ask(client: FlaskClient, prompt: str, language: str = "en") -> Any:
    data = {"prompt": prompt, "csrf_token": csrf(client)}
    return client.post("/", data=data, headers={"Accept-Language": language})


def test_the_languages_say_the_same_things() -> None:
    assert LANGUAGES == ["en", "ru"]
    for key, text in TEXTS["en"].items():
        placeholders = re.findall(r"{\w+}", text)
        assert re.findall(r"{\w+}", TEXTS["ru"][key]) == placeholders, key
    assert TEXTS["ru"].keys() == TEXTS["en"].keys()


def test_nothing_is_said_that_no_page_says() -> None:
    files = [*HERE.glob("*.py"), *HERE.glob("templates/*"), *HERE.glob("static/*.js")]
    code = "".join(file.read_text() for file in files)
    for key in TEXTS["en"]:
        assert re.search(rf"""t\.{key}\b|["']{key}["']""", code), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_browser_s_language_is_spoken_until_another_is_chosen(
    language: str, client: FlaskClient
) -> None:
    other = {"en": "ru", "ru": "en"}[language]
    headers = {"Accept-Language": f"{language}-XX, fr;q=0.5"}
    page = client.get("/", headers=headers).text
    assert f'<html lang="{language}">' in page
    assert TEXTS[language]["question"] in unescape(page)
    assert f'<html lang="{other}">' in client.get(f"/?lang={other}", headers=headers).text
    assert f'<html lang="{other}">' in client.get("/", headers=headers).text
    assert f'<html lang="{other}">' in client.get("/?lang=xx", headers=headers).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_form_alone_gives_an_answer(language: str, client: FlaskClient) -> None:
    reply = ask(client, "Say hello", language)
    assert reply.status_code == 200
    assert '<div class="answer">Sayhello</div>' in reply.text
    assert TEXTS[language]["done"] in reply.text
    assert reply.text.rstrip().endswith("</html>")


def test_whatever_is_asked_and_answered_stays_text(client: FlaskClient) -> None:
    page = ask(client, "<script>alert(1)</script> <b>").text
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert page.count("&lt;script&gt;") == 3  # asked, answered, and in the form again


def test_a_growing_page_tells_the_place_first(app: Flask, model: Double) -> None:
    client = app.test_client()
    data = {"prompt": "hi", "csrf_token": csrf(client)}
    occupy(app, model, 2)
    parts = client.post("/", data=data, buffered=False).iter_encoded()
    assert b'<div class="places"' in next(parts)
    assert next(parts) == b"<p>You are number 1 in the queue, about 5 s.</p>\n"
    model.let.set()
    assert b'<div class="answer">hi</div>' in b"".join(parts).replace(b"</div><div", b"<div")


def test_a_failed_answer_is_told_on_the_page(client: FlaskClient) -> None:
    page = ask(client, "fail:unavailable").text
    assert TEXTS["en"]["unavailable"] in page
    assert 'role="alert"' in page
    assert ">fail:unavailable</textarea>" in page


def test_an_answer_that_was_broken_off_is_shown_and_says_so(client: FlaskClient) -> None:
    page = ask(client, "& & &").text
    assert '<div class="answer">&amp;&amp;&amp;</div>' in page
    assert TEXTS["en"]["repeated"] in page


def test_who_leaves_before_the_page_begins_gives_the_place_away(app: Flask, model: Double) -> None:
    occupy(app, model, 2)
    client = app.test_client()
    data = {"prompt": "hi", "csrf_token": csrf(client)}
    cookie = client.get_cookie("student")
    assert cookie
    unheard(app, "/", data=data, headers={"Cookie": f"student={cookie.value}"})


@pytest.mark.parametrize(
    ("prompt", "status", "message"),
    [("  ", 400, "empty"), ("x" * 101, 400, "too_long"), ("hi", 503, "full")],
)
def test_a_refusal_is_told_and_keeps_the_question(
    prompt: str, status: int, message: str, app: Flask, model: Double
) -> None:
    occupy(app, model, 5)
    reply = ask(app.test_client(), prompt)
    assert reply.status_code == status
    assert TEXTS["en"][message].partition("{")[0] in reply.text
    assert f">{prompt.strip()}</textarea>" in reply.text
    assert ("Retry-After" in reply.headers) == (status == 503)


def test_a_form_of_a_foreign_page_is_not_answered(client: FlaskClient, model: Double) -> None:
    client.get("/")
    for data in ({"prompt": "hi"}, {"prompt": "hi", "csrf_token": "forged"}):
        reply = client.post("/", data=data)
        assert reply.status_code == 400
        assert ">hi</textarea>" in reply.text
    assert not model.asked


@pytest.mark.parametrize("path", ["/", "/teacher", "/nothing", "/api/openapi.json", "/healthz", "/static/ask.js"])  # fmt: skip
def test_every_answer_shuts_out_foreign_scripts_and_frames(path: str, client: FlaskClient) -> None:
    with client.get(path) as reply:
        headers = reply.headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert ("no-store" in headers["Cache-Control"]) == (path != "/static/ask.js")


@pytest.mark.parametrize(("proto", "secure"), [("http", False), ("https", True)])
def test_the_cookie_is_signed_and_the_app_s_alone(
    proto: str, secure: bool, client: FlaskClient
) -> None:
    cookie = client.get("/", headers={"X-Forwarded-Proto": proto}).headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("Secure" in cookie) == secure


def test_a_cookie_that_somebody_else_has_signed_is_nobody_s(
    environment: dict[str, str], model: Double, client: FlaskClient
) -> None:
    client.get("/")
    known = client.get_cookie("student")
    assert known
    assert "Set-Cookie" not in client.get("/").headers
    (Path(environment["APP_SECRETS"]) / "cookie.key").write_text("another key" * 6)
    other = create_app(environment, model).test_client()
    other.set_cookie("student", known.value)
    assert "Set-Cookie" in other.get("/").headers


def test_pages_are_light_and_ask_for_nothing_elsewhere(client: FlaskClient) -> None:
    pages = [client.get(path).text for path in ("/", "/teacher", "/nothing")]
    files = "".join(file.read_text() for file in HERE.glob("static/*"))
    for page in pages:
        assert len(page.encode()) + len(files.encode()) < 50 * 1024
    for text in (files.replace("http://www.w3.org/2000/svg", ""), *pages):
        assert not re.search(r"https?://|@import|url\(", text)


def test_the_script_s_texts_are_there(client: FlaskClient) -> None:
    found = re.search(r"data-texts='([^']+)'", client.get("/").text)
    assert found
    texts = json.loads(unescape(found[1]))
    script = (HERE / "static" / "ask.js").read_text()
    names = set(re.findall(r"""(?:say\(|end\(|again\(.*, )"(\w+)\"""", script)) | {"ask_again"}
    assert names | {"done", "cut", "repeated"} == texts.keys()


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [("GET", "/nothing", 404, "lost"), ("GET", "/teacher/out", 405, "bad"), ("GET", "/metrics", 500, "broken")],
)  # fmt: skip
def test_a_page_that_is_not_says_what_it_is(
    method: str, path: str, status: int, message: str, app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    if status == 500:
        monkeypatch.delitem(app.extensions, "service")
    reply = app.test_client().open(path, method=method)
    assert reply.status_code == status
    assert f"<h1>{escape(TEXTS['en'][message])}</h1>" in reply.text
    assert f"<title>{escape(TEXTS['en'][message])}</title>" in reply.text
    assert set(reply.allow) == ({"POST", "OPTIONS"} if status == 405 else set())


def test_a_teacher_s_old_form_is_the_teacher_s_again(client: FlaskClient) -> None:
    reply = client.post("/teacher", data={"token": "any", "csrf_token": "old"})
    assert reply.status_code == 400
    assert TEXTS["en"]["old_sign_in"] in reply.text
    assert 'id="token"' in reply.text


def test_who_is_lost_finds_back(client: FlaskClient) -> None:
    reply = client.get("/nothing")
    assert reply.status_code == 404
    assert 'href="/"' in reply.text


def sign_in(client: FlaskClient, token: str) -> Any:
    data = {"token": token, "csrf_token": csrf(client, "/teacher")}
    return client.post("/teacher", data=data)


def test_the_teacher_s_page_opens_to_the_token_alone(app: Flask, model: Double) -> None:
    client = app.test_client()
    assert ask(client, "fail:busy").text
    assert "Being answered" not in client.get("/teacher").text
    assert client.get("/teacher/state").status_code == 403
    assert sign_in(client, "not the token").status_code == 403
    assert sign_in(client, TOKENS["teacher.token"]).status_code == 303
    page = client.get("/teacher").text
    for text in ("0 of 2", "0 of 3", "qwen2.5:1.5b", "why it failed", TEXTS["en"]["busy"]):
        assert text in page
    occupy(app, model, 4)
    assert "2 of 2" in client.get("/teacher/state").text
    assert "2 of 3" in client.get("/teacher/state").text
    assert client.post("/teacher/out", data={"csrf_token": csrf(client, "/teacher")}).status_code == 303  # fmt: skip
    assert client.get("/teacher/state").status_code == 403


@pytest.mark.parametrize("text", ["maths2026", None, b"\xff" * 40])
def test_without_a_token_there_is_a_sentence_and_students_ask_on(
    text: str | bytes | None, environment: dict[str, str], client: FlaskClient
) -> None:
    token = Path(environment["APP_SECRETS"]) / "teacher.token"
    if text is None:
        token.unlink()
    else:
        token.write_bytes(text if isinstance(text, bytes) else text.encode())
    reply = client.get("/teacher")
    assert reply.status_code == 503
    assert escape(TEXTS["en"]["no_token"]) in reply.text
    assert sign_in(client, "maths2026").status_code == 503
    assert ask(client, "hi").status_code == 200


def test_another_token_signs_everybody_out(
    environment: dict[str, str], client: FlaskClient
) -> None:
    sign_in(client, TOKENS["teacher.token"])
    assert client.get("/teacher/state").status_code == 200
    (Path(environment["APP_SECRETS"]) / "teacher.token").write_text("9" * 64)
    assert client.get("/teacher/state").status_code == 403


def test_the_language_is_found_once_and_in_what_is_short(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each text looked anew through all that the browser had said: 0.3 s of processor for 16 kB."""
    heard: list[int] = []
    found = LanguageAccept.best_match

    def best_match(self: LanguageAccept, *given: Any) -> Any:
        heard.append(len(self))
        return found(self, *given)

    monkeypatch.setattr(LanguageAccept, "best_match", best_match)
    page = client.get("/", headers={"Accept-Language": "ru," + "a," * 8000})
    assert '<html lang="ru">' in page.text
    assert len(heard) == 1
    assert heard[0] <= 100


def test_a_refusal_repeats_no_long_key(client: FlaskClient) -> None:
    reply = client.post("/api/ask", json={"prompt": "hi", "k" * 60000: 1})
    assert reply.status_code == 400
    assert len(reply.data) < 1000


def test_a_form_of_many_fields_is_not_read(client: FlaskClient) -> None:
    """Each of 32,000 takes time from everybody: with 150 such forms at once nobody had the page."""
    data = {"csrf_token": csrf(client), "prompt": "hi", **{f"a{n}": "" for n in range(20)}}
    assert client.post("/", data=data).status_code == 413


@pytest.mark.parametrize("path", ["/", "/teacher", "/api/ask"])
def test_a_form_in_parts_is_not_read(client: FlaskClient, path: str) -> None:
    """64 KB of one took 43 ms of everybody's."""
    data = {"csrf_token": csrf(client), "prompt": "hi"}
    assert client.post(path, data=data, content_type="multipart/form-data").status_code == 415


def test_a_form_that_is_no_utf_8_is_not_read(client: FlaskClient) -> None:
    """64 KB of it took 60 ms: Werkzeug quotes each wrong byte again."""
    data = f"csrf_token={csrf(client)}&prompt=%ff"
    kind = "application/x-www-form-urlencoded"
    assert client.post("/", data=data, content_type=kind).status_code == 400
    assert (
        client.post("/", data=data.replace("%ff", "%D0%9E"), content_type=kind).status_code == 200
    )


def test_a_refusal_fits_into_the_gateway_s_buffer(client: FlaskClient) -> None:
    """34 of 258 KB, read slowly, held all that the app has: the page was 503 for everybody."""
    reply = ask(client, "'" * 60_000)
    assert reply.status_code == 400
    assert 40_000 < len(reply.data) < 60_000
