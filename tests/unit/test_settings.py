"""The numbers by profile, what follows from them, and what is refused in which words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.config.types import size_bytes
from ollama_stack.generate_docs import pages
from ollama_stack.rules import faults, warnings
from tests.unit.conftest import ROOT, group_data


@pytest.mark.parametrize(
    ("profile", "parallel", "queue", "cpus", "memory", "keep_alive"),
    [
        ("low", 2, 10, 2.0, "3G", "5m"),
        ("medium", 3, 15, 2.0, "3G", "5m"),
        ("high", 4, 20, 4.0, "6G", "10m"),
    ],
)
def test_profiles_have_the_seed_s_numbers(
    profile: str, parallel: int, queue: int, cpus: float, memory: str, keep_alive: str
) -> None:
    settings = read_settings(group_data("all", profile))
    assert settings.ollama_num_parallel == parallel
    assert settings.ollama_max_queue == queue
    assert settings.ollama_cpus == cpus
    assert settings.ollama_memory == memory
    assert settings.ollama_keep_alive == keep_alive
    assert settings.ollama_max_loaded_models == 1
    assert settings.ollama_cpu_reservation == 1.0
    assert settings.ollama_memory_reservation == "2G"
    assert settings.num_thread == int(cpus)


def test_every_group_data_file_belongs_to_a_group() -> None:
    files = {path.stem for path in (ROOT / "group_data").glob("*.py")}
    inventories = {path.stem for path in (ROOT / "inventories").glob("*.py")}
    assert files <= {"all", "low", "medium", "high"} | inventories


def test_defaults_are_pinned_and_on_loopback(medium: Settings) -> None:
    assert medium.ollama_bind == "127.0.0.1"
    assert medium.ollama_image_ref == "ollama/ollama:0.32.15"
    assert medium.model_source == medium.model_name == "qwen2.5:1.5b"


@pytest.mark.parametrize(
    ("cpus", "threads"), [(0.5, 1), (1, 1), (1.9, 1), (2.0, 2), (3.5, 3), (4.0, 4)]
)
def test_threads_are_the_floor_of_the_cpu_limit(cpus: float, threads: int) -> None:
    limits = {"ollama_cpus": cpus, "ollama_cpu_reservation": 0.5, "ollama_num_parallel": 1}
    data = group_data("all", "low") | limits
    settings = read_settings(data)
    assert settings.num_thread == threads
    assert settings.model_parameters["num_thread"] == threads
    assert settings.environment["OLLAMA_NUM_THREAD"] == str(threads)
    assert settings.environment["LLAMA_ARG_THREADS"] == str(threads)


@pytest.mark.parametrize(
    ("data", "image", "source", "insecure"),
    [
        ({}, "o/o:1", "m:1", False),
        (
            {"mirror": "http://10.0.0.9:5000"},
            "10.0.0.9:5000/o/o:1",
            "10.0.0.9:5000/library/m:1",
            True,
        ),
        (
            {"mirror": "https://reg.lan", "model_name": "me/m:1"},
            "reg.lan/o/o:1",
            "reg.lan/me/m:1",
            False,
        ),
        ({"model_registry": "http://models.lan"}, "o/o:1", "models.lan/library/m:1", True),
    ],
)
def test_a_mirror_is_a_matter_of_data(
    data: dict[str, str], image: str, source: str, insecure: bool
) -> None:
    named = {"ollama_image": "o/o:1", "model_name": "m:1"}
    settings = read_settings(group_data("all", "low") | named | data)
    assert (settings.ollama_image_ref, settings.model_source) == (image, source)
    assert settings.model_insecure is insecure


def test_pyinfra_s_own_host_data_is_no_setting() -> None:
    own = {"_sudo": True, "ssh_user": "ops", "fake_delay": 0}
    assert faults(["low"], group_data("all", "low") | own) == []


def test_rules_that_two_settings_break_are_all_told() -> None:
    data = group_data("all", "medium") | {"ollama_cpus": 0.5, "ollama_max_queue": 5}
    assert faults(["medium"], data) == [
        "ollama_num_parallel: 3 is more than 2 per CPU of ollama_cpus = 0.5; at most 1",
        "ollama_cpu_reservation: 1.0 is more than ollama_cpus = 0.5; lower it",
        "ollama_max_queue: 5 is outside 10 to 20; "
        'allow_unusual = ["ollama_max_queue"] overrides this rule',
    ]


def test_a_version_of_docker_ce_is_refused_where_the_distribution_s_is_installed() -> None:
    data = group_data("all", "low") | {"docker_source": "distro"}
    assert faults(["low"], data) == []
    assert faults(["low"], data | {"docker_version": "28.5.2"}) == [
        "docker_version: is docker-ce's, and docker_source is distro; set docker_source = docker-ce, "
        "or unset docker_version"
    ]


def test_a_rule_is_overridden_by_name_and_still_warned_of() -> None:
    named = {"ollama_max_queue": 30, "allow_unusual": ["ollama_max_queue"]}
    data = group_data("all", "medium") | named
    assert faults(["medium"], data) == []
    assert warnings(data) == ["ollama_max_queue: 30 is outside 10 to 20; allowed by allow_unusual"]


def test_what_cannot_work_cannot_be_allowed() -> None:
    data = group_data("all", "medium") | {"allow_unusual": ["ollama_num_parallel"]}
    (fault,) = faults(["medium"], data)
    assert fault.startswith("allow_unusual.0: 'ollama_num_parallel' is refused")


@pytest.mark.parametrize("setting", ["ollama_num_parallel", "ollama_port", "ollama_cpus"])
@pytest.mark.parametrize("value", ["3", True, None])
def test_a_number_is_a_number(setting: str, value: Any) -> None:
    (fault,) = faults(["medium"], group_data("all", "medium") | {setting: value})
    assert fault.startswith(f"{setting}: {value!r} is refused: input should be a valid")


@pytest.mark.parametrize("groups", [[], ["lowest"], ["low", "high"]])
def test_a_host_is_in_exactly_one_profile(groups: list[str]) -> None:
    assert faults(groups, {}) == ["profile: put the host in exactly one of low, medium, high"]
    assert profile_of(groups) is None


def test_a_number_on_the_command_line_is_a_duration_too() -> None:
    data = group_data("all", "low") | {"ollama_keep_alive": -1}
    assert read_settings(data).ollama_keep_alive == "-1"


def test_a_model_has_the_name_that_ollama_lists() -> None:
    data = group_data("all", "low") | {"model_name": "library/qwen2.5:1.5b"}
    assert read_settings(data).model_name == "qwen2.5:1.5b"


def test_weights_of_another_digest_have_another_name() -> None:
    data = group_data("all", "low")
    assert read_settings(data).pristine_model == "qwen2.5:1.5b-pristine"
    declared = read_settings(data | {"model_digest": "f" * 64})
    assert declared.pristine_model == f"qwen2.5:1.5b-pristine-{'f' * 12}"


def test_a_missing_value_says_where_to_put_it() -> None:
    data = group_data("all", "low")
    del data["ollama_memory"]
    assert faults(["low"], data) == [
        "ollama_memory: has no value; set it in group_data/ (docs/settings.md)"
    ]


def test_sizes_are_binary() -> None:
    assert (size_bytes("3G"), size_bytes("512M")) == (3221225472, 536870912)


def test_the_reference_is_fresh() -> None:
    for path, text in pages().items():
        assert path.read_text() == text, f"{path.name}: run make docs"


def test_a_proxy_leads_pulls_and_nothing_else() -> None:
    own = {"proxy": "http://proxy.lan:3128", "mirror": "http://10.0.0.9:5000", "app_enabled": True}
    settings = read_settings(group_data("all", "medium") | own)
    way = {"HTTPS_PROXY": "http://proxy.lan:3128", "NO_PROXY": "localhost,127.0.0.1,::1,10.0.0.9"}
    assert settings.environment.items() >= way.items()
    assert not [name for name in settings.environment if name.upper() == "HTTP_PROXY"]
    assert settings.app_environment["NO_PROXY"] == settings.app_environment["no_proxy"] == "*"
    assert settings.proxy_to("http://10.0.0.9:5000/v2/x") == ""
    assert settings.proxy_to("https://registry.ollama.ai/v2/x") == "http://proxy.lan:3128"
    plain = read_settings(group_data("all", "medium"))
    assert not [name for name in plain.environment if "PROXY" in name]


def test_no_local_call_goes_through_a_proxy() -> None:
    """Whatever the environment holds: each curl says so itself, or is told the declared proxy."""
    for file in (ROOT / "ollama_stack").rglob("*.*"):
        ours = (
            file.suffix in (".py", ".sh") and file.name != "registry.py"
        )  # test_manifest.py has that
        text = file.read_text() if ours else ""
        for call in re.findall(r"curl -[^\n]*", text):
            assert (
                "--noproxy '*'" in call
                or '--noproxy "*"' in call
                or "--proxy" in call
                or ("set -- --noproxy" in text and '"$@"' in call)
            ), (file, call[:80])


def test_models_are_served_each_by_its_own_names() -> None:
    data = group_data("all", "low") | {"mirror": "http://r:5000", "model_digest": "f" * 64}
    (alone,) = read_settings(data).served_models
    listed = read_settings(
        data | {"models": ["qwen2.5:1.5b", "me/e:1"], "gateway_models": ["by-hand:1"]}
    )
    first, other = listed.served_models
    assert first == alone
    assert (first.setting, first.record("/o")) == ("model_name", "/o/model.digest")
    assert (other.setting, other.record("/o")) == ("models me/e:1", "/o/model-me%2Fe%3A1.digest")
    assert (other.source, other.pristine) == ("r:5000/me/e:1", "me/e:1-pristine")
    assert other.manifest == "http://r:5000/v2/me/e/manifests/1"
    assert listed.allowed_models == ["qwen2.5:1.5b", "me/e:1", "by-hand:1"]
