"""Bad settings, each refused without a connection in exactly one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_stack.rules import faults
from tests.unit.conftest import group_data

INTEGER = "is refused: input should be a valid integer (docs/settings.md)"
NUMBER = "is refused: input should be a valid number (docs/settings.md)"
FINITE = "is refused: input should be a finite number (docs/settings.md)"
ABOVE_0 = "is refused: input should be greater than or equal to 0.01 (docs/settings.md)"
DURATION = "is not understood; write it like 5m or 1h or -1"
TIMEOUT = "is not understood; write it like 120s or 15m"
SIZE = "is not understood; write it like 3G or 512M"
IMAGE = "is not understood; write it like ollama/ollama:0.32.15 or ollama/ollama@sha256:..."
MODEL = "is not understood; write it like qwen2.5:1.5b"
ADDRESS = "is not understood; write it like 127.0.0.1"
FOLDER = "is not understood; write it like /opt/ollama"
REGISTRY = "is not understood; write it like https://mirror.lan:5000"
QUEUE = 'is outside 10 to 20; allow_unusual = ["ollama_max_queue"] overrides this rule'


def at_least(least: int) -> str:
    return f"is refused: input should be greater than or equal to {least} (docs/settings.md)"


@pytest.mark.parametrize(
    ("setting", "value", "refusal"),
    [
        ("ollama_num_parallel", 0, at_least(1)),
        ("ollama_num_parallel", -1, at_least(1)),
        ("ollama_num_parallel", 3.5, INTEGER),
        ("ollama_num_parallel", "abc", INTEGER),
        ("ollama_num_parallel", True, INTEGER),
        ("ollama_num_parallel", 5, "is more than 2 per CPU of ollama_cpus = 2.0; at most 4"),
        ("ollama_max_queue", "15", INTEGER),
        ("ollama_max_queue", -1, at_least(1)),
        ("ollama_max_queue", 9, QUEUE),
        ("ollama_max_queue", 21, QUEUE),
        ("ollama_max_loaded_models", 0, at_least(1)),
        ("ollama_keep_alive", "5minutes", DURATION),
        ("ollama_keep_alive", "1d", DURATION),
        ("ollama_keep_alive", "", DURATION),
        ("ollama_keep_alive", "0", DURATION),
        ("ollama_cpus", 0, ABOVE_0),
        ("ollama_cpus", -2, ABOVE_0),
        ("ollama_cpus", "2", NUMBER),
        ("ollama_cpus", None, NUMBER),
        ("ollama_cpus", float("inf"), FINITE),
        ("ollama_cpus", float("nan"), FINITE),
        ("ollama_cpu_reservation", 3.0, "is more than ollama_cpus = 2.0; lower it"),
        ("ollama_keep_alive", "9999999h", DURATION),  # Go's durations end after 292 years
        ("health_interval", "-1", TIMEOUT),  # no interval to Compose
        ("health_interval", "100000h", TIMEOUT),
        ("ollama_memory", "9" * 5000 + "G", SIZE),  # too long for Python's int()
        ("ollama_memory", "3", SIZE),
        ("ollama_memory", "3\u0663G", SIZE),
        ("ollama_memory", "3GB", SIZE),
        ("ollama_memory", "3g", SIZE),
        ("ollama_memory", "0G", SIZE),
        ("ollama_memory", "1.5G", SIZE),
        ("ollama_memory", 3, "is refused: input should be a valid string (docs/settings.md)"),
        ("ollama_image", "ollama/ollama", IMAGE),
        ("ollama_image", "Ollama/Ollama:1", IMAGE),
        ("ollama_image", "-v:1", IMAGE),
        ("ollama_image", "ollama/ollama:0.32.15с", IMAGE),  # the last letter is Cyrillic
        ("model_name", "qwen2.5", MODEL),
        ("model_name", "a b:1", MODEL),
        ("model_name", "-x:1", MODEL),
        ("ollama_bind", "localhost", ADDRESS),
        ("ollama_bind", "999.1.1.1", ADDRESS),
        ("ollama_bind", "::1", ADDRESS),
        ("ollama_port", 0, at_least(1)),
        ("ollama_port", "11434", INTEGER),
        (
            "ollama_port",
            65536,
            "is refused: input should be less than or equal to 65535 (docs/settings.md)",
        ),
        ("ollama_cache_ram", -1, at_least(0)),
        ("ollama_dir", "opt/ollama", FOLDER),
        ("ollama_dir", "/opt/o k", FOLDER),
        ("ollama_dir", "/opt/ollama/", FOLDER),
        ("ollama_dir", "/opt/../root", FOLDER),
        ("ollama_dir", "//", FOLDER),
        ("ollama_dir", "/root", "is no folder of its own; write it like /opt/ollama"),
        ("ollama_project", "Ollama", "is not understood; write it like ollama"),
        ("model_num_ctx", 128, at_least(256)),
        ("model_num_predict", 0, at_least(1)),
        ("students", 0, at_least(1)),
        ("students", "12", INTEGER),
        (
            "model_shape",
            "qwen2",
            "is refused: input should be a valid dictionary (docs/settings.md)",
        ),
        ("mirror", "ftp://a", REGISTRY),
        ("mirror", "http://a/b", REGISTRY),
        ("proxy", "socks5://a:1", "is not understood; write it like http://proxy.school.lan:3128"),
        (
            "proxy",
            "http://u:p@a:1",
            "is not understood; write it like http://proxy.school.lan:3128",
        ),
        ("gateway_queue_timeout", "-1", "is not understood; write it like 120s or 15m"),
        ("gateway_max_body", "10MB", "is not understood; write it like 128K or 4M"),
        (
            "gateway_source_connections",
            301,
            "is refused: input should be less than or equal to 300 (docs/settings.md)",
        ),
        ("gateway_metrics_port", 0, at_least(1)),
        ("gateway_enabled", "no", "is refused: input should be a valid boolean (docs/settings.md)"),
        ("model_registry", "models.lan", REGISTRY),
        (
            "docker_source",
            "snap",
            "is refused: input should be 'docker-ce' or 'distro' (docs/settings.md)",
        ),
        (
            "allow_unusual",
            "ollama_max_queue",
            "is refused: input should be a valid list (docs/settings.md)",
        ),
    ],
)
def test_a_bad_value_is_refused(setting: str, value: Any, refusal: str) -> None:
    shown = value if refusal.startswith(("is more", "is outside")) else repr(value)
    assert faults(["medium"], group_data("all", "medium") | {setting: value}) == [
        f"{setting}: {shown} {refusal}"
    ]


SHAPE = {
    "weights": "935M",
    "layers": 28,
    "embedding": 1536,
    "heads": 12,
    "kv_heads": 2,
    "vocabulary": 151936,
}
LIKE = (
    'write it like {"weights": "935M", "layers": 28, "embedding": 1536, "heads": 12, '
    '"kv_heads": 2, "vocabulary": 151936, "feed_forward": 8960}'
)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"weights": "1 GB"}, f"model_shape.weights: '1 GB' is not understood; {LIKE}"),
        ({"layers": 0}, f"model_shape.layers: 0 {at_least(1)}"),
        ({"head": 12}, f"model_shape.head: no such setting; {LIKE}"),
    ],
)
def test_a_bad_shape_is_refused(change: dict[str, Any], refusal: str) -> None:
    data = group_data("all", "medium") | {"model_shape": SHAPE | change}
    assert faults(["medium"], data) == [refusal]


def test_half_a_shape_is_refused() -> None:
    half = {key: value for key, value in SHAPE.items() if key != "heads"}
    assert faults(["medium"], group_data("all", "medium") | {"model_shape": half}) == [
        f"model_shape.heads: has no value; {LIKE}"
    ]


def test_a_port_that_cannot_be_is_refused() -> None:
    assert faults(["medium"], group_data("all", "medium") | {"mirror": "http://a:99999"}) == [
        "mirror: 'http://a:99999' has no such port; write it like https://mirror.lan:5000"
    ]


def test_a_reservation_above_the_limit_is_refused() -> None:
    assert faults(["medium"], group_data("all", "medium") | {"ollama_memory": "1G"}) == [
        "ollama_memory_reservation: 2G is more than ollama_memory = 1G; lower it"
    ]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ollama_num_paralel", "did you mean ollama_num_parallel?"),
        ("OLLAMA_NUM_PARALLEL", "did you mean ollama_num_parallel?"),
        ("ollama_max_que", "did you mean ollama_max_queue?"),
        ("shade", "docs/settings.md lists them all"),
    ],
)
def test_an_unknown_name_is_refused(name: str, hint: str) -> None:
    assert faults(["medium"], group_data("all", "medium") | {name: 3}) == [
        f"{name}: no such setting; {hint}"
    ]


@pytest.mark.parametrize(
    ("data", "refusal"),
    [
        ({"ssh_prot": 2222}, "ssh_prot: no such setting; did you mean ssh_port?"),
        ({"_suod": True}, "_suod: no such setting; did you mean _sudo?"),
        ({"ssh_port": 99999}, "ssh_port: 99999 is no port; write one from 1 to 65535"),
        ({"ssh_port": -1}, "ssh_port: -1 is no port; write one from 1 to 65535"),
    ],
)
def test_a_login_that_pyinfra_would_take_otherwise_is_refused(
    data: dict[str, Any], refusal: str
) -> None:
    assert faults(["medium"], group_data("all", "medium") | data) == [refusal]


def test_names_of_a_site_s_own_and_of_pyinfra_are_fine() -> None:
    own = {"_release": 7, "_every": {}, "_sudo": True, "_su_user": "x", "ssh_connect_retries": 3}
    assert faults(["medium"], group_data("all", "medium") | own) == []


WAIVER = {"id": "OLS-801", "reason": "loopback only", "until": "2027-06-30"}
LIKE_WAIVER = 'write it like [{"id": "OLS-801", "reason": "loopback only", "until": "2027-06-30"}]'


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"id": "801"}, f"id: '801' is not understood; {LIKE_WAIVER}"),
        ({"until": "30.06.2027"}, "until: '30.06.2027' is not a day; write it like 2027-06-30"),
        ({"until": "2027-06-31"}, "until: '2027-06-31' is not a day; write it like 2027-06-30"),
        ({"why": "x"}, f"why: no such setting; {LIKE_WAIVER}"),
        (
            {"reason": ""},
            "reason: '' is refused: string should have at least 1 character (docs/settings.md)",
        ),
    ],
)
def test_a_waiver_without_reason_or_end_is_refused(change: dict[str, str], refusal: str) -> None:
    data = group_data("all", "medium") | {"audit_waivers": [WAIVER | change]}
    assert faults(["medium"], data) == [f"audit_waivers.0.{refusal}"]
