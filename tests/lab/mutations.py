"""For every control one way to break exactly what it holds on a live host, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lab.sshd import ADDRESSES
from tests.lab.conftest import LABEL

SSH_NAME = "web-1"  # of the locked lab, by SSH
MODEL, PRISTINE = "smollm2:135m", "smollm2:135m-pristine"
GIB = 2**30
VOLUME = "/var/lib/docker/volumes/ollama-lab_ollama_data/_data/models"
BLOBS = f"{VOLUME}/blobs"
PARAMETERS = {"num_ctx": 4096, "num_predict": 1024, "num_thread": 1}
GENERATIONS = {"model": MODEL, "prompt": "hi", "stream": False}
LONG = GENERATIONS | {"prompt": "Tell me a long story of the sea."}


@dataclass(frozen=True)
class Mutation:
    """Edits of the compose file and the gateway's configuration, then a shell script, and ``back``.

    ``before``: a script before all that.
    ``compose``: values by dotted path; ``gateway``: replacements of text, loaded by the gateway.
    ``declared``: variables of Ollama's container; ``reads``, ``app_reads``: what the server, or the
    app, is started with all the same. ``tuned``: parameters of the model, or its template.
    ``also``: controls that cannot but see it too. ``doubles``: commands that answer instead of the
    host's own, for what cannot be provoked. ``waivers``: instead of the inventory's.
    """

    script: str = ""
    back: str = ""
    before: str = ""
    compose: dict[str, Any] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)
    app_reads: dict[str, str] = field(default_factory=dict)
    gateway: tuple[tuple[str, str], ...] = ()
    tuned: dict[str, Any] = field(default_factory=dict)
    also: frozenset[str] = frozenset()
    doubles: dict[str, str] = field(default_factory=dict)
    waivers: tuple[dict[str, str], ...] | None = None
    recreate: tuple[str, ...] = ()
    """Services whose counters or logs the way back has to start anew."""
    uses: frozenset[str] = frozenset()
    """What its script changes, by a name of ours: no two that change the same are broken together."""
    alone: bool = False
    """Whether it hides other controls, or undoes what others break."""
    felt: bool = False
    """Whether other servers on this machine suffer too."""

    @property
    def touches(self) -> set[str]:
        """All that it changes; a replacement that keeps the old text leaves it to others."""
        return {
            *self.uses,
            *self.compose,
            *self.doubles,
            *(f"declared {name}" for name in self.declared),
            *(f"reads {name}" for name in self.reads),
            *(f"app reads {name}" for name in self.app_reads),
            *(old for old, new in self.gateway if old not in new),
            *(() if self.waivers is None else ("waivers",)),
            *(("runner",) if self.tuned else ()),
        }

    def clashes(self, other: Mutation) -> bool:
        """Whether the two cannot be in force at once; a model is tuned by several at once."""
        if self.tuned and other.tuned:
            return bool(self.tuned.keys() & other.tuned.keys())
        return (
            self.alone
            or other.alone
            or self.felt != other.felt
            or bool(self.touches & other.touches)
        )


Batch = dict[str, Mutation]  # by control, all of them in force at once


def batches(mutations: Mapping[str, Mutation]) -> list[Batch]:
    """As few as may be: each takes what changes nothing that another of it changes."""
    found: list[Batch] = []
    for id_, mutation in mutations.items():
        for batch in found:
            if not any(mutation.clashes(other) for other in batch.values()):
                batch[id_] = mutation
                break
        else:
            found.append({id_: mutation})
    return found


def edits(batch: Iterable[Mutation]) -> dict[str, Any]:
    """The compose file's, of all of them."""
    merged: dict[str, Any] = {}
    declared: dict[str, str] = {}
    reads: dict[str, str] = {}
    app_reads: dict[str, str] = {}
    for mutation in batch:
        merged |= mutation.compose
        declared |= mutation.declared
        reads |= mutation.reads
        app_reads |= mutation.app_reads
    if declared:
        merged["ollama.environment"] = [f"{k}={v}" for k, v in (DECLARED | declared).items()]
    if reads:
        merged["ollama.entrypoint"] = ["env", *_arguments(reads), "/bin/ollama", "serve"]
    if app_reads:
        merged = {"app.command": GUNICORN} | merged
        merged["app.entrypoint"] = ["env", *_arguments(app_reads)]
    return merged


def _arguments(variables: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]


def uses(*names: str) -> frozenset[str]:
    return frozenset(names)


def also(*ids: str) -> frozenset[str]:
    return frozenset(f"OLS-{number}" for number in ids)


# --- limits -------------------------------------------------------------------------------------

# Each figure in the kernel: controller and file in cgroup v1, file in v2.
KERNEL = {
    "memory": ("memory", "memory.limit_in_bytes", "memory.max"),
    "swap": ("memory", "memory.memsw.limit_in_bytes", "memory.swap.max"),
    "reservation": ("memory", "memory.soft_limit_in_bytes", "memory.low"),
    "quota": ("cpu", "cpu.cfs_quota_us", "cpu.max"),
    "pids": ("pids", "pids.max", "pids.max"),
}
AS_DECLARED = (
    "docker update --memory 3g --memory-swap 3g --memory-reservation 2g --cpus 1.5 --pids-limit 256 "
    "ollama; "
)


def kernel(figure: str, value: int) -> str:
    """Write a figure into the cgroup of Ollama's first process; v2 counts swap without memory."""
    controller, v1, v2 = KERNEL[figure]
    # Of swap the least up to the root holds, so it is opened and closed in all of them.
    up = '"${group%/*}"' if figure == "swap" else '""'
    of_v2 = {"quota": f"{value} 100000", "swap": value - 3 * GIB}.get(figure, value)
    return (
        "groups=/proc/$(docker inspect --format '{{.State.Pid}}' ollama)/cgroup; "
        f"if test -d /sys/fs/cgroup/{controller}; "
        f"then group=$(grep -E '[:,]{controller}[:,]' $groups | cut -d: -f3); "
        f"echo {value} > /sys/fs/cgroup/{controller}$group/{v1}; "
        f'else group=$(cut -d: -f3 $groups); while test -n "$group"; do '
        f"echo {of_v2} > /sys/fs/cgroup$group/{v2}; group={up}; done; fi; "
    )


def docker_alone(options: str, *figures: tuple[str, int]) -> Mutation:
    """Docker's figures changed, the kernel's put back."""
    restored = "".join(kernel(figure, value) for figure, value in figures)
    return Mutation(
        f"docker update {options} ollama; {restored}", AS_DECLARED + restored, uses=_uses(figures)
    )


def kernel_alone(*figures: tuple[str, int], then: tuple[tuple[str, int], ...]) -> Mutation:
    return Mutation(
        "".join(kernel(figure, value) for figure, value in figures),
        "".join(kernel(figure, value) for figure, value in then),
        uses=_uses(figures),
    )


def _uses(figures: Iterable[tuple[str, int]]) -> frozenset[str]:
    """Docker and the kernel keep memory and swap together."""
    return frozenset(f"limit {name.replace('swap', 'memory')}" for name, _ in figures)


LIMITS = {
    "OLS-101": docker_alone(
        "--memory 2560m --memory-swap 2560m --memory-reservation 2g",
        *(("swap", 3 * GIB), ("memory", 3 * GIB)),
    ),
    "OLS-102": kernel_alone(
        *(("memory", 2560 * 2**20), ("swap", 2560 * 2**20)),
        then=(("swap", 3 * GIB), ("memory", 3 * GIB)),
    ),
    "OLS-103": docker_alone("--cpus 1", ("quota", 150000)),
    # A model that runs meanwhile is throttled, which OLS-305 sees.
    "OLS-104": replace(
        kernel_alone(("quota", 100000), then=(("quota", 150000),)),
        uses=uses("limit quota", "runner"),
    ),
    "OLS-105": docker_alone("--memory 3g --memory-swap 4g", ("swap", 3 * GIB)),
    "OLS-106": kernel_alone(("swap", 4 * GIB), then=(("swap", 3 * GIB),)),
    "OLS-107": docker_alone("--memory-reservation 1g", ("reservation", 2 * GIB)),
    "OLS-108": kernel_alone(("reservation", GIB), then=(("reservation", 2 * GIB),)),
    "OLS-109": docker_alone("--pids-limit 200", ("pids", 256)),
    "OLS-110": kernel_alone(("pids", 200), then=(("pids", 256),)),
}

# --- environment --------------------------------------------------------------------------------

VARIABLES = {
    "OLS-201": ("OLLAMA_NUM_PARALLEL", "3", "2"),
    "OLS-202": ("OLLAMA_MAX_LOADED_MODELS", "1", "2"),
    "OLS-203": ("OLLAMA_NUM_THREAD", "1", "8"),
    "OLS-204": ("OLLAMA_HOST", "0.0.0.0:11434", "http://0.0.0.0:11434"),
    "OLS-205": ("OLLAMA_KEEP_ALIVE", "5m", "6m"),
    "OLS-206": ("OLLAMA_MAX_QUEUE", "15", "512"),
    "OLS-207": ("LLAMA_ARG_THREADS", "1", "8"),
    "OLS-208": ("LLAMA_ARG_CACHE_RAM", "256", "8192"),
    "OLS-209": ("OLLAMA_NO_CLOUD", "1", "0"),
}
DECLARED = {name: value for name, value, _ in VARIABLES.values()}

# The container declares one environment, its server is started with another.
ENVIRONMENT = {
    id_: Mutation(declared={name: wrong}, reads={name: right})
    for id_, (name, right, wrong) in VARIABLES.items()
} | {"OLS-210": Mutation(reads={"OLLAMA_MAX_QUEUE": "512"})}

# --- effect and model ---------------------------------------------------------------------------

GUARDED = "nft --file /opt/ollama-lab/guard.nft"
ADDRESS = "$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}' ollama | cut -d' ' -f1)"


UNREACHABLE = "/run/ollama-lab-unreachable"


def ask(path: str, **body: Any) -> str:
    """Ask Ollama at its container's own address, whatever it answers."""
    return f"curl -sS --max-time 120 {ADDRESS}:11434{path} --data {json.dumps(json.dumps(body))} >/dev/null; "


def generate(**options: int) -> str:
    """A short answer; without its own bound it would be as long as the model's."""
    return ask("/api/generate", **GENERATIONS, options={"num_predict": 2} | options)


UNLOAD = (
    ask("/api/generate", model=MODEL, keep_alive=0)
    + "timeout 30 sh -c 'while docker top ollama | grep -q \" runner \"; do sleep 0.2; done'; "
)
# For a quarter of the time that 1.5 CPUs allow; from a fifth on the control is red.
THROTTLED = (
    "group=$(grep -E '^0::|[:,]cpu[:,]' /proc/$(docker inspect --format '{{.State.Pid}}' ollama)/cgroup | cut -d: -f3 | head -1); "
    "cat /sys/fs/cgroup/cpu$group/cpu.stat /sys/fs/cgroup$group/cpu.stat 2>/dev/null | awk "
    "'/nr_periods/ {p = $2} /throttled_time/ {t = $2 / 1e9} /throttled_usec/ {t = $2 / 1e6} END {exit !(t > 0.04 * p)}'"
)
KEEP = ask("/api/copy", source=MODEL, destination="lab-keep:1") + ask(
    "/api/copy", source=PRISTINE, destination="lab-keep:2"
)
RESTORE = (
    ask("/api/copy", source="lab-keep:1", destination=MODEL)
    + ask("/api/copy", source="lab-keep:2", destination=PRISTINE)
    + "docker exec ollama ollama rm lab-keep:1 lab-keep:2; "
    + UNLOAD
)
RUNNER = uses("runner")  # and the models that it may run


def model_created(name: str = MODEL, **body: Any) -> str:
    """The model made anew from the pulled one, with something else than declared."""
    made = ask("/api/create", **({"model": name, "from": PRISTINE, "stream": False} | body))
    return KEEP + made


def model_as(batch: Iterable[Mutation]) -> tuple[str, str]:
    """The model as all of them tune it, and its way back.

    Its runner in memory still has the right parameters.
    """
    wrong = {name: value for mutation in batch for name, value in mutation.tuned.items()}
    if not wrong:
        return "true", "true"
    template = {"template": wrong.pop("template")} if "template" in wrong else {}
    right = {name: PARAMETERS[name] for name in ("num_ctx", "num_thread")}
    made = model_created(parameters=PARAMETERS | wrong, **template)
    return made + generate(**right), RESTORE


HEALTHY = (
    "timeout 30 sh -c \"until docker inspect --format '{{.State.Health.Status}}' ollama | "
    'grep -q ^healthy; do sleep 0.2; done"'
)
OOM_KILLED = (
    "docker exec ollama grep -qs 'oom_kill [1-9]' "
    "/sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events"
)
WEIGHTS = f"$(ls -S {BLOBS}/sha256-* | head -1)"
EFFECT = {
    "OLS-301": Mutation(
        f"{UNLOAD} cp {WEIGHTS} /var/lib/docker/ollama-lab-weights; truncate --size 50M {WEIGHTS}",
        f"cp /var/lib/docker/ollama-lab-weights {WEIGHTS}; rm /var/lib/docker/ollama-lab-weights",
        recreate=("ollama",),
        alone=True,
    ),
    "OLS-302": Mutation(
        "docker update --cpus 2 ollama; "
        + generate(num_thread=2)
        + "docker update --cpus 1.5 ollama",
        UNLOAD,
        uses=RUNNER | uses("limit quota"),
    ),
    "OLS-303": Mutation(reads={"OLLAMA_NUM_PARALLEL": "2"}, also=also("210", "1210")),
    "OLS-304": Mutation(generate(num_ctx=1024), UNLOAD, uses=RUNNER),
    "OLS-305": Mutation(
        # A runner takes ten seconds to load so.
        f"{generate()} docker update --cpus 0.1 ollama; for more in 1 2 3 4 5 6 7 8 9; do "
        f"{generate(num_predict=8)} {THROTTLED} && break; done; docker update --cpus 1.5 ollama",
        before="docker restart --time 0 ollama",  # the share is of all time since its start
        recreate=("ollama",),
        uses=RUNNER | uses("limit quota"),
    ),
    "OLS-306": Mutation(
        # Whom the kernel ends is its own choice: where it took the server, and so the container, once more.
        "for attempt in 1 2 3; do "
        f"{UNLOAD} docker update --memory 150m --memory-swap 150m --memory-reservation 100m ollama; "
        f"{{ {generate()} }} || true; {AS_DECLARED} {OOM_KILLED} && break; "
        f"docker restart --time 0 ollama; {HEALTHY}; done",
        AS_DECLARED,
        also=also("903"),
        recreate=("ollama",),
        alone=True,
    ),
    "OLS-307": Mutation(
        "kill -9 $(docker inspect --format '{{.State.Pid}}' ollama); sleep 1; " + HEALTHY,
        recreate=("ollama",),
        alone=True,
    ),
    "OLS-308": Mutation(
        ask("/api/generate", model=MODEL, keep_alive=-1),
        ask("/api/generate", model=MODEL, keep_alive="5m"),
        uses=RUNNER,
    ),
}
MODELS = {
    "OLS-401": Mutation(f"{KEEP} docker exec ollama ollama rm {MODEL}", RESTORE, alone=True),
    "OLS-402": Mutation(f"{KEEP} docker exec ollama ollama rm {PRISTINE}", RESTORE, alone=True),
    "OLS-403": Mutation(tuned={"num_thread": 2}),
    "OLS-404": Mutation(tuned={"num_ctx": 1024}),
    "OLS-405": Mutation(tuned={"num_predict": 9}),
    "OLS-406": Mutation(
        model_created(name=PRISTINE, parameters={"top_k": 7}), RESTORE, uses=RUNNER
    ),
    "OLS-407": Mutation(tuned={"template": "Answer: {{ .Prompt }}"}),
    "OLS-408": Mutation(
        f"echo rotten > {BLOBS}/sha256-{'0' * 64}",
        f"rm {BLOBS}/sha256-{'0' * 64}",
        uses=uses("volume"),
    ),
}

# --- service ------------------------------------------------------------------------------------

OTHER_VOLUME = (
    f"docker volume create --label {LABEL} ollama-lab_other_data; "
    "cp --archive /var/lib/docker/volumes/ollama-lab_ollama_data/_data/. "
    "/var/lib/docker/volumes/ollama-lab_other_data/_data"
)
SERVE = "http-request return status {} content-type application/json string '{}' if {{ path {} }} !{{ dst_port 11435 }}\n    use_backend"


def first(status: int, path: str, text: str = "{}") -> tuple[tuple[str, str], ...]:
    """The gateway answers one path itself, but to the app."""
    return (("use_backend", SERVE.format(status, text, path)),)


SERVICE = {
    "OLS-501": Mutation(
        "mv /run/docker.sock /run/docker.sock.lab",
        "mv /run/docker.sock.lab /run/docker.sock",
        alone=True,
        felt=True,
    ),
    "OLS-502": Mutation(
        "docker stop --time 1 ollama", "docker start ollama", also=also("509"), alone=True
    ),
    "OLS-503": Mutation(compose={"ollama.healthcheck.test": ["CMD", "false"]}),
    "OLS-504": Mutation(
        f"echo {ADDRESS} >{UNREACHABLE}; ip route add unreachable $(cat {UNREACHABLE})/32",
        f"ip route del unreachable $(cat {UNREACHABLE})/32; rm {UNREACHABLE}",
        alone=True,
    ),
    "OLS-505": Mutation(
        "docker update --restart no ollama", "docker update --restart always ollama"
    ),
    "OLS-506": Mutation(
        before="docker tag 172.17.0.1:5000/ollama/ollama:0.9.3 ollama-lab/other:1",
        compose={"ollama.image": "ollama-lab/other:1"},
    ),
    "OLS-507": Mutation(
        before=OTHER_VOLUME,
        compose={
            "ollama.volumes": ["other_data:/root/.ollama"],
            "/volumes": {"ollama_data": None, "other_data": None},
        },
        uses=uses("volume"),
    ),
    "OLS-508": Mutation(
        f"docker network create --label {LABEL} ollama-lab-other; "
        "docker network connect ollama-lab-other ollama",
        "docker network disconnect ollama-lab-other ollama; docker network rm ollama-lab-other",
        uses=uses("network"),
        also=also("611"),  # nothing stands before another network's bridge
    ),
    "OLS-509": Mutation(gateway=first(404, "/api/version")),
    "OLS-510": Mutation(
        "docker stop --time 1 ollama-gateway",
        "docker start ollama-gateway",
        also=also("509", "1206"),
        alone=True,
    ),
    "OLS-511": Mutation(compose={"gateway.healthcheck.test": ["CMD", "false"]}),
    "OLS-512": Mutation(
        "docker update --restart no ollama-gateway",
        "docker update --restart always ollama-gateway",
    ),
    "OLS-513": Mutation(
        before="docker tag 172.17.0.1:5000/haproxy:3.0.11 ollama-lab/other:2",
        compose={"gateway.image": "ollama-lab/other:2"},
    ),
    "OLS-514": Mutation(gateway=(("maxconn 3 ", "maxconn 9 "),)),
    "OLS-515": Mutation(gateway=(("ge 15", "ge 98"),), also=also("1211")),
    "OLS-516": Mutation(
        "sleep 2; sed -i.lab 's/timeout connect 5s/timeout connect 6s/' /opt/ollama-lab/gateway/haproxy.cfg",
        "mv /opt/ollama-lab/gateway/haproxy.cfg.lab /opt/ollama-lab/gateway/haproxy.cfg",
        alone=True,
    ),
    "OLS-517": Mutation(gateway=first(200, "/api/generate", '{"response":""}')),
    "OLS-518": Mutation(
        gateway=(("    no log\n", "    no log\n    http-request deny\n"),), alone=True
    ),
}

# --- exposure -----------------------------------------------------------------------------------


def listener(address: str, port: int) -> Mutation:
    """Another program listens, for a minute at most."""
    serve = f"timeout 60 python3 -m http.server --bind {address} {port}"
    pid = f"/tmp/ollama-lab-listener-{port}"  # noqa: S108 the lab is root's machine
    return Mutation(
        f"{serve} >/dev/null 2>&1 & echo $! > {pid}; "
        f"timeout 10 sh -c 'until ss -Hltn | grep -q {address}:{port}; do sleep 0.1; done'",
        f"kill $(cat {pid}); rm {pid}",
    )


EXPOSURE = {
    "OLS-601": Mutation(compose={"ollama.ports": ["127.0.0.2:11499:11434"]}),
    "OLS-602": Mutation(
        compose={
            "gateway.ports": [
                *("127.0.0.1:11434:11434", "127.0.0.1:8404:8404", "127.0.0.2:8405:8404"),
                "127.0.0.1:8080:8080",
            ]
        }
    ),
    "OLS-603": listener("127.0.0.3", 11434),
    "OLS-604": listener("127.0.0.3", 8404),
    "OLS-605": listener("127.0.0.3", 2375),
    "OLS-606": Mutation(gateway=first(401, "/api/tags")),
    "OLS-611": Mutation("nft flush chain inet ollama_stack users", GUARDED, uses=uses("guard")),
    "OLS-612": Mutation(
        "nft flush chain inet ollama_stack neighbours", GUARDED, uses=uses("guard")
    ),
    "OLS-608": Mutation(
        gateway=(
            ("acl change path /api/pull", "acl read path /api/copy\n    acl change path /api/pull"),
            (
                "{ var(txn.kind) -m str admin }",
                "{ var(txn.kind) -m str admin } !{ path /api/copy }",
            ),
        )
    ),
}

# With tokens and a certificate declared, and deployed.
BOTH_WAYS = """frontend both
    mode tcp
    bind :11434
    tcp-request inspect-delay 5s
    tcp-request content accept if { req.len gt 0 }
    use_backend secured if { req.ssl_hello_type 1 }
    default_backend clear

backend secured
    mode tcp
    server itself 127.0.0.1:11435

backend clear
    mode tcp
    server itself 127.0.0.1:11437

frontend clients
"""
AUTHORITY = "/run/ollama-lab-tls"  # on the controller, which is the host
OWN = f"-CA {AUTHORITY}/ca.crt -CAkey {AUTHORITY}/ca.key"
CALLED = f"IP:127.0.0.1,DNS:localhost,DNS:{SSH_NAME},IP:{ADDRESSES[0]}"
TLS = "/opt/ollama-lab/gateway/tls.pem"
SHOWN = "openssl s_client -connect 127.0.0.1:11434 2>/dev/null </dev/null | openssl x509"
LOADED = (
    "docker kill --signal USR2 ollama-gateway; "
    f"""timeout 10 sh -c 'until test "$({SHOWN})" = "$(openssl x509 -in {TLS})"; do sleep 0.1; done' """
)


def certificate(names: str, days: int, signer: str) -> Mutation:
    """The gateway shows another one; without a ``signer`` it is signed by its own key."""
    kept = "/opt/ollama-lab/tls.lab"
    made = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days {days} {signer} "
        f"-subj /CN=localhost -addext subjectAltName={names} -keyout /tmp/lab.key -out /tmp/lab.crt"
    )
    return Mutation(
        f"cp --preserve=all {TLS} {kept}; {made} 2>/dev/null; "
        f"cat /tmp/lab.crt /tmp/lab.key > {TLS}; rm /tmp/lab.crt /tmp/lab.key; {LOADED}",
        f"cat {kept} > {TLS}; rm {kept}; {LOADED}",
        uses=uses("certificate"),
    )


LOCKED = {
    "OLS-607": Mutation(
        gateway=(
            (
                "    http-request set-var(txn.token) var(txn.secret)",
                "    http-request set-var(txn.token) str(pupil) if { req.fhdr(authorization) -m found }\n"
                "    http-request set-var(txn.token) var(txn.secret)",
            ),
        )
    ),
    "OLS-609": Mutation(
        gateway=(
            ("frontend clients\n", BOTH_WAYS),
            ("    bind :11434 ssl", "    bind 127.0.0.1:11437\n    bind 127.0.0.1:11435 ssl"),
        )
    ),
    "OLS-610": certificate(CALLED, 7, OWN),
    "OLS-613": certificate("DNS:localhost", 90, OWN),
    "OLS-614": certificate(CALLED, 90, ""),
    "OLS-742": Mutation(
        "chmod 644 /opt/ollama-lab/gateway/tokens.map",
        "chmod 600 /opt/ollama-lab/gateway/tokens.map",
    ),
}

# --- hardening ----------------------------------------------------------------------------------


def softened(service: str, first_id: int) -> dict[str, Mutation]:
    """One rule of the container's hardening taken back at a time."""
    edits: list[dict[str, Any]] = [
        {"read_only": False},
        {"cap_drop": []},
        {"security_opt": []},
        {"security_opt": ["no-new-privileges:true", "seccomp:unconfined"]},
        {"devices": ["/dev/null:/dev/lab"]},
        {"ipc": "host"},
    ]
    return {
        f"OLS-{first_id + number}": Mutation(
            compose={f"{service}.{name}": value for name, value in edit.items()}
        )
        for number, edit in enumerate(edits)
    }


APP_SECRETS = "/opt/ollama-lab/app:/run/secrets/app:ro"
HARDENING = {
    **softened("ollama", 701),
    "OLS-707": Mutation(
        compose={"ollama.volumes": ["ollama_data:/root/.ollama", "/run:/run/host:ro"]}
    ),
    **softened("gateway", 721),
    "OLS-727": Mutation(
        compose={
            "gateway.volumes": [
                *("/opt/ollama-lab/gateway:/usr/local/etc/haproxy:ro", "/run:/run/host:ro")
            ]
        }
    ),
    **softened("app", 751),
    "OLS-757": Mutation(compose={"app.volumes": [APP_SECRETS, "/run:/run/host:ro"]}),
    "OLS-758": Mutation(compose={"app.user": "10001:99"}),
    "OLS-759": Mutation(
        compose={"app.deploy.resources.limits.memory": "128M", "app.memswap_limit": "128M"}
    ),
    "OLS-760": Mutation(compose={"app.deploy.resources.limits.pids": 128}),
    "OLS-761": Mutation(compose={"app.deploy.resources.limits.cpus": "2.0"}),
    "OLS-731": Mutation(compose={"gateway.user": "0:0"}),
    "OLS-732": Mutation(
        compose={
            "gateway.deploy.resources.limits.memory": "256M",
            "gateway.memswap_limit": "256M",
        }
    ),
    "OLS-733": Mutation(compose={"gateway.deploy.resources.limits.pids": 64}),
    "OLS-734": Mutation(compose={"gateway.deploy.resources.limits.cpus": "1.0"}),
    "OLS-741": Mutation(
        "chmod 666 /opt/ollama-lab/docker-compose.yml",
        "chmod 644 /opt/ollama-lab/docker-compose.yml",
    ),
}

# --- versions, logs, host, waivers --------------------------------------------------------------

LATER = "2035-12-31"
ACCEPTED = {"id": "OLS-801", "reason": "loopback only", "until": LATER}


def answers(question: str, answer: str) -> str:
    """A docker that answers one question otherwise than a container does."""
    return f'case "$*" in *"{question}") echo "{answer}"; exit ;; esac\nexec /usr/bin/docker "$@"'


BALLAST = "/var/lib/docker/ollama-lab-ballast"
REST = {
    "OLS-801": Mutation(waivers=()),
    "OLS-802": Mutation(
        doubles={
            "docker": 'test "$1" = version && { echo 19.03.15; exit; }\nexec /usr/bin/docker "$@"'
        }
    ),
    "OLS-805": Mutation(doubles={"docker": answers("haproxy -v", "Status: unmaintained branch")}),
    "OLS-806": Mutation(doubles={"docker": answers("python3 --version", "Python 3.9.2")}),
    "OLS-901": Mutation(compose={"ollama.logging.options.max-size": "1g"}),
    "OLS-902": Mutation(compose={"gateway.logging.options.max-size": "1g"}),
    "OLS-905": Mutation(compose={"app.logging.options.max-size": "1g"}),
    "OLS-903": Mutation(
        # Somebody's answer breaks off.
        f"curl -sS --max-time 60 {ADDRESS}:11434/api/generate --data {json.dumps(json.dumps(LONG))} & "
        "timeout 30 sh -c 'until docker top ollama | grep \" runner \"; do sleep 0.1; done'; sleep 0.5; "
        "kill -9 $(docker top ollama -eo pid,args | grep ' runner ' | awk '{print $1}'); wait; "
        + generate(),  # the server notes it with the next question
        recreate=("ollama",),
        alone=True,
    ),
    "OLS-904": Mutation(
        # In the middle of an answer that takes seconds.
        "(sleep 0.5; docker restart --time 0 ollama) & "
        f"curl -sS --max-time 60 127.0.0.1:11434/api/generate --data {json.dumps(json.dumps(LONG))} || true; wait; {HEALTHY}",
        recreate=("ollama", "gateway"),
        alone=True,
    ),
    "OLS-1001": Mutation(doubles={"date": "exec /bin/date --date '10 minutes' \"$@\""}),
    "OLS-1002": Mutation(
        f"free=$(df -B1 --output=avail /var/lib/docker | tail -1); fallocate --length $((free - 1000000000)) {BALLAST}",
        f"rm -f {BALLAST}",
        felt=True,
    ),
    "OLS-1003": Mutation("touch /run/reboot-required", "rm /run/reboot-required"),
    "OLS-1101": Mutation(
        waivers=(ACCEPTED, {"id": "OLS-802", "reason": "until the summer", "until": "2026-06-30"})
    ),
}

# --- app ----------------------------------------------------------------------------------------

GUNICORN = ["python3", "-m", "gunicorn", "--config", "/srv/app/gunicorn.conf.py"]


def app_reads(name: str, value: str, script: str = "") -> Mutation:
    """The container declares one environment, its process is started with another."""
    return Mutation(script, app_reads={name: value})


def door(rule: str) -> Mutation:
    """The students' door with a rule of its own."""
    return Mutation(
        gateway=(("    default_backend app\n", f"    {rule}\n    default_backend app\n"),)
    )


APP_IMAGE = "172.17.0.1:5000/ollama-stack/app:0.1.0"

APP = {
    "OLS-1201": Mutation(
        "docker stop --time 1 ollama-app",
        "docker start ollama-app",
        gateway=(("    retries 30 ", "    retries 2 "),),  # seconds that a page waits for the app
        also=also("1206"),
        alone=True,
    ),
    "OLS-1202": Mutation(compose={"app.healthcheck.test": ["CMD", "false"]}),
    "OLS-1203": Mutation(
        "docker update --restart no ollama-app", "docker update --restart always ollama-app"
    ),
    # What `docker load` or another build under the same tag leaves, until the next deploy.
    "OLS-1204": Mutation(
        f"docker tag ollama-lab/other:3 {APP_IMAGE}",
        f"docker tag $(docker inspect --format '{{{{.Image}}}}' ollama-app) {APP_IMAGE}",
        before="docker commit --pause=false ollama-app ollama-lab/other:3",
    ),
    "OLS-1205": Mutation(
        f"docker network create --label {LABEL} ollama-lab-other; "
        "docker network connect ollama-lab-other ollama-app",
        "docker network disconnect ollama-lab-other ollama-app; docker network rm ollama-lab-other",
        uses=uses("network"),
        also=also("611"),  # nothing stands before another network's bridge
    ),
    "OLS-1206": replace(
        door("http-request return status 404 if { path / } METH_GET !{ path_beg /api }"), alone=True
    ),
    "OLS-1207": Mutation(compose={"app.ports": ["127.0.0.2:8089:8080"]}),
    "OLS-1208": listener("127.0.0.3", 8080),
    "OLS-1209": Mutation(compose={"app.command": [*GUNICORN, "--workers", "2"]}),
    "OLS-1210": app_reads("OLLAMA_NUM_PARALLEL", "4"),
    "OLS-1211": app_reads("OLLAMA_MAX_QUEUE", "99"),
    "OLS-1212": app_reads("OLLAMA_HOST", "http://ollama-gateway:9"),
    "OLS-906": app_reads(
        "OLLAMA_HOST",
        "http://ollama-gateway:9",
        "curl -sS --max-time 60 127.0.0.1:8080/api/ask --header 'Content-Type: application/json' "
        "--header 'Accept: text/event-stream' "
        '--data \'{"prompt": "hi"}\'',
    ),
    "OLS-1213": door(
        "http-response replace-header Content-Security-Policy '(.*script-src )(.*)' '\\1https://cdn.example \\2'"
    ),
    "OLS-1214": door("http-response replace-header Set-Cookie '(.*)' '\\1; Domain=example'"),
    "OLS-1215": Mutation(
        "chmod 644 /opt/ollama-lab/app/teacher.token",
        "chmod 600 /opt/ollama-lab/app/teacher.token",
    ),
    "OLS-1216": app_reads("APP_MAX_PROMPT", "9999"),
    "OLS-1217": door("http-request return status 200 if { path / } METH_POST"),
    "OLS-1218": app_reads("APP_THREADS", "33"),
    "OLS-1219": Mutation(gateway=(("app:8080 maxconn 34", "app:8080 maxconn 33"),)),
    "OLS-1220": app_reads("APP_MODELS", f"{MODEL},other:1b"),
    "OLS-1221": app_reads("APP_SYSTEM_PROMPT", "QmUgcnVkZS4="),
}

# On the last of three hosts that are this machine; its docker and curl answer for another one.
FLEET = {
    "OLS-803": Mutation(
        doubles={"docker": r"""/usr/bin/docker "$@" | sed -E 's/(\["sha256:)[0-9a-f]+/\1beef/'"""}
    ),
    "OLS-804": Mutation(
        doubles={"curl": r"""/usr/bin/curl "$@" | sed -E 's/(.digest.:.)[0-9a-f]+/\1beef/g'"""},
        also=also("406"),
    ),
}

OPEN = {
    **LIMITS,
    **ENVIRONMENT,
    **EFFECT,
    **MODELS,
    **SERVICE,
    **EXPOSURE,
    **HARDENING,
    **REST,
    **APP,
}
