"""A registry's answer, and the question as the host's shell runs it."""

from __future__ import annotations

import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from ollama_stack.capacity.manifest import WEIGHTS, Manifest
from ollama_stack.facts.registry import RegistryManifest

MODEL = {
    "layers": [
        {"mediaType": WEIGHTS, "size": 100},
        {"mediaType": "application/vnd.ollama.image.template", "size": 7},
    ]
}
SEES = {  # moondream, llava: a second file of weights
    "layers": [
        *MODEL["layers"],
        {"mediaType": "application/vnd.ollama.image.projector", "size": 90},
        {"mediaType": "application/vnd.ollama.image.adapter", "size": 5},
    ]
}
IMAGE = {"layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "size": 30}]}
INDEX = {"manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "size": 5}]}


@pytest.mark.parametrize(
    ("text", "manifest"),
    [
        (f"{json.dumps(MODEL)}\n200", Manifest(200, 107, 100)),
        (f"{json.dumps(SEES)}\n200", Manifest(200, 202, 195)),
        (f"{json.dumps(IMAGE, indent=2)}\n200", Manifest(200, 30)),
        (f"{json.dumps(INDEX)}\n200", Manifest(200)),
        ('{"errors": []}\n404', Manifest(404)),
        ("<html>busy</html>\n503", Manifest(503)),
        ('{"layers": [{"mediaType": "x", "size": "much"}]}\n200', Manifest(200)),
        ("200", Manifest(200)),  # no curl: somebody listens
        ("000", Manifest(0)),
        ("", Manifest(0)),
    ],
)
def test_an_answer_is_read(text: str, manifest: Manifest) -> None:
    assert Manifest.parse(text) == manifest


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = (
            self.path.endswith("/v2/library/m/manifests/1") and "docker" in self.headers["Accept"]
        )
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(MODEL if found else {}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(
    url: str,
    path: str = "/usr/bin:/bin",
    proxy: str = "",
    ipv4: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Manifest:
    fact = RegistryManifest()
    done = subprocess.run(
        ["/bin/sh", "-c", str(fact.command(url, proxy, ipv4))],
        env={"PATH": path} | dict(environment or {}),
        capture_output=True,
        text=True,
        check=True,
    )
    return fact.process(done.stdout.splitlines())


def test_a_registry_is_asked(registry: str) -> None:
    assert ask(f"{registry}/v2/library/m/manifests/1") == Manifest(200, 107, 100)
    assert ask(f"{registry}/v2/library/m/manifests/2") == Manifest(404)
    assert ask("http://127.0.0.1:1/v2/library/m/manifests/1") == Manifest(0)


def test_the_declared_proxy_is_the_only_one(registry: str) -> None:
    """Whatever the host's environment says: the double answers to a proxy's request as to any."""
    theirs = {"http_proxy": "http://127.0.0.1:1", "no_proxy": "*", "NO_PROXY": "*"}
    found = Manifest(200, 107, 100)
    assert ask(f"{registry}/v2/library/m/manifests/1", environment=theirs) == found
    there = "http://registry.invalid/v2/library/m/manifests/1"
    assert ask(there, proxy=registry, environment=theirs) == found
    assert ask(there, proxy="http://127.0.0.1:1", environment=theirs) == Manifest(0)
    assert ask(there, environment=theirs) == Manifest(0)


def test_a_host_without_curl_can_still_say_whether_somebody_listens(
    registry: str, tmp_path: Path
) -> None:
    for tool in ("bash", "timeout"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    assert ask(f"{registry}/v2/m", path=str(tmp_path)) == Manifest(200)
    assert ask("http://127.0.0.1:1/v2/m", path=str(tmp_path)) == Manifest(0)
    assert ask("http://127.0.0.1:1/v2/m", path=str(tmp_path), proxy=registry) == Manifest(200)


class SixServer(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


def test_a_registry_that_only_ipv6_leads_to_is_not_there_for_a_container(tmp_path: Path) -> None:
    """A host without an IPv4 address: the engine pulls, and a container's network has IPv4 alone."""
    for tool in ("bash", "timeout", "getent", "sed"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    with SixServer(("::1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://localhost:{server.server_port}/v2/library/m/manifests/1"
        assert ask(url.replace("localhost", "[::1]")) == Manifest(200, 107, 100)
        assert ask(url.replace("localhost", "[::1]"), ipv4=True) == Manifest(0)
        assert ask(url, ipv4=True) == Manifest(0)
        assert ask(url, ipv4=True, path=str(tmp_path)) == Manifest(0)
        server.shutdown()


def test_a_registry_is_asked_by_ipv4(registry: str, tmp_path: Path) -> None:
    for tool in ("bash", "timeout", "getent", "sed"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    there = registry.replace("127.0.0.1", "localhost")
    assert ask(f"{there}/v2/library/m/manifests/1", ipv4=True) == Manifest(200, 107, 100)
    assert ask(f"{there}/v2/m", ipv4=True, path=str(tmp_path)) == Manifest(200)
