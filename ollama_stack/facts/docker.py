"""What a host says about its init system, Docker engine and compose projects."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import Any

from pyinfra.api import FactBase, QuoteString, StringCommand
from typing_extensions import override

from ollama_stack.facts.lines import Lines
from ollama_stack.paths import CONTAINERD_ROOT
from ollama_stack.stack.compose import COMMAND, ComposeProject

# ``PID memory.swap.max memory.low`` of each control group of a process; of v1 nothing.
UP_TO_THE_ROOT = (
    "group=$(test ! -f /sys/fs/cgroup/cgroup.controllers || sed -n 's/^0:://p' /proc/$pid/cgroup);"
    ' while test -n "${group#/}"; do cd "/sys/fs/cgroup$group" &&'
    ' echo "$pid $(cat memory.swap.max) $(cat memory.low)"; group=${group%/*}; done;'
)
PIDS = r"""sed -n 's/^ *"Pid": \([0-9]*\),$/\1/p'"""  # of docker inspect
IMAGES = r"""sed -n 's/^ *"image": "\(.*\)".*/\1/p'"""  # of Compose's own JSON
PROJECT = r"""sed -n 's/^  "name": "\(.*\)".*/\1/p'"""


class InitSystem(FactBase[str]):
    """``systemd`` only where systemd is PID 1, else ``none``."""

    @override
    def command(self) -> str:
        return "if [ -d /run/systemd/system ]; then echo systemd; else echo none; fi"


@dataclass(frozen=True)
class EngineInfo:
    """A running engine, by its own word; without one, nothing is known."""

    version: str | None = None
    root: str | None = None
    """Where it keeps volumes, and mostly images."""
    image_root: str | None = None
    """Where containerd keeps its images, if not below its own root: so in Docker 29 that was installed anew."""
    cgroups: str | None = None
    """Driver and version, like ``systemd 2``."""
    cpus: int | None = None
    """How many it gives to one container at most."""
    user_offset: int = 0
    """What it adds to the users of its containers on the host (dockerd's userns-remap)."""
    proxied: bool = False
    """Whether it pulls through a proxy, from daemon.json or its environment."""
    insecure_registries: tuple[str, ...] = ()
    """Those that it trusts without TLS."""
    labelled: bool = False
    """Whether it keeps its containers from all files but those that SELinux labels as theirs."""

    @classmethod
    def parse(cls, info: dict[str, Any], config: list[str]) -> EngineInfo:
        """From ``docker info``, and containerd's own line ``root = ...``."""
        if not info.get("ServerVersion"):
            return cls()
        root = info["DockerRootDir"]
        mapped = any("name=userns" in option for option in info.get("SecurityOptions") or ())
        # Such an engine keeps everything in a folder named by the user and group that are its root.
        offset = re.search(r"/(\d+)\.\d+$", root) if mapped else None
        registries = (info.get("RegistryConfig") or {}).get("IndexConfigs") or {}
        return cls(
            info["ServerVersion"],
            root,
            _image_root(info, config),
            f"{info.get('CgroupDriver')} {info.get('CgroupVersion', '1')}",
            info.get("NCPU"),
            int(offset[1]) if offset else 0,
            bool(info.get("HttpProxy") or info.get("HttpsProxy")),
            tuple(name for name, index in registries.items() if not index["Secure"]),
            "name=selinux" in (info.get("SecurityOptions") or ()),
        )


def _image_root(info: dict[str, Any], config: list[str]) -> str | None:
    stores = [value for _, value in info.get("DriverStatus") or ()]
    address = (info.get("Containerd") or {}).get("Address", "")
    # A containerd that the engine runs itself keeps them below the engine's root.
    if "io.containerd.snapshotter.v1" not in stores or address.startswith("/run/docker/"):
        return None
    return config[0].partition("=")[2].strip(" \"'") if config else CONTAINERD_ROOT


class Engine(FactBase[EngineInfo]):
    """The engine that answers."""

    default = EngineInfo

    @override
    def command(self) -> str:
        return (
            "docker info --format '{{json .}}' 2>/dev/null &&"
            " { containerd config dump 2>/dev/null | grep '^root = ' || true; } || true"
        )

    @override
    def process(self, output: list[str]) -> EngineInfo:
        try:
            return EngineInfo.parse(json.loads(output[0]), output[1:])
        except ValueError:
            return EngineInfo()


class CgroupVersion(FactBase[str | None]):
    """``2`` where the kernel's control groups are mounted as one hierarchy, else ``1``."""

    @override
    def command(self) -> str:
        return "if test -f /sys/fs/cgroup/cgroup.controllers; then echo 2; else echo 1; fi"


class SliceMemory(Lines):
    """memory.swap.max and memory.low of a systemd slice, as the kernel has them; empty without it."""

    @override
    def command(self, unit: str) -> StringCommand:
        folder = QuoteString(f"/sys/fs/cgroup/{unit}")
        return StringCommand("cd", folder, "2>/dev/null && cat memory.swap.max memory.low || true")


DAEMON_CONFIG = "! test -s /etc/docker/daemon.json || cat /etc/docker/daemon.json"


class DaemonConfig(FactBase[dict[str, Any] | None]):
    """``/etc/docker/daemon.json``; empty where there is none, None where it is no JSON object."""

    default = dict

    @override
    def command(self) -> str:
        return DAEMON_CONFIG

    @override
    def process(self, output: list[str]) -> dict[str, Any] | None:
        try:
            config = json.loads("\n".join(output))
        except ValueError:
            return None
        if not isinstance(config, dict):
            return None
        # As dockerd has it.
        return {name: value for name, value in config.items() if value is not None}


class DaemonConfigFault(FactBase[str]):
    """Why that file is no JSON object; empty if it is one, or is not there."""

    default = str

    @override
    def command(self) -> str:
        return DAEMON_CONFIG

    @override
    def process(self, output: list[str]) -> str:
        try:
            config = json.loads("\n".join(output))
        except ValueError as error:
            return str(error)
        return "" if isinstance(config, dict) else f"it is a {type(config).__name__}"


class MaskedUnits(Lines):
    """Docker's units that systemd may not start there (systemctl mask)."""

    @override
    def command(self) -> str:
        return (
            "cd /; for unit in docker.service docker.socket containerd.service; do for folder in etc run; do"
            ' file=$folder/systemd/system/$unit; ! test -e "$file" || test -s "$file" || echo "$unit"; done; done'
        )


class EngineFlags(Lines):
    """What the running engine was started with; settings of daemon.json may not be among them."""

    @override
    def command(self) -> str:
        return r"""tr '\0' '\n' <"/proc/$(cat /run/docker.pid)/cmdline" 2>/dev/null || true"""


class OtherEngine(FactBase[str | None]):
    """``snap``, ``Podman`` or ``rootless`` where ``docker`` asks that; None where it is the host's own, or none."""

    @override
    def command(self) -> str:
        return (
            "if test -e /snap/docker/current; then echo snap;"
            " elif docker --version 2>/dev/null | grep -qi podman; then echo Podman;"
            " else case $(readlink -f /run/docker.sock) in *podman*) echo Podman;; /run/user/*) echo rootless;; esac; fi"
        )


class ComposeVersion(FactBase[str | None]):
    """Version of the Compose v2 plugin; None where there is none."""

    @override
    def command(self) -> str:
        return "docker compose version --short 2>/dev/null || true"


class Compose(FactBase[ComposeProject | None]):
    """A compose file as Compose resolves it beside its live containers; None without a file.

    None too where Compose refuses the file: whoever wrote it by hand is about to lose it anyway.
    """

    @override
    def command(self, path: str) -> str:
        file = shlex.quote(path)
        compose = f"{COMMAND} --file {file}"
        return f"""{{
            test -f {file} && config=$({compose} config --format json) &&
            printf '%s\\n----\\n' "$config" && {compose} config --hash '*' && echo ---- &&
            for image in $(printf '%s\\n' "$config" | {IMAGES}); do
                echo "$image $(docker image inspect --format '{{{{.Id}}}}' "$image")" &
            done && wait && echo ---- &&
            project=$(printf '%s\\n' "$config" | {PROJECT}) &&
            containers=$(docker ps --all --quiet --filter label=com.docker.compose.oneoff=False \
                --filter "label=com.docker.compose.project=$project") &&
            inspected=$(test -z "$containers" || docker inspect $containers) &&
            printf '%s\\n----\\n' "$inspected" &&
            for pid in $(printf '%s\\n' "$inspected" | {PIDS}); do {UP_TO_THE_ROOT} done
        }} 2>/dev/null || true"""

    @override
    def process(self, output: list[str]) -> ComposeProject | None:
        parts = "\n".join(output).split("----")
        return ComposeProject.parse(*parts) if len(parts) == 5 else None


class PortOwner(FactBase[str | None]):
    """The program that listens on a TCP port of the host, as ``ss`` names it; None if it is free.

    A bare host may lack ``ss``; the kernel's own table has no names.
    """

    @override
    def command(self, port: int) -> str:
        listens = f"^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A"
        return (
            f"if command -v ss >/dev/null; then ss -Hltnp 'sport = :{int(port)}';"
            f" elif cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE '{listens}';"
            " then echo another process; fi"
        )

    @override
    def process(self, output: list[str]) -> str | None:
        return output[0].split("users:")[-1].strip("()") if output else None


class StackPorts(Lines):
    """Ports of this host that the containers of a swarm's stack have."""

    @override
    def command(self, project: str) -> StringCommand:
        label = QuoteString(f"label=com.docker.stack.namespace={project}")
        return StringCommand(
            "docker ps --format '{{.Ports}}' --filter",
            label,
            "2>/dev/null | grep -o ':[0-9]*->' | tr -d ':>-' || true",
        )
