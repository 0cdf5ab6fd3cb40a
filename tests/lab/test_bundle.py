"""Bare servers without any way out, deployed from one file: the digests are those of what is pulled."""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.fleet import Member
from lab.images import PYTHONS
from lab.inject import INVENTORY, on, serves
from lab.variant import INSTALL
from ollama_stack.capacity.fit import NEEDED
from ollama_stack.page_image import built_name
from tests.lab.conftest import ACTIONS, ROOT, Done, run, sh, until
from tests.lab.test_audit import audit, with_status
from tests.lab.test_hosts import HOSTS, bare, limit
from tests.lab.test_variants import bash

pytestmark = pytest.mark.kind

BASE = "ollama-lab/python:3"
ENGINES = {"bookworm": "docker.io", "trixie": "docker.io docker-cli"}
MIRROR = "http://172.17.0.1:5000/v2/"
# Only answers leave: those to the SSH client. The mirror is on the same network, so it needs no route.
CUT = """nft -f - <<'END'
table inet cut {
    chain out { type filter hook output priority 0; oifname "eth0" ct state new reject; }
    chain through { type filter hook forward priority 0; oifname "eth0" ct state new reject; }
}
END
"""


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a page that the hosts build."""
    python = PYTHONS[platform.freedesktop_os_release()["VERSION_CODENAME"]]
    page = {"app_enabled": True, "app_image": "", "app_base_image": BASE, "app_base_python": python}
    path = tmp_path_factory.mktemp("bundle") / "lab_ssh.py"
    own = f"_ssh = {{{repr(page)[1:-1]},"
    path.write_text((ROOT / INVENTORY).read_text().replace("_ssh = {", own, 1))
    return path


@pytest.fixture(scope="module")
def bundle(inventory: Path) -> Path:
    path = inventory.with_name("school.bundle")
    done = run(".venv/bin/ollama-stack", "bundle", inventory, *limit(HOSTS), "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def cut_off(bundle: Path) -> Iterator[None]:
    """Servers that have their system's packages, and from then on no network."""
    with bare(HOSTS):
        for member in HOSTS:
            names = f"{' '.join(NEEDED)} {ENGINES[member.codename]}"
            bash(member, f"{INSTALL} {names} >/dev/null")
            bash(member, CUT)
            assert on(member, f"curl --max-time 5 -sS {MIRROR}").returncode != 0
        yield


def deploy(inventory: Path, bundle: Path, *arguments: str) -> Done:
    return run(
        *(".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--data", f"bundle={bundle}"),
        *(*limit(HOSTS), *arguments),
    )


def models(member: Member | None = None) -> dict[str, str]:
    """Digests of those that are as they came, by name; without a server: of the lab's own host, which pulls."""
    address = (
        "docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' ollama"
    )
    asked = f"curl -fsS http://$({address}):11434/api/tags"  # the gateway lists no copies
    answer = json.loads(on(member, asked).stdout if member else sh(asked))
    return {one["name"]: one["digest"] for one in answer["models"] if "-pristine" in one["name"]}


def image_id(member: Member, image: str) -> str:
    return on(member, f"docker image inspect --format '{{{{.Id}}}}' {image}").stdout.strip()


@pytest.mark.usefixtures("cut_off")
def test_a_run_that_is_killed_leaves_what_has_arrived(inventory: Path, bundle: Path) -> None:
    """The deploy of the next test goes on with it."""
    command = [".venv/bin/pyinfra", "-y", str(inventory), "deploy.py", "--data", f"bundle={bundle}"]
    with subprocess.Popen(
        [*command, *limit(HOSTS)],
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: all(map(arrived, HOSTS)), 300)
        os.killpg(process.pid, signal.SIGKILL)
    assert all(map(arrived, HOSTS))


def arrived(member: Member) -> list[str]:
    return on(member, "ls /opt/ollama/bundle/blobs/sha256").stdout.split()


@pytest.mark.usefixtures("cut_off")
def test_servers_without_a_way_out_serve_from_the_bundle(
    inventory: Path, bundle: Path, tmp_path: Path
) -> None:
    done = run(".venv/bin/ollama-stack", "deploy", inventory, "--bundle", bundle, *limit(HOSTS))
    assert done.returncode == 0, done.stderr
    carried = re.findall(r"carry (\d+) of (\d+) files", done.stderr)
    assert any(int(some) < int(every) for some, every in carried), carried
    for member in HOSTS:
        assert serves(member)
        assert models(member) == models() != {}
        assert on(member, "docker inspect --format '{{.Config.Image}}' ollama-app").stdout == f"{built_name(BASE)}\n"  # fmt: skip
        assert on(member, "ls -A /opt/ollama/bundle").returncode != 0
        assert on(member, f"curl --max-time 5 -sS {MIRROR}").returncode != 0
    found, report = audit(
        inventory, tmp_path, "--deep", *(f"--limit={member.name}" for member in HOSTS)
    )
    assert found.returncode == 0, found.stdout
    assert not with_status(report, "finding", "error"), found.stdout


@pytest.mark.usefixtures("cut_off")
def test_images_have_the_ids_of_pulled_ones() -> None:
    for image in ("172.17.0.1:5000/ollama/ollama:0.9.3", "172.17.0.1:5000/haproxy:3.0.11"):
        name, _, tag = image.partition("/")[2].rpartition(":")
        kind = "Accept: application/vnd.docker.distribution.manifest.v2+json"
        manifest = json.loads(sh(f"curl -fsS -H '{kind}' {MIRROR}{name}/manifests/{tag}"))
        assert {image_id(member, image) for member in HOSTS} == {manifest["config"]["digest"]}


@pytest.mark.usefixtures("cut_off")
def test_a_second_run_changes_nothing(inventory: Path, bundle: Path) -> None:
    done = deploy(inventory, bundle, "--json")
    assert done.returncode == 0, done.stderr
    operations = json.loads(done.stdout)["results"]["operations"]
    assert {each["name"] for each in operations if each["success"]} <= ACTIONS


@pytest.mark.usefixtures("cut_off")
def test_only_what_a_host_lacks_is_carried(inventory: Path, bundle: Path) -> None:
    """The model without its manifest: its blobs are there still, so one small file goes."""
    (member, other) = HOSTS
    pristine = next(iter(models(member)))
    volume = "/var/lib/docker/volumes/ollama_ollama_data/_data/models"
    path = f"{volume}/manifests/registry.ollama.ai/library/{pristine.replace(':', '/')}"
    assert on(member, f"rm {path}").returncode == 0
    assert models(member) == {}
    done = deploy(inventory, bundle)
    assert done.returncode == 0, done.stderr
    assert models(member) == models(other)
    assert "carry 0 of " in done.stderr


@pytest.mark.usefixtures("cut_off")
def test_a_damaged_bundle_changes_nothing(inventory: Path, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.bundle"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    done = deploy(inventory, damaged)
    assert done.returncode == 1
    assert "is damaged, it is sha256:" in done.stderr
    assert "Starting operation" not in done.stderr
    assert all(map(serves, HOSTS))
