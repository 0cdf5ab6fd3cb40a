"""Bundles made from a real registry: the same bytes twice, gone on with after a cut, refused when damaged."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ollama_stack.bundle import making
from ollama_stack.bundle.downloads import Store
from ollama_stack.bundle.file import Bundle
from ollama_stack.bundle.packed import BundleFault, blob_path
from ollama_stack.config.settings import Settings, read_settings
from ollama_stack.registry import RegistryFault, Repository, digest_of
from tests.door.registry import IMAGE, Held, registry
from tests.unit.commands import command
from tests.unit.conftest import group_data

TAR = "application/vnd.docker.image.rootfs.diff.tar.gzip"
WEIGHTS = "application/vnd.ollama.image.model"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
BASE = "python:3.13-slim"


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        running.push("ollama/ollama", ["0.32.15"], b"{}", {TAR: b"ollama" * 2**20})
        running.push("library/qwen2.5", ["1.5b"], b"model", {WEIGHTS: b"weights"})
        by_machine = {
            machine: running.push(BASE.partition(":")[0], [machine], b"", {TAR: machine.encode()})
            for machine in ("arm64", "amd64")
        }
        listed = [
            {
                "mediaType": IMAGE,
                "digest": digest,
                "size": len(running.client.get(f"/v2/python/manifests/{machine}").content),
                "platform": {"os": "linux", "architecture": machine},
            }
            for machine, digest in by_machine.items()
        ]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        running.manifest("python", ["3.13-slim"], index)
        running.push("haproxy", ["3.2.18"], b"{}", {TAR: b"haproxy"})
        yield running


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of what comes from registries; wheels stay in the user's own."""
    monkeypatch.setattr(making, "cache", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def declared(held: Held, **own: Any) -> Settings:
    data = {"mirror": held.url, "gateway_image": "haproxy:3.2.18", "app_base_image": BASE}
    return read_settings(group_data("all", "medium") | data | own)


def made(held: Held, path: Path, **own: Any) -> str:
    return making.make([declared(held, **own)], "x86_64", path, Console(file=io.StringIO()))


def test_the_same_bytes_when_made_twice(held: Held, tmp_path: Path, cache: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    digest = made(held, first, app_enabled=True)
    (cache / "blobs").rename(tmp_path / "gone")
    assert made(held, second, app_enabled=True) == digest
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as tar:
        names = tar.getnames()
        assert names == sorted(names)
        assert {(m.mtime, m.uid, m.gid, m.uname, m.mode) for m in tar} == {(0, 0, 0, "", 0o644)}
        layout = json.load(tar.extractfile("oci-layout"))  # type: ignore[arg-type]  # a file
    assert layout == {"imageLayoutVersion": "1.0.0"}


def test_it_has_what_hosts_of_one_machine_declare(held: Held, tmp_path: Path) -> None:
    made(held, tmp_path / "file", app_enabled=True)
    bundle = Bundle(tmp_path / "file")
    bundle.check()
    host = held.url.partition("://")[2]
    assert list(bundle.images) == [
        f"{host}/haproxy:3.2.18",
        f"{host}/ollama/ollama:0.32.15",
        f"{host}/{BASE}",
    ]
    base = bundle.images[f"{host}/{BASE}"]
    assert [bundle.read(layer) for layer in base.layers] == [b"amd64"]
    assert [bundle.read(layer) for layer in bundle.models["qwen2.5:1.5b"].layers] == [b"weights"]
    assert [wheels.python for wheels in bundle.contents.wheels] == ["3.11", "3.13"]
    assert set(bundle.contents.packages["debian 13"]) >= {"curl", "docker.io", "docker-cli"}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data, where: data[: where + 3], " is no bundle, or cut off; copy the file again"),
        (
            lambda data, where: data[:where] + b"X" + data[where + 1 :],
            "{digest} is damaged, it is sha256:",
        ),
        (lambda data, where: b"none", " is no bundle, or cut off; copy the file again"),
    ],
    ids=["cut off", "one byte", "another file"],
)
def test_what_is_damaged_is_refused_by_name_and_digest(
    damage: Any, message: str, held: Held, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    made(held, path)
    digest = digest_of(b"weights")
    where = Bundle(path).parts[blob_path(digest)].offset_data
    path.write_bytes(damage(path.read_bytes(), where))
    with pytest.raises(BundleFault) as refused:
        Bundle(path).check()
    assert str(refused.value).startswith(f"bundle: {path}")
    assert message.format(digest=digest) in str(refused.value)


def test_a_part_that_is_not_there_is_named(held: Held, tmp_path: Path) -> None:
    made(held, tmp_path / "file")
    digest = digest_of(b"weights")
    with tarfile.open(tmp_path / "file") as whole, tarfile.open(tmp_path / "less", "w") as less:
        for member in whole:
            if member.name != blob_path(digest):
                less.addfile(member, whole.extractfile(member))
    with pytest.raises(BundleFault, match=f"less lacks {digest}; copy the file again, or make it"):
        Bundle(tmp_path / "less").check()


def test_a_download_goes_on_where_it_was_cut(
    held: Held, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has arrived is not asked for again; the registry says from which byte on it was asked."""
    layer = b"ollama" * 2**20
    store = Store(cache / "blobs")
    part = store.path(digest_of(layer)).with_suffix(".part")
    part.write_bytes(layer[: 2**20])
    asked: list[tuple[str, int]] = []
    blob = Repository.blob

    def noted(self: Repository, digest: str, offset: int = 0) -> Any:
        asked.append((digest, offset))
        return blob(self, digest, offset)

    monkeypatch.setattr(Repository, "blob", noted)
    made(held, tmp_path / "file")
    assert (digest_of(layer), 2**20) in asked
    assert not part.exists()
    Bundle(tmp_path / "file").check()
    asked.clear()
    made(held, tmp_path / "file")
    assert asked == []


def test_what_arrived_damaged_is_not_kept(held: Held, tmp_path: Path, cache: Path) -> None:
    layer = b"ollama" * 2**20
    part = Store(cache / "blobs").path(digest_of(layer)).with_suffix(".part")
    part.write_bytes(b"x" * 2**20)
    with pytest.raises(RegistryFault, match=rf"gives sha256:.* for {digest_of(layer)}; run again"):
        made(held, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    made(held, tmp_path / "file")


def test_a_file_of_the_cache_that_has_rotted_is_seen(
    held: Held, tmp_path: Path, cache: Path
) -> None:
    made(held, tmp_path / "file")
    rotten = Store(cache / "blobs").path(digest_of(b"weights"))
    rotten.write_bytes(b"wEights")
    with pytest.raises(BundleFault, match=r"was not sha256:.* any more, and is removed; run again"):
        made(held, tmp_path / "file")
    made(held, tmp_path / "file")


def test_another_digest_of_the_model_is_refused(held: Held, tmp_path: Path) -> None:
    with pytest.raises(
        BundleFault, match=r"model_digest: qwen2\.5:1\.5b is sha256:.* at its registry, dec"
    ):
        made(held, tmp_path / "file", model_digest="0" * 64)


def written(held: Held, folder: Path, **own: Any) -> str:
    data = {"mirror": held.url, "gateway_image": "haproxy:3.2.18", **own}
    inventory = folder / "hosts.py"
    inventory.write_text(f"medium = [('@fake/one', {data!r})]")
    return str(inventory)


def front_door(*arguments: str) -> Any:
    done = command("ollama_stack.cli", *arguments)
    assert "Traceback" not in done.stderr
    return done


def test_the_verb_writes_it_and_says_its_digest(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "school.bundle"
    done = front_door("bundle", written(held, tmp_path), "--out", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path} is written, ")
    Bundle(path).check()


def test_a_file_of_others_stays_and_what_is_not_there_is_named(held: Held, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    done = front_door("bundle", written(held, tmp_path), "--out", str(tmp_path / "notes"))
    assert done.returncode == 1
    assert "notes is there, and no whole bundle; name another file, or remove it" in done.stderr
    assert (tmp_path / "notes").read_text() == "mine"

    gone = written(held, tmp_path, model_name="nobody:1b")
    done = front_door("bundle", gone, "--out", str(tmp_path / "file"))
    assert done.returncode == 1
    assert f"{held.url} has no such name or tag" in done.stderr
    assert not (tmp_path / "file").exists()
