"""One look at a host: what a run without a change has to know of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyinfra.api import FactBase
from pyinfra.facts.deb import DebArch, DebPackages
from pyinfra.facts.docker import DockerContainer, DockerImage
from pyinfra.facts.files import File, FileContents
from pyinfra.facts.server import Arch, Date, Groups, LinuxDistribution, Which

from ollama_stack.config.settings import Settings
from ollama_stack.containers import CONTAINERS
from ollama_stack.facts.docker import (
    Compose,
    ComposeVersion,
    DaemonConfig,
    DaemonConfigFault,
    Engine,
    EngineFlags,
    InitSystem,
    MaskedUnits,
    OtherEngine,
    SliceMemory,
)
from ollama_stack.facts.docker_client import BrokenStore, ClientProxies, OwnCompose
from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.gateway import GatewayVersion, TokenDigest
from ollama_stack.facts.guard import GuardRules
from ollama_stack.facts.host import HalfInstalled, Room, UplinkMtu
from ollama_stack.facts.kernel import MemTotal, NoProfiles, Processors, Unbounded
from ollama_stack.facts.memory import Wanted
from ollama_stack.facts.model import LoadedModels, Model, ModelMetadata, Models, ModelSizes
from ollama_stack.facts.ollama import OllamaRunner, OllamaVersion
from ollama_stack.facts.release import CurrentRelease, LastRun
from ollama_stack.operations import programs, release
from ollama_stack.paths import DAEMON_JSON, DATA_ROOT, DROP_IN, GUARD_UNIT, RELEASE_UNIT, UNITS
from ollama_stack.tasks import system
from ollama_stack.tasks.secrets import GATEWAY_TOKEN

HOST: tuple[type[FactBase[Any]], ...] = (
    LastRun,  # first: what another run changes later on shows in another answer (operations/lock.py)
    *(
        Arch,
        DebArch,
        Date,
        Processors,
        Groups,
        InitSystem,
        LinuxDistribution,
        MemTotal,
        UplinkMtu,
        GuardRules,
    ),
    *(DebPackages, HalfInstalled, ComposeVersion, DaemonConfig, DaemonConfigFault),
    *(Engine, EngineFlags, MaskedUnits, OtherEngine),
    *(BrokenStore, ClientProxies, OwnCompose, NoProfiles, Unbounded),
)


def usual(settings: Settings) -> list[Wanted]:
    """Every fact that such a run asks for; one that is missing here is asked for alone, which takes longer."""
    return [*_host(settings), *_service(settings), *_model(settings)]


def _host(settings: Settings) -> Iterator[Wanted]:
    yield from ((fact, {}) for fact in HOST)
    yield Which, {"command": "dockerd"}
    for folder in (DATA_ROOT, "/usr", "/var", *system.OURS, settings.ollama_dir):
        yield Room, {"path": folder}
    yield SliceMemory, {"unit": settings.slice}
    yield File, {"path": DAEMON_JSON}
    units = (GUARD_UNIT, RELEASE_UNIT, f"{UNITS}/{settings.slice}")
    for path in (DROP_IN, settings.guard_file, *units):
        yield FileContents, {"path": path}


def _service(settings: Settings) -> Iterator[Wanted]:
    folder = settings.ollama_dir
    for container in CONTAINERS:
        yield DockerContainer, {"object_id": container.name}
    for image in (settings.ollama_image_ref, settings.gateway_image_ref, settings.app_image_ref):
        yield DockerImage, {"object_id": image}
    yield CurrentRelease, {"folder": folder}
    yield Compose, {"path": f"{folder}/releases/current/{release.COMPOSE_FILE}"}
    yield FileContents, {"path": f"{folder}/{release.COMPOSE_FILE}"}
    yield GatewayVersion, {}
    for path in (f"{folder}/bin/{programs.VERSION}", f"{folder}/gateway", settings.app_dir):
        yield FileDigests, {"folder": path}
    for path in (settings.local_token_file, f"{settings.app_dir}/{GATEWAY_TOKEN}"):
        yield TokenDigest, {"path": path}


def _model(settings: Settings) -> Iterator[Wanted]:
    for fact in (OllamaVersion, OllamaRunner, Models, ModelSizes, LoadedModels):
        yield fact, {}
    yield ModelMetadata, {"model": settings.pristine_model}
    for model in settings.served_models:
        for name in (model.name, model.pristine):
            yield Model, {"model": name}
        yield FileContents, {"path": model.record(settings.ollama_dir)}
