"""A run without a change beside a tuned Ansible playbook of the same job: ``make no-change``.

Real Debian servers of the lab's own, both tools in turn; bounded in hosts and runs. Writes docs/benchmarks.md's table.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.deploy_times import FLEETS, inventory, pyinfra, servers
from lab.fleet import KEYS, MEMBERS, USER, Member
from lab.tables import markdown, publish
from ollama_stack import ROOT

ROUNDS = 5
AIMS = {1: 2.5, 3: 4.0, 6: 6.0}  # times as fast
RIVAL = ROOT / "bench" / "rivals" / "ansible"
HOME = Path("~/.cache/ollama-stack/ansible").expanduser()
FOLDER, PROJECT = "/opt/ollama", "ollama"
MODEL = runpy.run_path(str(ROOT / "group_data" / "lab_ssh.py"))["model_name"]
UNITS = "/etc/systemd/system"
ROOTED = ("ollama-stack-guard.service", "ollama-stack-release.service", f"{PROJECT}.slice")


def install() -> None:
    """Ansible in a folder of its own, every package pinned by hash."""
    if (HOME / "ok").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", "--clear", HOME], check=True)  # noqa: S603 no shell
    pip: list[str | Path] = [HOME / "bin" / "pip", "install", "--quiet", "--require-hashes"]
    subprocess.run([*pip, "--requirement", RIVAL / "requirements.txt"], check=True)  # noqa: S603 no shell
    (HOME / "ok").touch()


def on(member: Member, *arguments: str) -> str:
    """A command on a server, by its container; CalledProcessError if it fails."""
    command = ["docker", "exec", member.container, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 no shell


def take(member: Member, path: str, to: Path) -> None:
    """A file of the server, with its mode, if it has one there."""
    try:
        text, mode = on(member, "cat", path), on(member, "stat", "--format=%a", path)
    except subprocess.CalledProcessError:
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)
    to.chmod(int(mode, 8))


def files(member: Member, to: Path) -> None:
    """What our deploy has put on a server, for the playbook to have there."""
    take(member, "/etc/docker/daemon.json", to / "daemon.json")
    for unit in ROOTED:
        take(member, f"{UNITS}/{unit}", to / "root" / UNITS[1:] / unit)
    take(member, f"{FOLDER}/guard.nft", to / "root" / FOLDER[1:] / "guard.nft")
    names = on(member, "sh", "-c", f"cd {FOLDER} && ls docker-compose.yml gateway/*").split()
    for name in names:
        take(member, f"{FOLDER}/{name}", to / "service" / name)


def hosts(members: tuple[Member, ...], path: Path, texts: Path) -> Path:
    """Ansible's inventory of them."""
    ssh = f"-o UserKnownHostsFile={KEYS}/known_hosts"
    own = {"ansible_host": "127.0.0.1", "ansible_user": USER, "ansible_ssh_common_args": ssh}
    own |= {"ansible_ssh_private_key_file": f"{KEYS}/key", "files": str(texts)}
    own |= {"folder": FOLDER, "project": PROJECT, "model": MODEL, "url": "http://127.0.0.1:11434"}
    each = {member.name: {"ansible_port": member.port} for member in members}
    path.write_text(json.dumps({"all": {"hosts": each, "vars": own}}))
    return path


def playbook(fleet: Path) -> float:
    """Seconds of a run that changes nothing; RuntimeError if it does, or fails."""
    began = time.monotonic()
    run = subprocess.run(  # noqa: S603 no shell
        [HOME / "bin" / "ansible-playbook", "-i", fleet, RIVAL / "playbook.yml"],
        env=os.environ | {"ANSIBLE_CONFIG": str(RIVAL / "ansible.cfg"), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
    )
    seconds = time.monotonic() - began
    if run.returncode or set(re.findall(r"changed=(\d+)", run.stdout)) != {"0"}:
        raise RuntimeError(run.stdout + run.stderr)
    return seconds


def deploy(fleet: Path) -> float:
    """Seconds of ours."""
    began = time.monotonic()
    list(pyinfra(fleet, "deploy.py"))
    return time.monotonic() - began


def compare(members: tuple[Member, ...], folder: Path) -> tuple[float, float, float]:
    """Medians of ours, of theirs, and of theirs / ours, run in turn."""
    ours = inventory(folder, members)
    theirs = hosts(members, folder / "hosts.json", folder / "files")
    deploy(ours)  # loads what time has unloaded
    playbook(theirs)  # the first pays for its connections
    pairs = [(deploy(ours), playbook(theirs)) for _ in range(ROUNDS)]
    columns = [*zip(*pairs, strict=True), [their / our for our, their in pairs]]
    first, second, ratio = (statistics.median(column) for column in columns)
    return first, second, ratio


def main() -> None:
    """All of it, twenty minutes; SystemExit if an aim is missed."""
    install()
    with tempfile.TemporaryDirectory() as name, servers():
        folder = Path(name)
        list(pyinfra(inventory(folder, MEMBERS), "deploy.py"))
        files(MEMBERS[0], folder / "files")
        for member in MEMBERS:  # which Ansible needs on a host
            on(member, "sh", "-c", "apt-get -qq update && apt-get -qqy install python3-apt")
        found = {size: compare(MEMBERS[:size], folder) for size in FLEETS}
    rows = [
        (size, f"{ours:.1f}", f"{theirs:.1f}", f"{ratio:.1f}", AIMS[size])
        for size, (ours, theirs, ratio) in found.items()
    ]
    head = ["hosts", "ours, s", "Ansible, s", "Ansible / ours", "aim"]
    publish("no-change", markdown(head, rows))
    missed = [size for size, (*_, ratio) in found.items() if ratio < AIMS[size]]
    if missed or found[1][0] > 2:
        raise SystemExit(f"missed: {missed or 'one host under 2 s'}")


if __name__ == "__main__":
    main()
