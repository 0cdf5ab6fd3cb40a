"""Fresh Debian machines with systemd and sshd on this one, for inventories/lab_ssh.py: `make lab-hosts`."""

from pyinfra import host
from pyinfra.facts.server import LinuxDistribution

from lab import fleet, images, operations

release = host.get_fact(LinuxDistribution)["release_meta"]
for codename in host.loop(sorted({member.codename for member in fleet.chosen()})):
    operations.image(
        name="Build a Debian server",
        recipe=images.server(codename),
        codename=codename,
        origin=release["ID"].capitalize(),
    )
for member in host.loop(fleet.chosen()):
    operations.server(name="Start a Debian server", member=member)
