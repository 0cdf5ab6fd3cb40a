"""Files in group_data/ that nobody reads, and a class that does not fit its profile."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api import DeployError

from ollama_stack import misplaced
from ollama_stack.capacity.budget import least_profile
from ollama_stack.misplaced import file_faults, inventory_faults
from ollama_stack.rules import check_inventory, faults, run_faults, warnings
from tests.unit.conftest import group_data
from tests.unit.harness import fake_host


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two inventories, with the files that belong to them."""
    files = {
        "inventories/school.py": "medium = ['a']\nbuilding_a = ['a']\n",
        "inventories/lab.py": "low = ['@local']",
        "group_data/all.py": "_sudo = True\nmodel_name: str = 'm:1'\n",
        "group_data/high.py": "ollama_max_queue = 20",
        "group_data/lab.py": "",
        "group_data/building_a.py": "students = 12",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(misplaced, "ROOT", tmp_path)
    return tmp_path


def test_files_of_groups_that_somebody_has_are_fine(project: Path) -> None:
    assert file_faults([]) == {}


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("meduim.py", "", "no inventory has a group meduim; did you mean medium?"),
        ("elsewhere.py", "", "no inventory has a group elsewhere; rename it"),
        (
            "high.py",
            "ollama_num_paralel = 4",
            "ollama_num_paralel: no such setting; did you mean ollama_num_parallel?",
        ),
        ("all.py", "shade: int = 4", "shade: no such setting; docs/settings.md lists them all"),
    ],
)
def test_a_file_that_nobody_would_read_is_refused(
    project: Path, name: str, text: str, fault: str
) -> None:
    (project / "group_data" / name).write_text(text)
    assert file_faults([]) == {f"group_data/{name}": [fault]}


@pytest.mark.parametrize("name", ["students", "_sudo", "ssh_user"])
def test_a_setting_at_the_top_of_an_inventory_is_refused(project: Path, name: str) -> None:
    """pyinfra takes lists for groups, and drops everything else in silence."""
    path = "inventories/school.py"
    assert inventory_faults(path) == {}
    text = (project / path).read_text()
    (project / path).write_text(f"{text}{name}: int = 30\n_key = {{'ssh_user': 'ops'}}\nBASE = 2\n")
    fault = (
        f"{name}: is a setting, and there one of no host; put it into group_data/ or into the host"
    )
    assert inventory_faults(path) == {path: [fault]}
    assert run_faults({}, [], path) == {path: [fault]}
    assert inventory_faults("inventories/none.py") == inventory_faults("") == {}


@pytest.mark.parametrize("name", ["medium.yml", "school/medium.py"])
def test_a_file_where_pyinfra_does_not_look_is_refused(project: Path, name: str) -> None:
    file = project / "group_data" / name
    file.parent.mkdir(exist_ok=True)
    file.touch()
    (project / "group_data" / "README.md").touch()
    assert file_faults([]) == {
        f"group_data/{name}": ["pyinfra reads group_data/GROUP.py alone; write it as that"]
    }


def test_a_broken_file_is_left_to_pyinfra(project: Path) -> None:
    (project / "group_data/high.py").write_text("ollama_max_queue 20")
    (project / "inventories/broken.py").write_text("medium = [")
    (project / "inventories/old.py").write_bytes(
        "# -*- coding: cp1251 -*-\n# школа".encode("cp1251")
    )
    assert file_faults([]) == {}


def test_what_a_file_is_told_is_not_told_of_each_host(project: Path) -> None:
    (project / "group_data/all.py").write_text("shade = 4")
    data = group_data("all", "low") | {"shade": 4, "ollama_port": 0}
    found = run_faults({"a": (["low"], data), "b": (["low"], data)}, [])
    assert found["group_data/all.py"] == ["shade: no such setting; docs/settings.md lists them all"]
    assert [len(found[name]) for name in ("a", "b")] == [1, 1]


def test_a_stray_file_refuses_the_run(project: Path) -> None:
    (project / "group_data/meduim.py").touch()
    with fake_host() as host, pytest.raises(DeployError) as refusal:
        check_inventory(host.state.inventory)
    assert "    group_data/meduim.py: no inventory has a group meduim" in str(refusal.value)


def test_a_group_of_an_inventory_that_lies_elsewhere_is_known(project: Path) -> None:
    (project / "group_data/elsewhere.py").touch()
    (project / "group_data/@local.py").touch()
    assert file_faults(["elsewhere"]) == {}


@pytest.mark.parametrize(
    ("students", "profile"),
    [(1, "low"), (4, "low"), (5, "medium"), (15, "medium"), (16, "high"), (100, "high")],
)
def test_the_seed_s_three_cases(students: int, profile: str) -> None:
    assert least_profile(students) == profile


@pytest.mark.parametrize(
    ("profile", "students", "least"),
    [("low", 5, "medium"), ("low", 16, "high"), ("medium", 16, "high")],
)
def test_a_profile_too_small_for_the_class_is_refused(
    profile: str, students: int, least: str
) -> None:
    assert faults([profile], group_data("all", profile) | {"students": students}) == [
        f"students: {students} at once are too many for {profile}; put the host in {least}"
    ]


@pytest.mark.parametrize(("profile", "students"), [("low", 4), ("medium", 3), ("high", 24)])
def test_a_class_that_fits_is_no_matter(profile: str, students: int) -> None:
    data = group_data("all", profile) | {"students": students}
    assert faults([profile], data) == warnings(data) == []


def test_more_students_than_places_are_warned_of() -> None:
    data = group_data("all", "high") | {"students": 30}
    assert faults(["high"], data) == []
    assert warnings(data) == [
        "students: 30 at once find 24 places (ollama_num_parallel + ollama_max_queue); the others "
        "have to ask again"
    ]


def test_an_address_that_may_hold_every_buffer_is_warned_of() -> None:
    data = group_data("all", "medium") | {"gateway_max_body": "10M", "gateway_fields": ["images"]}
    assert faults(["medium"], data) == []
    assert warnings(data) == [
        "gateway_source_connections: one address may hold all 64 buffers that bodies of 10M leave "
        "(gateway_max_body), and nobody else is answered then; 16 are enough, unless a class comes "
        "by one address"
    ]
    assert warnings(data | {"gateway_source_connections": 16}) == []
    assert warnings(data | {"gateway_enabled": False}) == []


def test_models_that_take_turns_in_memory_are_warned_of() -> None:
    data = group_data("all", "medium") | {"gateway_models": ["nomic-embed-text:v1.5"]}
    assert faults(["medium"], data) == []
    assert warnings(data) == [
        "gateway_models: 2 models take turns in 1 (ollama_max_loaded_models); every change waits "
        "for answers to end and for a load"
    ]
    assert warnings(data | {"ollama_max_loaded_models": 2}) == []
    assert warnings(data | {"gateway_models": ["qwen2.5:1.5b"]}) == []
    assert warnings(data | {"gateway_enabled": False}) == []


def test_the_first_of_the_models_is_model_name_and_none_is_there_twice() -> None:
    data = group_data("all", "medium")
    assert faults(["medium"], data | {"models": ["qwen2.5:1.5b", "e:1"]}) == []
    assert faults(["medium"], data | {"models": ["e:1", "qwen2.5:1.5b", "e:1"]}) == [
        "models: the first is e:1, and model_name is qwen2.5:1.5b; set model_name = e:1, or put "
        "qwen2.5:1.5b first",
        "models: e:1 is there twice; name each model once",
    ]
    (warning,) = warnings(data | {"models": ["qwen2.5:1.5b", "e:1"]})
    assert warning.startswith("models: 2 models take turns in 1 (ollama_max_loaded_models); ")
