"""What a host itself cannot do, whatever is declared for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from pyinfra.facts.deb import DebArch
from pyinfra.facts.files import File
from pyinfra.facts.server import Arch, Date, Which

from ollama_stack.capacity.budget import IMAGES
from ollama_stack.config.settings import Settings
from ollama_stack.config.types import host_of
from ollama_stack.facts.docker import DaemonConfig, Engine, EngineFlags
from ollama_stack.facts.docker_client import BrokenStore, ClientProxies, OwnCompose
from ollama_stack.facts.host import Room
from ollama_stack.facts.kernel import Unbounded
from ollama_stack.facts.memory import known
from ollama_stack.operations.docker import OLDEST_COMPOSE, is_new_enough
from ollama_stack.paths import DAEMON_JSON

OURS = ("/etc", "/tmp")  # noqa: S108  uploads go through it
LEAST_SIZE, LEAST_FILES = 10 * 10**6, 1000  # files of ours: five releases, programs, units
ENGINE_SIZE = 300 * 10**6  # Debian 12's engine has 255 MB, Compose 60 MB; Docker's own have more
APT_SIZE = 300 * 10**6  # lists and caches of Ubuntu's take 200 MB, the packages 100 MB on their way
CLOCK = 3600.0  # seconds: apt's lists, and a certificate that a site has just made, are of today
IMAGE_FILES = 15_000  # the lab's largest image, the page's, has 14,960


def faults(settings: Settings, image_root: str, to_pull: Iterable[str]) -> list[str]:
    """Each with its way out; ``image_root``: where images go."""
    images = len(set(to_pull) & set(IMAGES))
    least = dict.fromkeys((settings.ollama_dir, *OURS), (LEAST_SIZE, LEAST_FILES))
    least |= {image_root: (0, images * IMAGE_FILES)}
    if not (settings.bundle or known(Engine).version or known(Which, command="dockerd")):
        least |= {"/usr": (ENGINE_SIZE, LEAST_FILES), "/var": (APT_SIZE, LEAST_FILES)}
    return [
        *_userland(),
        *_clock(),
        *_bounds(),
        *_engine(),
        *_mirror(settings),
        *_compose(),
        *_proxies(),
        *(_store() if images else ()),
        *_room(least),
    ]


def _userland() -> Iterator[str]:
    """A kernel of 64 bits may run a system of 32, for which no image is built."""
    built_for = known(DebArch)
    if built_for and built_for != {"x86_64": "amd64", "aarch64": "arm64"}.get(
        known(Arch), built_for
    ):
        yield (
            f"ollama_image: there is none for {built_for}, which this host's system is built for, whatever its kernel "
            "can; install Debian or Ubuntu for amd64 or arm64"
        )


def _clock() -> Iterator[str]:
    off = (known(Date).astimezone() - datetime.now().astimezone()).total_seconds()
    if abs(off) > CLOCK:
        yield (
            f"clock: this host's clock is {abs(off) / 3600:.1f} hours {'ahead of' if off > 0 else 'behind'} this machine's, "
            "and certificates and apt's lists count as expired or not yet valid by it; correct the one that is "
            "wrong (timedatectl set-ntp true)"
        )


def _bounds() -> Iterator[str]:
    missing = known(Unbounded)
    if not missing:
        return
    way = (
        "append cgroup_enable=memory swapaccount=1 to its command line (GRUB_CMDLINE_LINUX in "
        "/etc/default/grub, then update-grub; on a Raspberry Pi /boot/firmware/cmdline.txt) and reboot"
        if set(missing) <= {"memory", "swap"}
        else "boot the distribution's own kernel, or, where the host is a container, have it given these"
    )
    yield f"docker: this host's kernel cannot bound a container's {' and '.join(missing)}; {way}"


def _engine() -> Iterator[str]:
    """What the engine does otherwise than every engine that was tried, and no container would come through."""
    config, flags, engine = known(DaemonConfig) or {}, known(EngineFlags), known(Engine)
    if config.get("iptables") is False or "--iptables=false" in flags:
        yield (
            "docker: the engine there makes no way for its containers (iptables is false in /etc/docker/daemon.json or "
            "among dockerd's flags): they would pull no model, and all clients have one address; unset it, or take "
            "another host"
        )
    if engine.labelled or (not engine.version and config.get("selinux-enabled")):
        yield (
            "docker: the engine there labels files by SELinux (selinux-enabled), and ours have no labels; unset it "
            "in /etc/docker/daemon.json, or take another host"
        )


def _mirror(settings: Settings) -> Iterator[str]:
    """Where the engine does not trust the mirror, and its settings cannot be ours to change."""
    registry, engine = host_of(settings.mirror), known(Engine)
    listed = (known(DaemonConfig) or {}).get("insecure-registries", [])
    trusted = engine.insecure_registries if engine.version else listed
    if not settings.mirror.startswith("http://") or registry in trusted:
        return
    linked = known(File, path=DAEMON_JSON) is False
    if linked or any(flag.startswith("--insecure-registry") for flag in known(EngineFlags)):
        where = (
            f"{DAEMON_JSON} is a link, so somebody else writes it"
            if linked
            else "dockerd has --insecure-registry among its flags, and would not start with more in its file"
        )
        yield f"mirror: {where}; have it trust {registry} there (insecure-registries), or give the mirror TLS"


def _compose() -> Iterator[str]:
    path, *version = known(OwnCompose) or [""]
    if path and not is_new_enough("".join(version[:1])):
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        yield (
            f"docker: {path} is Compose {''.join(version[:1]) or 'of no version'}, at least {oldest} is "
            "needed, and it goes before every other one; remove it"
        )


def _proxies() -> Iterator[str]:
    if names := known(ClientProxies):
        yield (
            f"docker: ~/.docker/config.json of this login gives {' and '.join(names)} to every container, whose "
            "local calls they would catch; remove them there, and set proxy here"
        )


def _store() -> Iterator[str]:
    if found := known(BrokenStore):
        program, *words = found
        yield (
            f"docker: {program}, which root's docker gets its passwords from, fails ({' '.join(words) or 'in silence'}), "
            "and with it every pull; remove credsStore from ~/.docker/config.json there, or the package that has "
            "that program (golang-docker-credential-helpers)"
        )


def _room(least: dict[str, tuple[int, int]]) -> Iterator[str]:
    for path, (size, files) in least.items():
        room = known(Room, path=path)
        if room is None:
            continue
        if not room.writable:
            yield (
                f"disk: nothing can be written to {path}; see how it is mounted (findmnt --target {path}) "
                "and what the kernel says of its disk (dmesg)"
            )
        elif room.size < size:
            yield (
                f"disk: {path} has {room.size / 1e6:.1f} MB free, {size / 1e6:.0f} MB are needed; free some (du -xhd1 {path} shows what takes it)"
            )
        elif room.files is not None and room.files < files:
            yield (
                f"disk: {path} can take {room.files} more files (df -i), {files} are needed; remove some (du --inodes -xd1 {path} shows where)"
            )
