"""Turn the hosts of an inventory into Ollama servers that keep serving a class.

pyinfra inventories/X.py deploy.py --dry      what would change
pyinfra inventories/X.py deploy.py            change it
pytest tests/audit --inventory inventories/X.py     is it so?
"""

import sys

from pyinfra import host, inventory

from ollama_stack.rules import check_inventory
from ollama_stack.settings import read_settings
from ollama_stack.tasks.docker import install_docker
from ollama_stack.tasks.model import keep_model
from ollama_stack.tasks.ollama import serve_ollama
from ollama_stack.tasks.preflight import check_flags, check_hosts
from ollama_stack.tasks.release import begin_change, keep_release, keep_what_runs
from ollama_stack.tasks.smoke import smoke_requests
from ollama_stack.tasks.summary import summarise

check_flags(sys.argv)
check_inventory(inventory)  # every setting of every host, then every host itself:
check_hosts()  # refused, all faults at once, before anything is touched

settings = read_settings(host.data.dict())
begin_change()  # one run at a time; whatever fails from here on ends with the last good release
keep_what_runs(settings=settings)
install_docker(settings=settings)
serve_ollama(settings=settings)
keep_model(settings=settings)
smoke_requests(settings=settings)
keep_release(settings=settings)
summarise()
