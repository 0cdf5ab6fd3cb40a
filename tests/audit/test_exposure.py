"""Exposure: who can reach what, as the host's own sockets and the door itself say."""

from __future__ import annotations

import json
import re
import shlex

from tests.audit.control import Blocked, Finding, NotApplicable, Reading, Unreadable, control
from tests.audit.conversation import Output
from tests.audit.inspected import Inspected
from tests.audit.live import Live

ADMIN_ROUTES = ("/api/pull", "/api/push", "/api/create", "/api/copy")
Binding = tuple[str, str, int]


@control(
    "OLS-601", "Docker publishes Ollama as declared", "critical", "rule of thumb; CIS Docker 5.14"
)
def test_docker_publishes_ollama_as_declared(live: Live) -> Finding:
    """Behind the gateway Ollama has no port of its own: it has no lock."""
    live.pid(live.ollama)
    itself = [("11434/tcp", live.settings.ollama_bind, live.settings.ollama_port)]
    return published(live.ollama, [] if live.settings.gateway_enabled else itself)


@control(
    "OLS-602",
    "Docker publishes the gateway as declared",
    "critical",
    "rule of thumb; CIS Docker 5.14",
)
def test_docker_publishes_the_gateway_as_declared(live: Live) -> Finding:
    """Published ports pass the host's firewall."""
    live.pid(live.gateway)
    page = ("8080/tcp", live.settings.app_bind, live.settings.app_port)
    return published(
        live.gateway,
        [
            ("11434/tcp", live.settings.ollama_bind, live.settings.ollama_port),
            ("8404/tcp", "127.0.0.1", live.settings.gateway_metrics_port),
            *([page] if live.settings.app_enabled else []),
        ],
    )


def published(container: Inspected, declared: list[Binding]) -> Finding:
    """Whether a container's published ports are the declared ones."""
    found = container.read("NetworkSettings.Ports")
    bindings = sorted(
        {
            (port, binding["HostIp"].replace("::", "0.0.0.0"), int(binding["HostPort"]))
            for port, published in (found.value or {}).items()
            for binding in published or ()
        }
    )
    return Reading(bindings, found.command, found.line).equals(sorted(declared), _written)


def _written(bindings: list[Binding]) -> str:
    return (
        ", ".join(f"{address}:{port} to {inside}" for inside, address, port in bindings) or "none"
    )


@control(
    *("OLS-603", "The host listens for clients on the declared address alone", "critical", "ss(8)"),
    "ss -ltnp tells who listens: stop it; a missing one: {deploy}",
)
def test_the_host_listens_on_the_declared_address_alone(live: Live) -> Finding:
    """The socket is what the network sees, whatever Docker was told."""
    return listening(live, live.settings.ollama_port, live.settings.ollama_bind, "OLS-509")


@control(
    *("OLS-604", "The host listens for metrics on loopback alone", "medium", "ss(8)"),
    "ss -ltnp tells who listens: stop it; a missing one: {deploy}",
)
def test_the_host_listens_for_metrics_on_loopback_alone(live: Live) -> Finding:
    """They tell how a class works, and have no lock."""
    if not live.settings.gateway_enabled:
        raise NotApplicable("gateway_enabled is False")
    return listening(live, live.settings.gateway_metrics_port, "127.0.0.1", "OLS-518")


def listening(live: Live, port: int, declared: str, root: str) -> Finding:
    """Whether a port listens on the declared address alone; Blocked by ``root`` if nobody does."""
    output = live.ask(f"ss -Hltn 'sport = :{port}'")
    if not output.text.strip():
        raise Blocked(root)
    found = sorted({line.split()[3].rpartition(":")[0] for line in output.text.splitlines()})
    expected = ["0.0.0.0", "[::]"] if declared == "0.0.0.0" else [declared]
    # Without IPv6 in the kernel there is no second socket.
    found_enough = found == ["0.0.0.0"] and declared == "0.0.0.0"
    here = output.reading(found, " / ".join(output.text.splitlines()))
    return here.meets(
        ", ".join(expected), found == expected or found_enough, ", ".join(found) or "none"
    )


@control(
    *("OLS-605", "Docker's API is on no TCP port", "critical", "CIS Docker 2.7"),
    "take tcp:// out of the daemon's hosts (daemon.json, or its systemd unit), restart Docker",
)
def test_dockers_api_is_on_no_tcp_port(live: Live) -> Finding:
    """Anybody who reaches it is root on the host."""
    output = live.ask("ss -Hltn '( sport = :2375 or sport = :2376 )'")
    found = [line.split()[3] for line in output.text.splitlines()]
    if live.engine.code:
        raise Blocked("OLS-501")
    # Elsewhere the engine itself warns, unless it asks for clients' certificates.
    info = live.ask(f"{live.sudo}docker info --format '{{{{json .Warnings}}}}'")
    found += re.findall(r"API is accessible on (\S+)", info.text)
    return output.reading(found, output.text + info.text).equals(
        [], lambda f: ", ".join(f) or "none"
    )


@control("OLS-606", "A token is asked for where one is declared", "critical", "ollama#1053")
def test_a_token_is_asked_for_where_one_is_declared(live: Live) -> Finding:
    """Ollama itself has no lock."""
    output, status = _status(live, "/api/tags", token=False)
    return output.reading(status, f"HTTP {status}").equals("401" if _locked(live) else "200")


@control("OLS-607", "A wrong token is refused", "critical", "RFC 6750")
def test_a_wrong_token_is_refused(live: Live) -> Finding:
    """A lock that every key opens is none."""
    if not _locked(live):
        raise NotApplicable("gateway_tokens is empty")
    wrong = " --header 'Authorization: Bearer not-a-token-of-this-gateway'"
    output, status = _status(live, "/api/tags", token=False, more=wrong)
    return output.reading(status, f"HTTP {status}").equals("401")


@control("OLS-608", "Only the admin may change models", "critical", "ollama#16236")
def test_only_the_admin_may_change_models(live: Live) -> Finding:
    """Elsewhere anybody can fill the disk, or take the model away from the class."""
    if not live.settings.gateway_enabled:
        raise NotApplicable("gateway_enabled is False")
    first, *others = ADMIN_ROUTES
    output, _ = _status(live, first, {}, more="".join(f" {live.settings.url}{r}" for r in others))
    found = dict(zip(ADMIN_ROUTES, re.findall(r"^(\d{3})$", output.text, re.M), strict=True))
    _, found["/api/delete"] = _status(live, "/api/delete", more=" --request DELETE")
    return output.reading(found, json.dumps(found)).equals(
        dict.fromkeys(found, "403"),
        lambda statuses: ", ".join(f"{route} {status}" for route, status in statuses.items()),
    )


@control(
    "OLS-611",
    "A user of the host reaches no container but by its published ports",
    "high",
    "nft(8)",
)
def test_a_user_reaches_no_container_itself(live: Live) -> Finding:
    """At Ollama's own address there is no lock, and at the app's no gateway."""
    nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups "
    if not live.sudo and live.run("id -u").text.strip() != "0":
        nobody = ""  # who audits is such a user
    return reached(live, f"{live.sudo}{nobody}")


def reached(live: Live, who: str) -> Finding:
    """Whether somebody comes to Ollama or the app at their containers' own addresses."""
    behind = {"Ollama": (live.ollama, 11434)}
    if live.settings.app_enabled:
        behind["the app"] = (live.app, 8080)
    asks = "; ".join(
        f"curl -s -o /dev/null --write-out '%{{http_code}}\\n' --noproxy '*' --max-time 5 http://{container.address}:{port}/"
        for container, port in behind.values()
        if live.pid(container)
    )
    output = live.ask(f"{who}sh -c {shlex.quote(f'{asks}; true')}")
    answers = dict(zip(behind, output.text.split(), strict=True))
    found = [name for name, status in answers.items() if status != "000"]  # no answer at all
    return output.reading(found, f"HTTP status: {answers}").equals(
        [], lambda names: ", ".join(names) or "none"
    )


@control(
    *("OLS-612", "A neighbour reaches no container but by its published ports", "critical"),
    "moby#28073; Docker 28 does it by itself",
)
def test_a_neighbour_reaches_no_container_itself(live: Live) -> Finding:
    """Docker before 28 hands on whatever is sent to a container's own address, tokens or not."""
    live.pid(live.ollama)
    network = f"{live.settings.ollama_project}_app-network"
    option = '{{index .Options "com.docker.network.bridge.name"}}'
    bridge = live.ask(f"docker network inspect --format {shlex.quote(option)} {network}")
    try:
        root = live.root
    except Unreadable:  # the table is loaded whole: its rule for users answers for this one
        return reached(live, "")
    output = live.ask(f"{root}nft list chain inet ollama_stack neighbours 2>&1 || true")
    drops = re.findall(r'oifname "([^"]+)" iifname != "\1" ct state [^\n]* drop', output.text)
    last = drops and output.text[output.text.index("oifname") :].splitlines()[0]
    return output.reading(drops, last or output.text).equals(
        [bridge.text.strip()], lambda names: f"dropped before {', '.join(names) or 'no network'}"
    )


def _locked(live: Live) -> bool:
    return bool(live.settings.gateway_enabled and live.settings.gateway_tokens)


def _status(
    live: Live, path: str, body: object = None, *, token: bool = True, more: str = ""
) -> tuple[Output, str]:
    """The HTTP status at the published address; Blocked if nobody, or the wrong one, answers."""
    output = live.published(path, body, token=token, more=more)
    status = output.text.split()[-1]
    if status == "000" or status >= "500":
        raise Blocked("OLS-509")
    return output, status
