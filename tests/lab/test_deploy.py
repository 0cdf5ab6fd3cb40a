"""The main path for real: a second run changes nothing, settings take effect, drift is mended."""

from __future__ import annotations

from tests.lab.conftest import (
    ACTIONS,
    COMPOSE_FILE,
    changes,
    deployed,
    generate,
    run,
    runner,
    sh,
)


def test_the_server_answers_a_real_prompt() -> None:
    answer = generate()
    assert answer["response"].strip()
    assert answer["eval_count"] > 0


def test_a_second_run_changes_nothing() -> None:
    assert changes("lab/deploy.py") == set()
    assert changes("deploy.py") == ACTIONS


def test_make_lab_says_what_is_true_and_how_long_it_took() -> None:
    done = run("make", "lab")
    assert done.returncode == 0, done.stderr
    assert "2 threads, 3 parallel, 12288 tokens" in done.stderr
    assert "2 CPU, 3 GiB" in done.stderr
    assert "Next: make audit INVENTORY=inventories/lab.py" in done.stderr
    assert "The lab is up after " in done.stdout


def test_threads_follow_the_cpu_limit_and_come_back() -> None:
    """The server alone would take 2 threads on this machine: 1 proves the tuning."""
    deployed("ollama_cpus=1", "ollama_num_parallel=2")
    assert "--threads 1 " in runner()
    assert "--parallel 2 " in runner()
    deployed()
    assert "--threads 2 " in runner()
    assert "--parallel 3 " in runner()


def test_the_model_keeps_its_pristine_copy_and_no_mirror_s_name() -> None:
    names = sh("docker exec ollama ollama list | awk 'NR > 1 {print $1}'").split()
    assert sorted(names) == ["smollm2:135m", "smollm2:135m-pristine"]


def test_the_old_compose_file_s_text_comes_back() -> None:
    declared = COMPOSE_FILE.read_text()
    COMPOSE_FILE.write_text("services: [broken")
    deployed()
    assert COMPOSE_FILE.read_text() == declared


def test_a_removed_container_comes_back_with_its_models() -> None:
    before = sh("docker exec ollama ollama list | sort | awk '{print $1, $2}'")
    sh("docker rm --force ollama")
    deployed()
    assert sh("docker exec ollama ollama list | sort | awk '{print $1, $2}'") == before
