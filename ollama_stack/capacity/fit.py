"""Pure: does a measured host fit what is declared for it? Reasons why not, with the arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ollama_stack.capacity.budget import MIB
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.capacity.sums import Measured, disk_sum, image_sum, memory_sum
from ollama_stack.config.settings import DOCKER_HUB, Settings
from ollama_stack.config.types import size_bytes

HIGH_CPUS = 4
HIGH_MEMORY = 7.5e9  # bytes: a machine sold with 8 GB shows a little less
OLDEST_DOCKER = (20, 10)

# Supported releases, and what each has besides docker.io: Compose v2, the client where it is apart.
SUPPORTED_OS: dict[str, list[str]] = {
    "debian 12": [],
    "debian 13": ["docker-cli", "docker-compose"],
    "ubuntu 22.04": ["docker-compose-v2"],
    "ubuntu 24.04": ["docker-compose-v2"],
    "ubuntu 26.04": ["docker-compose-v2"],
}
NEEDED = ("ca-certificates", "curl", "iproute2", "nftables", "procps")  # beside Docker, on each


def misfits(settings: Settings, profile: str | None, measured: Measured) -> list[str]:
    """Every reason why the host cannot serve what is declared, each with its way out."""
    return [
        *_memory(settings, measured),
        *_system(settings, measured),
        *_size(settings, profile, measured),
        *measured.system_faults,
        *measured.bundle_faults,
        *_registries(settings, measured),
        *_packages(measured),
        *_disk(settings, measured),
        *_conflicts(settings, measured),
    ]


def _memory(settings: Settings, measured: Measured) -> Iterator[str]:
    parallel, num_ctx = settings.ollama_num_parallel, settings.model_num_ctx
    total = memory_sum(settings, measured)
    if not total and "model_name" not in measured.to_pull:
        return  # it is on a server that does not answer now; a deploy may repair it
    if not total:
        yield (
            f"model_name: how much memory {settings.model_name} needs is not known before it is on "
            "the server; set model_shape from its config.json (docs/settings.md)"
        )
    elif total.headroom < 0:
        yield (
            f"ollama_memory: {settings.ollama_memory} is less than the {total.needed / MIB:.0f} MiB "
            f"that {' and '.join(total.models)} {'need' if total.models[1:] else 'needs'} at {parallel} x {num_ctx} tokens ({total.shown(MIB)}); "
            "raise it, or lower model_num_ctx or ollama_num_parallel"
        )


def _system(settings: Settings, measured: Measured) -> Iterator[str]:
    """What the host is, against what the deploy can serve."""
    if measured.release not in SUPPORTED_OS:
        known = measured.release or "this system"
        supported = ", ".join(SUPPORTED_OS)
        yield f"docker_source: {known} is not supported; use one of {supported}"
    if measured.architecture not in ("x86_64", "aarch64"):
        yield (
            f"ollama_image: there is none for {measured.architecture}; use an x86-64 or arm64 host"
        )
    if measured.other_engine == "snap":
        yield (
            "docker: the engine there is from snap, which sees no folder but /home; remove it (snap remove "
            "docker, its containers and volumes go with it), or take another host"
        )
    if measured.other_engine == "Podman":
        yield (
            "docker: docker is Podman there; remove the package podman-docker (and where /run/docker.sock links to "
            "Podman's, that link), or take another host"
        )
    if measured.other_engine == "rootless":
        yield (
            "docker: /run/docker.sock leads to the engine of a user without root's rights, which keeps to no limits; "
            "remove that link, so that the host's own is asked"
        )
    if fault := measured.daemon_config_fault:
        yield (
            f"docker: /etc/docker/daemon.json is not a JSON object ({fault}; JSON has no comments); correct or "
            "remove it"
        )
    engine = re.match(r"(\d+)\.(\d+)", measured.docker or "")
    if engine and (int(engine[1]), int(engine[2])) < OLDEST_DOCKER:
        oldest = ".".join(map(str, OLDEST_DOCKER))
        yield f"docker: the engine there is {measured.docker}, at least {oldest} is needed; upgrade it"


def _size(settings: Settings, profile: str | None, measured: Measured) -> Iterator[str]:
    """The host's CPUs and memory, against the limits and what the profile needs."""
    cpus, memory = measured.cpus, measured.memory
    if profile == "high" and (cpus < HIGH_CPUS or memory < HIGH_MEMORY):
        yield (
            f"profile: high needs {HIGH_CPUS} CPUs and 8 GB, the host has {cpus} and "
            f"{memory / 1e9:.1f} GB; put it in medium or take a bigger host"
        )
    if settings.ollama_cpus > cpus:
        yield (
            f"ollama_cpus: {settings.ollama_cpus:g} is more than the {cpus} CPUs of the host; "
            f"lower it to {cpus} or take a bigger host"
        )
    limits = settings.container_memory
    if sum(map(size_bytes, limits.values())) > memory:
        others = [f"the {name}'s {size}" for name, size in limits.items() if name != "ollama"]
        together = f" with {' and '.join(others)}" if others else ""
        yield (
            f"ollama_memory: {settings.ollama_memory}{together} is more than the "
            f"{memory / 2**30:.1f} GiB of the host; lower it or take a bigger host"
        )


def _registries(settings: Settings, measured: Measured) -> list[str]:
    """What is still to be pulled must be there; one registry is named once."""
    engine = ("mirror", "; set mirror or proxy")
    server = (
        "model_registry" if settings.model_registry else "mirror",
        " by IPv4, as a container asks; set mirror, model_registry or proxy",
    )
    places = {
        name: (settings.image_manifest(image), settings.engine_name(image), engine)
        for name, image in settings.declared_images.items()
    }
    models = {m.setting: (m.manifest, m.source, server) for m in settings.served_models}
    places |= models
    faults: list[str] = []
    for name, manifest in measured.to_pull.items():
        url, wanted, (registry, way_out) = places[name]
        if settings.bundle:
            faults += [_unbundled(settings.bundle, name, wanted)] if manifest.status == 404 else []
            continue
        if name == "app_image" and url.startswith(DOCKER_HUB):  # where anybody may take the name
            faults.append(_unpublished(wanted, bool(measured.docker)))
            continue
        if measured.engine_proxy and name not in models:
            continue  # its proxy is the engine's own affair
        site_own = bool(getattr(settings, registry))
        proxy = settings.proxy_to(url)
        faults += _registry(
            manifest,
            "proxy" if proxy else registry if site_own else name,
            url.partition("/v2/")[0] + (f" (through {proxy})" if proxy else ""),
            "; start it, or correct the address" if proxy or site_own else way_out,
        )
        if manifest.status == 404:
            faults.append(f"{name}: {wanted} is not in its registry; check the name and the tag")
    return list(dict.fromkeys(faults))


def _unbundled(bundle: str, setting: str, wanted: str) -> str:
    return f"bundle: {bundle} has no {wanted} ({setting}); make it anew from this inventory (ollama-stack bundle)"


def _unpublished(image: str, engine: bool) -> str:
    what = f"app_image: {image} is not published, and not on the host"
    build = "unset app_image: the deploy then builds the page; or push it to a registry of yours"
    if engine:
        return f"{what}; {build}, or load it there"
    return f"{what}, where no Docker runs; {build}"


def _packages(measured: Measured) -> Iterator[str]:
    """What the page is built from comes by the controller's own pip."""
    if measured.no_packages:
        yield (
            "app_image: the page's packages cannot be downloaded on this machine "
            f"({measured.no_packages}); correct the index of its pip (pip config), or name a ready image"
        )


def _registry(manifest: Manifest, setting: str, registry: str, way_out: str) -> list[str]:
    if not manifest.status:
        return [f"{setting}: {registry} does not answer from the host{way_out}"]
    if manifest.status >= 500:
        return [f"{setting}: {registry} answers HTTP {manifest.status}; correct it and run again"]
    return []


def _disk(settings: Settings, measured: Measured) -> Iterator[str]:
    places = [(measured.data_root, disk_sum(settings, measured), "Docker's data-root")]
    if images := image_sum(settings, measured):
        place = "containerd's root (/etc/containerd/config.toml): images go there, not to data-root"
        places.append((str(measured.image_root), images, place))
    for folder, total, movable in places:
        if total.headroom < 0:
            yield (
                f"disk: {folder} has {total.available / 1e9:.1f} GB free, "
                f"{total.needed / 1e9:.1f} GB are needed ({total.shown(1e9, 1)}; {total.source}); "
                f"free some, or move {movable}"
            )


def _conflicts(settings: Settings, measured: Measured) -> Iterator[str]:
    """What of somebody else's is where ours should be."""
    project = settings.ollama_project
    for name, owner in measured.container_owners.items():
        if owner != project:
            whose = f"compose project {owner}" if owner else "no compose project"
            ours = f", or set ollama_project = {owner} if that was this product's" if owner else ""
            yield (
                f"ollama_project: the container {name} belongs to {whose}, not to {project}; remove "
                f"it (docker rm -f {name}){ours}"
            )
    for setting, owner in measured.port_owners.items():
        yield (
            f"{setting}: {getattr(settings, setting)} is taken by {owner}; stop it or set another "
            f"{setting}"
        )
    for setting in measured.missing_addresses:
        bind = getattr(settings, setting)
        yield f"{setting}: the host has no address {bind}; see `ip -4 address` on it"
