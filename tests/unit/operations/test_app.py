"""The page's image: built once from what is carried to the host, checked, and nothing else stays."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from pyinfra.api import DeployError, FileUploadCommand

from ollama_stack.operations import app
from ollama_stack.page_image import packed, page
from ollama_stack.stack.compose import CLEAN
from tests.unit.harness import fake_host, plan

IMAGE, BASE = "ollama-stack/app:0123456789ab", "10.0.0.9:5000/python:3.13"
DECLARED: dict[str, Any] = {"image": IMAGE, "base": BASE, "python": "3.13", "folder": "/opt/o k"}
THERE = {f"docker image inspect {IMAGE}": '[{"Id": "sha256:1"}]'}


@pytest.fixture(autouse=True)
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def fetched(requirements: Path, python: str, machine: str) -> Path:
        assert (requirements.name, python) == ("requirements.txt", "3.13")
        (tmp_path / f"a-{machine}.whl").write_text("a")
        return tmp_path

    monkeypatch.setattr(app, "downloaded", fetched)
    return tmp_path


def test_an_image_that_is_there_is_not_built_again() -> None:
    assert plan(app.built, THERE, **DECLARED) == []


def test_it_is_built_without_a_network_from_what_was_checked(wheels: Path) -> None:
    pull, clear, folder, _, unpack, build = plan(app.built, {"uname -m": "aarch64"}, **DECLARED)
    assert [path.name for path in wheels.iterdir()] == ["a-aarch64.whl"]
    there = f"{CLEAN} docker image inspect {BASE} >/dev/null 2>&1"
    assert pull.startswith(f"{there} || {CLEAN} docker pull --quiet {BASE} || {{ printf ")
    assert clear == "rm -rf '/opt/o k/build'"
    assert folder == "umask 022 && mkdir -p '/opt/o k/build/page'"
    digest = sha256(packed(page(), wheels)).hexdigest()
    assert unpack == (
        f"echo '{digest}  /opt/o k/build/page.tar' | sha256sum --check --quiet && "
        "umask 022 && tar --extract --no-same-owner --file '/opt/o k/build/page.tar' "
        "--directory '/opt/o k/build/page' || { rm -rf '/opt/o k/build' ; false; }"
    )
    assert build.startswith(
        f"( flock 9; {CLEAN} docker build --quiet --force-rm --network none --build-arg PIP_NO_INDEX=1 "
        f"--label 'ollama-stack.built-in=/opt/o k' --build-arg BASE={BASE} --tag {IMAGE} --file '/opt/o k/build/page/app/Dockerfile' '/opt/o k/build/page' ; "
        "built=$?; rm -rf '/opt/o k/build' ; "
    )
    assert "test $built = 0 ) 9>>/run/ollama-stack.lock || { printf " in build


def test_what_is_uploaded_is_the_page_and_its_wheels(wheels: Path) -> None:
    with fake_host({"uname -m": "x86_64"}):
        (upload,) = (
            command
            for command in app.built._inner(**DECLARED)
            if isinstance(command, FileUploadCommand)
        )
    assert upload.src.getvalue() == packed(page(), wheels)  # type: ignore[union-attr] # not a path


def test_only_stages_of_ours_that_have_no_name_are_removed() -> None:
    *_, build = plan(app.built, **DECLARED)
    assert f" docker image prune --force --filter label={app.LABEL} >/dev/null 2>&1; " in build
    dockerfile = page()["app/Dockerfile"].decode()
    assert dockerfile.count(f"LABEL {app.LABEL}\n") == dockerfile.count("\nFROM ")


def test_a_failure_says_which_setting() -> None:
    pull, *_, build = plan(app.built, **DECLARED)
    assert f"'app_base_image: {BASE} cannot be pulled, what runs is untouched; " in pull
    assert f"'app_base_image: the page cannot be built on {BASE}, what runs is untouched; " in build
    assert "must have Python 3.13 (app_base_python) with pip, and not be Alpine" in build


def test_without_its_wheels_the_host_is_not_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> Path:
        raise DeployError("pip could not")

    monkeypatch.setattr(app, "downloaded", offline)
    with fake_host({}), pytest.raises(DeployError, match="pip could not"):
        next(iter(app.built._inner(**DECLARED)))
    assert plan(app.built, THERE, **DECLARED) == []
