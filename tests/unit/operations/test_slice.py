"""The slice: what systemd is told, what the kernel has to keep, and whose unit it is."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from pyinfra.context import ctx_host

from ollama_stack.config.settings import read_settings
from ollama_stack.facts.docker import UP_TO_THE_ROOT, SliceMemory
from ollama_stack.operations import slice
from ollama_stack.shell import MARK, ours
from ollama_stack.tasks.host import slice_of
from tests.unit.conftest import group_data
from tests.unit.facts.test_docker import engine
from tests.unit.harness import fake_host, plan

LOW = 2 * 2**30
UNIT: dict[str, Any] = {"unit": "ollama.slice", "memory_low": LOW}
TEXT = f"""{MARK}
[Unit]
Description=Containers of ollama-stack

[Slice]
MemorySwapMax=0
MemoryLow={LOW}"""
WRITTEN = {"system/ollama.slice": TEXT.splitlines()}


def test_a_slice_that_the_kernel_keeps_to_is_left_alone() -> None:
    kept = WRITTEN | {"/sys/fs/cgroup/ollama.slice": ["0", str(LOW)]}
    assert plan(slice.protected, kept, **UNIT) == []


@pytest.mark.parametrize("figures", [[], ["max", str(LOW)], ["0", "0"]])
def test_a_slice_that_the_kernel_does_not_keep_to_is_told_anew(figures: list[str]) -> None:
    reload, held = plan(slice.protected, WRITTEN | {"cat memory.swap.max": figures}, **UNIT)
    assert reload == "systemctl daemon-reload && systemctl start ollama.slice"
    assert "systemctl revert ollama.slice" in held


def test_the_unit_is_written_whole_before_systemd_is_told() -> None:
    whose, upload, check, _, rename, reload, _ = plan(slice.protected, **UNIT)
    assert "is not ours" in whose
    assert "ollama.slice.new" in upload
    assert check.endswith("| sha256sum --check --quiet")
    assert rename.startswith("sync /etc/systemd/system/ollama.slice.new && mv ")
    assert "daemon-reload" in reload


@pytest.mark.parametrize(
    ("text", "code"), [(None, 0), (f"{MARK}\nx", 0), ("[Slice]\n", 1), ("", 1)]
)
def test_a_file_of_somebody_else_s_is_not_ours(text: str | None, code: int, tmp_path: Path) -> None:
    file = tmp_path / "a b"
    if text is not None:
        file.write_text(text)
    command = ours(str(file), "setting: it's theirs").get_raw_value()
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "setting: it's theirs\n" if code else "")


@pytest.mark.parametrize(
    ("kernel", "systemd", "code"),
    [("0", "0", 0), ("max", "0", 0), ("max", "infinity", 1), ("0", "infinity", 1)],
)
def test_what_somebody_told_the_kernel_is_told_back_and_what_they_told_systemd_is_said(
    kernel: str, systemd: str, code: int, tmp_path: Path
) -> None:
    folder = tmp_path / "ollama.slice"
    folder.mkdir()
    (folder / "memory.swap.max").write_text(f"{kernel}\n")
    (folder / "memory.low").write_text(f"{LOW}\n")
    *_, last = plan(slice.protected, WRITTEN, **UNIT)
    double = f"systemctl() {{ case $3 in MemoryLow) echo {LOW};; *) echo {systemd};; esac; }}; "
    script = double + last.replace("/sys/fs/cgroup", str(tmp_path))
    assert subprocess.run(["sh", "-c", script]).returncode == code
    fact = str(SliceMemory().command(unit="ollama.slice")).replace("/sys/fs/cgroup", str(tmp_path))
    found = subprocess.run(["sh", "-c", fact], capture_output=True, text=True).stdout.split()
    assert found == ["0" if systemd == "0" else kernel, str(LOW)]


@pytest.mark.parametrize("version", [1, 2])
def test_every_control_group_up_to_the_root_is_read(version: int, tmp_path: Path) -> None:
    path = "/ollama.slice/docker-18.scope"
    for folder, swap, low in ((path, "max", "2147483648"), ("/ollama.slice", "0", "2147483648")):
        (tmp_path / f"cgroup{folder}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"cgroup{folder}/memory.swap.max").write_text(f"{swap}\n")
        (tmp_path / f"cgroup{folder}/memory.low").write_text(f"{low}\n")
    if version == 2:
        (tmp_path / "cgroup/cgroup.controllers").touch()
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text(f"0::{path}\n")
    script = UP_TO_THE_ROOT.replace("/sys/fs/", f"{tmp_path}/").replace("/proc/", f"{tmp_path}/")
    done = subprocess.run(["sh", "-c", f"pid=7; {script}"], capture_output=True, text=True)
    lines = ["7 max 2147483648", "7 0 2147483648"] if version == 2 else []
    assert (done.stdout.splitlines(), done.stderr) == (lines, "")


SYSTEMD = {"/run/systemd/system": "systemd", "cgroup.controllers": "2"}


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ({"docker info": engine(CgroupDriver="systemd", CgroupVersion="2")}, "ollama.slice"),
        ({"docker info": engine(CgroupDriver="cgroupfs", CgroupVersion="2")} | SYSTEMD, ""),
        ({"docker info": engine(CgroupDriver="systemd", CgroupVersion="1")} | SYSTEMD, ""),
        (SYSTEMD, "ollama.slice"),  # no engine yet
        (SYSTEMD | {"cgroup.controllers": "1"}, ""),
        (SYSTEMD | {"/run/systemd/system": "none"}, ""),
        (SYSTEMD | {"daemon.json": '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}'}, ""),
    ],
)
def test_only_where_systemd_keeps_docker_s_groups_there_is_a_slice(
    answers: dict[str, str], found: str
) -> None:
    with fake_host(answers) as host, ctx_host.use(host):
        assert slice_of(read_settings(group_data("all", "medium")).slice) == found


def test_a_slice_is_below_no_other() -> None:
    """systemd puts a-b.slice below a.slice, which protects nothing."""
    settings = read_settings(group_data("all", "medium") | {"ollama_project": "ollama-lab"})
    assert settings.slice == "ollama_lab.slice"
