"""What leads a login's commands astray, by shells that really are so, and by one question of all of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ollama_stack.tasks import login
from ollama_stack.tasks.login import ASTRAY, NO_FILES, QUOTED, UNSEEN, faults
from tests.unit.harness import fake_host

USUAL = ["root", *QUOTED.splitlines(), "sshd"]


@pytest.mark.process
@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, []),
        ({"DOCKER_HOST": "", "DOCKER_CONFIG": "/nowhere"}, []),
        (
            {"DOCKER_HOST": "ssh://a", "DOCKER_CONTEXT": "b"},
            ["DOCKER_CONTEXT=b", "DOCKER_HOST=ssh://a"],
        ),
        ({"DOCKER_TLS_VERIFY": "1"}, ["DOCKER_TLS_VERIFY=1"]),
        ({"PATH": "/usr/bin:/bin"}, ["/usr/bin:/bin"]),
        ({"DOCKER_CONFIG": "{folder}/site"}, ["site"]),
        ({"HOME": "{folder}/own"}, ["site"]),
        ({"HOME": "{folder}/plain"}, []),
    ],
)
def test_what_leads_a_login_astray_is_found(
    variables: dict[str, str], found: list[str], tmp_path: Path
) -> None:
    for name, context in (("site", "site"), ("own/.docker", "site"), ("plain/.docker", "default")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(f'{{"currentContext": "{context}"}}')
    usual = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nowhere"}
    done = subprocess.run(
        ["sh", "-c", "; ".join(ASTRAY)],
        env=usual | {name: value.format(folder=tmp_path) for name, value in variables.items()},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(done.stdout.split()) == found


def test_all_of_it_is_in_the_one_question_that_every_deploy_asks() -> None:
    all_is_well = {"id --user --name; printf": USUAL}
    with fake_host(all_is_well):
        assert faults() == []
    for command in ASTRAY:
        rest = {"id --user": "root", "printf %s 'one": QUOTED.splitlines(), "PPid": "sshd"}
        with fake_host({command: "x"} | all_is_well | rest):
            assert len(faults()) == 1, command


@pytest.mark.process
def test_an_engine_whose_command_the_login_does_not_find_is_named(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    engine = tmp_path / "opt/dockerd"
    engine.write_bytes(Path("/bin/sleep").read_bytes())
    engine.chmod(0o755)
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("readlink", "cat", "grep"):
        (bare / program).symlink_to(f"/bin/{program}")
    with subprocess.Popen([engine, "5"]) as running:
        (tmp_path / "pid").write_text(str(running.pid))
        command = UNSEEN.replace("/run/docker.pid", f"{tmp_path}/pid")
        for found in (f"{engine}\n", ""):
            if not found:
                (bare / "docker").symlink_to("/bin/true")
            done = subprocess.run(
                ["/bin/sh", "-c", command],
                env={"PATH": str(bare)},
                capture_output=True,
                text=True,
                check=True,
            )
            assert done.stdout == found
        running.kill()


def test_a_server_that_takes_no_files_is_named_after_what_may_be_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(login, "_takes_files", lambda: False)
    with fake_host({"id --user --name; printf": USUAL}):
        assert faults() == [NO_FILES]
    greets = {"id --user": ["Welcome!", "root"]}
    with fake_host({"id --user --name; printf": ["Welcome!", *USUAL]} | greets):
        assert "says 'Welcome!' of its own accord" in faults()[0]
