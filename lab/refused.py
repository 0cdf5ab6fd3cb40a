"""Hosts as they are met that cannot serve: each is refused in words that help."""

from __future__ import annotations

from lab.fleet import USER
from lab.variant import APT, INSTALL, Variant

GREETS = Variant(
    "`~/.bashrc` greets everybody",
    dirt=f"sed -i '1i echo Welcome to class-1!' ~{USER}/.bashrc",
    refused="ssh_user: the login's shell says 'Welcome to class-1!' of its own accord",
    clean=f"sed -i 1d ~{USER}/.bashrc",
)
TCSH = Variant(
    "the login's shell is tcsh",
    dirt=f"usermod --shell /bin/tcsh {USER}",
    refused="ssh_user: the login's shell, /bin/tcsh, understands quotes otherwise than sh does",
    clean=f"usermod --shell /bin/bash {USER}",
)
FISH = Variant(
    "the login's shell is fish",
    dirt=f"usermod --shell /usr/bin/fish {USER}",
    refused="ssh_user: the login's shell, /usr/bin/fish, understands quotes otherwise than sh does",
    clean=f"usermod --shell /bin/bash {USER}",
)
OTHER_ENGINE = Variant(
    "`DOCKER_HOST` for all users, which sudo keeps",
    dirt="echo DOCKER_HOST=tcp://10.0.0.7:2375 >>/etc/environment; "
    f"echo 'Defaults:{USER} !env_reset' >/etc/sudoers.d/environment",
    refused="docker: this login has DOCKER_HOST=tcp://10.0.0.7:2375, so docker would talk to another engine",
    clean="sed -i /DOCKER_HOST/d /etc/environment; rm /etc/sudoers.d/environment",
)
TLS = Variant(
    "`DOCKER_TLS_VERIFY` for all users, which sudo keeps",
    dirt="echo DOCKER_TLS_VERIFY=1 >>/etc/environment; "
    f"echo 'Defaults:{USER} !env_reset' >/etc/sudoers.d/environment",
    refused="docker: this login has DOCKER_TLS_VERIFY=1, so docker would talk to another engine, or otherwise",
    clean="sed -i /DOCKER_TLS/d /etc/environment; rm /etc/sudoers.d/environment",
)
NO_SBIN = Variant(
    "sudo hands on the login's own PATH (so `su` without `-l`)",
    dirt=f"echo 'Defaults:{USER} !secure_path' >/etc/sudoers.d/path",
    refused="_sudo: this login's PATH, [a-z:/]+, lacks /usr/sbin, where dpkg finds what it needs",
    clean="rm /etc/sudoers.d/path",
)
TTY = Variant(
    "sudo asks for a terminal (`Defaults requiretty`)",
    dirt=f"echo 'Defaults:{USER} requiretty' >/etc/sudoers.d/terminal",
    refused="_sudo: sudo does not work for this user without a password and a terminal, see above; allow it",
    clean="rm /etc/sudoers.d/terminal",
)
NO_GROUP = Variant(
    "sudo does not know the user, nor a group of theirs",
    dirt=f"mv /etc/sudoers.d/{USER} /root/",
    refused="_sudo: sudo does not work for this user without a password and a terminal, see above; allow it",
    clean=f"mv /root/{USER} /etc/sudoers.d/",
)
NO_SUDO = Variant(
    "there is no sudo (so Debian's installer, where root has a password)",
    dirt="mv /usr/bin/sudo /root/",
    refused="as root, apt-get install sudo, then visudo -f /etc/sudoers.d/ollama-stack",
    clean="mv /root/sudo /usr/bin/",
)
NO_SFTP = Variant(
    "the SSH server has no SFTP",
    dirt="sed -i 's/^Subsystem/#&/' /etc/ssh/sshd_config; systemctl reload ssh",
    refused="ssh_hostname: this login's SSH server takes no files; have `Subsystem sftp internal-sftp` in",
    clean="sed -i 's/^#Subsystem/Subsystem/' /etc/ssh/sshd_config; systemctl reload ssh",
)
ONE_SESSION = Variant(
    "the SSH server has `MaxSessions 1`",
    dirt="echo MaxSessions 1 >/etc/ssh/sshd_config.d/sessions.conf; systemctl reload ssh",
    refused="ssh_hostname: this login's SSH server runs no command beside a file that is on its way; have Max",
    clean="rm /etc/ssh/sshd_config.d/sessions.conf; systemctl reload ssh",
)
MASKED = Variant(
    "`docker.service` is masked",
    dirt="systemctl --quiet mask docker.service",
    refused="docker: docker.service is masked there, and nothing can start it; systemctl unmask docker.service",
    clean="systemctl --quiet unmask docker.service",
)
HELD = Variant(
    "containerd is on hold, and not there",
    dirt=f"{APT} update; apt-mark hold containerd >/dev/null",
    refused="docker_source: containerd is on hold there, and would have to be installed; apt-mark unhold",
    clean="apt-mark unhold containerd >/dev/null; rm -r /var/lib/apt/lists/*",
)
TEST_CHANNEL = Variant(
    "the site's entry of Docker's in apt names the channel `test` alone",
    dirt='. /etc/os-release; echo "deb [signed-by=/etc/apt/keyrings/docker.gpg] https://download.docker.com/linux/debian '
    '$VERSION_CODENAME test" >/etc/apt/sources.list.d/docker.list',
    refused="docker_repository: /etc/apt/sources.list.d/docker.list names [a-z/:.]+ for test alone; add stable",
    clean="rm /etc/apt/sources.list.d/docker.list",
    settings={"docker_source": "docker-ce"},
)
CONTEXT = Variant(
    "another `docker context` is chosen",
    dirt="""mkdir /root/.docker; echo '{"currentContext": "site"}' >/root/.docker/config.json""",
    refused="docker: this login's docker talks to the engine of the context 'site'",
    clean="rm -r /root/.docker",
)
CLIENT_PROXY = Variant(
    "proxies for all containers in `~/.docker/config.json`",
    dirt="mkdir /root/.docker; "
    """echo '{"proxies": {"default": {"httpProxy": "http://p:3128"}}}' >/root/.docker/config.json""",
    refused="docker: ~/.docker/config.json of this login gives httpProxy to every container",
    clean="rm -r /root/.docker",
)
STORE = Variant(
    "`credsStore` in `~/.docker/config.json`, and no such program",
    dirt="""mkdir /root/.docker; echo '{"credsStore": "desktop"}' >/root/.docker/config.json""",
    refused="docker: docker-credential-desktop, which root's docker gets its passwords from, fails",
    clean="rm -r /root/.docker",
)
FOUND_STORE = Variant(
    "Compose v1 has brought docker-credential-secretservice, which asks a desktop",
    dirt=f"{INSTALL} golang-docker-credential-helpers >/dev/null",
    refused="docker: docker-credential-secretservice, which root's docker gets its passwords from, fails",
    clean=f"{APT} purge --autoremove golang-docker-credential-helpers >/dev/null; rm -r /var/lib/apt/lists/*",
)
OWN_COMPOSE = Variant(
    "an old Compose in `~/.docker/cli-plugins`",
    dirt="mkdir -p /root/.docker/cli-plugins; cd /root/.docker/cli-plugins; "
    "printf '#!/bin/sh\necho 2.2.3\n' >docker-compose; chmod 755 docker-compose",
    refused="docker: /root/.docker/cli-plugins/docker-compose is Compose 2.2.3, at least 2.22 is needed",
    clean="rm -r /root/.docker",
)
READ_ONLY = Variant(
    "our folder's disk is mounted read-only",
    dirt="mkdir /opt/ollama; mount -t tmpfs -o ro tmpfs /opt/ollama",
    refused="disk: nothing can be written to /opt/ollama; see how it is mounted",
    clean="umount /opt/ollama; rmdir /opt/ollama",
)
NO_FILES = Variant(
    "our folder's disk has no inodes left",
    dirt="mkdir /opt/ollama; mount -t tmpfs -o nr_inodes=10 tmpfs /opt/ollama",
    refused="disk: /opt/ollama can take 9 more files",
    clean="umount /opt/ollama; rmdir /opt/ollama",
)
FULL = Variant(
    "Docker's disk is full",
    dirt="mount -t tmpfs -o size=1g tmpfs /var/lib/docker",
    refused="disk: /var/lib/docker has 1.1 GB free, [0-9.]+ GB are needed",
    clean="umount /var/lib/docker",
)
NO_IPTABLES = Variant(
    "`iptables` is false in `daemon.json`",
    dirt="""mkdir /etc/docker; echo '{"iptables": false}' >/etc/docker/daemon.json""",
    refused="docker: the engine there makes no way for its containers",
    clean="rm -r /etc/docker",
)
LINKED = Variant(
    "`daemon.json` is a link, and the engine would have to trust the mirror",
    dirt="mkdir /etc/docker; echo '{}' >/srv/daemon.json; ln -s /srv/daemon.json /etc/docker/daemon.json",
    refused="mirror: /etc/docker/daemon.json is a link, so somebody else writes it",
    clean="rm -r /etc/docker /srv/daemon.json",
)
PASSWORD = Variant(
    "sudo asks for a password",
    dirt=f"sed -i 's/NOPASSWD: //' /etc/sudoers.d/{USER}",
    refused="_sudo: sudo does not work for this user without a password and a terminal, see above; allow it",
    clean=f"sed -i 's/ALL$/NOPASSWD: ALL/' /etc/sudoers.d/{USER}",
)
NO_SSH = Variant(
    "a login without an SSH server's process (as Tailscale's and Teleport's; here `docker exec`)",
    dirt="",
    refused=r"ssh_hostname: this login comes by \w+, which has no process for it whose end would",
    host="@docker/ollama-lab-host-1",
)
NO_JSON = Variant(
    "`daemon.json` is not JSON",
    dirt="mkdir /etc/docker; echo '{,' >/etc/docker/daemon.json",
    refused=r"docker: /etc/docker/daemon.json is not a JSON object \(Expecting property name enclosed in double quotes",
    clean="rm -r /etc/docker",
)
MARKED = Variant(
    "`daemon.json` begins with a byte order mark, as an editor of Windows leaves it",
    dirt="mkdir /etc/docker; printf '\\357\\273\\277{}' >/etc/docker/daemon.json",
    refused=r"docker: /etc/docker/daemon.json is not a JSON object \(Unexpected UTF-8 BOM",
    clean="rm -r /etc/docker",
)
PODMAN = Variant(
    "`docker` is Podman",
    dirt=f"{INSTALL} podman-docker >/dev/null",
    refused="docker: docker is Podman there; remove the package podman-docker",
    clean=f"{APT} purge --autoremove podman-docker podman >/dev/null",
)
NO_WAY_OUT = Variant(
    "no way out, and no `proxy` declared",
    dirt="ip route show default >/root/route; ip route del default",
    refused="ollama_image: https://registry-1.docker.io does not answer from the host; set mirror or proxy",
    clean="ip route add $(cat /root/route)",
    settings={"mirror": ""},
)
DROPBEAR = Variant(
    "the SSH server is Dropbear",
    dirt="dropbearconvert openssh dropbear /etc/ssh/ssh_host_ed25519_key /etc/dropbear.key 2>/dev/null; "
    "systemctl --quiet disable --now ssh 2>/dev/null; "
    "systemd-run --quiet --unit dropbear dropbear -F -E -r /etc/dropbear.key",
    refused="ssh_hostname: this login's SSH server is Dropbear",
    clean="systemctl stop dropbear; systemctl --quiet enable --now ssh 2>/dev/null",
)
