"""Turn the hosts of an inventory into Ollama servers that keep serving a class.

pyinfra inventories/X.py deploy.py --dry      what would change
pyinfra inventories/X.py deploy.py            change it
pytest tests/audit --inventory inventories/X.py     is it so?
"""

import sys

from pyinfra import host, inventory

from ollama_stack.cluster.story import deploy_cluster
from ollama_stack.config.settings import read_settings
from ollama_stack.rules import check_inventory
from ollama_stack.tasks import release
from ollama_stack.tasks.app import build_page
from ollama_stack.tasks.bundle import load_images
from ollama_stack.tasks.certificate import have_certificate
from ollama_stack.tasks.docker import install_docker
from ollama_stack.tasks.host import protect_host
from ollama_stack.tasks.model import keep_models
from ollama_stack.tasks.preflight import check_hosts
from ollama_stack.tasks.secrets import forget_secrets, have_secrets
from ollama_stack.tasks.smoke import smoke_requests
from ollama_stack.tasks.start import check_start
from ollama_stack.tasks.summary import summarise

start = check_start(sys.argv)
check_inventory(inventory, start.inventory)  # every setting of every host, then every host itself:
check_hosts()  # refused, all faults at once, before anything is touched
settings = read_settings(host.data.dict())
if settings.cluster:
    deploy_cluster(settings, start.site)
else:
    begun = release.begin_change(settings)  # what is not confirmed, the host takes back
    install_docker(settings=settings)
    protect_host(settings=settings)
    load_images(settings=settings)
    build_page(settings=settings)
    declared = release.declared_release(
        settings, have_secrets(settings).tokens, have_certificate(settings, start.site)
    )
    release.stage_release(settings=settings, declared=declared)
    switched = release.switch_release(settings=settings, declared=declared)
    forget_secrets(settings)
    loaded = keep_models(settings=settings, begun=begun)
    smoke_requests(settings=settings, after=[switched, *loaded])
    release.commit_release(settings=settings, declared=declared)
    summarise(start.inventory)
