"""What the page's image is built from: its name, its archive, the wheels for its Python."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path

import pytest

from ollama_stack import page_image, pinned_wheels
from ollama_stack.config.app import AppSettings
from ollama_stack.page_image import built_name, name_of, packed, sources
from tests.unit.conftest import ROOT

FILES = {"app/Dockerfile": b"FROM x", "app/static/a.css": b"a"}


def test_another_page_has_another_name() -> None:
    name = name_of(FILES, "python:3.13")
    assert re.fullmatch(r"ollama-stack/app:[0-9a-f]{12}", name)
    assert name == name_of(dict(reversed(FILES.items())), "python:3.13")
    others = {
        name_of(FILES | {"app/Dockerfile": b"FROM y"}, "python:3.13"),
        name_of(FILES | {"app/new.py": b""}, "python:3.13"),
        name_of({"app/Dockerfile": b"FROM x", "app/static/b.css": b"a"}, "python:3.13"),
        name_of(FILES, "python:3.14"),
        name,
    }
    assert len(others) == 5


def test_every_file_of_the_page_counts_and_no_leavings(tmp_path: Path) -> None:
    for path in (
        "Dockerfile",
        "static/a.css",
        "__pycache__/api.pyc",
        "texts/__pycache__/x",
        ".swp",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    assert sources(tmp_path) == {
        "app/Dockerfile": b"Dockerfile",
        "app/static/a.css": b"static/a.css",
    }
    assert sources(page_image.APP).keys() >= {"app/Dockerfile", "app/requirements.txt"}


def test_the_archive_is_the_same_whoever_packs_it(tmp_path: Path) -> None:
    long = f"{'a' * 96}.whl"
    for name in (long, "b.whl"):
        (tmp_path / name).write_bytes(name.encode())
    archive = packed(FILES, tmp_path)
    (tmp_path / "b.whl").touch()
    (tmp_path / "b.whl").chmod(0o600)
    assert archive == packed(dict(reversed(FILES.items())), tmp_path)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert tar.getnames() == [*FILES, f"wheels/{long}", "wheels/b.whl"]
        assert {(m.mode, m.mtime, m.uid, m.uname) for m in tar} == {(0o644, 0, 0, "")}


def test_the_shipped_base_is_the_dockerfile_s_own() -> None:
    (base,) = re.findall(r"(?m)^ARG BASE=(.*)$", (ROOT / "app" / "Dockerfile").read_text())
    shipped = AppSettings()
    assert (shipped.app_base_image, shipped.app_python) == (base, "3.13")
    assert built_name(base) == name_of(page_image.page(), base)


@pytest.mark.parametrize(
    ("image", "python"),
    [
        ("python:3.14-slim", "3.14"),
        ("registry.lan:5000/library/python:3.12.1@sha256:" + "0" * 64, "3.12"),
        ("python:3", ""),
        ("ollama-lab/python:3", ""),
        ("school/cpython:3.13", ""),
    ],
)
def test_the_tag_says_which_python_it_has(image: str, python: str) -> None:
    assert AppSettings(app_base_image=image).app_python == python
    assert AppSettings(app_base_image=image, app_base_python="3.11").app_python == "3.11"


REQUIREMENTS = """a==1 \\
    --hash=sha256:00
    # via b
b==1 ; python_full_version < '3.12' \\
    --hash=sha256:01
b==2 ; python_full_version >= '3.12' \\
    --hash=sha256:02
c==1 ; platform_machine == 'aarch64' \\
    --hash=sha256:03
"""


def test_requirements_are_those_of_the_image_not_of_the_controller() -> None:
    old = pinned_wheels.for_python(REQUIREMENTS, "3.11")
    assert re.findall(r"(?m)^\S.*|sha256:..", old) == ["a==1 \\", "sha256:00", "b==1 \\", "sha256:01"]  # fmt: skip
    new = pinned_wheels.for_python(REQUIREMENTS, "3.13", "aarch64")
    assert re.findall(r"sha256:(..)", new) == ["00", "02", "03"]
    assert ";" not in new


def test_what_needs_no_choice_is_left_as_it_is() -> None:
    text = pinned_wheels.COMPOSE_PLUGIN.read_text()
    assert pinned_wheels.for_python(text, "3.11") == text
