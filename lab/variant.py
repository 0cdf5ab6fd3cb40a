"""Something that is not as an installer leaves it, on a server of the lab."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

APT = "env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0"
INSTALL = f"{APT} update; {APT} install --no-install-recommends"


@dataclass(frozen=True)
class Variant:
    """Something that is not as an installer leaves it. Scripts are bash's and root's, and must succeed."""

    what: str
    dirt: str
    refused: str = ""
    """The words (regular expression); without them the host serves."""
    clean: str = ""
    """After a refusal."""
    says: str = ""
    """In the words of a deploy that serves (regular expression)."""
    holds: str = ""
    """After the deploy: so it really was, and so it still is."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    """As the inventory is to name it; none: by SSH."""
