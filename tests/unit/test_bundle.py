"""What a bundle may be, what of it a host is told, and what a plan says with it: no registry is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ollama_stack.bundle.file import Bundle
from ollama_stack.bundle.making import needs
from ollama_stack.bundle.packed import BundleFault, Packed, layout
from ollama_stack.config.settings import read_settings
from tests.unit.bundles import HAPROXY, MODEL, OLLAMA, bundle
from tests.unit.conftest import group_data
from tests.unit.facts.test_docker import engine
from tests.unit.test_cli import front_door
from tests.unit.test_plan import BARE, DEBIAN, as_fakes

DPKG = [
    f"ii  {name}  1.0  amd64  of Debian"
    for name in ("ca-certificates", "curl", "iproute2", "nftables", "procps", "docker.io")
]
# No registry in it: whoever asks one is told nothing.
READY: dict[str, Any] = {
    **{command: answer for command, answer in BARE.items() if "manifests" not in command},
    **{"dpkg -l": DPKG, "compose version": "2.26.1", "docker info": engine()},
}


def planned(folder: Path, answers: dict[str, Any], path: Path, **data: Any) -> dict[str, Any]:
    fakes = as_fakes("inventories/local.py", folder, answers, **data)
    done = front_door("plan", fakes, "--bundle", str(path), "--json")
    assert done.stdout, done.stderr
    (host,) = json.loads(done.stdout)["hosts"]
    found: dict[str, Any] = host
    return found


def test_a_plan_asks_no_registry_and_knows_the_sizes(tmp_path: Path) -> None:
    """Debian 13 has docker-compose, too, which a deploy with a network would install."""
    path = bundle(tmp_path / "school.bundle")
    release = [line.replace("12", "13").replace("bookworm", "trixie") for line in DEBIAN]
    host = planned(tmp_path, READY | {"-release": release}, path, docker_source="distro")
    assert (host["verdict"], host["reasons"]) == ("fits", [])
    assert host["measured"]["to_pull"]["model_name"] == {
        "status": 200,
        "size": len(MODEL),
        "weights": len(MODEL),
    }
    assert "by the bundle" in host["disk"]["source"]
    assert f"Bundle | Load {OLLAMA}" in host["changes"]
    assert "Model | Carry the model" in host["changes"]
    assert not [one for one in host["changes"] if "Pull" in one or "Docker | Install" in one]


@pytest.mark.parametrize(
    ("answers", "data", "reason"),
    [
        (
            {"dpkg -l": DPKG[2:]},
            {},
            "bundle: the host lacks ca-certificates, curl, and a bundle has no packages of its system; install "
            "them from the site's mirror or a medium (apt-get install ca-certificates curl), then run again",
        ),
        (
            {"uname -m": "aarch64"},
            {},
            "bundle: {path} is for x86_64, the host is aarch64; make one with --machine aarch64",
        ),
        (
            {},
            {"gateway_image": "haproxy:3.4.1"},
            "bundle: {path} has no haproxy:3.4.1 (gateway_image); make it anew from this inventory (ollama-stack "
            "bundle)",
        ),
    ],
)
def test_what_the_bundle_cannot_do_is_refused_with_the_way_out(
    answers: dict[str, Any], data: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = bundle(tmp_path / "school.bundle")
    host = planned(tmp_path, READY | answers, path, **data)
    assert (host["verdict"], host["reasons"]) == ("refused", [reason.format(path=path)])


def test_wheels_of_another_page_are_refused(tmp_path: Path) -> None:
    path = bundle(tmp_path / "file", (OLLAMA, HAPROXY, MODEL, "python:3"))
    own = {"app_enabled": True, "app_base_image": "python:3", "app_base_python": "3.99"}
    assert planned(tmp_path, READY, path, **own)["reasons"] == [
        f"bundle: {path} has not the packages of this version's Compose or page; make it anew from this inventory, "
        "with this version of ollama-stack (ollama-stack bundle)"
    ]


def test_a_host_without_docker_is_told_so(tmp_path: Path) -> None:
    answers = {command: answer for command, answer in READY.items() if command != "docker info"}
    host = planned(tmp_path, answers, bundle(tmp_path / "file"))
    assert "bundle: the host lacks docker.io, and a bundle has no packages" in host["reasons"][0]


def test_another_digest_of_the_model_is_refused(tmp_path: Path) -> None:
    host = planned(tmp_path, READY, bundle(tmp_path / "file"), model_digest="0" * 64)
    assert host["reasons"] == [
        f"model_digest: {tmp_path}/file has {MODEL} as {Bundle(tmp_path / 'file').models[MODEL].digest}, declared "
        f"{'0' * 64}; make it anew from this inventory, with this version of ollama-stack (ollama-stack bundle)"
    ]


@pytest.mark.parametrize("verb", ["plan", "deploy"])
def test_a_bundle_that_is_not_there_is_named_and_no_traceback(verb: str, tmp_path: Path) -> None:
    fakes = as_fakes("inventories/local.py", tmp_path, READY)
    done = front_door(verb, fakes, "--bundle", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "none cannot be read (No such file or directory)" in " ".join(
        (done.stdout + done.stderr).replace("│", " ").split()
    )


def test_a_list_that_is_damaged_is_seen(tmp_path: Path) -> None:
    path = bundle(tmp_path / "file")
    path.write_bytes(path.read_bytes().replace(b'"machine":"x86_64"', b'"machine":"x86_63"'))
    with pytest.raises(
        BundleFault, match=r"file: bundle\.json is damaged; copy the file again, or"
    ):
        Bundle(path)


@pytest.mark.parametrize("kind", ["manifest", "layer"])
def test_a_list_that_lacks_a_part_is_seen(kind: str, tmp_path: Path) -> None:
    packed = Bundle(bundle(tmp_path / "whole")).images[OLLAMA]
    blobs = dict(Bundle(tmp_path / "whole").contents.blobs)
    gone = {"manifest": packed.digest, "layer": packed.layers[0]}[kind]
    del blobs[gone]
    path = bundle(tmp_path / "file", blobs=blobs)
    with pytest.raises(BundleFault, match=f"file lacks {gone}; copy the file again"):
        Bundle(path).check()


@pytest.mark.parametrize("manifest", [b"none", b"[]", b'{"layers": []}', b'{"manifests": []}'])
def test_what_is_no_manifest_is_named(manifest: bytes) -> None:
    with pytest.raises(
        BundleFault, match="bundle: a:1 has no manifest of one image or model; name"
    ):
        Packed.parse("a:1", manifest)


def test_a_digest_that_is_a_path_is_none() -> None:
    part = {"digest": "sha256:../../../etc/passwd", "size": 1}
    with pytest.raises(BundleFault, match="no manifest"):
        Packed.parse("a:1", json.dumps({"config": part, "layers": [part]}).encode())


def test_the_layout_names_images_as_each_engine_wants_it(tmp_path: Path) -> None:
    images = Bundle(bundle(tmp_path / "file", ("10.0.0.9:5000/a/b:1", HAPROXY, OLLAMA))).images
    files = layout([*images.values()])
    named = {
        one["annotations"]["io.containerd.image.name"]
        for one in json.loads(files["index.json"])["manifests"]
    }
    assert named == {
        "10.0.0.9:5000/a/b:1",
        f"docker.io/library/{HAPROXY}",
        f"docker.io/{OLLAMA}",
    }
    archive = json.loads(files["manifest.json"])
    assert [one["RepoTags"] for one in archive] == [["10.0.0.9:5000/a/b:1"], [HAPROXY], [OLLAMA]]


@pytest.mark.parametrize(
    ("hosts", "refused"),
    [
        (
            [{"ollama_image": f"ollama/ollama:1@sha256:{'0' * 64}"}],
            r"^ollama_image: .* has a digest in its name, under which Docker loads no image; name the tag alone",
        ),
        (
            [{}, {"model_registry": "https://other.lan"}],
            r"^bundle: qwen2\.5:1\.5b is https://registry\.ollama\.ai/.* on one host and https://other\.lan/",
        ),
    ],
)
def test_what_no_bundle_can_have_is_refused(hosts: list[dict[str, Any]], refused: str) -> None:
    with pytest.raises(BundleFault, match=refused):
        needs([read_settings(group_data("all", "medium") | own) for own in hosts])


def test_the_page_s_python_may_have_a_digest_and_is_loaded_under_a_name_of_ours(
    tmp_path: Path,
) -> None:
    settings = read_settings(group_data("all", "medium") | {"app_enabled": True})
    assert settings.app_base_image in needs([settings]).images
    packed = Bundle(bundle(tmp_path / "file", (settings.app_base_image,))).images
    image = packed[settings.app_base_image]
    assert image.name == f"ollama-stack/base:{image.digest[7:19]}"
