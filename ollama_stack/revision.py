"""Which version of the project's files a change or a look was made with."""

from __future__ import annotations

import subprocess
from pathlib import Path


def revision(folder: Path) -> str:
    """The git commit that a folder of inventories comes from, ``+changes`` if it does not have all.

    Files that were never committed count where inventories and group data are.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 no shell
            ["git", "-C", str(folder), *arguments],  # noqa: S607 the operator's own
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    commit = git("rev-parse", "HEAD")
    status = ("status", "--porcelain")
    own = ("--untracked-files=all", "--", ".", ":/group_data")
    changed = git(*status, "--untracked-files=no") or git(*status, *own)
    return f"{commit}{'+changes' if changed else ''}" if commit else "not in git"
