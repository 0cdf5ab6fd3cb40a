"""The service: up, healthy, what was declared, and answering."""

from __future__ import annotations

import json
import re
import shlex

from tests.audit.control import DEPLOY, Blocked, Finding, Reading, Unreadable, control
from tests.audit.inspected import Inspected
from tests.audit.live import GATEWAY, OLLAMA, Live

OLLAMA_LOG = f"docker logs --tail 50 {OLLAMA}; then {DEPLOY}"
GATEWAY_LOG = f"docker logs --tail 50 {GATEWAY}; then {DEPLOY}"


@control("OLS-501", "Docker answers", "critical", "ours", "systemctl start docker; then {deploy}")
def test_docker_answers(live: Live) -> Finding:
    """Without its engine nothing runs on the host."""
    output = live.engine
    line = output.text.strip() or output.error.strip()
    return output.reading(line, line).meets("an answer", output.code == 0, steady=False)


@control("OLS-502", "Ollama runs", "critical", "rule of thumb")
def test_ollama_runs(live: Live) -> Finding:
    """A server that does not run answers nobody."""
    return runs(live, OLLAMA)


@control(
    "OLS-503",
    "Ollama is healthy",
    "high",
    "CIS Docker 5.27",
    OLLAMA_LOG,
)
def test_ollama_is_healthy(live: Live) -> Finding:
    """Docker's own look from inside the container."""
    return healthy(live, live.ollama)


@control(
    "OLS-504",
    "Ollama answers its host",
    "critical",
    "ours",
    OLLAMA_LOG,
)
def test_ollama_answers_its_host(live: Live) -> Finding:
    """Deploys, and most of this audit, ask at the container's own address."""
    try:
        output = live.api("/api/version")
    except Blocked as blocked:
        if str(blocked) != "OLS-504":
            raise
        url = f"http://{live.ollama.address}:11434/api/version"
        return Reading("silence", f"curl {url}", "no answer").equals("an answer")
    return output.reading("an answer", output.text).equals("an answer")


@control("OLS-505", "Ollama always restarts", "high", "rule of thumb")
def test_ollama_always_restarts(live: Live) -> Finding:
    """After a crash or a power cut nobody is there at 08:00 to start it."""
    return live.ollama.read("HostConfig.RestartPolicy.Name").equals("always")


@control("OLS-506", "Ollama is the declared image", "high", "rule of thumb")
def test_ollama_is_the_declared_image(live: Live) -> Finding:
    """Another image is another program."""
    return has_image(live, live.ollama, live.settings.ollama_image_ref)


@control("OLS-507", "Models are on their volume", "high", "rule of thumb")
def test_models_are_on_their_volume(live: Live) -> Finding:
    """Anywhere else they are lost with the container."""
    mounts = live.ollama.read("Mounts")
    names = {mount["Destination"]: mount.get("Name") for mount in mounts.value}
    name = names.get("/root/.ollama")
    here = Reading(name, mounts.command, f'"/root/.ollama": {json.dumps(name)}')
    return here.equals(f"{live.settings.ollama_project}_ollama_data")


@control("OLS-508", "Ollama is on the app's network alone", "medium", "rule of thumb")
def test_ollama_is_on_the_app_network_alone(live: Live) -> Finding:
    """Anybody who shares a network with it needs no token."""
    return networks(live, live.ollama)


@control("OLS-509", "The published address answers", "critical", "rule of thumb")
def test_the_published_address_answers(live: Live) -> Finding:
    """This is where the class knocks."""
    output = live.published("/api/version")
    code = output.text.split()[-1]
    line = f"HTTP {code}" if code != "000" else output.error.strip() or "no answer"
    return output.reading(line, line).equals("HTTP 200")


@control("OLS-510", "The gateway runs", "critical", "ours: Ollama has no queue and no lock")
def test_gateway_runs(live: Live) -> Finding:
    """It is the only door."""
    if live.settings.gateway_enabled:
        return runs(live, GATEWAY)
    return live.gateway.read("State").equals("running")  # does not apply


@control(
    "OLS-511",
    "The gateway is healthy",
    "high",
    "CIS Docker 5.27",
    GATEWAY_LOG,
)
def test_gateway_is_healthy(live: Live) -> Finding:
    """Docker's own look from inside the container."""
    return healthy(live, live.gateway)


@control("OLS-512", "The gateway always restarts", "high", "ours")
def test_gateway_always_restarts(live: Live) -> Finding:
    """After a crash or a power cut nobody is there at 08:00 to start it."""
    return live.gateway.read("HostConfig.RestartPolicy.Name").equals("always")


@control("OLS-513", "The gateway is the declared image", "high", "ours")
def test_gateway_is_the_declared_image(live: Live) -> Finding:
    """Another image is another program."""
    return has_image(live, live.gateway, live.settings.gateway_image_ref)


@control(
    "OLS-514", "The gateway lets the declared number in", "high", "rule of thumb; HAProxy maxconn"
)
def test_gateway_lets_the_declared_number_in(live: Live) -> Finding:
    """More at once than Ollama has slots wait where nobody counts them."""
    return let_in(live, "generations", "ollama").equals(live.settings.ollama_num_parallel)


def let_in(live: Live, backend: str, server: str) -> Reading:
    """How many requests the running gateway lets in to a server at once."""
    output = live.metrics("/metrics")
    name = f'haproxy_server_limit_sessions{{proxy="{backend}",server="{server}"}}'
    limit = re.search(rf"^{re.escape(name)} (\d+)", output.text, re.M)
    line = limit[0] if limit else f"no {name}"
    return output.reading(int(limit[1]) if limit else None, line)


@control("OLS-515", "The gateway's queue is as declared", "high", "rule of thumb; ollama#7758")
def test_gateways_queue_is_as_declared(live: Live) -> Finding:
    """Ollama's own queue bounds nothing on a warm model."""
    output = live.configuration
    bounds = sorted(set(re.findall(r"queue\(generations\) ge (\d+)", output.text)))
    here = output.reading(bounds, f"queue(generations) ge {', '.join(bounds) or 'nothing'}")
    return here.equals([str(live.settings.ollama_max_queue)], ", ".join)


@control(
    "OLS-516",
    "The gateway runs the configuration of its folder",
    "high",
    "ours: docs/decisions.md 19",
)
def test_gateway_runs_the_configuration_of_its_folder(live: Live) -> Finding:
    """What was written and never loaded protects nobody."""
    output = live.metrics("/metrics")
    started = re.search(r"^haproxy_process_start_time_seconds (\S+)", output.text, re.M)
    if not started:
        raise Unreadable("the gateway's metrics have no haproxy_process_start_time_seconds")
    edits = live.ask(f"LC_ALL=C stat -c '%Y %n' {shlex.quote(live.settings.gateway_dir)}/*")
    last = max(int(line.split()[0]) for line in edits.text.splitlines())
    late = last - float(started[1])
    return edits.reading(late, f"{started[0]} / {edits.text}").meets(
        *("loaded since the last edit", late <= 1),  # it counts whole seconds
        "loaded since the last edit" if late <= 1 else f"edited {late:.0f} s after it was loaded",
    )


@control(
    "OLS-517",
    "The model answers a real prompt",
    "critical",
    "ours: HTTP 200 proves nothing",
    deep=True,
)
def test_the_model_answers_a_real_prompt(live: Live) -> Finding:
    """The whole way of a student's question, with an answer that has words in it."""
    body = {
        **{"model": live.settings.model_name, "prompt": "Say hello.", "stream": False},
        "options": {"num_predict": min(16, live.settings.model_num_predict)},
    }
    output = live.published("/api/generate", body, seconds=300)
    text, _, code = output.text.rstrip().rpartition("\n")
    try:
        answer = json.loads(text)
    except ValueError:
        answer = {}
    if code == "503":
        raise Unreadable("the queue is full: the class is at work; look again later")
    written = (answer.get("response", "") + answer.get("thinking", "")).strip()
    tokens = answer.get("eval_count", 0)
    line = f"HTTP {code}, eval_count {tokens}, {len(written)} characters"
    if written and answer.get("done") is False:
        line += ": the server is up and broke the answer off; the model repeats itself"
    return output.reading(line, line).meets(
        "HTTP 200 with text", code == "200" and bool(written) and tokens > 0, steady=False
    )


@control("OLS-518", "The gateway answers about itself", "medium", "HAProxy prometheus-exporter")
def test_gateway_answers_about_itself(live: Live) -> Finding:
    """Queue and refusals are seen there, and nowhere else."""
    try:
        output = live.metrics("/version")
    except Blocked as blocked:
        if str(blocked) != "OLS-518":
            raise
        url = f"http://127.0.0.1:{live.settings.gateway_metrics_port}/version"
        return Reading("silence", f"curl --fail {url}", "no answer, or an error").equals(
            "an answer"
        )
    return output.reading("an answer", output.text).equals("an answer")


def runs(live: Live, name: str) -> Finding:
    """Whether a container is there, and runs."""
    try:
        return live.inspected(name, "absent").read("State.Status").equals("running")
    except Blocked as blocked:
        if str(blocked) != "absent":
            raise
    output = live.run(live.inspect)
    return output.reading("there is none", output.error).equals("running")


def healthy(live: Live, container: Inspected) -> Finding:
    """Whether Docker calls a container healthy."""
    live.pid(container)
    return container.read("State.Health.Status").equals("healthy")


def has_image(live: Live, container: Inspected, declared: str) -> Finding:
    """Whether a container is of the declared name, and of the image that has that name now."""
    named = container.read("Config.Image")
    if named.value != declared:
        return named.equals(declared)
    output = live.run(f"docker image inspect --format '{{{{.Id}}}}' {shlex.quote(declared)}")
    if output.code and "no such image" not in output.error.lower():
        raise Unreadable(f"`{output.command}` failed: {output.last_line}")
    now, here = output.text.strip() or "no image", container.read("Image")
    if now == here.value:
        return named.equals(declared)
    evidence = output.reading(here.value, output.text + output.error)
    return evidence.meets(f"{now}, which has that name now", False)


def networks(live: Live, container: Inspected) -> Finding:
    """Whether a container is on the project's network alone."""
    found = container.read("NetworkSettings.Networks")
    names = sorted(found.value)
    here = Reading(names, found.command, f'"Networks": {json.dumps(names)}')
    return here.equals([f"{live.settings.ollama_project}_app-network"], ", ".join)
