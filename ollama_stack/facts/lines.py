"""A fact that is what its command prints."""

from __future__ import annotations

from pyinfra.api import FactBase
from typing_extensions import override


class Lines(FactBase[list[str]]):
    """The lines; none where it prints nothing."""

    default = list

    @override
    def process(self, output: list[str]) -> list[str]:
        return output
