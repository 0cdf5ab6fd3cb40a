"""Exactly these fields: what clients need passes, what would change the server for others does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.door.conftest import Door, Opener, bearer, question
from tests.door.double import MODEL

CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
# Ollama's own client for Go, which its command is, writes what is not set as well.
GO_SHOW = {"model": "", "system": "", "template": "", "verbose": False, "options": None, "name": ""}
DEEP: dict[str, Any] = {"type": "object"}
for _ in range(20):
    DEEP = {"type": "array", "items": DEEP}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/generate", question()),
        ("/api/generate", {"model": MODEL}),
        ("/api/generate", question(options={"num_predict": 16, "temperature": 0})),
        ("/api/generate", question(options={"num_ctx": 4096, "num_thread": 2, "seed": 2**40})),
        ("/api/embed", {"model": MODEL, "input": "a", "options": {"num_ctx": None, "num_gpu": None, "num_thread": None}}),
        ("/api/generate", question(options=None, system=None, template=None, shift=None)),
        ("/api/generate", question(options={"num_predict": 16.0, "top_k": 40.0}, top_logprobs=0.0)),
        ("/api/generate", question(template="", raw=False, context=[], images=[])),
        ("/api/generate", question(keep_alive="5m", think=False, format=SCHEMA)),
        ("/api/generate", question(keep_alive=300)),
        ("/api/generate", question(user="a1b2", options={}, system="s")),  # Moodle's provider
        ("/api/generate", question(prompt='"\\u00e9 \\ud83d\\ude00\n', system="é")),
        ("/api/chat", CHAT | {"stream": True, "tools": [{"type": "function"}], "format": "json"}),
        ("/api/chat", CHAT | {"messages": [{"role": "tool", "content": "1", "tool_name": "X"}]}),
        ("/api/chat", CHAT | {"options": {"num_ctx": 4096, "num_predict": 1024}, "keep_alive": 300}),  # Continue, as docs/clients.md has it
        ("/api/embed", {"model": MODEL, "input": ["a", "b"]}),
        ("/api/embeddings", {"model": MODEL, "prompt": "a"}),
        ("/api/show", {"model": MODEL}),
        ("/api/show", {"name": MODEL, "verbose": False}),
        ("/api/show", GO_SHOW | {"model": MODEL}),
        ("/api/show", GO_SHOW | {"name": MODEL, "options": {}}),
        ("/v1/chat/completions", CHAT | {"max_tokens": 8, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", CHAT | {"response_format": {"json_schema": {"schema": SCHEMA}}}),
        ("/v1/chat/completions", CHAT | {"functions": None, "service_tier": None}),
        ("/v1/responses", {"model": MODEL, "input": "a", "previous_response_id": None}),
        ("/v1/completions", {"model": MODEL, "prompt": ["a"], "max_tokens": 8, "logprobs": 5}),
        ("/v1/chat/completions", CHAT | {"logprobs": True, "top_logprobs": 5}),
        ("/v1/embeddings", {"model": MODEL, "input": "a", "encoding_format": "base64"}),
        ("/v1/responses", {"model": MODEL, "input": "a", "max_output_tokens": 8}),
        ("/v1/messages", CHAT | {"max_tokens": 8, "system": "s"}),
        ("/v1/messages", CHAT | {"max_tokens": 8, "tools": [{"name": "f", "input_schema": {"properties": {"Type": {}}}}]}),
        ("/v1/chat/completions", CHAT | {"logit_bias": {str(token): -100 for token in range(900)}, "stop": ["x" * 1024] * 16}),
        ("/v1/chat/completions", CHAT | {"tool_choice": {"type": "function", "function": {"name": "f"}}, "reasoning_effort": "low"}),
        ("/v1/chat/completions", CHAT | {"metadata": {f"{key:064}": "x" * 512 for key in range(16)}, "user": "a"}),
        ("/v1/responses", {"model": MODEL, "input": [{"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "out of memory"}] * 99}]}),
    ],
)  # fmt: skip
def test_what_clients_send_passes_as_it_came(door: Door, path: str, body: dict[str, Any]) -> None:
    answer = door.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    came, _, sent = door.ollama.came[-1]
    assert (came, json.loads(sent)) == (path, body)


def refused(door: Door, path: str, body: Any) -> tuple[int, str]:
    """The status and the words; nothing came to Ollama."""
    before = len(door.ollama.came)
    text = body if isinstance(body, (str, bytes)) else json.dumps(body, ensure_ascii=False)
    answer = door.client.post(path, content=text.encode() if isinstance(text, str) else text)
    assert len(door.ollama.came) == before
    error = answer.json()["error"]
    return answer.status_code, error if isinstance(error, str) else error["message"]


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        ({"options": {"num_ctx": 16384}}, 403, "options.num_ctx: is the administrator's to set (model_num_ctx = 4096)"),
        ({"options": {"num_ctx": "4096"}}, 403, "options.num_ctx: "),
        ({"options": {"num_thread": 8}}, 403, "options.num_thread: is the administrator's to set (num_thread = 2)"),
        ({"options": {"num_batch": 1}}, 403, "options.num_batch: "),
        ({"options": {"num_batch": None}}, 403, "options.num_batch: "),
        ({"options": {"num_gpu": 99}}, 403, "gateway_fields opens it"),
        ({"options": {"use_mmap": True}}, 403, "options.use_mmap: "),
        ({"options": {"num_predict": -1}}, 400, "options.num_predict: is no whole number from 1 to 1024"),
        ({"options": {"num_predict": 0}}, 400, "options.num_predict: "),
        ({"options": {"num_predict": 1025}}, 400, "(model_num_predict)"),
        ({"options": {"num_predict": 8.5}}, 400, "options.num_predict: "),
        ({"options": {"repeat_last_n": 2**31 - 1}}, 400, "options.repeat_last_n: is no whole number from -1 to 1000000"),
        ({"options": {"temperature": "0.2"}}, 400, "options.temperature: is no number"),
        ({"options": {"temperature": 1e308}}, 400, "options.temperature: "),
        ({"options": {"out of memory": 1}}, 400, "options.?: no such field"),
        ({"options": {"out of memory": None}}, 400, "options.?: no such field"),
        ({"options": {"Num_Ctx": 4096}}, 400, "options.Num_Ctx: no such field"),
        ({"options": {"num_gp\u016f": 1}}, 400, "options.?: "),
        ({"options": []}, 400, "options: is no object"),
        ({"keep_alive": 0}, 403, "keep_alive: holds for everybody and is the administrator's to set (ollama_keep_alive = 5m)"),
        ({"keep_alive": "-1m"}, 403, "keep_alive: "),
        ({"keep_alive": "300ms"}, 403, "keep_alive: "),
        ({"options": {"stop": [""] * 3000}}, 400, "too many values"),
        ({"top_logprobs": 21, "logprobs": True}, 400, "top_logprobs: is no whole number from 0 to 20"),
        ({"shift": False}, 403, "shift: is the administrator's to set; gateway_fields opens it"),
        ({"shift": True}, 403, "shift: "),
        ({"template": "{{ .Prompt }}"}, 403, "template: is closed here; gateway_fields opens it"),
        ({"raw": True}, 403, "raw: "),
        ({"context": [1]}, 403, "context: "),
        ({"images": ["aaaa"]}, 403, "images: "),
        ({"model": f"{MODEL}-pristine"}, 404, f"not found; this server has {MODEL}"),
        ({"model": "abc\n"}, 404, "model: '?' not found"),
        ({"model": None}, 400, "model: is missing"),
        ({"model": 1}, 400, "model: is no string"),
        ({"prompt": ["a"]}, 400, "prompt: is no string"),
        ({"stream": "no"}, 400, "stream: is no boolean"),
        ({"format": "xml"}, 400, "format: is neither 'json' nor a schema"),
        ({"options": {"stop": ["x" * 1025]}}, 400, "options.stop: has more than 1024 letters"),
        ({"options": {"stop": "x" * 1025}}, 400, "options.stop: has more than 1024 letters"),
        ({"user": "x" * 1025}, 400, "user: has more than 1024 letters"),
        ({"think": [[]] * 1000}, 400, "think: is too large (1000 values, 16384 letters)"),
        ({"think": {"a": ["x" * 9000] * 2}}, 400, "think: is too large"),
        ({"think": "Out of memory"}, 400, "think: Ollama would take the words 'out of memory'"),
        ({"debug": True}, 400, "debug: no such field"),
    ],
)  # fmt: skip
def test_what_changes_the_server_is_refused(
    door: Door, more: dict[str, Any], status: int, message: str
) -> None:
    found, error = refused(door, "/api/generate", question(**more))
    assert found == status, error
    assert message in error


TOWN = {"type": "object", "properties": {"город": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}  # fmt: skip


def test_escapes_are_what_they_say(opened: Opener) -> None:
    """Python's requests writes Cyrillic with escapes, PHP slashes too."""
    door = opened(gateway_models=["school/physics:1b"])
    call = {"function": {"name": "f", "arguments": {"город": "Омск"}}}
    for path, body in (
        ("/api/generate", question(format=TOWN)),
        ("/api/chat", CHAT | {"tools": [{"type": "function", "function": {"parameters": TOWN}}]}),
        ("/api/chat", CHAT | {"messages": [{"role": "assistant", "tool_calls": [call]}]}),
        ("/api/generate", question() | {"model": "school/physics:1b"}),
    ):
        written = json.dumps(body).replace("/", "\\/")
        answer = door.post(written, path)
        assert answer.status_code == 200, answer.text
        assert door.ollama.came[-1][2] == written.encode()


TIGHT = json.dumps(question(), separators=(",", ":"))[1:]


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"x",' + TIGHT,  # the second would run
        '{"Model":"x",' + TIGHT,
        '{"MODEL":"x",' + TIGHT,
        '{"\\u006dodel":"x",' + TIGHT,
        '{"format":{"$defs":{"a":{},"\\u0061":{}}},' + TIGHT,
        '{"format":{"properties":{"😀":{},"\\ud83d\\uDE00":{}}},' + TIGHT,
        '{"think":{"\\ud800":1,"\\udfff":2},' + TIGHT,  # Go reads both as U+FFFD
        '{"format":{"properties":{"a\\"b":{}}},' + TIGHT,
        '{"option\u017f":{"num_ctx":1},' + TIGHT,  # Go folds it to an s
        '{"\u212aeep_alive":0,' + TIGHT,
        '{" keep_alive":0,' + TIGHT,
        '{"keep_alive\\u0000":0,' + TIGHT,
        "{" + TIGHT + '{"keep_alive":0}',
        "{" + TIGHT + "x",
        "\ufeff{" + TIGHT,
        b'{"system":"\xff",' + TIGHT.encode(),
        '{"options":{"temperature":NaN},' + TIGHT,
        '{"options":{"temperature":Infinity},' + TIGHT,
        '{"options":{"temperature":1e999},' + TIGHT,
        '{"options":{"temperature":01},' + TIGHT,
        '{"options":{"temperature":.5},' + TIGHT,
        '{"options":{"temperature":1},"options":null,' + TIGHT,
        '{"options":{"temperature":' + "1" * 40 + "}," + TIGHT,
        '{"system":"a\nb",' + TIGHT,
        '{"system":"\\x",' + TIGHT,
        '{"think":' + "[" * 5000 + "]" * 5000 + "," + TIGHT,
        "{" + TIGHT[:-1] + ",}",
        "{'model':1}",
        "[]",
        "null",
        "",
        " ",
        '{"model"',
    ],
)
def test_no_spelling_passes(door: Door, body: str | bytes) -> None:
    status, _ = refused(door, "/api/generate", body)
    assert status == 400


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", CHAT | {"max_tokens": 9999}, 400),
        ("/v1/chat/completions", CHAT | {"max_completion_tokens": -1}, 400),
        ("/v1/chat/completions", CHAT | {"options": {"num_ctx": 1}}, 400),
        ("/v1/chat/completions", CHAT | {"response_format": {"json_schema": {"schema": DEEP}}}, 400),
        ("/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 403),
        ("/v1/messages", CHAT | {"max_tokens": 8, "messages": [{"role": "user", "content": [{"type": "image", "Source": {}}]}]}, 400),
        ("/v1/messages", CHAT | {"max_tokens": 8, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, 403),
        ("/v1/messages", CHAT | {"max_tokens": 8, "tools": [{"Type": "web_search_20250305", "name": "web_search"}]}, 400),
        ("/v1/responses", {"model": MODEL, "input": "a", "tools": [{"type": "web_search"}]}, 403),
        ("/api/chat", CHAT | {"tools": [[]]}, 400),
        ("/v1/responses", {"model": MODEL, "input": "a", "text": {"format": {"schema": DEEP}}}, 400),
        ("/v1/responses", {"model": MODEL, "input": [{"content": [{"type": "input_file", "file_data": "a"}]}]}, 403),
        ("/v1/chat/completions", CHAT | {"logprobs": 21}, 400),
        ("/v1/completions", {"model": MODEL, "prompt": "a", "logprobs": 21}, 400),
        ("/v1/embeddings", {"model": MODEL, "input": ["a"] * 33}, 400),
        ("/api/chat", CHAT | {"messages": [{"role": "user", "Content": "x"}]}, 400),
        ("/api/chat", CHAT | {"messages": [{"role": "tool", "content": "x", "tool_call_id": "not enough memory"}]}, 400),
        ("/v1/chat/completions", CHAT | {"messages": [{"role": "user", "content": [{"type": "Allocation failed", "text": "x"}]}]}, 400),
        ("/v1/chat/completions", CHAT | {"tool_choice": {"function": {"name": "out of memory"}}}, 400),
        ("/v1/chat/completions", CHAT | {"reasoning_effort": "x" * 1025}, 400),
        ("/v1/messages", CHAT | {"max_tokens": 8, "stop_sequences": ["x" * 1025]}, 400),
        ("/api/chat", CHAT | {"messages": [{"role": "user", "content": "x", "images": ["a"]}]}, 403),
        ("/api/embed", {"model": MODEL, "input": "a", "options": {"num_ctx": 99}}, 403),
        ("/api/show", {"model": MODEL, "verbose": True}, 403),
        ("/api/show", {"model": "../x"}, 404),
        ("/api/show", GO_SHOW, 400),
        ("/api/show", GO_SHOW | {"model": MODEL, "name": "../x"}, 404),
        ("/api/show", GO_SHOW | {"model": MODEL, "template": "{{ .Prompt }}"}, 400),
        ("/api/show", GO_SHOW | {"model": MODEL, "system": "s"}, 400),
        ("/api/show", GO_SHOW | {"model": MODEL, "system": False}, 400),
        ("/api/show", GO_SHOW | {"model": MODEL, "name": False}, 400),
        ("/api/show", GO_SHOW | {"model": MODEL, "options": {"temperature": 1}}, 400),
    ],
)  # fmt: skip
def test_every_route_is_looked_at(door: Door, path: str, body: dict[str, Any], status: int) -> None:
    found, error = refused(door, path, body)
    assert found == status, error


def test_settings_open_what_a_site_wants(opened: Opener) -> None:
    door = opened(gateway_fields=["template", "num_ctx", "shift"], gateway_models=["other:1b"])
    body = question(template="x", shift=False, options={"num_ctx": 512}) | {"model": "other:1b"}
    assert door.client.post("/api/generate", json=body).status_code == 200
    assert refused(door, "/api/generate", question(raw=True))[0] == 403


def test_a_model_that_nobody_tuned_is_loaded_anew_by_none(opened: Opener) -> None:
    """It runs as Ollama starts it: the declared values start it anew, and the next question does so again."""
    door = opened(gateway_models=["nomic-embed-text:v1.5"])
    other = {"model": "nomic-embed-text:v1.5", "input": "a"}
    for options in ({"num_thread": 2}, {"num_ctx": 4096}):
        assert door.ask(options=options).status_code == 200
        code, error = refused(door, "/api/embed", other | {"options": options})
        assert (code, "is the administrator's to set; gateway_fields opens it" in error) == (
            403,
            True,
        )
    body = other | {"options": {"num_thread": None, "num_ctx": None}}
    assert door.client.post("/api/embed", json=body).status_code == 200


@pytest.mark.parametrize("nothing", ["-0s", "-0", "-00h"])
def test_for_ever_is_not_what_looks_like_it(opened: Opener, nothing: str) -> None:
    """Go reads it as zero, and unloads the model for everybody."""
    door = opened(ollama_keep_alive="-1")
    assert door.ask(keep_alive="-1s").status_code == 200
    assert refused(door, "/api/generate", question(keep_alive=nothing))[0] == 403


def test_the_admin_is_not_looked_at_but_written_down(locked: Door) -> None:
    body = question(keep_alive=0) | {"model": "any:1b"}
    answer = locked.client.post("/api/generate", json=body, headers=bearer("admin"))
    assert answer.status_code == 200
    assert locked.lines()[-1]["model"] == "any:1b"


def test_the_log_has_the_model_that_ran_and_no_other(door: Door) -> None:
    door.ask()
    assert door.lines()[-1]["model"] == MODEL
    for model in ("abc\n", f"{MODEL}-pristine", '"},"x":{"'):
        refused(door, "/api/generate", question() | {"model": model})
        assert door.lines()[-1]["model"] == "-"


def test_only_what_may_be_asked_for_is_listed(door: Door, locked: Door) -> None:
    for path, key, name in (("/api/tags", "models", "name"), ("/api/ps", "models", "name"), ("/v1/models", "data", "id")):  # fmt: skip
        assert [item[name] for item in door.client.get(path).json()[key]] == [MODEL]
        whole = locked.client.get(path, headers=bearer("admin")).json()[key]
        assert [item[name] for item in whole] == [MODEL, f"{MODEL}-pristine"]
    assert door.client.get(f"/v1/models/{MODEL}").status_code == 200
    assert door.client.get(f"/v1/models/{MODEL}-pristine").status_code == 404
