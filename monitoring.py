"""Have one Prometheus for the site, on the host of the group monitoring; `ollama-stack deploy` does it last.

pyinfra inventories/X.py monitoring.py --limit monitoring
"""

import sys

from pyinfra import host, inventory

from ollama_stack.config.monitoring import MONITORING, read_monitor
from ollama_stack.tasks.monitoring import check_monitoring, watch_site
from ollama_stack.tasks.start import check_start

start = check_start(sys.argv)
check_monitoring(inventory)

if MONITORING in host.groups:
    watch_site(declared=read_monitor(host.data.dict()), path=start.inventory)
