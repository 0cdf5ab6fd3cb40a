"""Refuse a host that cannot be served, before anything on any host is touched."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import gevent
from gevent import Greenlet
from gevent.pool import Pool
from pyinfra import host, state
from pyinfra.api import DeployError, Host, State
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_config, ctx_host
from pyinfra.facts.docker import DockerContainer, DockerImage, DockerNetwork, DockerVolume
from pyinfra.facts.server import Arch, Command

from ollama_stack.capacity.budget import Shape
from ollama_stack.capacity.fit import misfits
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.capacity.sums import MEASUREMENTS, MEASUREMENTS_PATH, Measured
from ollama_stack.config.served import ServedModel
from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.containers import CONTAINERS
from ollama_stack.facts.docker import (
    DaemonConfig,
    DaemonConfigFault,
    Engine,
    OtherEngine,
    PortOwner,
    StackPorts,
)
from ollama_stack.facts.host import MountPoint, Room
from ollama_stack.facts.kernel import MemTotal, Processors
from ollama_stack.facts.memory import known, look, remember
from ollama_stack.facts.model import ModelMetadata, ModelSizes
from ollama_stack.facts.ollama import OllamaVersion
from ollama_stack.facts.registry import RegistryManifest
from ollama_stack.page_image import REQUIREMENTS
from ollama_stack.paths import CONTAINERD_ROOT, DATA_ROOT
from ollama_stack.pinned_wheels import downloaded, error_line
from ollama_stack.rules import refuse
from ollama_stack.stack.cluster import own_part, workers
from ollama_stack.tasks import bundle, docker, login, system
from ollama_stack.tasks.look import usual

CONTAINERD_STORE = 29  # the first Docker that a new installation of keeps images with containerd


def check_hosts(pulls: bool = True) -> None:
    """DeployError with every reason why hosts of this run are refused, all on one screen.

    ``pulls``: images and models come from registries, which must have them and fit on the disk.
    """
    remember(state)
    refuse(_reasons(state, pulls).get())


@cache
def _reasons(run: State, pulls: bool) -> Greenlet[..., dict[str, list[str]]]:
    """One measurement of all hosts a run; each host's greenlet waits for the same one."""
    return gevent.spawn(_measure_all, run, pulls)


def _measure_all(run: State, pulls: bool) -> dict[str, list[str]]:
    hosts = run.inventory.get_active_hosts()
    others = workers({one.name: (one.groups, one.data.dict()) for one in run.inventory})
    own = {
        one.name: own_part(read_settings(one.data.dict()), worker=one.name in others)
        for one in hosts
    }
    results = Pool(20).map(lambda one: _measure(one, own[one.name], pulls), hosts)
    if path := os.environ.get(MEASUREMENTS_PATH):
        by_name = {one.name: result for one, result in zip(hosts, results, strict=True)}
        Path(path).write_bytes(MEASUREMENTS.dump_json(by_name))
    return {
        one.name: result
        if isinstance(result, list)
        else misfits(own[one.name], profile_of(one.groups), result)
        for one, result in zip(hosts, results, strict=True)
    }


def _measure(one: Host, settings: Settings, pulls: bool) -> Measured | list[str]:
    """One host as measured, or the reasons why it cannot be."""
    with ctx_config.use(one.state.config.copy()), ctx_host.use(one):
        try:
            result = login.faults() or _measured(settings, pulls)
        except PyinfraError as error:
            return [f"preflight: a command failed on the host ({error}); its words are in the log"]
        except Exception as error:  # one host's odd answer must not hide the others'
            return [f"preflight: an answer was not understood ({error!r}); please report it"]
    # With --fail-percent a failed command only marks its host.
    if isinstance(result, Measured) and one in one.state.failed_hosts:
        return ["preflight: a command failed on the host; its words are in the log"]
    return result


def _measured(settings: Settings, pulls: bool) -> Measured:
    look(usual(settings))
    to_pull = _to_pull(settings) if pulls else {}
    sizes: dict[str, int] | None = known(ModelSizes)
    daemon, engine = known(DaemonConfig), known(Engine)
    data_root = engine.root or (daemon or {}).get("data-root", DATA_ROOT)
    image_root = _image_root(settings, daemon or {}, data_root)
    return Measured(
        release=" ".join(docker.os_release()).strip(),
        architecture=known(Arch),
        cpus=min(filter(None, (known(Processors), engine.cpus)), default=0),
        memory=known(MemTotal),
        disk_free=_free(data_root),
        data_root=data_root,
        docker=engine.version,
        daemon_config_fault=known(DaemonConfigFault),
        engine_proxy=bool({"proxies", "registry-mirrors"} & set(daemon or {})) or engine.proxied,
        container_owners=_owners(settings),
        port_owners=_foreign_ports(settings),
        missing_addresses=_missing_addresses(settings),
        to_pull=to_pull,
        model_shape=_model_shape(settings.pristine_model),
        model_sizes=sizes or {},
        ollama=known(OllamaVersion),
        other_engine=known(OtherEngine),
        no_packages=(
            _packages(settings.app_python, known(Arch)).get()
            if pulls and not settings.bundle and _is_to_be_built(settings)
            else ""
        ),
        bundle_faults=bundle.faults(settings),
        system_faults=[
            *docker.faults(settings),
            *system.faults(settings, image_root or data_root, to_pull),
        ],
        image_root=image_root,
        image_free=_free(image_root) if image_root else 0,
    )


def _free(path: str) -> int:
    """Bytes of its disk; 0 if the host does not say."""
    room = known(Room, path=path)
    return room.size if room else 0


def _image_root(settings: Settings, daemon: dict[str, Any], data_root: str) -> str | None:
    """Where images go, if that is another disk than that of Docker's data-root.

    Docker 29 installed anew keeps them with containerd, unless its settings name a storage driver.
    """
    engine = known(Engine)
    root = engine.image_root
    if root is None and not engine.version:
        version = settings.docker_version
        newest = not version or int(version.partition(".")[0]) >= CONTAINERD_STORE
        graph = (
            "storage-driver" in daemon
            or daemon.get("features", {}).get("containerd-snapshotter", True) is False
        )
        if settings.docker_source == "docker-ce" and newest and not graph:
            root = CONTAINERD_ROOT
    if root is None:
        return None
    mounted = known(MountPoint, path=root)
    return None if mounted == known(MountPoint, path=data_root) else root


def _owners(settings: Settings) -> dict[str, str]:
    """By names of declared containers that are taken: the compose project, "" for none."""
    owners = {}
    for container in (one for one in CONTAINERS if one.service in settings.container_memory):
        if found := known(DockerContainer, object_id=container.name):
            labels = found[0]["Config"]["Labels"] or {}
            owners[container.name] = labels.get("com.docker.compose.project", "")
    return owners


def _foreign_ports(settings: Settings) -> dict[str, str]:
    """Who listens on the ports that are to be ours, by setting; our own containers do not count."""
    wanted = ["ollama_port"]
    wanted += ["gateway_metrics_port"] if settings.gateway_enabled and not settings.cluster else []
    wanted += ["app_port"] if settings.app_enabled else []
    ours = _own_ports(settings, known)
    listeners = {
        setting: owner
        for setting in wanted
        if (port := getattr(settings, setting)) not in ours
        and (owner := known(PortOwner, port=port))
    }
    if listeners:  # a killed run's host, or a booting one, has started ours since it was looked at
        ours = _own_ports(settings, host.get_fact)
    return {
        setting: owner
        for setting, owner in listeners.items()
        if getattr(settings, setting) not in ours
    }


def _own_ports(settings: Settings, read: Callable[..., Any]) -> set[int]:
    """Those of our containers that run; ``read``: of facts."""
    ours = {*read(StackPorts, project=settings.ollama_project)} if settings.cluster else set[str]()
    for each in CONTAINERS:
        for container in read(DockerContainer, object_id=each.name) or []:
            if container.get("State", {}).get("Running"):
                bindings = container.get("HostConfig", {}).get("PortBindings") or {}
                ours |= {port["HostPort"] for ports in bindings.values() for port in ports}
    return {int(port) for port in ours if port}


def _to_pull(settings: Settings) -> dict[str, Manifest]:
    """What is not on the host yet, as its registry or the bundle has it."""
    images = {
        name: image
        for name, image in settings.declared_images.items()
        if not known(DockerImage, object_id=settings.engine_name(image))
    }
    if not _is_to_be_built(settings):
        images.pop("app_base_image", None)
    models = [model for model in settings.served_models if not _is_there(model, settings)]
    if settings.bundle:
        return bundle.manifests(settings, images, models)
    pulled = {name: (settings.image_manifest(image), False) for name, image in images.items()}
    if models:  # those a container pulls
        ipv4 = not _has_ipv6(settings)
        pulled |= {model.setting: (model.manifest, ipv4) for model in models}
    return {
        name: known(RegistryManifest, url=url, proxy=settings.proxy_to(url), ipv4=ipv4)
        for name, (url, ipv4) in pulled.items()
    }


def _has_ipv6(settings: Settings) -> bool:
    """Whether the containers' network has IPv6: as it is, or as the engine would make it."""
    if found := known(DockerNetwork, object_id=f"{settings.ollama_project}_app-network"):
        return bool(found[0].get("EnableIPv6"))
    return "enable_ipv6" in str((known(DaemonConfig) or {}).get("default-network-opts"))


def _is_to_be_built(settings: Settings) -> bool:
    return settings.app_is_built and not known(DockerImage, object_id=settings.app_image_ref)


@cache
def _packages(python: str, machine: str) -> Greenlet[..., str]:
    """One download a run; each host's greenlet waits for the same one."""
    return gevent.spawn(_no_packages, python, machine)


def _no_packages(python: str, machine: str) -> str:
    """Why this machine cannot download what the page is built from; "" if it has it now."""
    try:
        downloaded(REQUIREMENTS, python, machine)
    except DeployError as error:
        return error_line(str(error))
    return ""


def _is_there(model: ServedModel, settings: Settings) -> bool:
    """Whether the server has the model as pulled; a volume whose server is down is believed."""
    sizes = known(ModelSizes)
    if sizes is not None:
        return model.pristine in sizes
    return bool(known(DockerVolume, object_id=settings.volume))


def _model_shape(model: str) -> Shape | None:
    """The model's shape by its server; None where it is not there, or says too little."""
    size = (known(ModelSizes) or {}).get(model)
    if not size:
        return None
    metadata = known(ModelMetadata, model=model)
    try:
        return Shape.parse(metadata, size)
    except (KeyError, StopIteration, TypeError, ValueError):
        return None


def _missing_addresses(settings: Settings) -> list[str]:
    wanted = ["ollama_bind", *(["app_bind"] if settings.app_enabled else [])]
    return [setting for setting in wanted if not _address_there(getattr(settings, setting))]


def _address_there(bind: str) -> bool:
    """An address that the host does not have would take the old container down and start none."""
    address = IPv4Address(bind)
    if address.is_loopback or address.is_unspecified:
        return True
    return bool(known(Command, command=f"hostname -I | grep -Fw {bind} || true"))
