"""Which release every host runs: `make status`. Nothing is changed, no root is needed."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ollama_stack.inventory import Target, read_inventory
from ollama_stack.settings import read_settings


def show_status(targets: Sequence[Target], console: Console) -> None:
    """A line a host: its current release, who made it, and when."""
    table = Table("host", "release", "version", "made", "by", "commit")
    with (
        TemporaryDirectory(prefix="ols-", dir="/tmp", ignore_cleanup_errors=True) as sockets,
        ThreadPoolExecutor(32) as pool,
    ):
        for target, row in zip(
            targets, pool.map(lambda target: release(target, sockets), targets), strict=True
        ):
            table.add_row(*map(escape, (target.name, *row)))
    console.print(table)


def release(target: Target, sockets: str) -> tuple[str, ...]:
    """Number, version, time, maker and commit of a host's current release; or why there is none."""
    folder = shlex.quote(f"{read_settings(target.data).ollama_dir}/releases")
    try:
        host = target.connect(sockets)
        said = host.run(f"readlink {folder}/current && cat {folder}/current/release.json")
        number, record = said.stdout.splitlines()
        told = json.loads(record)
        return number, told["version"], told["at"], told["by"], told["commit"][:8]
    except RuntimeError as error:  # testinfra's word for ssh's own failure
        why = getattr(error.args[0], "stderr", "") if error.args else ""
        return ("unreachable", "", (why.strip().splitlines() or [str(error)])[-1], "", "")
    except ValueError as error:
        return ("none", "", "" if "unpack" in str(error) else str(error), "", "")


if __name__ == "__main__":
    try:
        show_status(read_inventory(sys.argv[1], sys.argv[2:]), Console())
    except ValueError as refused:
        sys.exit(str(refused))
