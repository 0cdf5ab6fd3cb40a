"""The plan: three verdicts, their exit status, and JSON that its schema accepts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ollama_stack import ROOT
from tests.unit.commands import command
from tests.unit.test_plan import BARE

pytestmark = pytest.mark.process

FAKE = {"fake_delay": 0, "fake_delay_jitter": 0, "fake_responses": BARE, "_sudo": False}
SMALL = FAKE | {"fake_responses": BARE | {"nproc": "1"}}
FITS, REFUSED = ("@fake/big", FAKE), ("@fake/small", SMALL)
GONE, KEYLESS = "nobody.invalid", ("nokey.invalid", {"ssh_key": "no such key"})


def plan(folder: Path, hosts: list[Any], *arguments: str) -> subprocess.CompletedProcess[str]:
    inventory = folder / "hosts.py"
    inventory.write_text(f"medium = {hosts!r}")
    return command("ollama_stack.cli", "plan", str(inventory), *arguments)


def report(folder: Path, *hosts: Any) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and what the valid JSON says of each host."""
    done = plan(folder, list(hosts), "--json")
    content = json.loads(done.stdout)
    schema = json.loads((ROOT / "docs" / "plan.schema.json").read_text())
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(content)
    return done.returncode, {host["host"]: host for host in content["hosts"]}


def test_a_host_that_fits(tmp_path: Path) -> None:
    code, hosts = report(tmp_path, FITS)
    assert code == 0
    big = hosts["@fake/big"]
    assert (big["verdict"], big["reasons"], big["threads"]) == ("fits", [], 2)
    assert big["measured"] == {
        "release": "debian 12",
        "architecture": "x86_64",
        "cpus": 4,
        "memory": 8032384 * 1024,
        "disk_free": 50000000000,
        "data_root": "/var/lib/docker",
        "docker": None,
        "daemon_config_fault": "",
        "engine_proxy": False,
        "container_owners": {},
        "port_owners": {},
        "missing_addresses": [],
        "to_pull": {
            "ollama_image": {"status": 401, "size": None, "weights": None},
            "gateway_image": {"status": 401, "size": None, "weights": None},
            "model_name": {"status": 200, "size": None, "weights": None},
        },
        "model_shape": None,
        "ollama": None,
        "no_packages": "",
        "bundle_faults": [],
        "model_sizes": {},
        "system_faults": [],
        "other_engine": None,
        "image_root": None,
        "image_free": 0,
    }
    assert big["memory"]["needed"] == sum(big["memory"]["terms"].values())
    assert big["memory"]["headroom"] == big["memory"]["available"] - big["memory"]["needed"]
    assert "Docker | Install Docker" in big["changes"]
    assert not [name for name in big["changes"] if "Smoke" in name or "true now" in name]


CONTAINERD = "/var/lib/containerd"
# What an engine of some version does, or a daemon.json has it do: where its images will be.
IMAGE_ROOTS = [
    ("", "{}", CONTAINERD),
    ("29.0.1", "{}", CONTAINERD),
    ("28.5.2", "{}", None),
    ("", '{"storage-driver": "overlay2"}', None),
    ("", '{"features": {"containerd-snapshotter": false}}', None),
]


def test_where_images_will_go_is_known_before_docker_is_there(tmp_path: Path) -> None:
    disks = {f"'{CONTAINERD}'": "/", f"p={CONTAINERD};": "/", "p=/var/lib/docker;": "/srv"}
    room = "df --block-size=1"
    asked = []
    for number, (version, daemon, _) in enumerate(IMAGE_ROOTS):
        answers = {room: BARE[room], "daemon.json": daemon, **disks, **BARE}
        own = {"fake_responses": answers, "docker_version": version}
        asked.append((f"@fake/{number}", FAKE | own))
    _, hosts = report(tmp_path, *asked)
    for number, (*_, root) in enumerate(IMAGE_ROOTS):
        host = hosts[f"@fake/{number}"]
        assert host["measured"]["image_root"] == root, number
        assert (host["images"] is not None) is (root is not None)


def test_one_refused_host_stops_the_others(tmp_path: Path) -> None:
    code, hosts = report(tmp_path, FITS, REFUSED)
    assert code == 1
    assert hosts["@fake/small"]["verdict"] == "refused"
    assert hosts["@fake/small"]["reasons"] == [
        "ollama_cpus: 2 is more than the 1 CPUs of the host; lower it to 1 or take a bigger host"
    ]
    assert hosts["@fake/big"]["verdict"] == "fits"
    assert hosts["@fake/big"]["changes"] is None


def test_a_host_that_cannot_be_reached_does_not_hide_the_others(tmp_path: Path) -> None:
    code, hosts = report(tmp_path, FITS, REFUSED, GONE, KEYLESS)
    assert code == 2
    assert hosts["nobody.invalid"]["verdict"] == "unreachable"
    assert hosts["nokey.invalid"]["verdict"] == "refused"  # what is missing is here, not there
    assert hosts["nobody.invalid"]["reasons"] == [
        "ssh_hostname: the name nobody.invalid does not resolve; correct it, or set ssh_hostname to the "
        "host's address"
    ]
    assert hosts["nokey.invalid"]["reasons"] == [
        "ssh_key: key file no such key is not there; make one with ssh-keygen -t ed25519, or name another"
    ]
    assert hosts["nobody.invalid"]["memory"]["source"] == "our table"
    assert hosts["@fake/big"]["verdict"] == "fits"


def test_an_unreachable_host_does_not_hide_what_would_change(tmp_path: Path) -> None:
    code, hosts = report(tmp_path, FITS, GONE)
    assert code == 2
    assert "Docker | Install Docker" in hosts["@fake/big"]["changes"]


def test_a_host_that_cannot_be_measured_is_refused_and_the_others_are_measured(
    tmp_path: Path,
) -> None:
    denied = {"daemon.json": {"success": False, "stderr": "cat: permission denied"}}
    odd: dict[str, tuple[dict[str, Any], str]] = {
        "@fake/denied": (denied, "preflight: a command failed on the host"),
        "@fake/odd": (
            {"df --block-size=1": "-"},
            "preflight: an answer was not understood (ValueError(",
        ),
    }
    asked = [
        (name, FAKE | {"fake_responses": BARE | answers}) for name, (answers, _) in odd.items()
    ]
    code, hosts = report(tmp_path, *asked, FITS)
    assert code == 1
    for name, (_, reason) in odd.items():
        assert hosts[name]["verdict"] == "refused"
        assert hosts[name]["reasons"][0].startswith(reason)
    assert hosts["@fake/big"]["verdict"] == "fits"


def test_a_wrong_setting_is_refused_and_the_other_hosts_measured(tmp_path: Path) -> None:
    wrong = ("@fake/wrong", FAKE | {"ollama_port": 0})
    code, hosts = report(tmp_path, FITS, wrong)
    assert code == 1
    assert hosts["@fake/wrong"]["reasons"][0].startswith("ollama_port: 0 is refused")
    assert hosts["@fake/big"]["measured"]


def test_people_get_a_table(tmp_path: Path) -> None:
    done = plan(tmp_path, [FITS])
    assert done.returncode == 0
    for message in (
        "4 CPUs, 7.7 GiB, 50 GB free",
        "KV cache 336",
        "= 1724 of 3072, 1348 left",
        "Ollama 0.30 and later",
        "fits",
    ):
        assert message in " ".join(done.stdout.replace("│", " ").split())
    assert "image: ollama/ollama:0.32.15" in done.stderr  # pyinfra's own diff


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["inventories/exmaple.py"], "inventories/exmaple.py: there is no such inventory"),
        (["inventories/example.py", "--limit", "nobody"], "no host matches nobody"),
        (["inventories/example.py", "--jsno"], "No such option"),
    ],
)
def test_no_hosts_are_a_mistake(arguments: list[str], fault: str) -> None:
    done = command("ollama_stack.cli", "plan", *arguments)
    assert done.returncode == 3
    assert fault in done.stderr
    assert "Traceback" not in done.stderr
