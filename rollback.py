"""Run a release that the hosts have kept: the one before the current, or any by its number.

pyinfra inventories/X.py rollback.py
pyinfra inventories/X.py rollback.py --data _release=7
"""

import sys

from pyinfra import host, inventory

from ollama_stack.cluster import story as cluster
from ollama_stack.config.settings import read_settings
from ollama_stack.rules import check_inventory
from ollama_stack.tasks.release import begin_change, go_back
from ollama_stack.tasks.start import check_start

check_inventory(inventory, check_start(sys.argv).inventory)

settings = read_settings(host.data.dict())
if settings.cluster:
    cluster.go_back(settings)
else:
    begin_change(settings)
    go_back(settings=settings)
