"""What a registry answers from a host's side."""

from __future__ import annotations

from urllib.parse import urlsplit

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.capacity.manifest import Manifest
from ollama_stack.registry import FORMS


class RegistryManifest(FactBase[Manifest]):
    """The manifest behind a URL; where the host has no curl yet, whether somebody listens there.

    Certificates are not checked: nothing is fetched but sizes, and engine and server check them
    themselves. Of proxies the declared one is used or none, whatever the host's environment says. ``ipv4``: as
    a container asks, whose network has no other way out.
    """

    @override
    def command(self, url: str, proxy: str = "", ipv4: bool = False) -> StringCommand:
        address = urlsplit(proxy or url)
        way = ("--proxy", QuoteString(proxy), "--noproxy ''") if proxy else ("--noproxy '*'",)
        port = address.port or {"http": 80, "https": 443}[address.scheme]
        family = ("--ipv4",) if ipv4 else ()
        place = "$(getent ahostsv4 $0 | sed 's/ .*//; q')" if ipv4 else "$0"
        return StringCommand(
            *("if command -v curl >/dev/null; then curl --silent --insecure", *family, *way),
            *("--connect-timeout 5 --max-time 15 --header", QuoteString(f"Accept: {FORMS}")),
            *("--write-out", QuoteString("\\n%{http_code}\\n"), QuoteString(url), "|| true;"),
            *("else timeout 5 bash -c", QuoteString(f": </dev/tcp/{place}/$1")),
            *(QuoteString(str(address.hostname)), QuoteString(str(port))),
            "2>/dev/null && echo 200 || echo 0; fi",
        )

    @override
    def process(self, output: list[str]) -> Manifest:
        return Manifest.parse("\n".join(output).strip())

    @staticmethod
    @override
    def default() -> Manifest:
        return Manifest(0)
