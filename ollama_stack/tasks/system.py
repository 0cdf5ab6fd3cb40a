"""What a host itself cannot do, whatever is declared for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ollama_stack.capacity.budget import IMAGES
from ollama_stack.config.settings import Settings
from ollama_stack.facts.docker_client import BrokenStore, ClientProxies, OwnCompose
from ollama_stack.facts.host import Room
from ollama_stack.facts.kernel import Unbounded
from ollama_stack.facts.memory import known
from ollama_stack.operations.docker import OLDEST_COMPOSE, is_new_enough

OURS = ("/etc", "/tmp")  # noqa: S108  uploads go through it
LEAST_SIZE, LEAST_FILES = 10 * 10**6, 1000  # files of ours: five releases, programs, units
IMAGE_FILES = 15_000  # the lab's largest image, the page's, has 14,960


def faults(settings: Settings, image_root: str, to_pull: Iterable[str]) -> list[str]:
    """Each with its way out; ``image_root``: where images go."""
    images = len(set(to_pull) & set(IMAGES))
    least = dict.fromkeys((settings.ollama_dir, *OURS), (LEAST_SIZE, LEAST_FILES))
    least |= {image_root: (0, images * IMAGE_FILES)}
    return [*_bounds(), *_compose(), *_proxies(), *(_store() if images else ()), *_room(least)]


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
