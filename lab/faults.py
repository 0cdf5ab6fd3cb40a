"""What can befall a server of the lab's own, what its clients see, and who repairs it: ``make faults``.

The quick ones are in the tests, too. Bounded in faults and time; writes its table into docs/benchmarks.md.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import sys
import time

from rich.console import Console

from lab.fleet import DISK, MEMBERS, Member
from lab.inject import (
    INVENTORY,
    Act,
    Damage,
    Fault,
    both,
    deploying,
    inject,
    must,
    run,
    sh,
    until_it_serves,
)
from lab.tables import markdown, publish

MIRROR = "ollama-lab-mirror-front-1"
KILLS, LONGEST = 10, 15.0  # a deploy with a new container takes longer
NEW_CONTAINER = "ollama_max_queue=11"


def second_run(member: Member) -> None:
    """Another run, which has to be refused."""
    done = run(*deploying(member))
    if done.returncode != 1 or not re.search(r"lock: \S+ has been changing this", done.stderr):
        raise RuntimeError(f"a second run was not refused:\n{done.stderr}")


def slow_line(member: Member) -> None:
    """Four MB a second to the server, and no model there."""
    run("tc", "qdisc", "add", "dev", _device(member), "root", "tbf", "rate", "32mbit", "burst", "64kb", "latency", "100ms")  # fmt: skip
    must(member, "docker exec ollama ollama rm smollm2:135m smollm2:135m-pristine")


def mirror_is_back(member: Member) -> None:
    """As it was."""
    run("docker", "start", MIRROR)
    run("tc", "qdisc", "del", "dev", _device(member), "root")


def power_loss(member: Member) -> None:
    """All of the server's processes end in one moment; then it starts again."""
    run("docker", "kill", member.container)
    run("docker", "start", member.container)
    must(member, "timeout 60 sh -c 'until systemctl is-active --quiet ssh; do sleep 0.2; done'")


def comes_back(member: Member) -> None:
    """It runs its last good release again, and says why; RuntimeError if it does not."""
    must(
        member,
        "set -e; cd /opt/ollama/releases; timeout 180 sh -c 'while test -e unconfirmed; do sleep 0.2; done'; "
        "grep -q 'ended before it found its change good' returned; "
        "cmp current/docker-compose.yml ../docker-compose.yml",
    )


def each_kept(member: Member) -> None:
    """Every release that is kept runs once more, the oldest first; RuntimeError if one does not."""
    must_run(*deploying(member, "ollama_max_queue=12"))
    kept = must(member, "cd /opt/ollama/releases && ls -d [0-9]*").split()
    for number in sorted(kept, key=int):
        command = ["rollback.py", "--limit", member.name, "--data", f"_release={number}"]
        must_run(sys.executable, "-m", "pyinfra", "-y", INVENTORY, *command)
        must(
            member,
            f'cd /opt/ollama/releases && test "$(readlink current)" = {number} '
            f"&& cmp {number}/docker-compose.yml ../docker-compose.yml",
        )


def must_run(*arguments: str) -> None:
    """A command that cannot fail."""
    done = run(*arguments)
    if done.returncode:
        raise RuntimeError(done.stderr)


def _device(member: Member) -> str:
    link = must(member, "cat /sys/class/net/eth0/iflink").strip()
    links = json.loads(run("ip", "-json", "link").stdout)
    return next(str(each["ifname"]) for each in links if each["ifindex"] == int(link))


def leave(free: int) -> Act:
    """So many MiB on Docker's disk, or nothing at all."""
    used = "$(df --block-size=1M --output=used /var/lib/docker | tail -1)"
    smaller = f"mount -o remount,size=$(({used} + {free or 1}))M /var/lib/docker"
    return sh(f"{smaller}; test {free} != 0 || cat /dev/zero >/var/lib/docker/ballast || true")


ROOM = sh(f"mount -o remount,size={DISK} /var/lib/docker; rm -f /var/lib/docker/ballast")
CLOCK = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
WRONG_CLOCK = sh(
    "apt-get -qq update && apt-get -qq install libfaketime >/dev/null 2>&1; "
    "echo FAKETIME_DISABLE_SHM=1 >>/etc/environment; echo -400d >/etc/faketimerc; "
    f"echo {CLOCK} >/etc/ld.so.preload"
)
# The kernel kills the runner first, though it is not what grew.
OUT_OF_MEMORY = sh(
    "pid=$(pgrep -f ' [r]unner --model'); echo 1000 >/proc/$pid/oom_score_adj; "
    "docker exec ollama sh -c 'head -c 8G /dev/zero | tail >/dev/null' || ! test -d /proc/$pid"
)
RUNS = "docker inspect --format {{.State.Running}} ollama 2>/dev/null | grep -q true"
LOCK, INSTALLED, REPLACED = "Take the lock", "Docker | Install Docker", "Release | Switch to it"
ASKED = "Smoke | Ask the model"
# What a power loss leaves of files that were not on the disk yet. Docker 20.10 does not start with such settings.
TORN = sh(
    "apt-get -qq update && apt-get -qq purge nftables >/dev/null 2>&1; "
    "truncate --size 1000 /var/lib/apt/lists/*_Packages*; "
    ": >/etc/docker/daemon.json; : >/opt/ollama/docker-compose.yml; pkill -KILL -x dockerd"
)
CONFIGURES = sh("timeout 120 sh -c 'until pgrep -f [d]ocker.io.postinst >/dev/null; do :; done'")


def killed(seconds: float) -> Fault:
    """A run that replaces Ollama's container is killed so many seconds after its start."""
    return Fault(
        f"the deploy itself killed after {seconds:.1f} s (SIGKILL)",
        "the next run, by facts",
        "the next run",
        code=-signal.SIGKILL,
        data=(NEW_CONTAINER,),
        at=seconds,
    )


MID_PULL = Fault(
    "mirror gone in the middle of the model's pull (which had been deleted)",
    "the pull, which then says what has arrived is kept",
    "the next run: it resumes",
    code=1,
    says="model_name: .* cannot be pulled; .* what has arrived is kept",
    before=slow_line,
    at="MB/s",
    then=lambda _: run("docker", "kill", MIRROR),
    after=mirror_is_back,
)
FULL = Fault(
    "disk full before the new container is made",
    "the change, which fails",
    "the run: the last good release",
    code=1,
    says="no space left on device",
    data=(NEW_CONTAINER,),
    at=LOCK,
    then=leave(0),
    after=ROOM,
)
FULL_PULL = Fault(
    "disk full in the middle of the model's pull (which had been deleted)",
    "the pull",
    "the next run, once there is room",
    code=1,
    says="no space left on device",
    data=(NEW_CONTAINER,),
    before=sh("docker exec ollama ollama rm smollm2:135m smollm2:135m-pristine"),
    at=REPLACED,
    then=leave(20),
    after=ROOM,
)
CUT = Fault(
    "SSH cut while the container is replaced",
    "pyinfra; the host goes on alone, then sees that the lock's holder is gone",
    "the host itself: the last good release",
    code=1,
    data=(NEW_CONTAINER,),
    at=REPLACED,
    # Not before there is something to go back from.
    then=sh(
        "timeout 60 sh -c 'until test -e /opt/ollama/releases/unconfirmed; do sleep 0.1; done'; "
        "sleep 1; pkill -KILL -f '^sshd.*ops'"
    ),
    after=comes_back,
)
KILLED_BEFORE_SMOKE = Fault(
    "the deploy itself killed (SIGKILL) between switch and smoke",
    "the host, when the lock's holder is gone",
    "the host itself: the last good release",
    code=-signal.SIGKILL,
    data=(NEW_CONTAINER,),
    at=ASKED,
    after=comes_back,
)
CUT_BEFORE_SMOKE = Fault(
    "SSH cut between switch and smoke",
    "the host, when the lock's holder is gone",
    "the host itself: the last good release",
    code=1,
    data=(NEW_CONTAINER,),
    at=ASKED,
    then=sh("pkill -KILL -f '^sshd.*ops'"),
    after=comes_back,
)
CYCLED = Fault(
    "power lost between switch and smoke",
    "the host, at its next start",
    "the host itself: the last good release",
    code=1,
    data=(NEW_CONTAINER,),
    at=ASKED,
    then=power_loss,
    after=comes_back,
    host=1,
)
KEPT = Fault(
    "two releases later, a rollback to each kept number",
    "nobody has to",
    "each rollback",
    data=(NEW_CONTAINER,),
    after=each_kept,
)
TWO = Fault(
    "two deploys at once",
    "the lock: who holds it, and since when",
    "nobody has to",
    data=(NEW_CONTAINER,),
    at="Docker | ",
    then=second_run,
)
ENGINE = Fault(
    "dockerd killed (SIGKILL)",
    "systemd",
    "systemd and Docker's restart policy",
    before=both(sh("pkill -KILL -x dockerd"), until_it_serves),
)
REBOOT = Fault(
    "the host restarts",
    "nobody has to",
    "systemd and Docker's restart policy",
    before=both(lambda member: run("docker", "restart", member.container), until_it_serves),
    host=1,
)
POWER = Fault(
    "power lost while dpkg configures Docker's package (which had been purged)",
    "the next run, by dpkg's own status",
    "the next run",
    code=1,
    before=sh("apt-get -qq purge docker.io >/dev/null 2>&1; groupdel docker"),
    at=INSTALLED,
    then=both(CONFIGURES, power_loss),
    host=1,
)
HALF_WRITTEN = Fault(
    "daemon.json and compose file without a byte, apt's lists torn, as after a power loss; a package missing",
    "the run, by facts and by apt's own words",
    "the run",
    before=TORN,
)
CLOCK_WRONG = Fault(
    "clock 400 days behind (by libfaketime: the kernel's is shared)",
    "the preflight, before anything changes",
    "nobody has to",
    code=1,
    says=r"correct the one that is wrong \(timedatectl set-ntp true\)",
    data=(NEW_CONTAINER,),
    before=WRONG_CLOCK,
    after=sh("rm -f /etc/ld.so.preload; sed -i /FAKETIME/d /etc/environment"),
    host=1,
)
NOT_SERVING = Fault(
    "image that does not serve",
    "the change, which waits for an answer",
    "the run: the last good release",
    code=1,
    says=r"returned to release \d+, which answers",
    data=("ollama_image=haproxy:3.0.11",),
)
FAULTS = [
    Fault(
        "image tag that does not exist",
        "the preflight, before anything changes",
        "nobody has to",
        code=1,
        says=r"ollama_image: \S+ is not in its registry; check the name and the tag",
        data=("ollama_image=ollama/ollama:0.0.0",),
    ),
    NOT_SERVING,
    Fault(
        "model that does not exist",
        "the preflight, before anything changes",
        "nobody has to",
        code=1,
        says=r"model_name: \S+ is not in its registry; check the name and the tag",
        data=("model_name=smollm2:0m",),
    ),
    Fault(
        "model of another digest",
        "the pull, before it is served",
        "the run: the last good release",
        code=1,
        says=r"model_digest: \S+ came as ",
        data=(f"model_digest={'f' * 64}",),
    ),
    Fault(
        "port taken by somebody else",
        "the preflight, before anything changes",
        "nobody has to",
        code=1,
        says=r"ollama_port: 22 is taken by .*sshd",
        data=("ollama_port=22",),
    ),
    MID_PULL,
    FULL,
    FULL_PULL,
    CUT,
    KILLED_BEFORE_SMOKE,
    CUT_BEFORE_SMOKE,
    CYCLED,
    KEPT,
    TWO,
    ENGINE,
    Fault(
        "dockerd killed while the container is replaced",
        "the change, which fails",
        "systemd, then the run: the last good release",
        code=1,
        says=r"returned to release \d+, which answers",
        data=(NEW_CONTAINER,),
        at=REPLACED,
        then=sh(f"timeout 60 sh -c 'while {RUNS}; do :; done'; pkill -KILL -x dockerd"),
    ),
    REBOOT,
    POWER,
    HALF_WRITTEN,
    CLOCK_WRONG,
    Fault(
        "runner killed by the kernel, out of memory",
        "Ollama",
        "Ollama: the next question starts another",
        before=both(until_it_serves, OUT_OF_MEMORY),
    ),
    Fault(
        "compose file edited by hand into invalid YAML",
        "the run, by comparison",
        "the run",
        before=sh("echo '}{' >/opt/ollama/docker-compose.yml"),
    ),
    Fault(
        "Ollama's container removed by hand",
        "the run, by Docker's own answer",
        "the run",
        before=sh("docker rm -f ollama"),
    ),
    Fault(
        "both containers stopped by hand",
        "the run, by Docker's own answer",
        "the run",
        before=sh("docker stop ollama ollama-gateway"),
    ),
    Fault(
        "limits changed by hand (docker update)",
        "the run, by the live values",
        "the run: a new container",
        says="ollama NanoCpus is 500000000, declared ",
        before=sh("docker update --cpus 0.5 ollama"),
    ),
    Fault(
        "model deleted by hand",
        "the run, by Ollama's own list",
        "the run",
        before=sh("docker exec ollama ollama rm smollm2:135m smollm2:135m-pristine"),
    ),
]

LIST = [*FAULTS, killed(9.0)]  # of `make test-all`


def row(fault: Fault, damage: Damage) -> tuple[str, ...]:
    """Of the table."""
    gap = f"{damage.interrupted:.1f} s" if damage.interrupted else "not"
    return (
        fault.what,
        str(damage.code),
        fault.seen_by,
        gap,
        f"{damage.waited:.1f} s",
        fault.repaired_by,
    )


def main() -> None:
    """Every fault, and then KILLS runs killed at random moments; 20 minutes. It prints the seed."""
    seed = int(os.environ.get("SEED", str(time.time_ns() % 10_000)))
    chance = random.Random(seed)  # noqa: S311 no secret
    moments = sorted(chance.uniform(0.5, LONGEST) for _ in range(KILLS))
    say = Console(soft_wrap=True, highlight=False, markup=False).print
    say(f"SEED={seed}: kills after {', '.join(f'{moment:.1f}' for moment in moments)} s")
    run("make", "lab-hosts", "HOSTS=2")
    hosts = ["--limit", MEMBERS[0].name, "--limit", MEMBERS[1].name]
    done = run(sys.executable, "-m", "pyinfra", "-y", INVENTORY, "deploy.py", *hosts)
    if done.returncode:
        raise RuntimeError(done.stderr)
    rows, wrong = [], []
    for fault in (*FAULTS, *map(killed, moments)):
        damage = inject(fault)
        rows.append(row(fault, damage))
        wrong += [f"{fault.what}: {each}" for each in damage.wrong]
        say(" | ".join(rows[-1]), *damage.wrong)
    head = ["fault", "exit", "detected by", "interrupted for", "longest answer", "repaired by"]
    publish("faults", markdown(head, rows))
    sys.exit("\n".join(wrong) or None)


if __name__ == "__main__":
    main()
