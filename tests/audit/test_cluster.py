"""The cluster: who is in, what runs where, and which ways lead to it; as each host and the managers say."""

from __future__ import annotations

import json
import re

from ollama_stack.config.settings import profile_of
from tests.audit.control import Blocked, Finding, NotApplicable, Reading, control
from tests.audit.live import Live

NODES = "docker node ls --format '{{.ID}} {{.Status}} {{.Availability}} {{.EngineVersion}} {{.ManagerStatus}}'"
AES_GCM = (
    "unshare --net ip xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 1 mode transport"
    f" aead 'rfc4106(gcm(aes))' 0x{'00' * 20} 64"
)
STACK = "com.docker.stack.namespace"
LEADERLESS = "does not have a leader"
ADMIN = "docs.docker.com/engine/swarm/admin_guide"


def nodes(live: Live) -> Reading:
    """Every node's id, state, availability, engine and role, by a manager's word."""
    output = live.run(NODES)
    if output.code and "not a swarm manager" in output.error:
        raise NotApplicable("the managers say it")
    if LEADERLESS in output.error:
        raise Blocked("OLS-1403")
    if output.code:
        raise Blocked("OLS-1401")
    return output.reading([line.split() for line in output.text.splitlines()], output.text)


@control("OLS-1401", "The host is in its cluster", "critical", ADMIN)
def test_the_host_is_in_its_cluster(live: Live) -> Finding:
    """Who is not in it serves nobody."""
    output = live.ask(f"{live.sudo}docker info --format '{{{{.Swarm.LocalNodeState}}}}'")
    return output.reading(output.text.strip(), output.text).equals("active")


@control("OLS-1402", "Every host of the cluster is ready, this one among them", "high", ADMIN)
def test_every_host_is_ready(live: Live) -> Finding:
    """The class is as large as the hosts that serve."""
    found = nodes(live)
    own = live.ask(f"{live.sudo}docker info --format '{{{{.Swarm.NodeID}}}}'").text.strip()
    ready = {node[0] for node in found.value if node[1:3] == ["Ready", "Active"]}
    right = len(ready) == len(found.value) and own in ready
    return found.meets("all ready and active", right, f"{len(ready)} of {len(found.value)}")


@control(
    *("OLS-1403", "The managers have a quorum, and one to spare where they are three", "high"),
    reference=ADMIN,
    remedy="have the managers run again; docs/cluster.md says how one goes on alone if they are gone for good",
)
def test_the_managers_have_a_quorum(live: Live) -> Finding:
    """Without a quorum nothing changes and nothing is replaced."""
    output = live.run(NODES)
    if LEADERLESS in output.error:
        return output.reading("none", output.error).equals("a quorum")
    found = nodes(live)
    managers = [node[4] for node in found.value if len(node) > 4]
    reached = [role for role in managers if role in ("Leader", "Reachable")]
    right = len(managers) % 2 == 1 and len(reached) == len(managers) and "Leader" in reached
    return found.meets(
        "an odd number of managers, all reachable", right, f"{len(reached)} of {len(managers)}"
    )


@control(
    "OLS-1404", "The cluster's engines are of one version", "medium", "Docker Engine release notes"
)
def test_the_engines_are_of_one_version(live: Live) -> Finding:
    """Engines of several versions are what nobody has tried together."""
    found = nodes(live)
    versions = sorted({version for node in found.value for version in node[3:4]})
    return found.meets("one version", len(versions) == 1, ", ".join(versions))


@control(
    "OLS-1405", "The host runs the Ollama of its profile, and it is healthy", "critical", ADMIN
)
def test_the_host_runs_its_ollama(live: Live) -> Finding:
    """It is healthy once it has answered a real prompt since its start."""
    label = f"label=com.docker.swarm.service.name={live.service(f'ollama-{profile_of(live.target.groups)}')}"
    output = live.ask(f"docker ps --filter {label} --format '{{{{.Status}}}}'")
    healthy = [line for line in output.text.splitlines() if "(healthy)" in line]
    return output.reading(output.text.strip() or "none", output.text).meets(
        "one, healthy", len(healthy) == 1
    )


@control("OLS-1406", "The cluster's containers publish the declared port alone", "critical", ADMIN)
def test_only_the_declared_port_is_published(live: Live) -> Finding:
    """Ollama itself has no lock; the gateway alone may be reached, and the routing mesh opens every host."""
    output = live.ask("docker ps --filter label=com.docker.swarm.service.id --format '{{.Ports}}'")
    found = sorted(set(re.findall(r":(\d+)->", output.text)))
    settings = live.settings
    ports = [settings.ollama_port, *([settings.app_port] if settings.app_enabled else [])]
    expected = sorted(map(str, ports)) if live.manager else []
    return output.reading(found, output.text).equals(
        expected, lambda ports: ", ".join(ports) or "no port"
    )


@control(
    "OLS-1407",
    "No service is on the routing mesh",
    "critical",
    "docs.docker.com/engine/swarm/ingress",
)
def test_no_service_is_on_the_mesh(live: Live) -> Finding:
    """It would let in by every host, and hide who asks."""
    nodes(live)
    output = live.ask("docker service ls --format '{{.Name}} {{.Ports}}'")
    meshed = [line.split()[0] for line in output.text.splitlines() if "->" in line]
    return output.reading(", ".join(meshed) or "none", output.text).equals("none")


@control(
    *("OLS-1408", "What the cluster's hosts say to each other is encrypted", "high"),
    reference="docs.docker.com/engine/network/drivers/overlay (encryption)",
    remedy="set cluster_encrypted = True and take the stack down once (docs/cluster.md), then {deploy}",
)
def test_the_network_is_encrypted(live: Live) -> Finding:
    """Questions and answers pass between hosts, and whoever shares their network could read them."""
    able = live.run(f"{live.root}{AES_GCM}")
    if able.code and not live.settings.cluster_encrypted:
        raise NotApplicable("this kernel has no AES-GCM for IPsec, and the inventory says so")
    name = live.service("inside")
    output = live.ask(f"docker network inspect {name} --format '{{{{json .Options}}}}'")
    encrypted = "encrypted" in json.loads(output.text)
    return output.reading(output.text.strip(), output.text).meets("encrypted", encrypted)


@control("OLS-1409", "No change is under way, and none has failed", "medium", ADMIN)
def test_no_change_is_under_way(live: Live) -> Finding:
    """A change that failed has gone back: the cluster does not run what is declared."""
    nodes(live)
    label = f"label={STACK}={live.settings.ollama_project}"
    services = f"$({live.sudo}docker service ls --quiet --filter {label})"
    form = "{{.Spec.Name}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{else}}completed{{end}}"
    output = live.run(f"docker service inspect --format '{form}' {services}")
    if output.code:
        raise Blocked("OLS-1405")
    states = dict(line.split() for line in output.text.splitlines())
    odd = [f"{name} {state}" for name, state in states.items() if state != "completed"]
    return output.reading(", ".join(odd) or "none", output.text).equals("none")


@control(
    "OLS-1410",
    "The host's model is as it was pulled, tuned as declared",
    "high",
    "Ollama api/types.go",
)
def test_the_model_is_tuned(live: Live) -> Finding:
    """More threads than the limit are a collapse; another model is another answer."""
    name, pristine = live.settings.model_name, live.settings.pristine_model
    show = f"{live.sudo}docker exec {live.ollama.data['Id'][:12]} ollama show"
    origins = f"for model in {name} {pristine}; do {show} $model --modelfile | grep ^FROM; done"
    output = live.run(f"{show} {name} --parameters; {origins}")
    found = dict(line.split()[:2] for line in output.text.splitlines() if line.split()[1:])
    wanted = {name: str(value) for name, value in live.settings.model_parameters.items()}
    shown = ", ".join(f"{name} {found.get(name, 'unset')}" for name in wanted)
    own = len({line for line in output.text.splitlines() if line.startswith("FROM ")}) < 2
    return output.reading(shown, output.text or output.error).meets(
        ", ".join(f"{name} {value}" for name, value in wanted.items()),
        own and wanted.items() <= found.items(),
        shown if own else f"{shown}, and other weights than those that were pulled",
    )


@control(
    "OLS-1411",
    "Who has no token is refused at the cluster's address",
    "critical",
    "RFC 9110, 15.5.2",
)
def test_who_has_no_token_is_refused(live: Live) -> Finding:
    """The address is open to the network."""
    nodes(live)
    body = {"model": live.settings.model_name, "prompt": "hi"}
    output = live.published("/api/generate", body, token=False)
    status = output.text.rpartition("\n")[0].rpartition("\n")[2] if output.text else "000"
    return output.reading(status, output.text).equals("401")


@control("OLS-1412", "Join tokens are in no file of the host", "high", ADMIN)
def test_join_tokens_are_in_no_file(live: Live) -> Finding:
    """Who has one joins the cluster, and as a manager reads all its secrets."""
    places = (
        "/root/.bash_history /home/*/.bash_history /run/ollama-stack.log "
        + live.settings.ollama_dir
    )
    whole = "SWMTKN-1-[0-9a-z]{40}"  # who looks for one has its first letters in a history
    output = live.run(f"{live.root}sh -c 'grep -rlE {whole} {places} 2>/dev/null'")
    return output.reading(output.text.strip() or "none", output.text or "none").equals("none")


@control(
    "OLS-1413",
    "Nothing in the cluster's containers can gain privileges",
    "high",
    "prctl(2), PR_SET_NO_NEW_PRIVS",
)
def test_nothing_can_gain_privileges(live: Live) -> Finding:
    """A setuid program inside must not make root of somebody."""
    listed = "docker ps --quiet --filter label=com.docker.swarm.service.id"
    top = f"for c in $({live.sudo}{listed}); do {live.sudo}docker top $c -eo pid,comm; done"
    # What the engine has just begun is about to give it up.
    begun = "^(COMMAND|docker-init|runc|setpriv)"
    pids = f'awk \'$2 !~ /{begun}/ {{print "/proc/" $1 "/status"}}\''
    output = live.ask(f"{{ {top}; }} | {pids} | xargs grep -sh ^NoNewPrivs | sort | uniq -c")
    found = [line.split()[-1] for line in output.text.splitlines()]
    return output.reading(", ".join(found) or "none", output.text).equals("1")


@control(
    *("OLS-1414", "The host has no swap", "high"),
    reference="docs.docker.com/engine/swarm/services (limits are of memory alone)",
    remedy="swapoff --all on the host, and take its swap out of /etc/fstab",
)
def test_the_host_has_no_swap(live: Live) -> Finding:
    """A model in swap answers so slowly that the class believes the server is dead, and Swarm has no bound for it."""
    output = live.ask("grep SwapTotal /proc/meminfo")
    return output.reading(output.text.split()[1], output.text).equals("0")


@control(
    *(
        "OLS-1415",
        "Every manager runs a gateway, a door and the page, if there is one; and they are healthy",
        "high",
    ),
    reference=ADMIN,
)
def test_a_manager_runs_a_gateway(live: Live) -> Finding:
    """A gateway that stands by is missed when the first manager is dead, and nobody has another."""
    if not live.manager:
        raise NotApplicable("the managers run them")
    label = f"label={STACK}={live.settings.ollama_project}"
    form = '{{.Label "com.docker.swarm.service.name"}} {{.Status}}'
    output = live.ask(f"docker ps --filter {label} --format '{form}'")
    healthy = [line.split()[0] for line in output.text.splitlines() if "(healthy)" in line]
    page = ["app"] if live.settings.app_enabled else []
    parts = {live.service(part) for part in ("gateway", "door", *page)}
    found = {name for name in parts if any(one.startswith(name) for one in healthy)}
    return output.reading(", ".join(sorted(found)) or "none", output.text).equals(
        ", ".join(sorted(parts))
    )
