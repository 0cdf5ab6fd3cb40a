"""Hosts whose kernel, disk, Compose or network cannot serve, as they answer: each is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.facts.test_docker import engine
from tests.unit.test_plan import BARE, as_fakes, pyinfra, refused_before_anything_changes

pytestmark = pytest.mark.process

TEST_LIST = (
    "/etc/apt/sources.list.d/docker.list:deb [signed-by=/etc/apt/keyrings/docker.gpg] "
    "https://download.docker.com/linux/debian bookworm nightly test  # to try it"
)


@pytest.mark.parametrize(
    ("answers", "refusal"),
    [
        (
            {"swapaccount=0": "memory"},
            "docker: this host's kernel cannot bound a container's memory; append cgroup_enable=memory "
            "swapaccount=1 to its command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then",
        ),
        (
            {"swapaccount=0": ["cpu", "pids"]},
            "docker: this host's kernel cannot bound a container's cpu and pids; boot the distribution's",
        ),
        (
            {"cli-plugins/docker-compose": ["/root/.docker/cli-plugins/docker-compose", "2.2.3"]},
            "docker: /root/.docker/cli-plugins/docker-compose is Compose 2.2.3, at least 2.22 is needed, "
            "and it goes before every other one; remove it",
        ),
        (
            {"Proxy": ['"httpProxy"', '"httpsProxy"']},
            "docker: ~/.docker/config.json of this login gives httpProxy and httpsProxy to every container",
        ),
        (
            {"dpkg --print": "i386"},
            "ollama_image: there is none for i386, which this host's system is built for, whatever its",
        ),
        (
            {"uname -m": "aarch64", "dpkg --print": "armhf"},
            "ollama_image: there is none for armhf, which this host's system is built for, whatever its",
        ),
        (
            {"date +": "2001-09-09T01:46:40+0000"},
            "clock: this host's clock is ",
        ),
        (
            {"! test -s /etc/docker/daemon.json": '{"iptables": false}'},
            "docker: the engine there makes no way for its containers (iptables is false in /etc/docker/daemon",
        ),
        (
            {"docker.pid)/cmdline": ["/usr/bin/dockerd", "--iptables=false"]},
            "docker: the engine there makes no way for its containers (iptables is false in /etc/docker/daemon",
        ),
        (
            {"! test -s /etc/docker/daemon.json": '{"selinux-enabled": true}'},
            "docker: the engine there labels files by SELinux (selinux-enabled), and ours have no labels; unset",
        ),
        (
            {"docker info": engine(SecurityOptions=["name=seccomp", "name=selinux"])},
            "docker: the engine there labels files by SELinux (selinux-enabled), and ours have no labels; unset",
        ),
        (
            {'p=/usr;until [ -e "$p" ]; do p=$(dirname "$p"); done; if': "w 100000000 99999"},
            "disk: /usr has 100.0 MB free, 300 MB are needed; free some (du -xhd1 /usr shows",
        ),
        (
            {'p=/var;until [ -e "$p" ]; do p=$(dirname "$p"); done; if': "w 100000000 99999"},
            "disk: /var has 100.0 MB free, 300 MB are needed; free some (du -xhd1 /var shows",
        ),
        (
            {"docker.socket containerd.service": ["docker.socket"]},
            "docker: docker.socket is masked there, and nothing can start it; systemctl unmask docker.socket",
        ),
        (
            {"! test -s /etc/docker/daemon.json": "\ufeff{}"},
            "docker: /etc/docker/daemon.json is not a JSON object (Unexpected UTF-8 BOM (decode using utf-8-sig): line 1",
        ),
        (
            {"Status: hold": ["containerd.io", "fish"]},
            "docker_source: containerd.io is on hold there, and would have to be installed; apt-mark unhold",
        ),
        (
            {"grep -sH": TEST_LIST},
            "docker_repository: /etc/apt/sources.list.d/docker.list names https://download.docker.com/linux/debian "
            "for nightly and test alone; add stable there, or set docker_source = distro",
        ),
        (
            {"credsStore": ["docker-credential-pass", "gpg: no secret key"]},
            "docker: docker-credential-pass, which root's docker gets its passwords from, fails (gpg: no "
            "secret key), and with it every pull; remove credsStore from ~/.docker/config.json there, or",
        ),
        (
            {
                'p=/opt/ollama;until [ -e "$p" ]; do p=$(dirname "$p"); done; if': "r 9999999999 99999"
            },
            "disk: nothing can be written to /opt/ollama; see how it is mounted (findmnt --target",
        ),
        (
            {"avail,iavail": "w 4096 99999"},
            "disk: /opt/ollama has 0.0 MB free, 10 MB are needed; free some",
        ),
        (
            {"avail,iavail": "w 9999999999 1200"},
            "disk: /var/lib/docker can take 1200 more files (df -i), 30000 are needed; remove some",
        ),
        (
            {"docker info": engine(NCPU=1), "compose version": "2.40.3"},
            "ollama_cpus: 2 is more than the 1 CPUs of the host; lower it to 1 or take a bigger host",
        ),
    ],
)
def test_what_a_host_cannot_do_is_refused_before_anything_changes(
    answers: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    refused_before_anything_changes(answers, refusal, tmp_path)


LINK = (
    "user=root group=root mode=lrwxrwxrwx atime=1 mtime=1 ctime=1 size=9 '/etc/docker/daemon.json'"
)
FLAGS = {"docker.pid)/cmdline": ["/usr/bin/dockerd", "--insecure-registry=10.0.0.8:5000"]}
TRUSTED = {"10.0.0.9:5000": {"Secure": False}}


@pytest.mark.parametrize(
    ("answers", "refusal"),
    [
        ({"/etc/docker/daemon.json 2>": f"{LINK} -> '/srv/daemon.json'"}, "is a link, so somebody"),
        (FLAGS, "dockerd has --insecure-registry among its flags, and would not start with more"),
        (FLAGS | {"docker info": engine(RegistryConfig={"IndexConfigs": TRUSTED})}, ""),
        ({}, ""),
    ],
)
def test_the_engine_s_settings_are_changed_where_they_are_ours_to_change(
    answers: dict[str, Any], refusal: str, tmp_path: Path
) -> None:
    mirror = {"10.0.0.9:5000/v2": ["{}", "200"], "compose version": "2.40.3"}
    fakes = as_fakes("inventories/local.py", tmp_path, BARE | mirror | answers)
    run = pyinfra(fakes, "deploy.py", "--dry", "--data", "mirror=http://10.0.0.9:5000")
    assert run.returncode == bool(refusal), run.stderr
    assert refusal in run.stderr
    assert ("mirror:" in run.stderr) is bool(refusal)


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ({}, True),
        ({"docker network inspect": json.dumps([{"EnableIPv6": True}])}, False),
        ({"docker network inspect": json.dumps([{"EnableIPv6": False}])}, True),
        (
            {
                "! test -s /etc/docker/daemon.json": json.dumps(
                    {"default-network-opts": {"bridge": {"com.docker.network.enable_ipv6": "true"}}}
                )
            },
            False,
        ),
    ],
)
def test_a_host_that_ipv6_alone_leads_out_of_pulls_no_model_by_ipv4(
    answers: dict[str, Any], refused: bool, tmp_path: Path
) -> None:
    fakes = as_fakes(
        "inventories/local.py", tmp_path, {"--insecure --ipv4": ["", "000"]} | BARE | answers
    )
    run = pyinfra(fakes, "deploy.py", "--dry")
    message = (
        "@fake/local: model_name: https://registry.ollama.ai does not answer from the host by IPv4"
    )
    assert (message in run.stderr) is refused, run.stderr
    assert run.returncode == refused


def test_where_apparmor_is_at_work_its_programs_come_with_docker(tmp_path: Path) -> None:
    for answers, planned in (({}, False), ({"parameters/enabled": "missing"}, True)):
        fakes = as_fakes("inventories/local.py", tmp_path, BARE | answers)
        run = pyinfra(fakes, "deploy.py", "--dry")
        assert ("procps, apparmor" in run.stderr) is planned, run.stderr


HELD = {"Status: hold": ["containerd", "docker-ce", "curl"]}
CURL = "ii  curl  7.88.1-10+deb12u14  amd64  transfers a URL"


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ({}, "curl"),
        ({"dpkg -l": CURL}, "containerd"),
        ({"dpkg -l": CURL, "docker info": engine(), "compose version": "2.40.3"}, ""),
    ],
)
def test_a_package_on_hold_counts_where_it_is_to_be_installed(
    answers: dict[str, Any], refused: str, tmp_path: Path
) -> None:
    """Docker's own is not, on a host with the distribution's; and nothing is where an engine is kept."""
    fakes = as_fakes("inventories/local.py", tmp_path, BARE | HELD | answers)
    run = pyinfra(fakes, "deploy.py", "--dry", "--data", "docker_source=distro")
    assert (f"docker_source: {refused} is on hold" in run.stderr) is bool(refused)
    assert "docker-ce is on hold" not in run.stderr
    assert ("curl is on hold" in run.stderr) is (refused == "curl")


def test_a_channel_counts_beside_stable(tmp_path: Path) -> None:
    both = {"grep -sH": TEST_LIST.replace("test ", "stable ")}
    run = pyinfra(as_fakes("inventories/local.py", tmp_path, BARE | both), "deploy.py", "--dry")
    assert run.returncode == 0, run.stderr
