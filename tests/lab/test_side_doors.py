"""Past the gateway there is no way in: for the host's users, for its neighbours, or by a server that hangs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab.conftest import URL, generate, run, sh, until

CONTAINERS = ("ollama", "ollama-gateway", "ollama-app")
NOBODY = "setpriv --reuid 65534 --regid 65534 --clear-groups"
NEIGHBOUR = "ollama-lab-n"
BEHIND = [
    ("ollama", 11434),
    ("ollama-app", 8080),
    ("ollama-gateway", 11434),
    ("ollama-gateway", 8404),
]
REFUSED, SILENT = 7, 28  # curl's exit codes


def address(container: str) -> str:
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return sh(f"docker inspect --format '{form}' {container}").strip()


def came_in(who: str, url: str) -> int:
    """curl's exit code; any answer is 0."""
    return run(
        "sh", "-c", f"{who} curl -s -o /dev/null --noproxy '*' --max-time 2 {url}"
    ).returncode


@pytest.fixture(scope="module")
def neighbour() -> Iterator[str]:
    """Somebody on the host's LAN, who sends what is for the containers' network to the host."""
    take_away = f"ip netns del {NEIGHBOUR} 2>/dev/null || true"
    host, theirs = "10.231.77.1", "10.231.77.2"
    sh(
        f"{take_away}; ip netns add {NEIGHBOUR}; "
        f"ip link add ollama-lab-lan type veth peer name eth0 netns {NEIGHBOUR}; "
        f"ip addr add {host}/30 dev ollama-lab-lan; ip link set ollama-lab-lan up; "
        f"ip -n {NEIGHBOUR} addr add {theirs}/30 dev eth0; ip -n {NEIGHBOUR} link set eth0 up; "
        f"ip -n {NEIGHBOUR} route add default via {host}"
    )
    yield f"ip netns exec {NEIGHBOUR}"
    sh(take_away)


def test_a_neighbour_comes_to_no_container(neighbour: str) -> None:
    """Attack 4: Docker before 28 accepts what is for a published port of a container itself."""
    urls = [f"http://{address(container)}:{port}/" for container, port in BEHIND]
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda url: came_in(neighbour, url), urls)) == [SILENT] * len(urls)
    try:
        sh("nft flush chain inet ollama_stack neighbours")
        assert came_in(neighbour, f"http://{address('ollama-gateway')}:11434/") == 0
    finally:
        sh("nft --file /opt/ollama-lab/guard.nft")


def test_a_user_of_the_host_comes_to_no_container() -> None:
    """Attack 6: at Ollama's own address anybody may delete a model, at the app's forge an address."""
    for container, port in BEHIND:
        url = f"http://{address(container)}:{port}/"
        assert came_in(NOBODY, url) == REFUSED
        assert came_in("", url) == 0  # root, as deploys do
    group = sh("getent group docker | cut -d: -f3").strip()
    member = f"setpriv --reuid 65534 --regid {group} --clear-groups"
    assert came_in(member, f"http://{address('ollama')}:11434/") == 0
    for door in (URL, "http://127.0.0.1:8080", "http://127.0.0.1:8404/metrics"):
        assert came_in(NOBODY, door) == 0


@pytest.mark.slow
def test_a_server_that_hangs_is_started_anew() -> None:
    """Attack 8: ``restart: always`` knows only what ends."""
    for container in CONTAINERS:
        sh(f"docker exec {container} bash -c 'kill -STOP -1'")
    counts = "docker inspect --format '{{.RestartCount}} {{.State.Health.Status}}' " + " ".join(CONTAINERS)  # fmt: skip
    try:
        until(lambda: sh(counts).splitlines() == ["1 healthy"] * 3, seconds=120)
        assert "no answer for 15 s: ended by its health check" in sh(
            "docker logs --tail 200 ollama 2>&1"
        )
        assert generate()["done"]
        assert came_in("", "http://127.0.0.1:8080") == 0
    finally:
        sh("docker restart " + " ".join(CONTAINERS))  # its counts begin anew
        until(lambda: sh(counts).splitlines() == ["0 healthy"] * 3, seconds=60)
