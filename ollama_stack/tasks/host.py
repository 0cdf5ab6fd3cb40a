"""What the host itself is to keep: the limits of the containers, and the ways to them."""

from __future__ import annotations

from pyinfra.api import deploy
from pyinfra.facts.server import Groups
from pyinfra.operations import files

from ollama_stack.config.settings import Settings
from ollama_stack.config.types import size_bytes
from ollama_stack.facts.docker import CgroupVersion, DaemonConfig, Engine, InitSystem
from ollama_stack.facts.host import UplinkMtu
from ollama_stack.facts.memory import known
from ollama_stack.operations import guard, slice
from ollama_stack.stack.rendering import guard_files

CGROUPFS = {"native.cgroupdriver=cgroupfs"}  # of daemon.json's exec-opts


@deploy("Host")
def protect_host(settings: Settings) -> None:
    """The kernel keeps to the limits, and nobody comes to the containers past the gateway."""
    files.directory(name="Make the folder", path=settings.ollama_dir, mode="755")
    if unit := slice_of(settings.slice):
        slice.protected(
            name="Keep the kernel to the limits",
            unit=unit,
            memory_low=size_bytes(settings.ollama_memory_reservation),
        )
    close_side_doors(settings)


def close_side_doors(settings: Settings) -> None:
    """The packet filter has our rules, now and after a start of the host."""
    installed_by_us = not known(Engine).version  # and its packages make the group
    group = installed_by_us or "docker" in known(Groups)
    rules, unit, revision = guard_files(settings.bridge, settings.guard_file, group=group)
    guard.closed(
        name="Close the side doors",
        path=settings.guard_file,
        rules=rules,
        revision=revision,
        unit=unit if known(InitSystem) == "systemd" else "",
    )


def slice_of(name: str) -> str:
    """The slice of this host's containers, which is to be called so; "" where Docker has no use for one.

    Where no engine answers yet, it is what Docker itself chooses there.
    """
    groups = known(Engine).cgroups
    if groups is None:
        options = (known(DaemonConfig) or {}).get("exec-opts", [])
        systemd = known(InitSystem) == "systemd" and known(CgroupVersion) == "2"
        groups = "systemd 2" if systemd and not CGROUPFS & set(options) else ""
    return name if groups == "systemd 2" else ""


def least_mtu() -> int:
    """The packets that come out of this host whole: what is larger is lost without a word on many ways."""
    declared = (known(DaemonConfig) or {}).get("mtu")
    uplink = known(UplinkMtu)
    return min(uplink, declared) if isinstance(declared, int) and declared else uplink
