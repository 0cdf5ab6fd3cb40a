"""Verbs for what an inventory gets from registries: what is newer there, and all of it in one file."""

from __future__ import annotations

import click

from ollama_stack.arguments import Verb, as_json_flag, of_hosts


@click.command(cls=Verb)
@of_hosts
@as_json_flag("The report (docs/outdated.schema.json)")
def outdated(inventory: str, limit: tuple[str, ...], as_json: bool) -> int:
    """What has a newer one at its registry: images, models, wheels? Asks no host.

    \b
      ollama-stack outdated inventories/school.py
      ollama-stack outdated inventories/school.py --json | jq '.items[] | select(.state == "outdated")'

    Exit: 0 nothing is newer, 1 something is, 2 a registry could not be asked, 3 there is no report.
    """
    from ollama_stack import verbs

    return verbs.outdated(inventory, limit, as_json)


VERBS = (outdated,)
