"""What a folder on a host holds."""

from __future__ import annotations

from hashlib import sha256

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override


def file_digest(text: str, mode: str, owner: int) -> str:
    """As FileDigests has a file with this text."""
    return f"{sha256(text.encode()).hexdigest()} {mode} {owner}"


class FileDigests(FactBase[dict[str, str]]):
    """``SHA-256 mode owner`` of each file in a folder that is not empty, by name."""

    default = dict

    @override
    def command(self, folder: str) -> StringCommand:
        return StringCommand(
            *("cd", QuoteString(folder), "2>/dev/null || exit 0; for file in *; do"),
            'test -s "$file" && test -f "$file" || continue; sum=$(sha256sum "$file");',
            'echo "$file ${sum%% *} $(stat -c \'%a %u\' "$file")"; done',
        )

    @override
    def process(self, output: list[str]) -> dict[str, str]:
        return dict(line.split(" ", 1) for line in output)
