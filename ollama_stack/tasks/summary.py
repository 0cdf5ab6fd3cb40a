"""What is true now, on one screen: read from the hosts, not from the settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gevent.pool import Pool
from pyinfra import host, inventory, state
from pyinfra.api import Host
from pyinfra.context import ctx_host
from pyinfra.facts.docker import DockerContainer
from pyinfra.operations import python
from rich.console import Console
from rich.table import Table

from ollama_stack.config.settings import Settings, profile_of, read_settings
from ollama_stack.containers import OLLAMA
from ollama_stack.facts.memory import known
from ollama_stack.facts.model import LoadedModels
from ollama_stack.facts.ollama import OllamaRunner
from ollama_stack.stack.page import page_address, reached_at, read_command


def summarise(inventory_path: str) -> None:
    """Print the table once, when the last host is done."""
    python.call(name="Say what is true now", function=print_summary, path=inventory_path)


def print_summary(path: str) -> None:
    """A section for every host that this run reached, and what to type next."""
    if host.name != next(iter(inventory.get_active_hosts())).name:  # who is first may have failed
        return
    table = Table(title="What is true now", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for rows in Pool(20).imap(facts, inventory.iter_activated_hosts()):
        for fact, value in rows.items():
            table.add_row(fact, value)
        table.add_section()
    console = Console(stderr=True)
    console.print(table)
    console.print(f"Next: make audit INVENTORY={path}", soft_wrap=True)


def facts(host: Host) -> dict[str, str]:
    """What one host says of itself now."""
    if host in state.failed_hosts:
        return {"host": f"[bold]{host.name}[/bold] failed: see its last messages above"}
    settings = read_settings(host.data.dict())
    with ctx_host.use(host):
        limits = known(DockerContainer, object_id=OLLAMA.name)[0]["HostConfig"]
        runner = known(OllamaRunner)
        digest = (known(LoadedModels) or {}).get(settings.model_name, "not loaded")
    return {
        "host": f"[bold]{host.name}[/bold], profile {profile_of(host.groups)}",
        "limits": f"{limits['NanoCpus'] / 1e9:g} CPU, {limits['Memory'] / 2**30:g} GiB",
        "runner": f"{runner.threads} thread{'s' * (runner.threads != 1)}, {runner.parallel} parallel, {runner.ctx_size} tokens"
        if runner
        else "not shown: no model is loaded, or Ollama is 0.11.5 to 0.24",
        "model": f"{settings.model_name} {digest[:12]}",
        "address": settings.url,
        "smoke": host.data.get("_smoke", ""),
        **(page_rows(settings, host.name, host.data.dict()) if settings.app_enabled else {}),
    }


def page_rows(settings: Settings, name: str, data: Mapping[str, Any]) -> dict[str, str]:
    """Where students ask and the teacher looks, by the host's name and data."""
    token = shlex.join(read_command(data, f"{settings.app_dir}/teacher.token"))
    url = page_address(settings, reached_at(name, data)).url or settings.app_url
    return {"students": f"ask at {url}", "teacher": f"{url}/teacher; on the host: {token}"}
