"""Hardening: what a break-in into a container could do, by Docker's word and the kernel's."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ollama_stack import containers
from ollama_stack.config.types import size_bytes
from ollama_stack.reports.audit import Severity
from tests.audit.control import Finding, NotApplicable, Reading, Test, control
from tests.audit.inspected import Inspected
from tests.audit.live import Live
from tests.audit.test_limits import size


class Part(NamedTuple):
    """One of the containers, and where its controls begin."""

    first: int
    name: str
    of: Callable[[Live], Inspected]


OLLAMA = Part(701, "Ollama", lambda live: live.ollama)
GATEWAY = Part(721, "The gateway", lambda live: live.gateway)
APP = Part(751, "The app", lambda live: live.app)


def hardened(
    part: Part,
    number: int,
    claim: str,
    severity: Severity,
    reference: str,
    reason: str,
    look: Callable[[Live, Inspected], Finding],
) -> Test:
    """The control that one container keeps to one rule."""

    @control(
        *(f"OLS-{part.first + number}", f"{part.name} {claim}", severity, reference), reason=reason
    )
    def test(live: Live) -> Finding:
        return look(live, part.of(live))

    return test


def read_only(part: Part) -> Test:
    return hardened(
        *(part, 0, "has a read-only root", "high", "CIS Docker 5.13"),
        "What breaks in can leave nothing behind.",
        lambda _, container: container.read("HostConfig.ReadonlyRootfs").equals(True),
    )


def capabilities(part: Part) -> Test:
    return hardened(
        *(part, 1, "has no capabilities", "high", "CIS Docker 5.4; capabilities(7)"),
        "Root without capabilities is nearly nobody.",
        lambda live, container: live.kernel(container, "CapBnd").equals("0" * 16),
    )


def privileges(part: Part) -> Test:
    return hardened(
        *(part, 2, "can gain no privileges", "high", "CIS Docker 5.26; prctl(2)"),
        "A setuid program inside must not make root of somebody.",
        lambda live, container: live.kernel(container, "NoNewPrivs").equals("1"),
    )


def seccomp(part: Part) -> Test:
    return hardened(
        *(part, 3, "is filtered by seccomp", "high", "CIS Docker 5.22; seccomp(2)"),
        "Most of the kernel's rarely used calls are closed to it.",
        lambda live, container: live.kernel(container, "Seccomp").equals("2", filters),
    )


def filters(mode: str) -> str:
    """The kernel's numbers for seccomp, for people."""
    return {"0": "no filter", "1": "strict", "2": "filter"}.get(mode, mode)


def devices(part: Part) -> Test:
    return hardened(
        *(part, 4, "has no devices and is not privileged", "critical", "CIS Docker 5.5, 5.18"),
        "A privileged container is the host.",
        lambda _, container: _devices(container),
    )


def _devices(container: Inspected) -> Finding:
    given = container.read("HostConfig.Devices")
    names = [device["PathOnHost"] for device in given.value or ()]
    names += ["GPUs or the like" for _ in container.read("HostConfig.DeviceRequests").value or ()]
    privileged = container.read("HostConfig.Privileged").value
    found = names + (["everything: it is privileged"] if privileged else [])
    return Reading(found, given.command, given.line).equals([], lambda f: ", ".join(f) or "none")


def namespaces(part: Part) -> Test:
    return hardened(
        *(part, 5, "shares no namespace with the host", "critical", "CIS Docker 5.10, 5.16, 5.17"),
        "Anybody who shares one sees the host's processes, memory or sockets.",
        lambda _, container: _namespaces(container),
    )


def _namespaces(container: Inspected) -> Finding:
    modes = {
        name: container.read(f"HostConfig.{name}Mode")
        for name in ("Network", "Pid", "Ipc", "UTS", "Userns")
    }
    shared = [name for name, mode in modes.items() if mode.value == "host"]
    line = ", ".join(mode.line for mode in modes.values())
    return Reading(shared, modes["Pid"].command, line).equals([], lambda f: ", ".join(f) or "none")


def mounts(part: Part, declared: Callable[[Live], list[str]]) -> Test:
    return hardened(
        *(part, 6, "sees no more of the host than declared", "critical", "CIS Docker 5.6, 5.32"),
        "A folder of the host, or Docker's socket, is a way out of the container.",
        lambda live, container: _mounts(container, declared(live)),
    )


def _mounts(container: Inspected, declared: list[str]) -> Finding:
    """Folders of the host; Docker's own volumes hold nothing of it."""
    found = container.read("Mounts")
    folders = [mount for mount in found.value if mount["Type"] == "bind"]
    names = sorted(f"{m['Source']}{'' if m['RW'] else ' read-only'}" for m in folders)
    return Reading(names, found.command, found.line).equals(
        declared, lambda names: ", ".join(names) or "none"
    )


test_ollama_has_a_read_only_root = read_only(OLLAMA)
test_ollama_has_no_capabilities = capabilities(OLLAMA)
test_ollama_can_gain_no_privileges = privileges(OLLAMA)
test_ollama_is_filtered_by_seccomp = seccomp(OLLAMA)
test_ollama_has_no_devices = devices(OLLAMA)
test_ollama_shares_no_namespace = namespaces(OLLAMA)
test_ollama_sees_nothing_of_the_host = mounts(
    OLLAMA, lambda live: ["/etc/ssl/certs read-only"] if live.settings.host_certificates else []
)

test_gateway_has_a_read_only_root = read_only(GATEWAY)
test_gateway_has_no_capabilities = capabilities(GATEWAY)
test_gateway_can_gain_no_privileges = privileges(GATEWAY)
test_gateway_is_filtered_by_seccomp = seccomp(GATEWAY)
test_gateway_has_no_devices = devices(GATEWAY)
test_gateway_shares_no_namespace = namespaces(GATEWAY)
test_gateway_sees_no_more_of_the_host = mounts(
    GATEWAY, lambda live: [f"{live.settings.gateway_dir} read-only"]
)


@control("OLS-731", "The gateway is not root", "high", "CIS Docker 4.1")
def test_gateway_is_not_root(live: Live) -> Finding:
    """It is the one that strangers talk to."""
    return live.gateway.read("Config.User").equals(containers.GATEWAY.users)


@control("OLS-732", "The gateway's memory is limited, without swap", "medium", "CIS Docker 5.11")
def test_gateways_memory_is_limited(live: Live) -> Finding:
    """A flood of bodies must not take the model's memory."""
    declared = size_bytes(live.settings.container_memory["gateway"])
    return _memory(live, live.gateway, declared)


def _memory(live: Live, container: Inspected, declared: int) -> Finding:
    """By Docker's word, and by what the kernel keeps."""
    limit = container.read("HostConfig.Memory")
    swap = container.read("HostConfig.MemorySwap").value
    if not limit.value == swap == declared:
        return limit.meets(size(declared), False, f"{size(limit.value)}, with swap {size(swap)}")
    group = live.cgroup_of(container)
    kernel, allowed = group.read("memory"), group.swap
    if kernel.value != str(declared):
        return kernel.equals(str(declared), size)
    return allowed.meets(
        f"{size(declared)}, of swap none",
        allowed.value == 0,
        f"{size(declared)}, of swap {size(allowed.value)}",
    )


@control("OLS-733", "The gateway's processes are limited", "medium", "CIS Docker 5.29")
def test_gateways_processes_are_limited(live: Live) -> Finding:
    """A fork bomb has to stay in the container."""
    return live.gateway.read("HostConfig.PidsLimit").equals(containers.GATEWAY.pids)


@control("OLS-734", "The gateway's CPU is limited", "medium", "CIS Docker 5.12")
def test_gateways_cpu_is_limited(live: Live) -> Finding:
    """A flood of requests must not take the model's CPU."""
    return live.gateway.read("HostConfig.NanoCpus").equals(round(containers.GATEWAY.cpus * 1e9))


test_app_has_a_read_only_root = read_only(APP)
test_app_has_no_capabilities = capabilities(APP)
test_app_can_gain_no_privileges = privileges(APP)
test_app_is_filtered_by_seccomp = seccomp(APP)
test_app_has_no_devices = devices(APP)
test_app_shares_no_namespace = namespaces(APP)
test_app_sees_no_more_of_the_host = mounts(APP, lambda live: [f"{live.settings.app_dir} read-only"])


@control("OLS-758", "The app is not root", "high", "CIS Docker 4.1")
def test_app_is_not_root(live: Live) -> Finding:
    """It reads what students write, and what the model does."""
    return live.app.read("Config.User").equals(containers.APP.users)


@control("OLS-759", "The app's memory is limited, without swap", "medium", "CIS Docker 5.11")
def test_apps_memory_is_limited(live: Live) -> Finding:
    """A class of open pages must not take the model's memory."""
    return _memory(live, live.app, size_bytes(containers.APP_MEMORY))


@control("OLS-760", "The app's processes are limited", "medium", "CIS Docker 5.29")
def test_apps_processes_are_limited(live: Live) -> Finding:
    """A fork bomb has to stay in the container."""
    return live.app.read("HostConfig.PidsLimit").equals(live.settings.app_pids)


@control("OLS-761", "The app's CPU is limited", "medium", "CIS Docker 5.12")
def test_apps_cpu_is_limited(live: Live) -> Finding:
    """A class of open pages must not take the model's CPU."""
    return live.app.read("HostConfig.NanoCpus").equals(round(containers.APP.cpus * 1e9))


@control("OLS-741", "Nobody else writes what is deployed", "high", "CIS Docker 4; stat(1)")
def test_nobody_else_writes_what_is_deployed(live: Live) -> Finding:
    """Anybody who can write the compose file is root on the host at the next deploy."""
    settings = live.settings
    paths = {settings.ollama_dir: "755 0", settings.compose_file: "644 0"}
    if settings.gateway_enabled:
        paths |= {settings.gateway_dir: "755 0"}
        names = (containers.CONFIG, *containers.PROGRAMS)
        mode = f"644 {containers.GATEWAY.user}"
        paths |= {f"{settings.gateway_dir}/{name}": mode for name in names}
    if settings.app_enabled:
        paths |= {settings.app_dir: "755 0"}
    return owned(live, paths)


@control("OLS-742", "Secrets are their owner's alone", "critical", "stat(1)")
def test_secrets_are_their_owners_alone(live: Live) -> Finding:
    """A token that any user of the host can read is everybody's."""
    settings, paths = live.settings, dict[str, str]()
    if settings.token_header_file:
        paths = {settings.token_header_file: "600 0"}
        paths[f"{settings.gateway_dir}/tokens.map"] = f"600 {containers.GATEWAY.user}"
    if settings.gateway_enabled and settings.gateway_has_tls:
        paths[f"{settings.gateway_dir}/tls.pem"] = f"600 {containers.GATEWAY.user}"
    if not paths:
        raise NotApplicable("neither tokens nor a certificate are declared")
    return owned(live, paths)


def owned(live: Live, declared: dict[str, str]) -> Finding:
    """Whether each path has its ``mode uid``, as the host numbers it."""
    declared = {path: live.on_the_host(owner) for path, owner in declared.items()}
    return live.owners(declared).equals(
        declared, lambda owned: ", ".join(f"{path} {owner}" for path, owner in owned.items())
    )
