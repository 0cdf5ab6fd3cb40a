"""One inventory for deploy and audit: hosts, limits, and addresses as pyinfra has them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.inventory import Target, read_inventory, unusable_files

EXAMPLE = "inventories/example.py"


def test_hosts_come_with_their_groups_and_merged_data() -> None:
    hall = next(t for t in read_inventory(EXAMPLE) if t.name.startswith("hall"))
    assert hall.groups == ("high", "example")
    assert (hall.data["ollama_cpus"], hall.data["model_name"]) == (4.0, "qwen2.5:1.5b")


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (["low"], ["library.school.example"]),
        (["class-*"], ["class-1.school.example", "class-2.school.example"]),
    ],
)
def test_a_limit_is_a_group_or_a_pattern(limit: list[str], names: list[str]) -> None:
    assert [target.name for target in read_inventory(EXAMPLE, limit)] == names


@pytest.mark.parametrize(
    ("path", "limit", "fault"),
    [
        ("inventories/exmaple.py", [], "inventories/exmaple.py: there is no such inventory"),
        (EXAMPLE, ["nobody"], "inventories/example.py: no host matches nobody"),
    ],
)
def test_no_hosts_are_an_error(path: str, limit: list[str], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_inventory(path, limit)


def test_an_ipv6_address_is_told_from_its_port() -> None:
    target = Target("class-1", ("low",), {"ssh_hostname": "2001:db8::5", "ssh_port": 2222})
    assert target.ssh_uri == "ssh://[2001:db8::5]:2222"


def test_an_ssh_host_is_reached_as_pyinfra_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h%/a")
    data = {"ssh_user": "o p", "ssh_port": 22022, "ssh_key": "~/.ssh/k", "ssh_hostname": "10.0.0.9"}
    target = Target("class-1", ("low",), data | {"ssh_known_hosts_file": "~/k h"})
    assert target.ssh_uri == "ssh://o%20p@10.0.0.9:22022"
    assert target.ssh_extra_args == (
        "-o BatchMode=yes -o StrictHostKeyChecking=accept-new -o ServerAliveInterval=5 "
        """-o ServerAliveCountMax=3 -o 'UserKnownHostsFile="/h%%/a/k h"' -o 'IdentityFile="/h%%/a/.ssh/k"'"""
    )


def seen_by_ssh(target: Target) -> dict[str, str]:
    """What ssh itself makes of the command line: a word and its value on each line."""
    *options, login, _ = target.shell[1:]
    done = subprocess.run(["ssh", "-G", *options, login], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = reversed(done.stdout.replace("%%", "%").splitlines())  # as it reads what it prints
    return dict(line.split(" ", 1) for line in lines)


def test_ssh_looks_where_a_deploy_does_if_home_is_not_the_account_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs in a container have a HOME of their own, and so has `sudo -E`; ssh itself asks /etc/passwd."""
    home, (user, port) = tmp_path / "100% ours", ("o_p", "2211")
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/known_hosts").touch()
    (home / ".ssh/id_ed25519").touch()
    (home / ".ssh/config").write_text(f"Host class-1\n  User {user}\n  Port {port}\n")
    seen = seen_by_ssh(Target("class-1", (), {}))
    assert (seen["user"], seen["port"]) == (user, port)
    assert seen["identityfile"] == str(home / ".ssh/id_ed25519")
    assert seen["userknownhostsfile"] == str(home / ".ssh/known_hosts")
    named = {"ssh_key": "~/k", "ssh_known_hosts_file": "~/hosts", "ssh_config_file": "/dev/null"}
    (home / "k").touch()
    seen = seen_by_ssh(Target("class-1", (), named))
    assert seen["identityfile"] == str(home / "k")
    assert seen["userknownhostsfile"] == str(home / "hosts")
    monkeypatch.delenv("HOME")
    assert Target("class-1", (), {})._file("ssh_key") == ""


@pytest.mark.parametrize("name", ["@local", "class-1"])
def test_the_audit_comes_as_an_ordinary_user(name: str) -> None:
    assert Target(name, (), {"_sudo": True}).connect("sockets").backend.sudo is False


def test_an_ssh_configuration_that_is_not_utf_8_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    own, site = tmp_path / ".ssh/config", tmp_path / "site"
    own.parent.mkdir()
    own.write_bytes("Host a\n# Schlüssel\n".encode("latin-1"))
    site.write_text("# Schlüssel\n", encoding="utf-8")
    other = {"ssh_config_file": str(site)}
    targets = [Target("a", (), {}), Target("@local", (), {}), Target("@ssh/b", (), other)]
    assert unusable_files(targets) == {
        "a": [
            "ssh_config_file: line 2 of ~/.ssh/config is not UTF-8, and a deploy reads no other; save the "
            "file as UTF-8, or name another"
        ]
    }


def test_a_key_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    keys = (str(tmp_path / "key"), "~/.ssh/no such key", "pyproject.toml", "tests")
    targets = [Target(str(place), (), {"ssh_key": key}) for place, key in enumerate(keys)]
    assert unusable_files([*targets, Target("none", (), {})]) == {
        "1": [
            "ssh_key: key file ~/.ssh/no such key is not there; make one with ssh-keygen -t ed25519, or "
            "name another"
        ],
        "2": [
            "ssh_key: key file pyproject.toml is no private key of OpenSSH's; name the half without "
            ".pub, or another"
        ],
        "3": [
            "ssh_key: key file tests cannot be read (Is a directory); check its path, owner and mode"
        ],
    }


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({}, "ssh class-1 true"),
        ({"ssh_hostname": "10.0.0.5", "ssh_user": "ops"}, "ssh ops@10.0.0.5 true"),
        ({"ssh_port": 2222, "ssh_key": "~/.ssh/a b"}, "ssh -p 2222 -i ~/'.ssh/a b' class-1 true"),
        (
            {"ssh_known_hosts_file": "/k", "ssh_config_file": "/c"},
            "ssh -F /c -o UserKnownHostsFile=/k class-1 true",
        ),
    ],
)
def test_a_person_logs_in_as_a_deploy_does(data: dict[str, Any], line: str) -> None:
    assert Target("class-1", (), data).ssh_command("true") == line


def test_a_connector_without_a_backend_is_said_to_be_one() -> None:
    with pytest.raises(ValueError, match="@docker/x: only @local and SSH hosts are looked at"):
        Target("@docker/x", (), {}).connect("sockets")
