"""What a login must be able to do before a deploy may use it."""

from __future__ import annotations

import re
import shlex

from paramiko import SFTPError, SSHException
from pyinfra import host
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.facts.server import Command

from ollama_stack.facts.host import LoginServer

# As commands of a deploy have it.
QUOTED = "one\n'two' !three $four `five` \\six \\\\seven \\'eight"
# Each prints what leads this login's commands elsewhere, and nothing where all is well.
VARIABLES = "env | grep -E '^DOCKER_(HOST|CONTEXT|TLS|TLS_VERIFY)=.' || true"
# What `docker context use` has written, for which Docker asks in this login's home, or where it is told to.
CONTEXT = (
    r"""sed -n 's/.*"currentContext": *"\([^"]*\)".*/\1/p' "${HOME:-/root}/.docker/config.json" """
    '"${DOCKER_CONFIG:-/nowhere}/config.json" 2>/dev/null | grep -vx default || true'
)
NO_SBIN = 'command -v start-stop-daemon >/dev/null || echo "$PATH"'  # dpkg's, on each
# An engine of the site's own, as its pid file has it, whose command is where this login does not look.
UNSEEN = (
    "command -v docker >/dev/null || readlink /proc/$(cat /run/docker.pid 2>/dev/null)/exe 2>/dev/null"
    " | grep dockerd || true"
)
ASTRAY = {
    VARIABLES: "docker: this login has {}, so docker would talk to another engine, or otherwise; unset it for root "
    "(see /etc/environment and root's ~/.profile)",
    CONTEXT: "docker: this login's docker talks to the engine of the context {!r}; choose the host's own as root "
    "(docker context use default)",
    NO_SBIN: "_sudo: this login's PATH, {}, lacks /usr/sbin, where dpkg finds what it needs; become root with su -l, or "
    "have sudo set it (secure_path in /etc/sudoers)",
    UNSEEN: "_sudo: {} runs there, and this login's PATH has no docker; have sudo set one that has (secure_path in "
    "/etc/sudoers), or link docker into /usr/bin",
}
NO_SUDO = (
    "_sudo: sudo does not work for this user without a password and a terminal, see above; allow it on the host: as "
    "root, apt-get install sudo, then visudo -f /etc/sudoers.d/ollama-stack, with the lines `USER ALL=(ALL) NOPASSWD: "
    "ALL` and `Defaults:USER !requiretty`; or set _sudo = False where you log in as root"
)
NO_FILES = (
    "ssh_hostname: this login's SSH server takes no files; have `Subsystem sftp internal-sftp` in "
    "/etc/ssh/sshd_config there, then systemctl reload ssh"
)
ONE_SESSION = (
    "ssh_hostname: this login's SSH server runs no command beside a file that is on its way; have MaxSessions 10 in "
    "/etc/ssh/sshd_config there, then systemctl reload ssh"
)


def faults() -> list[str]:
    """Why this host's login cannot deploy: the first reason alone, since the others may follow from it."""
    takes_files = _takes_files()
    try:
        if not _is_usual():
            alone = _one_session() if takes_files else []
            return alone or _no_rights() or _odd_shell() or _no_holder() or _led_astray()
    except EOFError:  # pyinfra asks for sudo's password, and nobody is there
        return [NO_SUDO]
    return [] if takes_files else [NO_FILES]


def _takes_files() -> bool:
    """Whether the way by which a deploy sends files opens; it stays open, as it does then."""
    if not isinstance(host.connector, SSHConnector):
        return True
    try:
        host.connector.get_file_transfer_connection()
    except (ConnectError, SFTPError, SSHException, EOFError):  # the second: its shell greets
        return False
    return True


def _one_session() -> list[str]:
    """Whether nothing runs while the way of files is open, even without sudo."""
    by_ssh = isinstance(host.connector, SSHConnector)
    if by_ssh and not host.get_fact(Command, command="echo runs", _sudo=False, _ignore_errors=True):
        return [ONE_SESSION]
    return []


def _is_usual() -> bool:
    """Whether all is well, by one question; the others tell what is not."""
    server = LoginServer().command() if host.name != "@local" else "echo sshd"
    parts = (
        "id --user --name",
        f"printf '%s\\n' {shlex.quote(QUOTED)}",
        f"({server})",
        *ASTRAY,
    )
    answer = host.get_fact(Command, command="; ".join(parts), _ignore_errors=True)
    return bool(re.fullmatch(rf"root\n{re.escape(QUOTED)}\nsshd.*\n?", answer or ""))


def _no_rights() -> list[str]:
    """Root, by login or by sudo: every other look at the host would fail for the same reason."""
    answer = host.get_fact(Command, command="id --user --name", _ignore_errors=True)
    greeting, _, user = (answer or "").strip().rpartition("\n")
    if greeting or " " in user:
        noise = (greeting or user).splitlines()[0]
        return [
            f"ssh_user: the login's shell says {noise!r} of its own accord, and so spoils every answer; "
            "let it greet where somebody sits alone: above that line of ~/.bashrc (or /etc/bash.bashrc), "
            '[ -z "$PS1" ] && return'
        ]
    if not user:
        return [NO_SUDO]
    if user != "root":
        return [
            f"_sudo: {user} may not install Docker; run as root, or set _sudo = True in group_data/ "
            "or in the host's own data"
        ]
    return []


def _odd_shell() -> list[str]:
    """Whether the login's shell hands on what is quoted, as sh does: csh and fish do not."""
    answer = host.get_fact(Command, command=f"printf %s {shlex.quote(QUOTED)}", _ignore_errors=True)
    if answer == QUOTED:
        return []
    shell = host.get_fact(Command, command="printenv SHELL", _sudo=False, _ignore_errors=True)
    return [
        f"ssh_user: the login's shell, {shell or 'which it does not name'}, understands quotes otherwise than sh "
        "does, and would change what a deploy tells the host; give the user another one (chsh --shell "
        "/bin/bash USER), or take another user"
    ]


def _no_holder() -> list[str]:
    """Whether this login has what the lock belongs to (host/lock)."""
    server = None if host.name == "@local" else host.get_fact(LoginServer)
    if server is None or server.startswith("sshd"):
        return []
    if server.startswith("dropbear"):
        return [
            "ssh_hostname: this login's SSH server is Dropbear, which ends a line at a command of more "
            "than 9000 bytes, and a deploy has such; install openssh-server, or run on the host itself "
            "(inventories/local.py)"
        ]
    return [
        f"ssh_hostname: this login comes by {server}, which has no process for it whose end would give "
        "the lock back; come by OpenSSH, or run on the host itself (inventories/local.py)"
    ]


def _led_astray() -> list[str]:
    """What leads every docker command to another engine, or dpkg past its programs."""
    for command, fault in ASTRAY.items():
        if found := host.get_fact(Command, command=command):
            return [fault.format(" and ".join(found.splitlines()))]
    return []
