"""Every host's last good release, and whether it runs it: `make status`. Nothing is changed."""

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
    """A line a host: its last good release, whether its files are in place, who made it, and when."""
    table = Table("host", "good release", "in place", "version", "made", "by", "commit")
    with (
        TemporaryDirectory(prefix="ols-", dir="/tmp", ignore_cleanup_errors=True) as sockets,
        ThreadPoolExecutor(32) as pool,
    ):
        for target, row in zip(
            targets, pool.map(lambda target: release(target, sockets), targets), strict=True
        ):
            table.add_row(*map(escape, (target.name, *row)))
    console.print(table)


IN_PLACE = (
    "cmp -s releases/current/docker-compose.yml docker-compose.yml && { ! test -d gateway || "
    "cmp -s releases/current/gateway/haproxy.cfg gateway/haproxy.cfg; } && echo yes || echo no"
)


def release(target: Target, sockets: str) -> tuple[str, ...]:
    """Number, whether it is in place, version, time, maker and commit; or why there is none."""
    folder = shlex.quote(read_settings(target.data).ollama_dir)
    try:
        host = target.connect(sockets)
        said = host.run(
            f"cd {folder} && readlink releases/current && cat releases/current/release.json && {IN_PLACE}"
        )
        *_, number, record, in_place = said.stdout.splitlines()  # after what the login greets with
        told = json.loads(record)
        return number, in_place, told["version"], told["at"], told["by"], told["commit"][:8]
    except RuntimeError as error:  # testinfra's word for ssh's own failure
        why = getattr(error.args[0], "stderr", "") if error.args else ""
        return ("unreachable", "", "", (why.strip().splitlines() or [str(error)])[-1], "", "")
    except ValueError as error:
        return ("none", "", "", "" if "unpack" in str(error) else str(error), "", "")


if __name__ == "__main__":
    try:
        show_status(read_inventory(sys.argv[1], sys.argv[2:]), Console())
    except ValueError as refused:
        sys.exit(str(refused))
