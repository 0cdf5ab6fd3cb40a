"""Pure: the recipes of the lab's images, from Debian packages and files of pinned wheels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path

from lab import back_ends

HERE = Path(__file__).parent

OLLAMA_LIBRARIES = (
    *("ollama-lib", "libggml.so", "libggml-base.so", "libllama.so", "libllava_shared.so"),
    *("libmtmd_shared.so", "libsample.so"),
)
INTEL_LIBRARIES = (
    *("libimf.so", "libsvml.so", "libirng.so", "libintlc.so.5", "libiomp5.so"),
    *("libsycl.so.8", "libur_loader.so.0"),
)


@dataclass(frozen=True)
class Image:
    """An image: Debian packages, files put into it (by path in it), and its configuration."""

    name: str
    packages: tuple[str, ...]
    changes: tuple[str, ...]
    files: dict[str, Path] = field(default_factory=dict)
    shared_objects: dict[str, Path] = field(default_factory=dict)
    codename: str = ""
    """The release whose packages these are; none: the host's own."""

    @property
    def recipe(self) -> str:
        """Short digest of all that goes into the image but the packages' versions."""
        text = json.dumps(asdict(self), default=_content, sort_keys=True)
        return sha256(text.encode()).hexdigest()[:16]


def _content(path: Path) -> str:
    """A file of the repository counts by content, one of a pinned wheel by its folder's name."""
    return sha256(path.read_bytes()).hexdigest() if path.is_relative_to(HERE) else str(path)


MIRROR = Image(
    name="ollama-lab/mirror:2.8.2",
    packages=("docker-registry", "haproxy"),
    changes=(),
    files={
        "etc/lab/registry.yml": HERE / "mirror" / "registry.yml",
        "etc/lab/haproxy.cfg": HERE / "mirror" / "haproxy.cfg",
    },
)


# Of a branch that is shipped: Debian 12 has 2.6, Debian 13 has 3.0 (docs/decisions.md 53).
HAPROXY = Image(
    name="ollama-lab/haproxy:3.0.11",
    packages=("haproxy",),
    changes=("EXPOSE 11434 8404",),
    codename="trixie",
)


PYTHON = Image(
    name="ollama-lab/python:3",
    packages=("python3", "python3-pip"),
    changes=(),
)
# What each release's python3 is, for wheels that are made for one version.
PYTHONS = {"bookworm": "3.11", "trixie": "3.13", "jammy": "3.10", "noble": "3.12"}


def server(codename: str) -> Image:
    """A Debian server as an installer leaves it: systemd, sshd, sudo, no Docker, no curl."""
    return Image(
        name=f"ollama-lab/server:{codename}",
        codename=codename,
        packages=(
            *("systemd", "systemd-sysv", "libpam-systemd", "dbus", "openssh-server", "sudo"),
            *("iproute2", "procps"),
        ),
        changes=(
            # Debian 13's systemd needs this where the machine still has cgroup v1.
            'CMD ["/sbin/init", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]',
        ),
    )


def ollama(wheels: Path) -> Image:
    """Ollama 0.9.3 for CPUs, shaped like the official image."""
    libraries = [back_ends.server(wheels) / name for name in OLLAMA_LIBRARIES]
    libraries += [wheels / back_ends.FOLDER / name for name in back_ends.NAMES]
    libraries += [next(wheels.glob(f"*.data/data/lib/{name}")) for name in INTEL_LIBRARIES]
    return Image(
        name="ollama-lab/ollama:0.9.3",
        packages=("ca-certificates", "libgomp1", "libstdc++6", "ocl-icd-libopencl1"),
        changes=(
            'ENTRYPOINT ["/bin/ollama"]',
            'CMD ["serve"]',
            "ENV OLLAMA_HOST=0.0.0.0:11434",
            "EXPOSE 11434",
        ),
        files={
            "usr/bin/ollama": HERE / "ollama" / "ollama",
            **{f"usr/lib/ollama/{path.name}": path for path in libraries},
        },
        shared_objects={"usr/lib/ollama/libggml-sycl.so": HERE / "ollama" / "no-gpu.c"},
    )
