"""Hosts as they are met: what is done to a fresh server of the lab, and what a deploy does there.

Run as a program it writes the table of docs/hosts.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab import refused
from lab.fleet import USER
from lab.tables import publish
from lab.variant import APT, INSTALL, Variant

PAGE = Path(__file__).parents[1] / "docs" / "hosts.md"
# Until a deploy waits, then for two seconds more; its own words must not be what it looks for.
BUSY = "timeout 120 sh -c 'until grep -qs [p]ackages-wait /proc/[0-9]*/cmdline; do sleep 1; done'; sleep 2"


@dataclass(frozen=True)
class Server:
    """The variants that one server refuses, each alone, then those that serve there, all at once."""

    number: int
    """In MEMBERS."""
    first: str
    """Script: what they need of Debian's packages, so that the server is bare again after it."""
    refused: tuple[Variant, ...]
    serves: tuple[Variant, ...]


UMASK = Variant(
    "the login's umask is 077",
    dirt=f"sed -i '1i umask 077' ~{USER}/.bashrc",
    holds="HOME=/ setpriv --reuid=65534 --clear-groups docker compose version >/dev/null && "
    'test "$(stat -c %a /etc/docker /usr/local/lib/docker/cli-plugins | xargs)" = "755 755"',
)
NOEXEC = Variant(
    "`/tmp` is mounted noexec",
    dirt="mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs /tmp",
    holds="grep -q ' /tmp tmpfs .*noexec' /proc/mounts",
)
HIDEPID = Variant(
    "`/proc` with hidepid=2",
    dirt="mount -o remount,hidepid=2 /proc",
    holds="grep -qE 'hidepid=(2|invisible)' /proc/mounts",
)
LOCKED = Variant(
    "another program changes packages: dpkg's lock is held",
    dirt=f'setsid {APT} -o DPkg::Pre-Invoke::="{BUSY}" purge tcsh >/dev/null 2>&1 & sleep 1',
    says=r"waiting for apt-get \(process \d+\), which is changing packages",
    holds="! test -e /bin/tcsh",
)
VARIABLES = Variant(
    "others' variables for all users, which sudo keeps, and a `.env` in our folder",
    dirt="printf '%s\\n' COMPOSE_PROJECT_NAME=moodle COMPOSE_FILE=/moodle.yml DOCKER_CONTENT_TRUST=1 "
    "DOCKER_DEFAULT_PLATFORM=linux/arm64 HTTPS_PROXY=http://192.0.2.1:9 ALL_PROXY=http://192.0.2.1:9 "
    "POSIXLY_CORRECT=1 COLUMNS=80 >>/etc/environment; "
    f"echo 'Defaults:{USER} !env_reset' >/etc/sudoers.d/environment; "
    "mkdir -p /opt/ollama; echo COMPOSE_PROJECT_NAME=moodle >/opt/ollama/.env",
    holds="grep -qx COMPOSE_PROJECT_NAME=moodle /opt/ollama/.env && "
    'test "$(docker ps --all --format \'{{.Label "com.docker.compose.project"}}\' | sort -u)" = ollama',
)
RUSSIAN = Variant(
    "programs speak Russian, in KOI8-R",
    dirt="localedef -i ru_RU -f KOI8-R ru_RU.KOI8-R; echo LC_ALL=ru_RU.KOI8-R >>/etc/environment",
    holds="LC_ALL=ru_RU.KOI8-R cat /nowhere 2>&1 | iconv -f KOI8-R -t UTF-8 | grep -q 'Нет такого файла'",
)
ZONE = Variant(
    "the host's time is India's, half an hour off everybody's",
    dirt="ln -sf /usr/share/zoneinfo/Asia/Kolkata /etc/localtime",
    holds='test "$(date +%z)" = +0530',
)
RESTARTS = Variant(
    "needrestart, which is to ask after each installation",
    dirt="echo '$nrconf{restart} = q(i);' >/etc/needrestart/conf.d/site.conf",
    holds="grep -q 'q(i)' /etc/needrestart/conf.d/site.conf && command -v needrestart >/dev/null",
)
UFW = Variant(
    "ufw lets in SSH alone",
    dirt="ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null",
    holds="ufw reload >/dev/null; ufw status | grep -qx 'Status: active' && ! ufw status | grep 11434",
)
PIN = Variant(
    "a preference of the site's own in `/etc/apt/preferences.d/docker`",
    dirt="printf 'Package: docker-ce\\nPin: release o=us\\nPin-Priority: 1\\n' >/etc/apt/preferences.d/docker",
    holds="grep -qx 'Pin: release o=us' /etc/apt/preferences.d/docker",
)
MTU = Variant(
    "the way out takes packets of 1400 bytes",
    dirt="ip link set eth0 mtu 1400",
    holds='test "$(docker exec ollama cat /sys/class/net/eth0/mtu)" = 1400',
)

SITE_S_DOCKER = Variant(
    "an engine of the site's: other packages than declared, data-root elsewhere, userns-remap, live-restore",
    dirt="mkdir -p /etc/docker /var/lib/docker/site /srv/docker; mount --bind /var/lib/docker/site /srv/docker; "
    """echo '{"data-root": "/srv/docker", "userns-remap": "default", "live-restore": true, "ipv6": true, """
    """"fixed-cidr-v6": "fd00:1::/64"}' >/etc/docker/daemon.json; """
    f"{INSTALL} docker.io docker-cli >/dev/null",
    settings={"docker_source": "docker-ce"},
    holds="docker info --format '{{.DockerRootDir}} {{.LiveRestoreEnabled}} {{.SecurityOptions}}' "
    "| grep -qE '^/srv/docker/[0-9.]+ true .*name=userns' && "
    'grep -q \'"userns-remap": "default"\' /etc/docker/daemon.json && '
    "dpkg-query --show docker.io >/dev/null && ! dpkg --status docker-ce 2>/dev/null",
)
TOKENS = Variant(
    "tokens and the students' page, whose secrets only the containers' own users read (with userns-remap)",
    dirt="",
    settings={"app_enabled": True, "gateway_tokens": {"admin": "env:VARIANTS_TOKEN"}},
    holds="test \"$(curl -s -o /dev/null -w '%{http_code}' 127.0.0.1:11434/api/tags)\" = 401 && "
    "curl -fsS 127.0.0.1:8080/ >/dev/null",
)
IPV6 = Variant(
    "the containers' network has IPv6: every name has two addresses",
    dirt="docker network create --ipv6 --subnet fd00:2::/64 --opt com.docker.network.bridge.name=ollama "
    "--label com.docker.compose.project=ollama --label com.docker.compose.network=app-network "
    "ollama_app-network >/dev/null",
    holds="docker exec ollama-gateway getent ahostsv6 ollama | grep -q ^fd00:2:",
)

NO_LOCALE = Variant(
    "`LC_ALL` names a locale that is not there",
    dirt="echo LC_ALL=xx_XX.UTF-8 >>/etc/environment",
    holds="su - ops -c true 2>&1 | grep -q 'cannot change locale (xx_XX.UTF-8)'",
)
FIREWALLD = Variant(
    "firewalld is at work",
    dirt="firewall-cmd --quiet --state",
    holds="firewall-cmd --quiet --reload && firewall-cmd --get-active-zones | grep -q docker0",
)

NAMELESS = Variant(
    "nobody knows the host's own name, for which sudo asks",
    dirt='sed "/[[:space:]]$(hostname)$/d" /etc/hosts >/root/hosts; cat /root/hosts >/etc/hosts',
    holds="sudo true 2>&1 | grep -q 'unable to resolve host'",
)
PROXIED = Variant(
    "the only way out is a proxy that looks into TLS (Debian's tinyproxy)",
    dirt="mkdir -p /usr/local/share/ca-certificates; echo '{certificate}' >/usr/local/share/ca-certificates/site.crt; "
    "ip route del default 2>/dev/null || true",
    settings={"mirror": "", "proxy": "{proxy}", "host_certificates": True},
    holds="! ip route show default | grep . && docker info --format '{{.HTTPSProxy}}' | grep -qx {proxy} && "
    "docker exec ollama printenv HTTPS_PROXY | grep -qx {proxy}",
)
DOCKER_LIST = Variant(
    "Docker's entry in apt is the site's (`docker.list` of Docker's guide of 2022, another key file)",
    dirt="mkdir -p /etc/apt/keyrings; exec 3<>/dev/tcp/172.17.0.1/5080; "
    "printf 'GET /debian/gpg HTTP/1.0\\r\\n\\r\\n' >&3; "
    "sed '1,/^\\r$/d; /^-/d; /^=/d; /^$/d' <&3 | base64 -d >/etc/apt/keyrings/docker.gpg; "
    '. /etc/os-release; echo "deb [arch=amd64 signed-by=/etc/apt/keyrings/docker.gpg] {repository}/debian '
    '$VERSION_CODENAME stable" >/etc/apt/sources.list.d/docker.list',
    settings={"docker_source": "docker-ce", "docker_repository": "{repository}"},
    holds="dpkg-query --show docker-ce >/dev/null && "
    "! test -e /etc/apt/sources.list.d/ollama-stack-docker.sources && "
    "apt-get -qq -o Acquire::http::Proxy={proxy} update",
)

SERVERS = (
    Server(
        0,
        first=f"{INSTALL} tcsh fish locales tzdata needrestart ufw >/dev/null; rm -r /var/lib/apt/lists/*",
        refused=(
            *(refused.GREETS, refused.OTHER_ENGINE, refused.TLS, refused.NO_SBIN, refused.PASSWORD),
            *(refused.TTY, refused.NO_GROUP, refused.NO_SUDO, refused.NO_SSH, refused.NO_SFTP),
            *(refused.ONE_SESSION, refused.MASKED, refused.HELD, refused.TEST_CHANNEL),
            *(
                refused.NO_JSON,
                refused.MARKED,
                refused.TCSH,
                refused.FISH,
                refused.CONTEXT,
                refused.CLIENT_PROXY,
            ),
            *(refused.STORE, refused.FOUND_STORE, refused.OWN_COMPOSE, refused.READ_ONLY),
            *(refused.NO_FILES, refused.FULL, refused.NO_IPTABLES, refused.LINKED),
        ),
        serves=(UMASK, NOEXEC, HIDEPID, RUSSIAN, ZONE, RESTARTS, UFW, VARIABLES, PIN, MTU, LOCKED),
    ),
    Server(
        1,
        first=f"{INSTALL} firewalld >/dev/null; rm -r /var/lib/apt/lists/*",
        refused=(refused.PODMAN,),
        serves=(NO_LOCALE, FIREWALLD, SITE_S_DOCKER, IPV6, TOKENS),
    ),
    Server(
        2,
        first=f"{INSTALL} dropbear-bin >/dev/null; rm -r /var/lib/apt/lists/*",
        refused=(refused.DROPBEAR, refused.NO_WAY_OUT),
        serves=(DOCKER_LIST, NAMELESS, PROXIED),
    ),
)


def table() -> str:
    """What a deploy does on each, and how it was tried."""
    lines = ["| what is found | a deploy | tried in the lab |", "|---|---|---|"]
    for server in SERVERS:
        for variant in (*server.refused, *server.serves):
            refusal = re.sub(r"\\w[+*]|\\d\+|\[[^]]*\]\+", "...", variant.refused).replace("\\", "")
            does = f"is refused: *{refusal}*" if refusal else "serves"
            how = f"{'bare' if refusal else 'deployed with the others there'}, server {server.number + 1}"
            lines.append(f"| {variant.what} | {does} | {how} |")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    publish("variants", table(), PAGE)
