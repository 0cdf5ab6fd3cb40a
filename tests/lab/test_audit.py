"""The audit is green on what was deployed, and every control turns red when its claim is broken."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import (
    COMPOSE_FILE,
    INVENTORY,
    LABEL,
    Done,
    deployed,
    generate,
    remove_test_objects,
    run,
    sh,
)

AUDIT = (".venv/bin/pytest", "tests/audit", "--inventory", INVENTORY, "-rfE")
LIMITS = {
    *("test_docker_limits_memory", "test_kernel_limits_memory"),
    *("test_docker_limits_cpu", "test_kernel_limits_cpu"),
    *("test_docker_closes_swap", "test_kernel_closes_swap"),
    *("test_docker_reserves_memory", "test_kernel_reserves_memory"),
}
RUNNER = {
    *("test_runner_has_the_threads", "test_runner_answers_in_parallel"),
    "test_every_slot_has_its_context",
}
NAMES = ("num_thread", "num_ctx", "num_predict")
ROUTES = ("pull", "push", "create", "copy")
GATEWAY_FILE = Path("/opt/ollama-lab/gateway/haproxy.cfg")
PARAMETERS = {f"test_model_carries_the_parameter[{name}]" for name in NAMES}
VARIABLES = {
    "OLLAMA_NUM_PARALLEL=3": "OLLAMA_NUM_PARALLEL=2",
    "OLLAMA_MAX_LOADED_MODELS=1": "OLLAMA_MAX_LOADED_MODELS=2",
    "OLLAMA_NUM_THREAD=2": "OLLAMA_NUM_THREAD=8",
    "OLLAMA_HOST=0.0.0.0:11434": "OLLAMA_HOST=http://0.0.0.0:11434",
    "OLLAMA_KEEP_ALIVE=5m": "OLLAMA_KEEP_ALIVE=6m",
    "OLLAMA_MAX_QUEUE=15": "OLLAMA_MAX_QUEUE=512",
    "LLAMA_ARG_THREADS=2": "LLAMA_ARG_THREADS=8",
    "LLAMA_ARG_CACHE_RAM=256": "LLAMA_ARG_CACHE_RAM=8192",
    "OLLAMA_NO_CLOUD=1": "OLLAMA_NO_CLOUD=0",
}


@dataclass(frozen=True)
class Broken:
    """What a break must turn red; ``only``: and nothing else."""

    red: set[str]
    only: bool = True


def audit() -> tuple[Done, set[str]]:
    """The audit's run, and its controls that are red (without the host in their names)."""
    done = run(*AUDIT)
    red = re.findall(r"^(?:FAILED|ERROR) \S+::(test_\S+)", done.stdout, re.MULTILINE)
    return done, {name_of(name) for name in red}


def name_of(control: str) -> str:
    """A control without the host in its name."""
    return re.sub(r"-?@local-?", "", control).replace("[]", "")


def edit(*changes: tuple[str, str]) -> None:
    """Change the compose file by hand and bring it up, as somebody in a hurry would."""
    text = COMPOSE_FILE.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    COMPOSE_FILE.write_text(text)
    sh(f"docker compose --file {COMPOSE_FILE} up --detach")


def limits_changed_behind_compose() -> Broken:
    sh(
        "docker update --memory 1g --memory-swap 2g --cpus 1.5 --memory-reservation 512m"
        " --restart no ollama"
    )
    return Broken(LIMITS | {"test_it_always_restarts"})


def compose_file_edited() -> Broken:
    sh(f"docker network create --label {LABEL} ollama-lab-other")
    sh("docker tag ollama-lab/ollama:0.9.3 ollama-lab/other:1")
    edit(
        *VARIABLES.items(),
        ("image: 172.17.0.1:5000/ollama/ollama:0.9.3", "image: ollama-lab/other:1"),
        ('test: ["CMD", "ollama", "ps"]', 'test: ["CMD", "false"]'),
        ("interval: 10s", "interval: 1s"),
        (
            "    volumes:\n      - ollama_data",
            '    ports: ["127.0.0.2:11434:11434"]\n    volumes:\n      - ollama_data',
        ),
    )
    sh("docker network connect ollama-lab-other ollama; sleep 5")
    variables = {f"test_variable_is_as_declared[{name.split('=')[0]}]" for name in VARIABLES}
    return Broken(
        variables
        | {"test_it_is_the_declared_image", "test_it_is_healthy"}
        | {"test_it_is_on_the_app_network_alone", "test_runner_answers_in_parallel"}
        | {"test_docker_publishes_the_declared_address_alone"}
        | {"test_the_host_listens_on_the_declared_address_alone"}
    )


def another_volume() -> Broken:
    edit(("ollama_data:", "other_data:"))
    sh("timeout 30 sh -c 'until docker exec ollama ollama ps; do sleep 1; done'")
    models = {"test_model_is_present", "test_pristine_model_is_present"}
    return Broken(
        {"test_models_are_on_their_volume", "test_it_is_healthy"} | models | PARAMETERS | RUNNER,
        only=False,
    )


def model_tuned_otherwise() -> Broken:
    body = {
        "model": "smollm2:135m",
        "from": "smollm2:135m-pristine",
        "parameters": {"num_thread": 1, "num_ctx": 1024, "num_predict": 9},
        "stream": False,
    }
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    address = sh(f"docker inspect --format '{form}' ollama").strip()
    sh(f"curl -fsS {address}:11434/api/create --data '{json.dumps(body)}'")
    sh("docker exec ollama ollama rm smollm2:135m-pristine")
    return Broken(
        {"test_pristine_model_is_present"}
        | PARAMETERS
        | (RUNNER - {"test_runner_answers_in_parallel"})
    )


def stopped() -> Broken:
    sh("docker stop ollama")
    return Broken({"test_it_runs", "test_kernel_limits_memory"} | RUNNER, only=False)


def killed_for_memory() -> Broken:
    generate(keep_alive=0)
    sh("timeout 30 sh -c 'while docker top ollama | grep -q \" runner \"; do sleep 0.2; done'")
    sh("docker update --memory 150m --memory-swap 150m ollama")
    assert "error" in generate()
    sh("docker update --memory 3g --memory-swap 3g ollama")
    return Broken({"test_nothing_was_killed_for_memory"})


def throttled() -> Broken:
    sh("docker update --cpus 0.2 ollama")
    generate()
    sh("docker update --cpus 2 ollama")
    return Broken({"test_cpu_is_hardly_throttled"})


def gateway_replaced() -> Broken:
    sh("docker tag 172.17.0.1:5000/haproxy:2.6.12 ollama-lab/other:2")
    edit(
        ("image: 172.17.0.1:5000/haproxy:2.6.12", "image: ollama-lab/other:2"),
        ('user: "99:99"', 'user: "0:0"'),
        ('"127.0.0.1:8404:8404"', '"127.0.0.1:8404:8404"\n      - "127.0.0.2:8405:8404"'),
        ("exec 3<>/dev/tcp/127.0.0.1/8404", "false"),
        ("interval: 10s\n      timeout: 5s", "interval: 1s\n      timeout: 5s"),
    )
    sh("sleep 5")
    return Broken(
        {"test_gateway_is_the_declared_image", "test_gateway_is_not_root"}
        | {"test_gateway_publishes_the_declared_addresses_alone", "test_gateway_is_healthy"}
    )


def gateway_configured_otherwise() -> Broken:
    text = GATEWAY_FILE.read_text()
    for old, new in (
        ("maxconn 3 ", "maxconn 9 "),
        ("ge 15", "ge 99"),
        ("status 403", "status 404"),
        (
            "    use_backend",
            "    http-request return status 401 if { path /api/tags }\n    use_backend",
        ),
    ):
        assert old in text
        text = text.replace(old, new)
    GATEWAY_FILE.write_text(text)
    sh("docker kill --signal USR2 ollama-gateway; sleep 3")
    GATEWAY_FILE.write_text(text.replace("status 200 content-type text/plain string '", "'"))
    routes = {f"test_gateway_lets_nobody_but_the_admin_change_models[{route}]" for route in ROUTES}
    return Broken(
        routes
        | {"test_gateway_lets_the_declared_number_in", "test_gateway_s_queue_is_as_declared"}
        | {"test_gateway_runs_the_configuration_of_its_folder"}
        | {"test_gateway_asks_for_a_token_where_one_is_declared"},
        only=False,
    )


@pytest.fixture(scope="module")
def turned_red() -> set[str]:
    """Every control that a break has turned red."""
    return set()


BREAKS = [
    *(limits_changed_behind_compose, compose_file_edited, another_volume),
    *(model_tuned_otherwise, stopped, killed_for_memory, throttled),
    *(gateway_replaced, gateway_configured_otherwise),
]


@pytest.fixture
def mended() -> Iterator[None]:
    """Afterwards a new container, whose counters start at zero."""
    yield
    sh("docker rm --force ollama")
    remove_test_objects()
    sh("docker volume rm --force ollama-lab_other_data")
    deployed()
    sh("docker rmi --force ollama-lab/other:1 ollama-lab/other:2 2>&1 || true")


def test_the_audit_is_green() -> None:
    done, red = audit()
    assert done.returncode == 0, done.stdout
    assert red == set()


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("break_it", BREAKS, ids=lambda function: function.__name__)
def test_what_is_broken_turns_red(break_it: object, turned_red: set[str]) -> None:
    assert callable(break_it)
    broken: Broken = break_it()
    done, red = audit()
    assert done.returncode == 1, done.stdout
    assert broken.red <= red, done.stdout
    assert not broken.only or red == broken.red, done.stdout
    turned_red.update(broken.red)


def test_every_control_was_seen_to_fail(turned_red: set[str]) -> None:
    listed = run(*AUDIT, "--collect-only", "-q").stdout
    controls = {name_of(name) for name in re.findall(r"^\S+::(test_\S+)", listed, re.MULTILINE)}
    assert controls == turned_red
