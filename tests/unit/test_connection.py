"""Why a host cannot be reached: pyinfra's words, and the setting, the problem and the way out in ours."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

import paramiko
import pytest

from ollama_stack.inventory import Target
from ollama_stack.reports.connection import correction_order, explain
from ollama_stack.reports.plan import DryRun
from tests.unit.test_report import FITS, GONE, KEYLESS, plan, report

pytestmark = pytest.mark.process

DATA = {"ssh_hostname": "10.0.0.5", "ssh_user": "ops"}
HERE = {"ssh_hostname": "127.0.0.1", "ssh_user": "ops"}


@pytest.mark.parametrize(
    ("stderr", "data", "reason"),
    [
        (
            "Could not resolve hostname ([Errno -2] Name or service not known)",
            {"ssh_hostname": "clas-1.lan"},
            "ssh_hostname: the name clas-1.lan does not resolve; correct it, or set ssh_hostname to the "
            "host's address",
        ),
        (
            "Could not connect ([Errno None] Unable to connect to port 22 on 10.0.0.5)",
            {},
            "ssh_port: nothing listens on port 22 of 10.0.0.5; start the host and its SSH server (apt "
            "install openssh-server), or correct ssh_port",
        ),
        (
            "Could not connect (timed out)",
            {},
            "ssh_hostname: 10.0.0.5 does not answer (timed out); switch the host on, correct the address, "
            "or open the firewall between",
        ),
        (
            "Could not connect ([Errno 113] No route to host)",
            {},
            "ssh_hostname: 10.0.0.5 does not answer (No route to host); switch the host on, correct the "
            "address, or open the firewall between",
        ),
        (
            "SSH error (Error reading SSH protocol banner[Errno 104] Connection reset by peer)",
            {"ssh_port": 80},
            "ssh_port: what listens on port 80 of 10.0.0.5 does not greet as an SSH server does; correct "
            "ssh_port, or see the server's log",
        ),
        (
            "SSH error (No existing session)",
            {},
            "ssh_port: what listens on port 22 of 10.0.0.5 does not greet as an SSH server does; correct "
            "ssh_port, or see the server's log",
        ),
        (
            "Could not connect ([Errno 2] No such file or directory: '/root/.ssh/known_hosts')",
            {},
            "ssh_known_hosts_file: /root/.ssh/known_hosts cannot be used (No such file or directory); make "
            "its folder with mkdir -p -m 700 /root/.ssh, or correct the path",
        ),
        (
            "Could not connect ([Errno 13] Permission denied: '/home/ann/.ssh/known_hosts')",
            {},
            "ssh_known_hosts_file: /home/ann/.ssh/known_hosts is not yours (Permission denied), as after a sudo ssh; "
            "see whose it is (ls -ld /home/ann/.ssh /home/ann/.ssh/known_hosts), and take it back with sudo chown",
        ),
        (
            "Could not connect ([Errno 13] Permission denied: '/home/ann/.ssh/config')",
            {},
            "ssh_config_file: /home/ann/.ssh/config is not yours (Permission denied), as after a sudo ssh; see whose "
            "it is (ls -ld /home/ann/.ssh /home/ann/.ssh/config), and take it back with sudo chown",
        ),
        (
            "SSH error (StrictPolicy: No host key for [10.0.0.5]:2222 found in known_hosts)",
            {"ssh_port": 2222},
            "ssh_strict_host_key_checking: SSH does not know the host key of 10.0.0.5 yet; log in once and "
            "compare it: ssh -p 2222 ops@10.0.0.5 true",
        ),
        (
            "SSH host key error (Host key for 10.0.0.5 does not match.)",
            {"ssh_port": 2222, "ssh_known_hosts_file": "/etc/hosts known"},
            "ssh_strict_host_key_checking: the host key of 10.0.0.5 is another one than before; ask who "
            "changed it, and if the host is new there, ssh-keygen -f '/etc/hosts known' -R "
            "'[10.0.0.5]:2222'",
        ),
        (
            "SSH host key error (Host key for 10.0.0.5 does not match.)",
            {},
            "ssh_strict_host_key_checking: the host key of 10.0.0.5 is another one than before; ask who "
            "changed it, and if the host is new there, ssh-keygen -R 10.0.0.5",
        ),
        (
            "SSH error (No authentication methods available)",
            {},
            "ssh_key: there is no key to log in with, neither in the agent nor in ~/.ssh; make one with "
            "ssh-keygen -t ed25519, or set ssh_key",
        ),
        (
            "Authentication error (username=ops, key=~/k) (Authentication failed.)",
            {"ssh_key": "~/k"},
            "ssh_user: authentication: the server refuses ops with key ~/k (Authentication failed); give it "
            "the public key (ssh-copy-id), or correct ssh_user or ssh_key, until this works: ssh -i ~/k "
            "ops@10.0.0.5 true",
        ),
        (
            "Authentication error (username=ops) (Bad authentication type; allowed types: ['password'])",
            {},
            "ssh_user: authentication: the server refuses ops (Bad authentication type; allowed types: "
            "['password']); give it the public key (ssh-copy-id), or correct ssh_user or ssh_key, until "
            "this works: ssh ops@10.0.0.5 true",
        ),
        (
            "EOF error ()",
            {"ssh_key": "~/k"},
            "ssh_key: the login ended early; if key file ~/k has a passphrase, give it to the agent "
            "(ssh-add) and leave ssh_key out, else see the server's log",
        ),
        (
            "EOF error ()",
            {},
            "ssh_hostname: the server ended the login early; see its log (journalctl -u ssh)",
        ),
        ("Words of a later pyinfra", {}, "Words of a later pyinfra"),
    ],
)
def test_each_kind_has_its_setting_and_its_way_out(
    stderr: str, data: dict[str, Any], reason: str
) -> None:
    assert explain(stderr, Target("class-1", (), DATA | data)) == reason


def test_what_hides_others_is_corrected_first() -> None:
    reasons = {
        "a": ["ollama_cpus: 4 is more than the 1 CPUs; take less"],
        "b": ["_sudo: sudo does not work; allow it"],
        "c": ["ssh_user: authentication: refused; correct it"],
        "d": ["ssh_hostname: it does not resolve; correct it"],
        "e": ["ssh_key: key file k is not there; make it", "ssh_key: again"],
        "f": ["group_data/all.py: no_such: no such setting; see docs"],
        "g": ["ssh_strict_host_key_checking: unknown; log in"],
        "h": ["ssh_port: nothing listens; start it"],
        "i": [],
    }
    assert correction_order(reasons) == [
        *("f: group_data/all.py", "e: ssh_key", "d: ssh_hostname", "h: ssh_port"),
        *("g: ssh_strict_host_key_checking", "c: ssh_user", "b: _sudo", "a: ollama_cpus"),
    ]


def test_people_are_told_the_order(tmp_path: Path) -> None:
    done = plan(tmp_path, [FITS, GONE, KEYLESS])
    assert done.stdout.endswith(
        "Correct in this order, then plan again: nokey.invalid: ssh_key, nobody.invalid: ssh_hostname\n"
    )
    assert "Correct in" not in plan(tmp_path, [FITS]).stdout


def test_a_question_for_a_passphrase_does_not_hide_the_answer() -> None:
    log = (
        "Enter password for private key: /k:     [class-1] EOF error ()\n--> No hosts remaining!\n"
    )
    assert DryRun({}, log, None).silence("class-1") == ["EOF error ()"]


class _Door(paramiko.ServerInterface):
    """An SSH server that lets nobody in."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"


@contextmanager
def ssh_server(key: paramiko.PKey) -> Iterator[int]:
    """The port of such a server."""
    with create_server(("127.0.0.1", 0)) as listener:
        transports = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:  # the test is over
                    return
                transport = paramiko.Transport(connection)
                transport.add_server_key(key)
                transport.start_server(event=threading.Event(), server=_Door())
                transports.append(transport)

        threading.Thread(target=serve, daemon=True).start()
        yield int(listener.getsockname()[1])
        for transport in transports:
            transport.close()


def test_pyinfra_still_says_what_we_understand(tmp_path: Path) -> None:
    server, own = (paramiko.ECDSAKey.generate() for _ in range(2))
    own.write_private_key_file(str(tmp_path / "key"))
    key = {"ssh_key": str(tmp_path / "key")}
    with ssh_server(server) as port, create_server(("127.0.0.1", 0)) as closing:
        names: dict[str, paramiko.PKey | None] = {"fresh": None, "strict": None, "changed": own}
        for name, known in names.items():
            line = f"[127.0.0.1]:{port} {known.get_name()} {known.get_base64()}\n" if known else ""
            (tmp_path / name).write_text(line)
        files = {name: HERE | key | {"ssh_port": port} for name in (*names, "none/x")}
        files = {n: d | {"ssh_known_hosts_file": str(tmp_path / n)} for n, d in files.items()}
        files["strict"]["ssh_strict_host_key_checking"] = "yes"
        files["shut"] = HERE | key | {"ssh_port": closing.getsockname()[1]}
        closing.close()
        code, hosts = report(tmp_path, *((f"x-{n.partition('/')[0]}", d) for n, d in files.items()))
    assert code == 2
    assert {name: host["reasons"][0].partition(":")[0] for name, host in hosts.items()} == {
        "x-fresh": "ssh_user",
        "x-strict": "ssh_strict_host_key_checking",
        "x-changed": "ssh_strict_host_key_checking",
        "x-none": "ssh_known_hosts_file",
        "x-shut": "ssh_port",
    }
    assert "another one than before" in hosts["x-changed"]["reasons"][0]
