"""The one reader of an inventory for whoever looks at hosts without deploying: no connection made."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from pwd import getpwuid
from typing import Any
from urllib.parse import quote, urlencode

import testinfra
from testinfra.host import Host

from ollama_stack import ROOT
from ollama_stack.config.settings import serves
from ollama_stack.misplaced import inventory_faults
from ollama_stack.private_key import key_fault
from ollama_stack.stack.page import reached_at
from ollama_stack.unread import LIKE, why

USUAL = {  # in ~/.ssh
    "ssh_known_hosts_file": ["known_hosts"],
    "ssh_config_file": ["config"],
    "ssh_key": ["id_rsa", "id_ecdsa", "id_ed25519"],
}
EMPTY = f"%s: it has no hosts; {LIKE}"
# pyinfra's command, called with its arguments; what it prints is kept.
Pyinfra = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Target:
    """One host of an inventory, and how testinfra reaches it."""

    name: str
    groups: tuple[str, ...]
    data: dict[str, Any]

    def connect(self, sockets: str) -> Host:
        """A testinfra host, as the user who logs in; ``sockets``: folder for ssh's shared connections.

        ValueError for a connector that testinfra has no backend for.
        """
        if not self.by_ssh:
            return testinfra.get_host("local://")
        return testinfra.get_host(
            self.ssh_uri,
            ssh_extra_args=self.ssh_extra_args,
            controlpath=f"{sockets}/%%C",
            controlpersist=5,
        )

    @property
    def by_ssh(self) -> bool:
        """Whether it is another machine than this one; ValueError for a connector that is neither."""
        if self.name == "@local":
            return False
        if self.name.startswith("@") and not self.name.startswith("@ssh/"):
            raise ValueError(f"{self.name}: only @local and SSH hosts are looked at")
        return True

    @property
    def address(self) -> str:
        """Where the host is reached."""
        return reached_at(self.name, self.data)

    def ssh_command(self, *arguments: str) -> str:
        """The command line by which a person runs this on the host, as a deploy logs in."""
        options = [("-p", "ssh_port"), ("-i", "ssh_key"), ("-F", "ssh_config_file")]
        known = [(option, self.data.get(key)) for option, key in options]
        ssh = [argument for option, value in known if value for argument in (option, str(value))]
        if known_hosts := self.data.get("ssh_known_hosts_file"):
            ssh += ["-o", f"UserKnownHostsFile={known_hosts}"]
        return " ".join(map(_quoted, ["ssh", *ssh, self._login, shlex.join(arguments)]))

    @property
    def shell(self) -> list[str]:
        """The command line of a shell on the host that reads its script from stdin, and asks nobody anything.

        ValueError for a connector that is neither SSH nor this machine.
        """
        if not self.by_ssh:
            return ["sh", "-s"]
        options = [*shlex.split(self.ssh_extra_args), "-o", "ConnectTimeout=5"]
        if port := self.data.get("ssh_port"):
            options += ["-p", str(port)]
        if config := self._file("ssh_config_file"):
            options += ["-F", config]
        return ["ssh", *options, "--", self._login, "sh -s"]

    def run(self, script: str, mark: str, seconds: float) -> str:
        """The output of a script in that shell.

        ValueError says why nothing with ``mark`` in it came; TimeoutExpired after so many seconds.
        """
        try:
            done = subprocess.run(  # noqa: S603 ssh's arguments as a list, no shell of ours
                self.shell,
                input=script,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
            )
        except OSError as error:
            raise ValueError(
                f"{error.filename} cannot be started here ({error.strerror}): install openssh-client"
            ) from error
        if mark not in done.stdout:
            raise ValueError(
                (done.stderr.strip().splitlines() or ["its login starts no shell"])[-1]
            )
        return done.stdout

    def _file(self, key: str) -> str:
        """Where pyinfra finds it: in $HOME, while ssh looks into the account's own home; "" leaves it to ssh."""
        if named := self.data.get(key):
            return str(_expanded(named))
        with suppress(KeyError):  # an account without an entry, as in some containers
            if _expanded("~") == Path(getpwuid(os.getuid()).pw_dir):
                return ""
        files = [_expanded(f"~/.ssh/{name}") for name in USUAL[key]]
        return next((str(file) for file in files if file.exists()), "")

    @property
    def _login(self) -> str:
        user = f"{self.data['ssh_user']}@" if self.data.get("ssh_user") else ""
        return f"{user}{self.address}"

    @property
    def ssh_uri(self) -> str:
        """The host's address, user, port and configuration, as pyinfra has them."""
        address = self.address
        if ":" in address:
            address = f"[{address}]"  # IPv6
        if user := self.data.get("ssh_user"):
            address = f"{quote(user, safe='')}@{address}"
        if port := self.data.get("ssh_port"):
            address += f":{port}"
        config = self._file("ssh_config_file")
        return f"ssh://{address}" + (f"?{urlencode({'ssh_config': config})}" if config else "")

    @property
    def ssh_extra_args(self) -> str:
        """Never a question, pyinfra's own rule for unknown host keys, and its files."""
        policy = self.data.get("ssh_strict_host_key_checking", "accept-new")
        options = ["BatchMode=yes", f"StrictHostKeyChecking={policy}"]
        options += ["ServerAliveInterval=5", "ServerAliveCountMax=3"]  # a dead line ends
        for option, name in (
            ("UserKnownHostsFile", "ssh_known_hosts_file"),
            ("IdentityFile", "ssh_key"),
        ):
            if file := self._file(name):
                options.append(f'{option}="{file.replace("%", "%%")}"')
        return " ".join(f"-o {shlex.quote(option)}" for option in options)


def _quoted(text: str) -> str:
    """Quoted for a shell, which still finds a home at its beginning."""
    return f"~/{shlex.quote(text[2:])}" if text[:2] == "~/" and text[2:] else shlex.quote(text)


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """pyinfra in a process of its own."""
    return subprocess.run(  # noqa: S603 our own interpreter, no shell
        [sys.executable, "-m", "pyinfra", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def read_inventory(
    path: str, limit: Iterable[str] = (), pyinfra: Pyinfra = started
) -> list[Target]:
    """The servers of an inventory, limited like pyinfra's --limit to groups or name patterns.

    ValueError if the file is missing, is refused by pyinfra, or leaves none: pyinfra itself calls that a success.
    """
    return servers(path, limited(path, read_hosts(path, pyinfra), limit))


def servers(path: str, targets: Sequence[Target]) -> list[Target]:
    """Those that are to serve a class; ValueError if none of them is."""
    found = [target for target in targets if serves(target.groups)]
    if not found:
        names = ", ".join(target.name for target in targets)
        raise ValueError(f"{path}: {names} watches others and serves no class; name a server")
    return found


def read_hosts(path: str, pyinfra: Pyinfra = started) -> list[Target]:
    """All hosts of an inventory; ValueError if the file is missing, or is refused by pyinfra."""
    if not (ROOT / path).is_file():
        raise ValueError(f"{path}: there is no such inventory")
    shown = pyinfra(path, "debug-inventory", "--json")
    hosts = [] if shown.returncode or not shown.stdout else json.loads(shown.stdout)
    if not hosts:
        misread = [f"{path}: {fault}" for fault in inventory_faults(path).get(path, [])]
        unread = shown.returncode or not shown.stdout
        raise ValueError(
            "\n".join(misread) or (why(shown.stderr, path) if unread else EMPTY % path)
        )
    targets = [
        Target(host["name"], tuple(dict.fromkeys(host["groups"])), host["data"]) for host in hosts
    ]
    _refuse_twice(path, [(host["name"], group) for host in hosts for group in host["groups"]])
    for target in targets:
        own_group = target.name in target.groups and not target.name.startswith("@")
        if own_group or re.search(r"[*?\[]", target.name):
            raise ValueError(
                f"{path}: the host {target.name} has the name of a group, or of a pattern; --limit "
                "cannot tell them apart, so rename one (ssh_hostname takes the address)"
            )
    return targets


def _refuse_twice(path: str, members: Iterable[tuple[str, str]]) -> None:
    """Of two hosts of one name pyinfra keeps one, with the data of the last."""
    for (name, group), times in Counter(members).items():
        if times > 1 and name[0] != "@":  # pyinfra puts those in twice itself
            raise ValueError(f"{path}: {name} is in {group} {times} times; leave it in once")


def limited(path: str, targets: list[Target], limit: Iterable[str]) -> list[Target]:
    """Those in one of the groups, or with a name like one of the patterns; ValueError if none is."""
    limits = list(limit)
    chosen = [target for target in targets if not limits or _matches(target, limits)]
    if not chosen:
        raise ValueError(f"{path}: no host matches {' '.join(limits) or 'it'}")
    return chosen


def _matches(target: Target, limits: list[str]) -> bool:
    return any(limit in target.groups or fnmatch(target.name, limit) for limit in limits)


def only(names: Iterable[str]) -> list[str]:
    """Arguments for pyinfra: these hosts and no others."""
    return [argument for name in names for argument in ("--limit", name)]


def unusable_files(targets: Iterable[Target]) -> dict[str, list[str]]:
    """Hosts with an SSH file on the controller at which pyinfra ends in a stack trace."""
    found = {target.name: [*_key_faults(target), *_config_faults(target)] for target in targets}
    return {name: faults for name, faults in found.items() if faults}


def _key_faults(target: Target) -> Iterator[str]:
    key = target.data.get("ssh_key")
    if key and (fault := key_fault(_expanded(key), key)):
        yield f"ssh_key: {fault}"


def _config_faults(target: Target) -> Iterator[str]:
    named = target.data.get("ssh_config_file", "~/.ssh/config")
    if target.name.startswith("@") and not target.name.startswith("@ssh/"):
        return
    with suppress(OSError):  # which pyinfra itself has words for
        try:
            _expanded(named).read_text("utf-8")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            yield (
                f"ssh_config_file: line {line} of {named} is not UTF-8, and a deploy reads no other; save the file "
                "as UTF-8, or name another"
            )


def _expanded(path: str) -> Path:
    return ROOT / os.path.expanduser(path)  # noqa: PTH111 no error without a home
