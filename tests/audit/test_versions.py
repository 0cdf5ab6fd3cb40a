"""Versions: none with a known hole, and the same ones on the whole fleet."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from hashlib import sha256

from tests.audit.control import Blocked, Finding, NotApplicable, Reading, Unreadable, control
from tests.audit.live import APP, GATEWAY, Live
from tests.audit.test_model import PULL_ANEW

SAFE_OLLAMA = (0, 17, 1)
OLDEST_DOCKER = (20, 10)  # Debian 12's, which Debian maintains


@control(
    *("OLS-801", "Ollama is not older than 0.17.1", "critical"),
    reference="CVE-2026-7482: anybody reads the server's memory",
    remedy="set ollama_image to 0.17.1 or later, then {deploy}",
)
def test_ollama_is_not_older_than_the_fix(live: Live) -> Finding:
    """Older servers give away what others asked."""
    output = live.api("/api/version")
    shown = ".".join(map(str, live.version))
    return output.reading(shown, output.text).meets("0.17.1 or later", live.version >= SAFE_OLLAMA)


@control(
    "OLS-802",
    "Docker is not older than 20.10",
    "high",
    "Docker Engine release notes",
    "upgrade Docker",
)
def test_docker_is_not_older_than_supported(live: Live) -> Finding:
    """Nobody mends older engines."""
    if live.engine.code:
        raise Blocked("OLS-501")
    text = live.engine.text.strip()
    version = tuple(int(part) for part in text.split("+")[0].split(".")[:2])
    return live.engine.reading(text, text).meets("20.10 or later", version >= OLDEST_DOCKER)


@control(
    "OLS-803",
    "Ollama's image has the fleet's digest",
    "high",
    "OCI image specification",
    "docker pull the image on each host, then {deploy}",
    fleet=True,
)
def test_ollamas_image_has_the_fleets_digest(live: Live) -> Finding:
    """A tag moves; two programs under one name make two audits of one."""
    return _same(live, _image, lambda one: one.settings.ollama_image_ref)


def _image(live: Live) -> Reading:
    """Of its layers: images' own ids differ from store to store, and one that was loaded has no registry's digest."""
    image = live.ollama.read("Image").value
    output = live.ask(f"docker image inspect --format '{{{{json .RootFS.Layers}}}}' {image}")
    layers = " ".join(json.loads(output.text))
    return output.reading(f"sha256:{sha256(layers.encode()).hexdigest()}", output.text)


@control(
    "OLS-804",
    "The model has the fleet's digest",
    "high",
    "OCI image specification",
    PULL_ANEW,
    fleet=True,
)
def test_the_model_has_the_fleets_digest(live: Live) -> Finding:
    """Two classes with one task should ask one model."""
    return _same(live, _model, lambda one: one.settings.model_name)


def _model(live: Live) -> Reading:
    output, models = live.models
    name = live.settings.pristine_model
    if name not in models:
        raise Blocked("OLS-402")
    return output.reading(models[name], f"{name} {models[name]}")


@control(
    *("OLS-805", "The gateway's HAProxy still gets fixes", "high", "haproxy -v"),
    "set gateway_image to a branch that does, as `ollama-stack outdated` names it, then {deploy}",
)
def test_the_gateways_haproxy_still_gets_fixes(live: Live) -> Finding:
    """Strangers talk to it, and nobody closes the holes of a branch that has ended."""
    if not live.settings.cluster:
        live.pid(live.gateway)
    output = live.ask(f"docker exec {_running(live, GATEWAY, 'door')} haproxy -v")
    version, status, *_ = [*output.text.splitlines(), "", ""]
    fixed = gets_fixes(status, date.today())
    return output.reading(status, f"{version}\n{status}").meets("a branch that gets fixes", fixed)


def _running(live: Live, name: str, service: str) -> str:
    """A container by its name; in a cluster, of the manager's service that is called, or begins, so."""
    if not live.settings.cluster:
        return name
    if not live.manager:
        raise NotApplicable("the managers run it")
    found = live.ask(f"docker ps --quiet --filter name=^{live.service(service)}").text.split()
    if not found:
        raise Blocked("OLS-1415")
    return found[0]


def gets_fixes(status: str, day: date) -> bool:
    """Whether a branch of HAProxy does on a day, by its own words; those of a branch that has ended name no quarter."""
    quarter = re.search(r"will stop receiving fixes around Q([1-4]) (\d{4})", status)
    if not quarter:
        return False
    return (day.year, (day.month + 2) // 3) <= (int(quarter[2]), int(quarter[1]))


@control(
    *("OLS-806", "The page's Python still gets fixes", "medium", "PEP 602: five years"),
    "set app_base_image to a newer Python, or make app_image anew with one, then {deploy}",
)
def test_the_pages_python_still_gets_fixes(live: Live) -> Finding:
    """It reads what students write."""
    if not live.settings.cluster:
        live.pid(live.app)
    elif not live.settings.app_enabled:
        raise NotApplicable("app_enabled is False")
    output = live.ask(f"docker exec {_running(live, APP, 'app')} python3 --version")
    version = re.fullmatch(r"Python 3\.(\d+)\.\S+\s*", output.text)
    end = date(2016 + int(version[1]), 10, 31) if version else date.min
    return output.reading(output.text.strip(), output.text).meets(
        f"fixes until {end}" if version else "Python 3", date.today() <= end
    )


def _same(live: Live, read: Callable[[Live], Reading], declared: Callable[[Live], str]) -> Finding:
    """The digest that more than half of the hosts have which declare the same as this one."""
    peers = [one for one in live.fleet if declared(one) == declared(live)]
    digests = [digest for one in peers if (digest := _value(one, read))]
    here = read(live)
    if len(digests) < 2:
        raise NotApplicable(f"no other audited host has {declared(live)}")
    most, count = Counter(digests).most_common(1)[0]
    if count * 2 <= len(digests):
        return here.meets(f"one digest on {len(digests)} hosts", False)
    return here.meets(f"{most}, as on {count} of {len(digests)} hosts", here.value == most)


def _value(live: Live, read: Callable[[Live], Reading]) -> str | None:
    try:
        return str(read(live).value)
    except (Blocked, Unreadable, NotApplicable):
        return None
