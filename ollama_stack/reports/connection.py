"""Pure: why a host cannot be reached, from pyinfra's message to a setting, a problem and a way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from shlex import quote

from ollama_stack.inventory import Target

ORDER = (
    *("ssh_key", "ssh_config_file", "ssh_hostname", "ssh_port", "ssh_known_hosts_file"),
    *("ssh_strict_host_key_checking", "ssh_user", "_sudo"),
)
"""Settings of the way to a host, each of which hides what is wrong with the next."""


def explain(message: str, target: Target) -> str:
    """``setting: problem; way out`` for pyinfra's message about a host; the message itself if it is new."""
    for pattern, reason in KINDS:
        if found := re.search(pattern, message):
            if callable(reason):
                return reason(target, found)
            port, login = target.data.get("ssh_port", 22), target.ssh_command("true")
            return reason.format(*found.groups(), address=target.address, port=port, login=login)
    return message


def correction_order(reasons: dict[str, list[str]]) -> list[str]:
    """``host: setting`` for every reason of every host, what hides others first."""
    steps = [
        (_rank(setting), f"{host}: {setting}")
        for host, own in reasons.items()
        for setting in (reason.partition(":")[0] for reason in own)
    ]
    return list(dict.fromkeys(step for _, step in sorted(steps, key=lambda step: step[0])))


def _rank(setting: str) -> int:
    """Files of settings come first, what the host itself says comes last."""
    if setting.endswith(".py"):
        return -1
    return ORDER.index(setting) if setting in ORDER else len(ORDER)


def _no_file(_: Target, found: re.Match[str]) -> str:
    folder = quote(found[2].rpartition("/")[0] or ".")
    if found[1] == "Permission denied":
        setting = "ssh_known_hosts_file" if "known_hosts" in found[2] else "ssh_config_file"
        return (
            f"{setting}: {found[2]} is not yours ({found[1]}), as after a sudo ssh; see whose it is (ls -ld "
            f"{folder} {quote(found[2])}), and take it back with sudo chown"
        )
    return (
        f"ssh_known_hosts_file: {found[2]} cannot be used ({found[1]}); make its folder with mkdir -p "
        f"-m 700 {folder}, or correct the path"
    )


def _other_key(target: Target, _: re.Match[str]) -> str:
    port = target.data.get("ssh_port", 22)
    entry = target.address if port == 22 else f"[{target.address}]:{port}"
    file = target.data.get("ssh_known_hosts_file")
    where = f" -f {quote(file)}" if file else ""
    return (
        f"ssh_strict_host_key_checking: the host key of {target.address} is another one than before; ask "
        f"who changed it, and if the host is new there, ssh-keygen{where} -R {quote(entry)}"
    )


def _refused(target: Target, found: re.Match[str]) -> str:
    user, key = target.data.get("ssh_user", "you"), target.data.get("ssh_key")
    own = f" with key {key}" if key else ""
    return (
        f"ssh_user: authentication: the server refuses {user}{own} ({found[1]}); give it the public key "
        f"(ssh-copy-id), or correct ssh_user or ssh_key, until this works: {target.ssh_command('true')}"
    )


def _ended(target: Target, _: re.Match[str]) -> str:
    if key := target.data.get("ssh_key"):
        return (
            f"ssh_key: the login ended early; if key file {key} has a passphrase, give it to the agent "
            "(ssh-add) and leave ssh_key out, else see the server's log"
        )
    return "ssh_hostname: the server ended the login early; see its log (journalctl -u ssh)"


KINDS: tuple[tuple[str, str | Callable[[Target, re.Match[str]], str]], ...] = (
    (
        r"Could not resolve hostname",
        "ssh_hostname: the name {address} does not resolve; correct it, or set ssh_hostname to the host's "
        "address",
    ),
    (
        r"Unable to connect to port (\d+)",
        "ssh_port: nothing listens on port {0} of {address}; start the host and its SSH server (apt "
        "install openssh-server), or correct ssh_port",
    ),
    (r"Could not connect \(\[Errno \d+\] ([^:]*): '(.*)'\)", _no_file),
    (
        r"Could not connect \((?:\[Errno \d+\] )?(.*)\)",
        "ssh_hostname: {address} does not answer ({0}); switch the host on, correct the address, or open "
        "the firewall between",
    ),
    (
        r"SSH protocol banner|No existing session",
        "ssh_port: what listens on port {port} of {address} does not greet as an SSH server does; correct "
        "ssh_port, or see the server's log",
    ),
    (
        r"No host key for .* found in known_hosts",
        "ssh_strict_host_key_checking: SSH does not know the host key of {address} yet; log in once and "
        "compare it: {login}",
    ),
    (r"SSH host key error", _other_key),
    (
        r"No authentication methods available",
        "ssh_key: there is no key to log in with, neither in the agent nor in ~/.ssh; make one with "
        "ssh-keygen -t ed25519, or set ssh_key",
    ),
    (r"Authentication error \(.*?\) \((.*?)\.?\)$", _refused),
    (r"EOF error", _ended),
)
"""What pyinfra 3 and paramiko say (pyinfra/connectors/ssh.py), and what it means."""
