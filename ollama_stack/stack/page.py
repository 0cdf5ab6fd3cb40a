"""Pure: at which address students really open the page."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ollama_stack.config.settings import Settings


class PageAddress(NamedTuple):
    """A URL, or why students have none, as ``setting: problem; way out``: one of the two is ""."""

    url: str
    problem: str


def reached_at(name: str, data: Mapping[str, Any]) -> str:
    """The address by which a deploy reaches a host."""
    return str(data.get("ssh_hostname") or name.removeprefix("@ssh/"))


def read_command(data: Mapping[str, Any], path: str) -> list[str]:
    """How whoever logs in there, as a deploy does, reads a file of root's."""
    return [*(["sudo"] if data.get("_sudo") else []), "cat", path]


def page_address(settings: Settings, reached: str) -> PageAddress:
    """The page as others on the host's network open it; ``reached``: the host's address."""
    if not settings.app_enabled:
        return PageAddress("", "app_enabled: there is no page; set app_enabled = True")
    if _is_loopback(settings.app_bind):
        return PageAddress(
            "",
            f"app_bind: at {settings.app_bind} the page is not open to the network; set app_bind = 0.0.0.0",
        )
    address = reached if ip_address(settings.app_bind).is_unspecified else settings.app_bind
    if settings.app_hosts and address not in settings.app_hosts:
        address = settings.app_hosts[0]
    named = [*settings.app_hosts, *settings.gateway_tls_names] if settings.cluster else []
    if named:  # it leads to all managers, so a dead one does not matter
        address = named[0]
    if settings.gateway_tls == "acme" and address not in settings.gateway_tls_names:
        address = settings.gateway_tls_names[0]
    if address.startswith("@") or _is_loopback(address):
        return PageAddress(
            "",
            f"app_bind: {settings.app_bind} is every address of {reached}, and none that others know; set "
            "app_bind to the host's own address",
        )
    scheme = urlsplit(settings.app_url).scheme
    host = f"[{address}]" if ":" in address else address
    return PageAddress(f"{scheme}://{host}:{settings.app_port}", "")


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a name
        return address == "localhost"
