"""Fresh Debian machines with systemd and sshd on this one, for inventories/lab_ssh.py: `make lab-hosts`."""

from pyinfra import host
from pyinfra.facts.server import LinuxDistribution

from lab import fleet, images, operations

release = host.get_fact(LinuxDistribution)["release_meta"]
operations.built(
    name="Build Debian servers",
    recipes=[images.server(name) for name in sorted({one.codename for one in fleet.chosen()})],
    release=release["VERSION_CODENAME"],
    origin=release["ID"].capitalize(),
)
for member in host.loop(fleet.chosen()):
    operations.server(name="Start a Debian server", member=member)
