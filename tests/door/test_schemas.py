"""Schemas of answers: what pydantic writes passes, what ends llama.cpp, or takes its memory, does not."""

from __future__ import annotations

import enum
import json
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from lab import plain
from tests.door.conftest import Door, Opener, question
from tests.door.double import MODEL
from tests.door.test_fields import CHAT, refused


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Place(BaseModel):
    name: str = Field(description="a town", max_length=40)
    at: tuple[float, float] | None = None


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]
    old: bool = Field(False, deprecated=True)


class Person(BaseModel):
    """What a lesson has pupils ask for."""

    имя: str
    age: Annotated[int, Field(ge=0, le=150)]
    born: date
    colour: Colour = Colour.RED
    kind: Literal["pupil", "teacher"]
    places: list[Place] = Field(max_length=5)
    home: Place = Field(description="where from")
    marks: dict[str, int]
    pet: Cat | Dog = Field(discriminator="kind")


@pytest.mark.parametrize("strict", [False, True])
def test_what_pydantic_writes_passes(door: Door, strict: bool) -> None:
    schema = Person.model_json_schema() | ({"additionalProperties": False} if strict else {})
    assert door.ask(format=schema).status_code == 200
    named = {
        "type": "json_schema",
        "json_schema": {"name": "p", "schema": schema, "strict": strict},
    }
    asked = door.client.post("/v1/chat/completions", json=CHAT | {"response_format": named})
    assert asked.status_code == 200, asked.text
    text = {"format": {"type": "json_schema", "name": "p", "schema": schema}}
    body = {"model": MODEL, "input": "a", "text": text}
    assert door.client.post("/v1/responses", json=body).status_code == 200


def test_an_older_pydantic_s_reference_passes(door: Door) -> None:
    schema = {"properties": {"a": {"allOf": [{"$ref": "#/definitions/A"}]}}, "definitions": {"A": {"type": "null"}}}  # fmt: skip
    assert door.ask(format=schema).status_code == 200


def nested(levels: int, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        found = {"type": "array", "items": found, **more}
    return found


SPREAD = {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}]} for n in range(30)}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (nested(20), "its schema is too large"),
        (nested(13, type=["array"] * 15), "type: is no type"),
        ({"type": "string", "pattern": "^*$"}, "pattern: is closed here; gateway_fields opens it"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}}, "in a circle"),
        ({"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"$ref": "#/$defs/a"}}}, "in a circle"),
        ({"$ref": "#/$defs/d0", "$defs": SPREAD | {"d30": {}}}, "in a circle, or too deep"),
        ({"allOf": [{"type": "null"}, {"type": "null"}]}, "another number of schemas than one"),
        ({"$ref": "https://x/y"}, "ref: is no definition"),
        ({"$ref": "#"}, "ref: is no definition"),
        ({"$ref": "#/$defs/a"}, "ref: is no definition"),
        ({"items": {"$defs": {"a": {}}}}, "stands at the schema's top alone"),
        ({"type": "array", "minItems": 10**6}, "minItems: is no whole number from 0 to 100"),
        ({"type": "array", "minItems": 5, "maxItems": 2}, "minItems is above maxItems"),
        ({"type": "string", "minLength": 5, "maxLength": 2}, "minLength is above maxLength"),
        ({"type": "integer", "minimum": 2, "maximum": 1}, "minimum is above maximum"),
        ({"type": "integer", "minimum": 1e300}, "minimum: is no number of at most 53 bits"),
        ({"properties": {str(n): {"maxLength": 1000} for n in range(9)}}, "5000 repetitions"),
        ({"properties": {"k" * 65: {}}, "additionalProperties": True}, "a name has more than 64 letters"),
        ({"enum": ["x" * 9000]}, "its schema is too large"),
        ({"enum": [nested(20)]}, "its schema is too large"),
        ({"format": "uuid1" * 9}, "format: is no format"),
        ({"Type": "string"}, "Type: no such word of a schema"),
        ({"items": True}, "items: is no object"),
        ({"properties": []}, "properties: is no object"),
        ({"anyOf": {}}, "anyOf: is no list"),
        ({"description": "Out of MEMORY"}, "the words 'out of memory' for an error of its own"),
        ({"default": {"$ref": "#/İnsufficient memory"}}, "the words 'insufficient memory'"),
        ({"properties": {"erroroutofmemory": {}}}, "the words 'erroroutofmemory'"),
        ({"type": "integer", "minimum": 2**53 - 1}, "a bound of more than 15 digits needs the other one"),
        ({"type": "integer", "exclusiveMaximum": -(2**53)}, "a bound of more than 15 digits"),
        ({"required": ["x" * 70_000]}, "a text of more than 64 KB"),
        ({"required": ["x" * 9000 + "OUT of memory"]}, "the words 'out of memory'"),
    ],
)  # fmt: skip
def test_what_could_end_the_model_s_server_is_refused(
    door: Door, schema: dict[str, Any], message: str
) -> None:
    status, error = refused(door, "/api/generate", question(format=schema))
    assert status == (403 if "closed" in message else 400)
    assert message in error
    named = {"json_schema": {"schema": schema}}
    assert refused(door, "/v1/chat/completions", CHAT | {"response_format": named})[0] == status
    asked = {"model": MODEL, "input": "a"}
    written = {"text": {"format": {"schema": schema}}}
    assert refused(door, "/v1/responses", asked | written)[0] == status
    for path, tool in (
        ("/api/chat", {"type": "function", "function": {"parameters": schema}}),
        ("/v1/messages", {"name": "f", "input_schema": schema}),
    ):
        assert refused(door, path, CHAT | {"tools": [tool]})[0] == status


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "text"}, "type: is no type"),
        ({"type": "string, integer"}, "type: is no type"),  # as the package `ollama` writes a union
        (nested(3, type=["array", "object"]), "type: is no type, and no type with null"),
        ({"not": {}}, "not: no such word of a schema is taken here"),
        ({"defs": {"A": {"type": "object"}}}, "defs: no such word of a schema is taken here"),
    ],
)
def test_of_a_tool_the_model_reads_more(door: Door, schema: dict[str, Any], message: str) -> None:
    status, error = refused(door, "/api/generate", question(format=schema))
    assert (status, message in error) == (400, True)
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert door.client.post("/api/chat", json=CHAT | {"tools": [tool]}).status_code == 200


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({"function": {"Parameters": {}}}, "function: no field is spelt Parameters"),
        ({"function": {"name": '" ((( "'}}, "function.name: is no name"),
        ({"function": {"parameters": []}}, "function.parameters: is no object"),
        ({"function": {"description": "Insufficient memory"}}, "the words 'insufficient memory'"),
        ({"description": "x" * 9000 + "out of m\u0065mory"}, "the words 'out of memory'"),
        ({"parameters": {"properties": {"a": {"maxLength": 1000}}}}, "5000 repetitions"),
        (
            {"parameters": {"properties": {f"p{n}": {"items": {"items": {}}} for n in range(99)}}},
            "1500 values",
        ),
        ({"name": "n" * 129}, "tools.name: is no name (128 letters"),
    ],
)
def test_tools_become_one_grammar(door: Door, tool: dict[str, Any], message: str) -> None:
    """And llama.cpp's errors and log repeat them."""
    body = json.dumps(CHAT | {"tools": [tool] * 6}).replace("\\\\u", "\\u")
    status, error = refused(door, "/api/chat", body)
    assert (status, message in error) == (400, True), error


def test_a_role_is_none_of_those_words(door: Door) -> None:
    """A model's template repeats a role that it does not know."""
    for role, status in (("developer", 200), ("erroroutofmemory", 400)):
        body = CHAT | {"messages": [{"role": role, "content": "out of memory"}]}
        assert door.client.post("/api/chat", json=body).status_code == status


def test_a_site_may_open_small_patterns(opened: Opener) -> None:
    door = opened(gateway_fields=["pattern"])
    assert door.ask(format={"type": "string", "pattern": "^[a-z]{2,5}$"}).status_code == 200
    for large in ("(" * 9 + ")" * 9, "((a{100}){100})", "a" * 101, "{" + "1" * 40_000 + "}"):
        format_ = {"type": "string", "pattern": large}
        assert "is too large" in refused(door, "/api/generate", question(format=format_))[1]
    for odd in ("^*$", "^a{5,2}$", "(?a)", "a|+"):
        format_ = {"type": "string", "pattern": odd}
        assert "repeats" in refused(door, "/api/generate", question(format=format_))[1]
    escaped = '{"type": "string", "pattern": "((a\\u007b100\\u007d)\\u007b100}"}'
    body = json.dumps(question(format=0)).replace('"format": 0', f'"format": {escaped}')
    assert "is too large" in refused(door, "/api/generate", body)[1]
    assert plain.get(f"http://127.0.0.1:{door.health}/alive").text == "alive"
