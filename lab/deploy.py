"""Give this machine a mirror with a real Ollama and a real model: `make lab` runs it first."""

from pyinfra import host, inventory
from pyinfra.facts.server import LinuxDistribution

from lab import back_ends, images, operations
from ollama_stack.config.settings import read_settings
from ollama_stack.operations import packages
from ollama_stack.pinned_wheels import downloaded, unpacked
from ollama_stack.rules import check_inventory
from ollama_stack.tasks.docker import install_docker
from ollama_stack.tasks.preflight import check_hosts

ROOT = images.HERE.parent
APP = "ollama-lab/app:latest"

check_inventory(inventory)
check_hosts(pulls=False)  # the mirror is not there yet
settings = read_settings(host.data.dict())

release = host.get_fact(LinuxDistribution)["release_meta"]
wheels = unpacked(images.HERE / "wheels.txt")
back_ends.with_own_functions(wheels)
ollama = images.ollama(wheels)

install_docker(settings=settings)
packages.installed(name="Install what builds images", packages=["gcc", "libc6-dev", "mmdebstrap"])

operations.built(
    name="Build the images",
    recipes=[images.MIRROR, images.HAPROXY, images.PYTHON, ollama],
    release=release["VERSION_CODENAME"],
    origin=release["ID"].capitalize(),
)
operations.app(
    name="Build the app",
    image=APP,
    base=images.PYTHON,
    root=ROOT,
    wheels=downloaded(
        ROOT / "app" / "requirements.txt", images.PYTHONS[release["VERSION_CODENAME"]]
    ),
)
operations.project(
    name="Run the mirror",
    path=str(images.HERE / "mirror" / "docker-compose.yml"),
    up_failed="lab: the mirror did not start; it needs 172.17.0.1 on docker0 and port 5000 free",
)
operations.pushed(
    name="Publish the images",
    references={
        ollama.name: settings.ollama_image,
        images.HAPROXY.name: settings.gateway_image,
        APP: settings.app_image,
    },
    registry=settings.mirror,
)
operations.pushed(  # after the app, which brings its layers
    name="Publish the app's Python",
    references={images.PYTHON.name: settings.app_base_image},
    registry=settings.mirror,
)
operations.model_pushed(
    name="Publish the model",
    model=settings.model_name,
    modelfile=images.HERE / "model" / "Modelfile",
    files=wheels,
    server=ollama.name,
    registry=settings.mirror,
)
