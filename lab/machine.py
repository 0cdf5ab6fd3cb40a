"""A real machine of the lab's own: a kernel, systemd and cgroup v2 under QEMU's software emulation."""

from __future__ import annotations

from collections.abc import Generator
from hashlib import sha256
from pathlib import Path

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.facts.files import FileContents

from lab.fleet import USER
from lab.operations import BUILD, CLEAR, key_pair
from lab.packages import MMDEBSTRAP
from ollama_stack.shell import or_explain

CODENAME, PORT = "trixie", 2400  # inventories/lab_vm.py has the port too
FOLDER = Path("~/.cache/ollama-stack/vm").expanduser()
MEMORY, DISK = "5G", "24G"
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd", "systemd-sysv", "libpam-systemd"),
    *("dbus", "openssh-server", "sudo", "ca-certificates", "iproute2", "procps", "python3-minimal"),
    *("apparmor", "udev", "kmod", "netbase", "systemd-timesyncd", "systemd-resolved", "e2fsprogs"),
)
# What an installer asks for. Root's files on the disk, then a user with a key.
SETUP = f"""
cd "$1"
echo vm >etc/hostname
echo '127.0.1.1 vm' >>etc/hosts
echo '/dev/vda / ext4 defaults 0 1' >etc/fstab
printf '[Match]\\nName=en* eth*\\n[Network]\\nDHCP=ipv4\\n' >etc/systemd/network/lan.network
apt-config dump | grep ^Acquire:: >etc/apt/apt.conf.d/90lab
chroot . systemctl --quiet enable systemd-networkd ssh
chroot . useradd --create-home --shell /bin/bash {USER}
echo '{USER} ALL=(ALL) NOPASSWD: ALL' >etc/sudoers.d/{USER}
install -D -m 644 {FOLDER}/key.pub home/{USER}/.ssh/authorized_keys
chroot . chown -R {USER}: home/{USER}
rm -f etc/resolv.conf
echo 'nameserver 10.0.2.3' >etc/resolv.conf
sed "s/^/[127.0.0.1]:{PORT} /" etc/ssh/ssh_host_*.pub | cut -d' ' -f1-3 >{FOLDER}/known_hosts
"""
EMULATOR = (
    f"qemu-system-x86_64 -accel tcg,thread=multi,tb-size=1024 -cpu max -smp 2 -m {MEMORY} "
    "-kernel vmlinuz -initrd initrd -append 'root=/dev/vda console=ttyS0 rw quiet' "
    "-drive file=disk,format=qcow2,if=virtio,cache=writeback,discard=unmap "
    f"-netdev user,id=n,hostfwd=tcp:127.0.0.1:{PORT}-:22 -device virtio-net-pci,netdev=n "
    "-device virtio-rng-pci -rtc base=utc,clock=host "
    "-display none -monitor unix:monitor,server,nowait -serial file:console.log "
    "-daemonize -pidfile pid"
)

SSH = (
    f"ssh -q -p {PORT} -i {FOLDER}/key -o UserKnownHostsFile={FOLDER}/known_hosts "
    f"-o StrictHostKeyChecking=yes -o ConnectTimeout=10 {USER}@127.0.0.1"
)
HERE = StringCommand("cd", QuoteString(str(FOLDER)), "&&")
Commands = Generator[PyinfraCommand | str, None, None]


@operation()
def off() -> Commands:
    """Switch it off, without a word to its system."""
    yield StringCommand(
        HERE,
        # A stale pid file may name somebody else's process.
        "{ test -f pid && grep -qs qemu-system /proc/$(cat pid)/cmdline && kill -9 $(cat pid); rm -f pid; }",
    )


@operation()
def disk(sources: str) -> Commands:
    """Have the disk of a Debian server as an installer leaves it, with its kernel beside it.

    ``sources``: a shell command that prints apt's sources for CODENAME.
    """
    recipe = sha256(f"{PACKAGES} {SETUP} {DISK}".encode()).hexdigest()
    if host.get_fact(FileContents, path=f"{FOLDER}/recipe") == [recipe]:
        host.noop("the disk is already built from this recipe")
        return
    root = f"{BUILD}/root"
    yield f"{CLEAR} && mkdir --mode=700 {BUILD}"
    yield key_pair(FOLDER)
    yield from off._inner()
    yield StringCommand(HERE, "rm -f disk root recipe")
    yield f"{sources} >{BUILD}/sources.list"
    yield StringCommand("printf %s", QuoteString(SETUP), f">{BUILD}/setup")
    yield or_explain(
        StringCommand(
            f"TMPDIR={BUILD} {MMDEBSTRAP} --variant=apt --skip=output/dev",
            f"--include={','.join(PACKAGES)} --customize-hook='sh -ex {BUILD}/setup \"$1\"'",
            f"{CODENAME} {root} {BUILD}/sources.list",
        ),
        "lab: mmdebstrap could not build the machine; check that `apt-get update` works here",
    )
    yield StringCommand(
        HERE, f"cp {root}/boot/vmlinuz-* vmlinuz && cp {root}/boot/initrd.img-* initrd"
    )
    yield StringCommand(HERE, f"truncate -s {DISK} root && mke2fs -q -t ext4 -d {root} root")
    yield StringCommand(HERE, "echo", recipe, f">recipe; {CLEAR}")


@operation(is_idempotent=False, idempotent_notice="It is another machine each time.")
def fresh() -> Commands:
    """Have the machine up on a disk that nobody has written to, and let USER in."""
    yield from off._inner()
    yield StringCommand(HERE, "qemu-img create -q -f qcow2 -b root -F raw disk")
    yield StringCommand(HERE, EMULATOR)
    yield or_explain(
        StringCommand(
            "timeout 300 sh -c", QuoteString(f"until {SSH} true 2>/dev/null; do sleep 1; done")
        ),
        f"lab: the machine did not start; see {FOLDER}/console.log",
    )
