"""Remove what the lab made, and nothing else: `make lab-down`.

Debian packages, Compose's plugin and the download cache stay; its closing line names them.
"""

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.files import Directory
from pyinfra.facts.server import Which
from pyinfra.operations import files, server

from lab import machine
from lab.fleet import KEYS
from lab.operations import BUILD, LABEL, PUBLISHER
from ollama_stack.config.settings import read_settings
from ollama_stack.config.types import host_of
from ollama_stack.operations import docker
from ollama_stack.tasks.docker import run_docker

settings = read_settings(host.data.dict())
if settings.ollama_project != "ollama-lab":
    raise DeployError(
        "lab/down.py removes a lab, models and all: run it on inventories/lab.py only"
    )
# By name, of whatever age: others may use the same layers.
NAME = '{{.Repository}}{{if eq .Tag "<none>"}}@{{.Digest}}{{else}}:{{.Tag}}{{end}}'
mirror = host_of(settings.mirror)

if host.get_fact(Which, command="dockerd"):
    run_docker()
    server.shell(
        name="Remove the lab's containers, networks and volumes",
        commands=[
            f"docker compose --project-name {settings.ollama_project} down --volumes",
            "docker compose --project-name ollama-lab-mirror down --volumes",
            f"docker rm --force --volumes {PUBLISHER}",
            f"docker ps --all --quiet --filter label={LABEL} | xargs -r docker rm --force --volumes",
        ],
        _retries=2,  # a busy engine learns too late of a server that ends
    )
    server.shell(
        name="Remove the lab's images",
        commands=[
            *(
                f"docker images --digests --format '{NAME}' '{names}' | xargs -r docker rmi --force"
                for names in ("ollama-lab/*", f"{mirror}/*", f"{mirror}/*/*")
            ),
            # What earlier builds of the app have left.
            "docker image prune --force --filter label=org.opencontainers.image.title=ollama-stack-app",
        ],
    )
    server.shell(
        name="Open the side doors again",
        commands=[
            "! command -v nft >/dev/null || nft 'table inet ollama_stack; delete table inet ollama_stack'"
        ],
    )
    docker.insecure_registry(
        name="Forget the mirror", registry=host_of(settings.mirror), present=False
    )
    docker.engine(name="Stop Docker if the lab started it", running=False)

if host.get_fact(Directory, path=str(machine.FOLDER)):
    machine.off(name="Switch the emulated machine off")
for folder in host.loop([settings.ollama_dir, BUILD, str(KEYS)]):
    files.directory(name="Remove a folder of the lab", path=folder, present=False)
