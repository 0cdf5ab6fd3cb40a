"""What stands around the code: workflows, checklists, what updates the pins."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from ollama_stack import ROOT, __version__

WORKFLOWS = [*sorted((ROOT / ".github/workflows").glob("*.yml")), ROOT / "docs/ci/github.yml"]
PINNED = re.compile(r"^[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def steps(workflow: Path) -> list[dict[str, object]]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_an_action_is_pinned_by_its_commit_with_the_version_beside_it(workflow: Path) -> None:
    uses = re.findall(r"uses: (.+)", workflow.read_text())
    assert uses
    assert not [use for use in uses if not PINNED.match(use)]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_target_that_a_workflow_makes_exists(workflow: Path) -> None:
    targets = re.findall(r"^([\w./-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [target for step in steps(workflow) for target in re.findall(r"make (\S+)", str(step))]
    assert {made.strip("'\"},") for made in made} <= set(targets)


@pytest.mark.parametrize(
    ("tag", "code"), [(f"v{__version__}", 0), (f"v{__version__}0", 1), ("v9.9.9", 1)]
)
def test_a_release_has_the_version_s_own_notes(tag: str, code: int, tmp_path: Path) -> None:
    (script,) = [
        str(step["run"])
        for step in steps(ROOT / ".github/workflows/release.yml")
        if "changelog" in str(step.get("name"))
    ]
    program = tmp_path / ".venv/bin/ollama-stack"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'ollama-stack, version {__version__}'\n")
    program.chmod(0o755)
    (tmp_path / "CHANGELOG.md").write_text(
        f"## Unreleased\n\nlater\n\n## {__version__} - 2026-11-28\n\n[now](a.md#b) https://c/d\n\n## 0.0.1 - 2026-01-01\n\nold\n"
    )
    shell = ["bash", "-e", "-o", "pipefail", "-c", script]  # as GitHub runs a step
    given = {"SERVER_URL": "https://host", "REPOSITORY": "us/stack", "REF_NAME": tag}
    environment = {f"GITHUB_{name}": value for name, value in given.items()}
    done = subprocess.run(shell, cwd=tmp_path, env=environment | {"PATH": "/usr/bin:/bin"})
    assert done.returncode == code
    if code == 0:
        link = f"[now](https://host/us/stack/blob/{tag}/a.md#b)"
        assert (tmp_path / "notes.md").read_text().split() == [link, "https://c/d"]


def test_what_updates_the_pins_finds_every_image() -> None:
    renovate = json.loads((ROOT / "renovate.json").read_text())
    (images,) = renovate["customManagers"]
    places = [re.compile(pattern.strip("/")) for pattern in images["managerFilePatterns"]]
    form = re.compile(images["matchStrings"][0].replace("(?<", "(?P<"))
    found = {
        (match["depName"], match["currentValue"])
        for path in (*ROOT.glob("group_data/*.py"), *ROOT.glob("ollama_stack/config/*.py"))
        if any(place.search(str(path.relative_to(ROOT))) for place in places)
        for match in form.finditer(path.read_text())
    }
    assert {name for name, _ in found} == {"ollama/ollama", "haproxy", "python"}


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "RELEASE.md", "SECURITY.md"])
def test_a_path_that_is_named_exists(page: str) -> None:
    named = re.findall(
        r"`([\w.*][\w./*-]*(?:/|\.(?:md|py|json|yml|toml))[\w./*-]*)`", (ROOT / page).read_text()
    )
    assert named
    made_by_use = ("secrets/",)
    bases = (
        ROOT,
        ROOT / "ollama_stack/config",
    )  # the second, after "ollama_stack/config/settings.py"
    assert not [
        path
        for path in named
        if path not in made_by_use and not any(any(base.glob(path)) for base in bases)
    ]


def test_the_lines_of_a_release_make_what_its_workflow_asks_for(tmp_path: Path) -> None:
    """Those of RELEASE.md, on copies; the workflow's own check is tested above."""
    names = ["pyproject.toml", "CHANGELOG.md", "ollama_stack/__init__.py"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    page = (ROOT / "RELEASE.md").read_text()
    (lines,) = re.findall(r"```sh\n(   version=.*?)```", page, re.DOTALL)
    subprocess.run(["bash", "-e", "-c", lines], cwd=tmp_path, check=True)
    (version,) = re.findall(r"version=(\S+)", lines)
    assert f"git tag --annotate v{version} " in page
    project, changelog, module = ((tmp_path / name).read_text() for name in names)
    assert f'\nversion = "{version}"\n' in project
    assert f'__version__ = "{version}"\n' in module
    assert re.search(
        rf"^## Unreleased\n\n## {version} - 20\d\d-\d\d-\d\d\n", changelog, re.MULTILINE
    )


def test_package_program_and_changelog_have_one_version() -> None:
    assert f'\nversion = "{__version__}"\n' in (ROOT / "pyproject.toml").read_text()
    day = r"20\d\d-\d\d-\d\d"
    newest = re.search(rf"^## (\S+) - {day}$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    assert newest[1] == __version__
