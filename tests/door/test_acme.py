"""A certificate of a real ACME authority: ordered, shown, renewed by the host alone, kept when an order fails."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import pytest
from cryptography import x509

from lab.packages import have
from ollama_stack.config import tokens
from ollama_stack.config.settings import read_settings
from ollama_stack.facts.gateway import KeptCertificate
from ollama_stack.facts.release import LOCK
from ollama_stack.inventory import Target
from ollama_stack.operations import certificate
from ollama_stack.operations.certificate import CERTBOT
from ollama_stack.operations.programs import SOURCES, VERSION
from ollama_stack.stack.acme import Kept
from ollama_stack.stack.rendering import gateway_files
from tests.audit.controls import specs
from tests.audit.looking import look
from tests.door.conftest import SECRETS, TOKENS, Door, status, until
from tests.door.haproxy import unpacked
from tests.door.pebble import Pebble, shown
from tests.unit.conftest import group_data
from tests.unit.harness import plan
from tests.unit.host.double import CONFIG, Host

NAME, OTHER = "ai.school.example", "ask.school.example"
ACME = {
    "gateway_tls": "acme",
    "gateway_tls_names": [NAME],
    "gateway_acme_agreed": True,
    "app_enabled": True,
    **TOKENS,
}


class Acme(Host):
    """A host's folder with certbot's beside it; its gateway is a real HAProxy."""

    def __init__(self, folder: Path, authority: Pebble) -> None:
        super().__init__(folder)
        self.authority, self.certbot = authority, folder / "letsencrypt"
        self.lineage = self.certbot / "live" / "ollama-stack"
        self.shown = self.folder / "gateway" / "tls.pem"
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / VERSION).symlink_to(SOURCES)
        own = {"config-dir": str(self.certbot), "work-dir": str(folder), "logs-dir": str(folder)}
        own |= {"http-01-port": str(authority.challenges), "http-01-address": "127.0.0.1"}
        (folder / "letsencrypt.own").mkdir()
        ini = folder / "letsencrypt.own" / "letsencrypt"
        ini.mkdir()
        (ini / "cli.ini").write_text("".join(f"{name} = {value}\n" for name, value in own.items()))
        self.environment = {
            "XDG_CONFIG_HOME": str(ini.parent),
            "RENEWED_LINEAGE": str(self.lineage),
            "REQUESTS_CA_BUNDLE": str(authority.trust),
            "PATH": f"{self.doubles}:{os.environ['PATH']}",
        }

    def sh(self, command: str) -> subprocess.CompletedProcess[str]:
        """As a host does it, but with a lock of its own."""
        shell = [
            "sh",
            "-c",
            command.replace(LOCK, str(self.lock)).replace(CERTBOT, str(self.certbot)),
        ]
        return subprocess.run(shell, capture_output=True, text=True, env=os.environ | self.environment)  # fmt: skip

    def look(self) -> list[str]:
        """What the deploy's fact is told."""
        command = KeptCertificate().command(str(self.certbot), str(self.shown))
        return self.sh(str(command)).stdout.splitlines()

    @property
    def kept(self) -> Kept:  # type: ignore[override] # of certbot, not of releases
        return KeptCertificate().process(self.look())

    def deploy(self, *names: str) -> list[subprocess.CompletedProcess[str]]:
        """The deploy's own commands, up to the first that fails."""
        done = []
        declared = {"called": list(names), "directory": self.authority.directory, "email": ""}
        hook = Path(certificate.HOOK.replace(CERTBOT, str(self.certbot)))
        text = hook.read_text().replace(str(self.certbot), CERTBOT) if hook.exists() else ""
        text = text.replace(str(self.lock), LOCK)
        facts = {"cmp -s": self.look(), certificate.HOOK: text.splitlines()}
        for command in plan(certificate.ordered, facts, folder=str(self.folder), **declared):
            done.append(self.sh(command))
            if done[-1].returncode:
                break
        return done


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    have("certbot", "certbot")
    one = Pebble(tmp_path_factory.mktemp("pebble"))
    yield one
    one.end()


@pytest.fixture(scope="module")
def acme(authority: Pebble, tmp_path_factory: pytest.TempPathFactory) -> Acme:
    """With a first certificate, and no service yet."""
    one = Acme(tmp_path_factory.mktemp("host"), authority)
    for done in one.deploy(NAME):
        assert done.returncode == 0, done.stdout + done.stderr
    assert not one.shown.exists()  # the switch puts it there
    return one


@pytest.fixture(scope="module")
def door(acme: Acme) -> Iterator[Door]:
    """Its first release; a signal loads the gateway anew: another process, as its master starts one."""
    Host.stage(acme, "v1", CONFIG, SCHEME="https", ACME="yes")
    for verb in ("switch", "commit"):
        done = acme.run(verb, "staged", **acme.environment)
        assert done.returncode == 0, done.stdout
    digests = {tokens.digest(secret): name for name, secret in SECRETS.items()}
    files = gateway_files(read_settings(group_data("all", "medium") | ACME), digests)[1]
    door = Door(acme.folder / "gateway", ACME, files=files)
    config, pid = acme.folder / "gateway" / "haproxy.cfg", acme.folder / "pid"
    pid.write_text(str(door.process.process.pid))
    again = shlex.join([*unpacked(), "-D", "-f", str(config), "-p", str(pid), "-sf"])
    signal = f"*'--signal USR2'*) {again} $(cat {pid}) </dev/null >/dev/null 2>&1 9>&- ;;"
    (acme.doubles / "docker").write_text(f'#!/bin/sh\ncase "$*" in {signal} esac\n')
    yield door
    door.end()
    with suppress(ProcessLookupError):
        os.kill(int(pid.read_text()), SIGKILL)


def serial(acme: Acme) -> int:
    """Of the certificate that certbot keeps, which the gateway has."""
    kept = acme.kept
    assert kept.certificate
    assert kept.in_place
    return kept.certificate.serial_number


def at(port: int) -> int:
    """Of the certificate that a client is shown."""
    return x509.load_der_x509_certificate(shown(port, NAME)).serial_number


def shows_another(door: Door, before: int) -> bool:
    """Whoever comes while the gateway is loaded anew by this double may be turned away."""
    with suppress(OSError):
        return at(door.api) != before
    return False


def test_a_bare_host_gets_one_whose_keys_are_root_s_alone(acme: Acme, door: Door) -> None:
    keys = [*acme.certbot.rglob("privkey*.pem"), *acme.certbot.rglob("private_key.json")]
    assert len(keys) >= 3
    for path in (*keys, acme.shown):
        assert path.stat().st_mode & 0o077 == 0, path
    assert at(door.api) == at(door.page) == serial(acme)
    assert acme.deploy(NAME) == []


def test_the_host_s_own_timer_renews_it_and_no_answer_is_lost(acme: Acme, door: Door) -> None:
    before = serial(acme)
    door.ollama.hold.clear()
    with door.start("app", port=door.inner) as asking:
        until(lambda: door.ollama.now == 1)
        timer = acme.sh(
            "unset RENEWED_LINEAGE; certbot renew --force-renewal --no-random-sleep-on-renew"
        )
        assert timer.returncode == 0, timer.stdout + timer.stderr
        until(lambda: shows_another(door, before), 60)
        assert at(door.api) == serial(acme)
        door.ollama.hold.set()
        assert status(asking) == 200
    assert acme.deploy(NAME) == []


def test_an_order_that_fails_keeps_the_last_good_one_and_says_why(acme: Acme, door: Door) -> None:
    before = serial(acme)
    with socket.create_server(("127.0.0.1", acme.authority.challenges)):
        (failed,) = acme.deploy(NAME, OTHER)
    assert failed.returncode == 1
    assert f"gave no certificate for {NAME}, {OTHER}, and what runs is as before" in failed.stderr
    assert f"Could not bind TCP port {acme.authority.challenges}" in failed.stderr
    assert at(door.api) == serial(acme) == before


def test_a_host_with_another_name_gets_another_one_by_one_order(acme: Acme, door: Door) -> None:
    before = serial(acme)
    ordered, renewed = acme.deploy(NAME, OTHER)
    for done in (ordered, renewed):
        assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: shows_another(door, before), 60)
    assert at(door.api) == serial(acme)
    assert acme.deploy(OTHER, NAME) == []
    for done in acme.deploy(NAME):
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_audit_sees_by_its_own_road_that_it_is_so(acme: Acme, door: Door) -> None:
    own = ACME | {"ollama_port": door.api}
    target = Target("@local", ("medium",), group_data("all", "medium") | own)
    wanted = {"OLS-609", "OLS-610", "OLS-613"}
    (found,) = look([target], [spec for spec in specs() if spec.control.id in wanted])
    assert {result.control: result.status for result in found.results} == dict.fromkeys(
        wanted, "pass"
    ), found
