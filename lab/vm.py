"""A fresh Debian 13 with a kernel of its own, for inventories/lab_vm.py: `make vm`."""

from pyinfra import host
from pyinfra.facts.server import LinuxDistribution

from lab import machine, operations
from ollama_stack.operations import packages

release = host.get_fact(LinuxDistribution)["release_meta"]
packages.installed(
    name="Install what emulates a machine",
    packages=["mmdebstrap", "e2fsprogs", "qemu-system-x86", "qemu-utils", "openssh-client"],
)
machine.disk(
    name="Build its disk",
    sources=operations.apt_sources(machine.CODENAME, release["ID"].capitalize()),
)
machine.fresh(name="Start it")
