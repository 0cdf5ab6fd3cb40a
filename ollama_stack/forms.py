"""How values of settings are written; each form says by example what it takes."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypedDict


def _ipv4(address: str) -> str:
    try:
        return str(IPv4Address(address))
    except ValueError as error:
        raise ValueError(f"{address!r} is not understood; write it like 127.0.0.1") from error


def _form(pattern: str, *examples: str) -> Any:
    return Field(pattern=pattern, examples=list(examples))


Cpus = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[str, _form(r"^[1-9]\d*[MG]$", "3G", "512M")]
# pyinfra's --data makes a number of -1.
Duration = Annotated[str, BeforeValidator(str), _form(r"^([1-9]\d*(s|m|h)|-1)$", "5m", "1h", "-1")]
Address = Annotated[str, AfterValidator(_ipv4)]
Registry = Annotated[str, _form(r"^(https?://[A-Za-z0-9.-]+(:\d+)?)?$", "https://mirror.lan:5000")]
Image = Annotated[
    str,
    _form(
        r"^[a-z0-9][a-z0-9./:_-]*(:[\w.-]+|@sha256:[0-9a-f]{64})$",
        "ollama/ollama:0.32.15",
        "ollama/ollama@sha256:...",
    ),
]
Model = Annotated[
    str,
    _form(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?:[\w.-]+$", "qwen2.5:1.5b"),
    AfterValidator(lambda name: name.removeprefix("library/")),  # as Ollama lists it
]
Folder = Annotated[str, _form(r"^/[\w./-]+$", "/opt/ollama")]
Project = Annotated[str, _form(r"^[a-z0-9][a-z0-9_-]*$", "ollama")]


class ModelShape(TypedDict):
    """What decides a model's memory."""

    weights: Size
    layers: Count
    embedding: Count
    heads: Count
    kv_heads: Count
    vocabulary: Count


def setting(
    meaning: str, source: str, default: Any = ..., *, unit: str = "", rule: str = "", **bounds: Any
) -> Any:
    """A field, and what docs/settings.md says of it beyond its type and bounds."""
    said: dict[str, Any] = {"unit": unit, "rule": rule, "source": source}
    return Field(default, description=meaning, json_schema_extra=said, **bounds)


def host_of(registry: str) -> str:
    """``http://a:5000`` without its scheme."""
    return registry.partition("://")[2]


def size_bytes(size: str) -> int:
    """``3G`` in bytes, in Compose's binary units."""
    return int(size[:-1]) * {"M": 2**20, "G": 2**30}[size[-1]]
