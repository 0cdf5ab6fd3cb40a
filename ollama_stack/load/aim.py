"""Where a class goes: the gateway of a host that the inventory has, and no other place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from ipaddress import ip_address
from pathlib import Path
from socket import create_connection
from ssl import CERT_NONE, create_default_context, get_default_verify_paths
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509

from ollama_stack import ROOT, authority
from ollama_stack.config import tokens
from ollama_stack.config.settings import Settings
from ollama_stack.inventory import Target
from ollama_stack.load import UNTRUSTED, ClassHour, Scenario, Through
from ollama_stack.load.sizing import longest

LEAVE_OVER = 60  # seconds in which Locust starts and ends
LOOK = 5.0  # seconds for a look at a certificate


@dataclass(frozen=True)
class Task:
    """What Locust gets; the secrets are in no representation."""

    base: str
    metrics: str
    trust: str
    tokens: list[str] = field(repr=False)
    models: list[str]
    """Each student asks one of them."""
    longest: int | None
    """Characters of a question: the page takes no more."""
    most: int
    """Tokens of the longest answer."""
    patience: int
    """Seconds that a student waits for one answer."""
    students: int
    seconds: float
    scenario: Scenario
    through: Through


def aim(target: Target, settings: Settings, hour: ClassHour) -> Task:
    """The task for a host; ValueError says why this machine cannot ask it, as ``setting: problem; way out``."""
    page, here = hour.through == "page", not target.by_ssh
    if page and not settings.app_enabled:
        raise ValueError("app_enabled: there is no page; leave --through page out, or deploy one")
    if page and hour.scenario == "cold":
        raise ValueError(
            "--scenario cold: the API alone says what is in memory; leave --through page out"
        )
    names = [name for name in settings.gateway_tokens if name != "admin" and not page]
    if settings.gateway_tokens and not names and not page:
        raise ValueError(
            "gateway_tokens: admin alone may ask, and no class has that token; add one for the class"
        )
    counted = here and settings.gateway_enabled and not page
    return Task(
        base=_base(target, settings, page),
        metrics=f"http://127.0.0.1:{settings.gateway_metrics_port}/metrics" if counted else "",
        trust=_trust(settings),
        tokens=[tokens.secret(settings.gateway_tokens[name]) for name in names],
        models=settings.app_offered if page else [settings.model_name],
        longest=settings.app_max_prompt if page else None,
        most=longest(settings),
        patience=settings.queue_seconds + LEAVE_OVER,
        students=hour.students,
        seconds=60 * hour.minutes,
        scenario=hour.scenario,
        through=hour.through,
    )


def _base(target: Target, settings: Settings, page: bool) -> str:
    """The URL at which students find the API, or the page."""
    setting, what = ("app_bind", "page") if page else ("ollama_bind", "API")
    port = settings.app_port if page else settings.ollama_port
    bind, local = ip_address(getattr(settings, setting)), not target.by_ssh
    if bind.is_loopback and not local:
        raise ValueError(
            f"{setting}: at {bind} the {what} is open to the host itself alone; set {setting} to the host's own "
            "address, or run load on the host with an inventory of @local"
        )
    own = "127.0.0.1" if local else target.address
    host = own if bind.is_unspecified else str(bind)
    if settings.gateway_tls == "acme":
        if bind.is_loopback:
            raise ValueError(
                f"{setting}: at {bind} nobody has the name that the certificate is for; load asks hosts whose {what} is "
                f"open ({setting})"
            )
        host = settings.gateway_tls_names[0]
    scheme = settings.url.partition("://")[0]
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _trust(settings: Settings) -> str:
    """The file of those whose certificates count: the site's own authority, or whom this machine trusts."""
    if settings.gateway_tls != "own":
        return get_default_verify_paths().cafile or ""
    folder = authority.folder_of(settings.gateway_tls_folder)
    authority.certificate(folder)
    return str(folder / authority.CERTIFICATE)


def locust() -> Path:
    """The Python that has Locust; ValueError says how to get it."""
    python = Path(sys.prefix) / "locust" / "bin" / "python"
    if not python.exists():
        raise ValueError(f"load: Locust is not installed; run make .venv/load in {ROOT}")
    return python


def hold(task: Task) -> Iterator[dict[str, Any]]:
    """All that happened in the class; ValueError if it could not be held, in words for the operator."""
    try:
        done = subprocess.run(  # noqa: S603 no shell
            [locust(), "-m", "ollama_stack.load.class_hour"],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            input=json.dumps(asdict(task) | {"parent": os.getpid()}),
            capture_output=True,
            text=True,
            timeout=task.seconds + task.patience + LEAVE_OVER,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(
            f"{task.base} kept the class longer than its time; look at it with status"
        ) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"Locust has failed: {last}; make .venv/load installs it anew")
    for line in map(json.loads, done.stdout.splitlines()):
        if line["kind"] == "obstacle":
            why = untrusted(task) if line["why"] == UNTRUSTED else line["why"]
            raise ValueError(f"{task.base} {why}")
        yield line


def untrusted(task: Task) -> str:
    """Which certificate the host shows, and whom it would have to be of."""
    trusted = task.trust or "the authorities that this machine trusts"
    way = f"{UNTRUSTED} by {trusted}; deploy it anew, or correct gateway_tls_folder or the address"
    try:
        found = _shown(task.base)
    except (OSError, ValueError):
        return way
    end = found.not_valid_after_utc
    if end < datetime.now(timezone.utc):
        return f"shows a certificate that ended on {end:%Y-%m-%d}; deploy it anew"
    return (
        f"{way} (subject {found.subject.rfc4514_string()}, issuer {found.issuer.rfc4514_string()}, ends on "
        f"{end:%Y-%m-%d})"
    )


def _shown(base: str) -> x509.Certificate:
    """The certificate that the host of a URL shows, trusted or not. gevent's ssl.get_server_certificate takes no timeout."""
    place, context = urlsplit(base), create_default_context()
    context.check_hostname, context.verify_mode = False, CERT_NONE
    with (
        create_connection((place.hostname, place.port or 443), timeout=LOOK) as plain,
        context.wrap_socket(plain, server_hostname=place.hostname) as line,
    ):
        return x509.load_der_x509_certificate(line.getpeercert(binary_form=True) or b"")
