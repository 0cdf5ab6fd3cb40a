"""Servers as they are met: each is refused in words that help, or serves, and what was there stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_hex

import pytest

from lab.fleet import MEMBERS, Member
from lab.inject import INVENTORY, on, serves
from lab.repository import docker_ce
from lab.variant import Variant
from lab.variants import SERVERS, Server
from lab.way_out import Proxy, proxy
from tests.lab.conftest import ACTIONS, ROOT, Done, run
from tests.lab.test_audit import audit
from tests.lab.test_hosts import bare

pytestmark = pytest.mark.kind


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    with bare(MEMBERS[:3]):
        for server in SERVERS:
            bash(MEMBERS[server.number], server.first)
        yield


@pytest.fixture(scope="module")
def way(servers: None) -> Iterator[Proxy]:
    with proxy(MEMBERS[0].codename) as running:
        yield running


@pytest.fixture(scope="module")
def site(way: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What variants call {by these names}."""
    with docker_ce(tmp_path_factory.mktemp("apt"), MEMBERS[2].codename) as packages:
        yield {"repository": packages.url, "proxy": way.url, "certificate": way.certificate}


def bash(member: Member, script: str) -> None:
    """A script of a variant's, which must succeed."""
    done = run("docker", "exec", member.container, "bash", "-ec", script)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


def filled(text: str, site: dict[str, str]) -> str:
    for name, value in site.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def inventory(
    member: Member, variants: Sequence[Variant], site: dict[str, str], folder: Path
) -> Path:
    """The lab's, with the variants' settings for one server."""
    data = {
        name: filled(value, site) if isinstance(value, str) else value
        for variant in variants
        for name, value in variant.settings.items()
    }
    path = folder / "lab_ssh.py"  # its name makes it the group whose data is the lab's
    if host := next((variant.host for variant in variants if variant.host), ""):
        path.write_text(f"low = [({host!r}, {data!r})]")
    else:
        port = f'"ssh_port": {member.port}'
        replaced = repr({"ssh_port": member.port} | data)[1:-1]
        path.write_text((ROOT / INVENTORY).read_text().replace(port, replaced))
    return path


def deploy(inventory: Path, name: str, *arguments: str) -> Done:
    return run(".venv/bin/pyinfra", "-y", inventory, "deploy.py", "--limit", name, *arguments)


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize(
    ("server", "variant"),
    [(server, variant) for server in SERVERS for variant in server.refused],
    ids=lambda each: each.what if isinstance(each, Variant) else "",
)
def test_what_cannot_serve_is_refused_with_the_way_out(
    server: Server, variant: Variant, tmp_path: Path
) -> None:
    member = MEMBERS[server.number]
    bash(member, variant.dirt)
    try:
        done = deploy(inventory(member, [variant], {}, tmp_path), variant.host or member.name)
    finally:
        bash(member, variant.clean)
    assert done.returncode == 1
    assert "refused, nothing was changed:" in done.stderr
    assert re.search(variant.refused, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert "Starting operation" not in done.stderr
    assert on(member, "command -v dockerd").returncode != 0


@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("server", SERVERS, ids=lambda server: MEMBERS[server.number].name)
def test_what_can_serve_does_and_what_was_there_stays(
    server: Server, site: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VARIANTS_TOKEN", token_hex(32))
    member = MEMBERS[server.number]
    for variant in server.serves:
        bash(member, filled(variant.dirt, site))
    declared = inventory(member, server.serves, site, tmp_path)
    first = deploy(declared, member.name)
    assert first.returncode == 0, first.stderr
    for variant in server.serves:
        assert re.search(variant.says, first.stderr), f"{variant.what}\n{first.stderr}"
    assert serves(member)
    for variant in server.serves:
        bash(member, filled(variant.holds, site))
    again = deploy(declared, member.name, "--json")
    assert again.returncode == 0, again.stderr
    operations = json.loads(again.stdout)["results"]["operations"]
    assert {each["name"] for each in operations if each["success"]} <= ACTIONS
    found, _ = audit(declared, tmp_path / "report", f"--limit={member.name}")
    assert found.returncode == 0, found.stdout


def test_engine_and_ollama_have_come_by_the_proxy(way: Proxy) -> None:
    assert way.led_to("registry-1.docker.io")
    assert way.led_to("registry.ollama.ai")
