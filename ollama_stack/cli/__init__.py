"""The front door: what is done with an inventory, each with an exit status that says how it went."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from ollama_stack import ROOT, __version__, arguments, supply
from ollama_stack.arguments import PathFromRoot, Verbs, as_json_flag, from_bundle, of_hosts
from ollama_stack.cli.streams import MISTYPED, UNHEARD, open_streams, unheard
from ollama_stack.cli.students import load, sizing

INTERRUPTED = 130


# Each verb imports what it needs: --help and completion would have to wait for pyinfra.
@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """Turn the hosts of an INVENTORY into Ollama servers that keep serving a class, and prove it.

    \b
      ollama-stack init school                      write inventories/school.py
      ollama-stack plan inventories/school.py       does every host fit, what would change?
      ollama-stack deploy inventories/school.py     change it
      ollama-stack audit inventories/school.py      is it so?

    Underneath is plain pyinfra (pyinfra INVENTORY deploy.py) and plain pytest (pytest tests/audit
    --inventory INVENTORY): both may be used alone. Exit: 3 from every verb if the command line is not
    understood, 130 if it was interrupted, 141 if what it says could not be written to its end.
    """


@cli.command(cls=click.Command)  # it stays in the caller's folder, for the key's path
@click.argument("name")
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="ADDRESS|NAME=ADDRESS",
    help="One host; may be given again.",
)
@click.option("--user", metavar="USER", help="The user who logs in over SSH; root unless said.")
@click.option(
    "--key", metavar="FILE", help="The login's private key; SSH's own choice unless said."
)
@click.option("--students", metavar="NUMBER", help="Students at once on each host.")
@click.option("--lan/--no-lan", default=None, help="Students open the page from the network.")
@click.option(
    "--api/--no-api", default=None, help="Programs of the network use the API, with a token."
)
@click.option(
    "--tls", metavar="own|acme|FILE", help="The page's certificate; own unless said (docs/tls.md)."
)
@click.option("--agree-tos", is_flag=True, help="With acme: you agree to Let's Encrypt's terms.")
def init(
    name: str,
    hosts: tuple[str, ...],
    user: str | None,
    key: str | None,
    students: str | None,
    lan: bool | None,
    api: bool | None,
    tls: str | None,
    agree_tos: bool,
) -> None:
    """Write inventories/NAME.py; asks for what no option says. Overwrites nothing.

    \b
      ollama-stack init school
      ollama-stack init school --host class-1=10.0.0.5 --user ops --students 12 --lan

    Exit: 0 it is written, 1 refused, nothing was written.
    """
    from ollama_stack.init.prompts import Given, start

    start(name, Given(hosts, user, key, students, lan, api, tls, agree_tos), Path.cwd(), ROOT)


cli.add_command(arguments.use)


@cli.command()
@of_hosts
@from_bundle
@as_json_flag("The report (docs/plan.schema.json)")
def plan(inventory: str, limit: tuple[str, ...], bundle: str | None, as_json: bool) -> int:
    """Does every host fit, and what would change? Changes nothing.

    \b
      ollama-stack plan inventories/school.py
      ollama-stack plan inventories/school.py --limit high --json | jq .verdict

    Exit: 0 every host fits, 1 one is refused, 2 one cannot be reached, 3 there is no report.
    """
    from ollama_stack import verbs

    return verbs.plan(inventory, limit, bundle, as_json)


@cli.command()
@of_hosts
@click.option(
    "--rolling",
    type=click.IntRange(min=1),
    metavar="N",
    help="N hosts at a time, if all fit; stop at the first that fails.",
)
@from_bundle
@as_json_flag("What every host runs afterwards (docs/status.schema.json)")
def deploy(
    inventory: str,
    limit: tuple[str, ...],
    rolling: int | None,
    bundle: str | None,
    as_json: bool,
) -> int:
    """Make it so. A host that fails goes back to its last good release.

    \b
      ollama-stack deploy inventories/school.py
      ollama-stack deploy inventories/school.py --limit class-1
      ollama-stack deploy inventories/school.py --rolling 1
      ollama-stack deploy inventories/school.py --bundle school.bundle

    Exit: 0 every host answers, 1 refused, or one has failed; with --rolling 2 if a host cannot be
    reached, before the first one changes.
    """
    from ollama_stack import verbs

    return verbs.deploy(inventory, limit, rolling, bundle, as_json)


@cli.command()
@of_hosts
@click.option("--watch", is_flag=True, help="Look again every 5 s, until interrupted.")
@click.option(
    "--metrics",
    type=PathFromRoot(),
    metavar="FILE",
    help="Write it for node_exporter's textfile collector instead (docs/monitoring.md).",
)
@as_json_flag("The report (docs/status.schema.json)")
def status(
    inventory: str, limit: tuple[str, ...], watch: bool, metrics: str | None, as_json: bool
) -> int:
    """How is every host, and what does it run? The worst first. Changes nothing.

    \b
      ollama-stack status inventories/school.py
      ollama-stack status inventories/school.py --watch
      ollama-stack status inventories/school.py --json | jq -e 'all(.hosts[]; .state == "serving")'

    Exit: 0 every host has a line, also one that cannot be reached; 1 refused.
    """
    if watch + as_json + bool(metrics) > 1:
        raise click.UsageError(
            "--watch is for people, --json and --metrics for programs: choose one."
        )
    from ollama_stack import verbs

    return verbs.status(inventory, limit, as_json, watch, metrics)


@cli.command()
@of_hosts
@click.option("--to", type=click.IntRange(min=1), metavar="N", help="The release of this number.")
@as_json_flag("What every host runs afterwards (docs/status.schema.json)")
def rollback(inventory: str, limit: tuple[str, ...], to: int | None, as_json: bool) -> int:
    """Go back to the release before, or to any that is kept.

    \b
      ollama-stack rollback inventories/school.py
      ollama-stack rollback inventories/school.py --limit class-1 --to 7

    Exit: 0 every host answers, 1 refused, or one has failed.
    """
    from ollama_stack import verbs

    return verbs.rollback(inventory, limit, to, as_json)


@cli.command()
@of_hosts
@click.option("--deep", is_flag=True, help="Also a real prompt, and every blob's checksum.")
@click.option(
    "--report",
    type=PathFromRoot(),
    metavar="FOLDER",
    help="Write report.html, report.json (docs/audit.schema.json) and junit.xml there.",
)
@click.option(
    "--since", type=PathFromRoot(), metavar="FILE", help="What changed since this report.json?"
)
def audit(
    inventory: str, limit: tuple[str, ...], deep: bool, report: str | None, since: str | None
) -> NoReturn:
    """Is it so? Reads the live hosts, changes nothing.

    \b
      ollama-stack audit inventories/school.py
      ollama-stack audit inventories/school.py --deep --report reports/monday
      ollama-stack audit inventories/school.py --since reports/monday/report.json

    Exit: 0 every host conforms, 1 there are findings, 2 something could not be looked at.
    """
    # The audit has need of none of the plugins that happen to be there.
    command = [sys.executable, "-m", "pytest", "--disable-plugin-autoload", "tests/audit"]
    command += ["--inventory", inventory]
    command += [f"--limit={one}" for one in limit]  # in one word: pytest reads a file for @local
    command += ["--deep"] if deep else []
    command += ["--report", report] if report else []
    command += ["--since", since] if since else []
    os.execv(sys.executable, command)  # noqa: S606 pytest itself, its exit status included


@cli.command()
@of_hosts
@click.option(
    "--out",
    type=PathFromRoot(),
    default=ROOT / "handouts",
    metavar="FOLDER",
    help="Where the sheets go; handouts/ unless said.",
)
def handout(inventory: str, limit: tuple[str, ...], out: str) -> int:
    """A sheet to print for each class: address, QR code, three rules. Asks no host.

    \b
      ollama-stack handout inventories/school.py
      ollama-stack handout inventories/school.py --limit class-1 --out /tmp/sheets

    Exit: 0 every sheet has an address, 1 refused, or a page is not open to students.
    """
    from ollama_stack import verbs

    return verbs.handout(inventory, limit, Path(out))


for verb in (load, sizing, supply.outdated, supply.bundle):
    cli.add_command(verb)


@cli.command()
def docs() -> None:
    """Write docs/settings.md, docs/controls.md and the schemas anew.

    \b
      ollama-stack docs && git diff --stat docs

    Exit: 0 they are written.
    """
    from ollama_stack.generate_docs import pages
    from tests.audit.controls import PAGE, page

    for path, text in {**pages(), PAGE: page()}.items():
        path.write_text(text)


def main() -> NoReturn:
    """The command line of this process."""
    open_streams()
    try:
        Path.cwd()
        code = cli.main(prog_name="ollama-stack", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        code = MISTYPED
    except click.Abort:
        code = INTERRUPTED
    except SystemExit:  # so click and Rich end where nobody reads any more
        code = UNHEARD
    except OSError as error:
        code = unheard(error)
    except ValueError as refused:
        sys.stderr.write(f"{refused}\n")
        code = 1
    sys.exit(code)
