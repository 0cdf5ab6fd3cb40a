"""What of a bundle is carried to a host: only what it lacks, checked before it has its name."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import Host, StringCommand

from ollama_stack.bundle.file import Bundle
from ollama_stack.operations import bundle as operations
from ollama_stack.shell import renamed
from tests.unit.bundles import MODEL, OLLAMA, bundle
from tests.unit.harness import fake_host, plan

FOLDER = "/opt/o k"
TAGS = json.dumps({"models": [{"name": f"{MODEL}-pristine", "digest": "d0"}]})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return bundle(tmp_path / "file")


def image(file: Path, answers: dict[str, Any] | None = None) -> list[str]:
    return plan(operations.loaded, answers, image=OLLAMA, bundle=str(file), folder=FOLDER)


def model(file: Path, answers: dict[str, Any] | None = None, **other: Any) -> list[str]:
    own: dict[str, Any] = {
        "model": MODEL,
        "pristine": f"{MODEL}-pristine",
        "digest": "",
        "bundle": str(file),
    }
    own |= {"volume": "o_data", "folder": FOLDER, "begun": StringCommand("begin"), **other}
    return plan(operations.model_carried, answers, **own)


def test_an_image_that_is_there_is_not_carried(file: Path) -> None:
    assert image(file, {f"docker image inspect {OLLAMA}": '[{"Id": "sha256:1"}]'}) == []


def test_an_image_is_carried_checked_and_loaded_whole(file: Path) -> None:
    packed = Bundle(file).images[OLLAMA]
    _, upload, *commands, load = image(file, {"id --user": "1000"})
    assert upload.endswith("--mode=700 --owner 1000 '/opt/o k/bundle/upload'")
    for digest in packed.blobs:
        send, check, *commands = commands
        assert send == f"send({str(file)!r}, {digest!r}, '/opt/o k/bundle/upload/file')"
        assert (
            f"echo '{digest[7:]}  {FOLDER}/bundle/upload/file' | sha256sum --check --quiet" in check
        )
        assert (
            f"&& mv '/opt/o k/bundle/upload/file' '/opt/o k/bundle/blobs/sha256/{digest[7:]}'"
            in check
        )
        assert f"bundle: {digest} has not come to the host as it left; " in check
    assert [command.rpartition(" > ")[2] for command in commands] == [
        "'/opt/o k/bundle/index.json'",
        "'/opt/o k/bundle/manifest.json'",
        "'/opt/o k/bundle/oci-layout'",
        f"'/opt/o k/bundle/blobs/sha256/{packed.digest[7:]}'",
    ]
    assert load.startswith("tar --create --directory '/opt/o k/bundle' --exclude=./upload . | env ")
    assert f"docker load --quiet >/dev/null && {operations.DOCKER} image inspect {OLLAMA}" in load
    assert "&& rm -rf '/opt/o k/bundle' || { printf" in load


def test_what_an_earlier_run_has_carried_is_not_carried_again(file: Path) -> None:
    config, layer = Bundle(file).images[OLLAMA].blobs
    sent = [one for one in image(file, {"ls ": [layer[7:], "x"]}) if one.startswith("send(")]
    assert [config in one for one in sent] == [True]


def test_a_model_that_is_there_is_not_carried(file: Path) -> None:
    assert model(file, {"/api/tags": TAGS}) == []
    assert model(file, {"/api/tags": TAGS}, digest="d0") == []


def test_a_model_s_blobs_come_first_and_its_manifest_last(file: Path) -> None:
    packed = Bundle(file).models[MODEL]
    alive, begun, _, *commands = model(file)
    assert ("/api/version" in alive, begun) == (True, "begin")
    into = (
        "place=$(docker volume inspect --format '{{.Mountpoint}}' o_data ) && cd \"$place\" && "
        "umask 022 && mkdir -p "
    )
    for digest in packed.blobs:
        send, kept, *commands = commands
        assert send.startswith(f"send({str(file)!r}, {digest!r}, ")
        moved = renamed(f"{FOLDER}/bundle/upload/file", "incoming")
        assert kept.startswith(f"{into}models/blobs && {moved} && ")
        assert (
            f"echo '{digest[7:]}  incoming' | sha256sum --check --quiet && chmod 644 incoming"
            in kept
        )
        assert f"chown -R --reference=. incoming models/blobs && sync incoming && mv incoming models/blobs/sha256-{digest[7:]} " in kept  # fmt: skip
    manifest, clear, asked = commands
    place = "models/manifests/registry.ollama.ai/library/qwen2.5"
    assert manifest.startswith(f"{into}{place} && printf %s '{{")
    assert f"echo '{packed.digest[7:]}  incoming' | sha256sum --check" in manifest
    assert f"mv incoming {place}/1.5b-pristine && sync {place}" in manifest
    assert clear == "rm -rf '/opt/o k/bundle'"
    assert f'"model": "{MODEL}-pristine"' in asked


def test_a_model_of_somebody_s_has_no_library(file: Path) -> None:
    *_, manifest, _, _ = model(file, pristine="ada/chat:1-pristine")
    assert "models/manifests/registry.ollama.ai/ada/chat/1-pristine" in manifest


def test_blobs_that_the_server_has_are_not_carried_again(file: Path) -> None:
    config, layer = Bundle(file).models[MODEL].blobs
    names = [f"sha256-{digest[7:]}" for digest in (config, layer)]
    assert not [one for one in model(file, {"ls ": names}) if one.startswith("send(")]


def test_a_file_is_sent_as_the_bundle_has_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = Bundle(file).images[OLLAMA].layers[0]
    sent = BytesIO()

    def put_file(self: Host, source: Any, path: str) -> bool:
        assert path == "/up/file"
        sent.write(source.read())
        return True

    with fake_host() as host:
        monkeypatch.setattr(Host, "put_file", put_file)
        assert operations.send(host.state, host, str(file), digest, "/up/file")
    assert sent.getvalue() == OLLAMA.encode()


def test_a_disk_without_room_is_told(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def put_file(*_: Any) -> bool:
        raise OSError("Failure")

    with fake_host() as host:
        monkeypatch.setattr(Host, "put_file", put_file)
        digest = Bundle(file).images[OLLAMA].layers[0]
        assert not operations.send(host.state, host, str(file), digest, "/up/file")
    assert (
        f"bundle: {digest} cannot be written to /up/file (Failure); see to the room" in caplog.text
    )
