"""Verbs for what an inventory gets from registries: what is newer there, and all of it in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ollama_stack.arguments import PathFromRoot, Verb, as_json_flag, of_hosts

if TYPE_CHECKING:  # --help does not wait for pydantic
    from ollama_stack.bundle.file import Machine


@click.command(cls=Verb)
@of_hosts
@as_json_flag("The report (docs/outdated.schema.json)")
def outdated(inventory: str, limit: tuple[str, ...], as_json: bool) -> int:
    """What is newer: images, models, wheels? Asks no host.

    \b
      ollama-stack outdated inventories/school.py
      ollama-stack outdated inventories/school.py --json | jq '.items[] | select(.state == "outdated")'

    Exit: 0 nothing is newer, 1 something is, 2 a registry could not be asked, 3 there is no report.
    """
    from ollama_stack import verbs

    return verbs.outdated(inventory, limit, as_json)


@click.command(cls=Verb)
@of_hosts
@click.option(
    "--out", type=PathFromRoot(), required=True, metavar="FILE", help="The file to write."
)
@click.option(
    "--machine",
    type=click.Choice(["x86_64", "aarch64"]),
    default="x86_64",
    help="What the hosts are; x86_64 unless said.",
)
def bundle(inventory: str, limit: tuple[str, ...], out: str, machine: Machine) -> int:
    """All that the hosts need from registries and PyPI, in one file. Asks no host.

    \b
      ollama-stack bundle inventories/school.py --out school.bundle
      ollama-stack deploy inventories/school.py --bundle school.bundle    where there is no network

    What has arrived is kept: run it again after an interruption, and it goes on.

    Exit: 0 it is written, 1 something could not be had; it is named.
    """
    from ollama_stack import verbs

    return verbs.bundle(inventory, limit, out, machine)
