"""How values of settings are written; each form says by example what it takes."""

from __future__ import annotations

import posixpath
import re
from datetime import date, datetime
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer
from typing_extensions import NotRequired, TypedDict


def _ipv4(address: str) -> str:
    try:
        return str(IPv4Address(address))
    except ValueError as error:
        raise ValueError(f"{address!r} is not understood; write it like 127.0.0.1") from error


def _form(pattern: str, *examples: str) -> Any:
    return Field(pattern=pattern, examples=list(examples))


def _with_a_port(registry: str) -> str:
    port = registry.rpartition(":")[2]
    if port.isdigit() and not 0 < int(port) < 65536:
        raise ValueError(f"{registry!r} has no such port; write it like https://mirror.lan:5000")
    return registry


def _plain_path(path: str) -> str:
    if posixpath.normpath(path) != path or path.startswith("//"):
        raise ValueError(f"{path!r} is not understood; write it like /opt/ollama")
    return path


def _below_a_folder(path: str) -> str:
    """Its mode becomes 755, which /tmp and /root may not have."""
    if path.count("/") < 2:
        raise ValueError(f"{path!r} is no folder of its own; write it like /opt/ollama")
    return path


def _date(day: str) -> str:
    try:
        return str(date.fromisoformat(day))
    except ValueError as error:
        raise ValueError(f"{day!r} is not a day; write it like 2027-06-30") from error


def _in_order(lessons: str) -> str:
    if lessons:
        first, last, begin, end = lesson_hours(lessons)
        if first > last or begin >= end:
            raise ValueError(
                f"{lessons!r} ends before it begins; write it like mon-fri 08:00-15:00"
            )
    return lessons


Cpus = Annotated[float, Field(ge=0.01, allow_inf_nan=False)]  # the least that Docker takes
Count = Annotated[int, Field(ge=1)]
Size = Annotated[str, _form(r"^[1-9][0-9]{0,8}[MG]$", "3G", "512M")]
BodySize = Annotated[str, _form(r"^[1-9][0-9]{0,8}[KMG]$", "128K", "4M")]
# pyinfra's --data makes a number of -1; Go's own durations end after 292 years.
Duration = Annotated[
    str, BeforeValidator(str), _form(r"^([1-9][0-9]{0,5}(s|m|h)|-1)$", "5m", "1h", "-1")
]
Timeout = Annotated[str, _form(r"^([1-9][0-9]{0,3}(s|m)|[1-9][0-9]?h)$", "120s", "15m")]
Origin = Annotated[
    str, _form(r"^[a-z][a-z0-9+.-]*://[A-Za-z0-9.*-]+(:([0-9]+|\*))?$", "https://school.example")
]
# The gateway counts by "list =NAME", of which its tables keep 64 letters.
TokenName = Annotated[str, _form(r"^[a-z0-9][a-z0-9_-]{0,49}$", "class-1")]
Secret = Annotated[
    str,
    _form(
        r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$", "env:OLLAMA_ADMIN_TOKEN", "file:~/admin.token"
    ),
]
# pyinfra's own reader of an inventory makes lists of tuples.
Listed = BeforeValidator(lambda given: list(given) if isinstance(given, tuple) else given)
Digest = Annotated[str, _form(r"^([0-9a-f]{64})?$", "65ec06548149...")]
Sha256 = Annotated[str, _form(r"^[0-9a-f]{64}$", "1500c1f56fa9...")]
DockerVersion = Annotated[str, _form(r"^([0-9]+\.[0-9]+\.[0-9]+)?$", "28.5.2")]
Website = Annotated[
    str,
    _form(
        r"^https?://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9_.-]+)*$", "https://mirror.lan/docker/linux"
    ),
]
Address = Annotated[str, AfterValidator(_ipv4)]
Directory = Annotated[
    str,
    _form(
        r"^https://[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)+$",
        "https://ca.school.lan/acme/acme/directory",
    ),
]
Email = Annotated[str, _form(r"^([A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+)?$", "it@school.example")]
HostName = Annotated[
    str,
    _form(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$", "ask.school.lan"),
]
_SITE = r"^(https?://[A-Za-z0-9.-]+(:[0-9]+)?)?$"
Registry = Annotated[str, _form(_SITE, "https://mirror.lan:5000"), AfterValidator(_with_a_port)]
Proxy = Annotated[str, _form(_SITE, "http://proxy.school.lan:3128"), AfterValidator(_with_a_port)]
_IMAGE = r"[a-z0-9][a-z0-9./:_-]*(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})"
_IMAGES = ("ollama/ollama:0.32.15", "ollama/ollama@sha256:...")
Image = Annotated[str, _form(f"^{_IMAGE}$", *_IMAGES)]
ReadyImage = Annotated[str, _form(f"^({_IMAGE})?$", *_IMAGES)]
# pyinfra's --data makes a number of 3.13.
PythonVersion = Annotated[str, BeforeValidator(str), _form(r"^(3\.[0-9]{2})?$", "3.13")]
Model = Annotated[
    str,
    _form(r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)?:[A-Za-z0-9_.-]+$", "qwen2.5:1.5b"),
    AfterValidator(lambda name: name.removeprefix("library/")),  # as Ollama lists it
]
Cluster = Annotated[str, _form(r"^([a-z][a-z0-9-]{0,29})?$", "school")]
NodeAddress = Annotated[str, AfterValidator(lambda given: given and _ipv4(given))]
_DAY, _HOUR = "(mon|tue|wed|thu|fri|sat|sun)", "([01][0-9]|2[0-3]):[0-5][0-9]"
Lessons = Annotated[
    str,
    _form(rf"^({_DAY}-{_DAY} {_HOUR}-{_HOUR})?$", "mon-fri 08:00-15:00"),
    AfterValidator(_in_order),
]
Folder = Annotated[str, _form(r"^/[A-Za-z0-9_./-]+$", "/opt/ollama"), AfterValidator(_plain_path)]
OwnFolder = Annotated[Folder, AfterValidator(_below_a_folder)]
Project = Annotated[str, _form(r"^[a-z0-9][a-z0-9_-]*$", "ollama")]


def checksum(text: str) -> str:
    """What reports say of a text that they may not show: its SHA-256, ``none`` of an empty one."""
    return sha256(text.encode()).hexdigest() if text else "none"


Hidden = Annotated[str, PlainSerializer(checksum), Field(repr=False)]


class ModelShape(TypedDict):
    """What decides a model's memory."""

    weights: Size
    layers: Count
    embedding: Count
    heads: Count
    kv_heads: Count
    head_dim: NotRequired[Count]
    vocabulary: Count
    feed_forward: NotRequired[Count]


class Share(TypedDict):
    """What one token may have at once, and in a minute."""

    parallel: NotRequired[Count]
    queue: NotRequired[Count]
    per_minute: NotRequired[Count]


class Waiver(TypedDict):
    """A finding of the audit that is accepted, why, and the last day on which it is."""

    id: Annotated[str, _form(r"^OLS-[0-9]{3,4}$", "OLS-801")]
    reason: Annotated[str, Field(min_length=1)]
    until: Annotated[str, AfterValidator(_date)]


def setting(
    meaning: str, source: str, default: Any = ..., *, unit: str = "", rule: str = "", **bounds: Any
) -> Any:
    """A field, and what docs/settings.md says of it beyond its type and bounds."""
    extra: dict[str, Any] = {"unit": unit, "rule": rule, "source": source}
    return Field(default, description=meaning, json_schema_extra=extra, **bounds)


DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def lesson_hours(lessons: str) -> tuple[int, int, str, str]:
    """First and last day (0 is Monday), begin and end (``HH:MM``) of ``mon-fri 08:00-15:00``."""
    first, last, begin, end = re.split("[- ]", lessons)
    return DAYS.index(first), DAYS.index(last), begin, end


def is_lesson(lessons: str, now: datetime) -> bool:
    """Whether ``now`` is in the lessons' hours, by its own time zone."""
    if not lessons:
        return False
    first, last, begin, end = lesson_hours(lessons)
    return first <= now.weekday() <= last and begin <= f"{now:%H:%M}" < end


def host_of(registry: str) -> str:
    """``http://a:5000`` without its scheme."""
    return registry.partition("://")[2]


def size_bytes(size: str) -> int:
    """``3G`` in bytes, in Compose's binary units."""
    return int(size[:-1]) * {"K": 2**10, "M": 2**20, "G": 2**30}[size[-1]]


def seconds(duration: str) -> int:
    """``5m`` in seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]
