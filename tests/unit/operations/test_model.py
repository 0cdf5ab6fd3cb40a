"""Pull, tune, load: the exact calls, and when there is nothing to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pyinfra.api import StringCommand

from ollama_stack.operations import model
from ollama_stack.shell import renamed
from tests.unit.harness import fake_host, plan

TAGS = '{"models":[{"name":"m:1","digest":"d1"},{"name":"m:1-pristine","digest":"d0"}]}'
TUNED = {"modelfile": "FROM /blobs/b1", "parameters": "num_ctx 4096\nnum_thread 2"}
TUNE: dict[str, Any] = {
    **{"model": "m:1", "pristine": "m:1-pristine", "seconds": 60},
    "begun": StringCommand("begin"),
}
PULL = TUNE | {"source": "m:1"}
RUNNER = "7 ollama runner --ctx-size 12288 --threads 2 --parallel 3"


def bodies(commands: list[str]) -> list[str]:
    """Each API call as ``path body``."""
    return [
        f"{command.rpartition('/api/')[2].partition(chr(34))[0]} {command.split(chr(39))[3]}"
        for command in commands
        if "/api/" in command
    ]


def test_a_model_that_is_there_is_not_pulled_again() -> None:
    there = {"/api/tags": TAGS}
    assert plan(model.pulled, there, **PULL) == []


def test_an_upstream_model_is_pulled_and_kept_as_it_came() -> None:
    version, begin, pull, *calls = plan(model.pulled, **PULL)
    assert begin == "begin"
    assert "/api/version" in version
    assert pull == "pull('m:1', False, 60)"
    assert bodies(calls) == ['copy {"source": "m:1", "destination": "m:1-pristine"}']


def test_a_mirror_s_model_loses_the_mirror_s_name() -> None:
    source = "10.0.0.9:5000/library/m:1"
    _, _, _, *calls = plan(model.pulled, **PULL | {"source": source}, insecure=True)
    assert bodies(calls) == [
        f'copy {{"source": "{source}", "destination": "m:1"}}',
        f'delete {{"model": "{source}"}}',
        'copy {"source": "m:1", "destination": "m:1-pristine"}',
    ]
    assert "--request DELETE" in calls[1]


D0, D1 = "0" * 64, "1" * 64


def with_digests(model: str, pristine: str) -> dict[str, str]:
    models = [{"name": "m:1", "digest": model}, {"name": "m:1-pristine", "digest": pristine}]
    return {"/api/tags": json.dumps({"models": models})}


def test_another_declared_digest_is_pulled_and_checked_before_it_is_used() -> None:
    there = with_digests(D1, D0)
    assert plan(model.pulled, there, **PULL, digest=D0) == []
    _, pull, check, *calls = plan(model.pulled, there, **PULL, digest=D1)
    assert pull == "pull('m:1', False, 60)"
    assert check == f"check('m:1', '{D1}', 'm:1')"
    assert bodies(calls) == ['copy {"source": "m:1", "destination": "m:1-pristine"}']


def test_a_model_of_another_digest_is_refused_and_removed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with fake_host(with_digests(D1, D0)) as host:
        assert model.check(host.state, host, "m:1", D1, "m:1") is True
        assert model.check(host.state, host, "m:1", D0, "m:1") is False
        last = str(host.connector.executed_commands[-1])  # type: ignore[attr-defined]  # @fake's
    # It was pulled over the one that serves: that comes back.
    assert bodies([last]) == ['copy {"source": "m:1-pristine", "destination": "m:1"}']
    assert f"model_digest: m:1 came as {D1}, declared {D0}; find out who" in caplog.text
    mirrored = json.dumps({"models": [{"name": "r/m:1", "digest": D1}]})
    with fake_host({"/api/tags": mirrored}) as host:
        assert model.check(host.state, host, "r/m:1", D0, "m:1") is False
        assert "--request DELETE" in str(host.connector.executed_commands[-1])  # type: ignore[attr-defined]  # @fake's


def test_copies_under_other_digests_are_forgotten_and_nothing_else() -> None:
    names = ("m:1", "m:1-pristine", "m:1-pristine-aaaaaaaaaaaa", "m:1-pristine-of-mine", "m:12")
    tags = {"/api/tags": json.dumps({"models": [{"name": n, "digest": D0} for n in names]})}
    kept = {"model": "m:1", "pristine": "m:1-pristine-aaaaaaaaaaaa"}
    (command,) = plan(model.forgotten, tags, **kept)
    assert '"m:1-pristine"' in command
    assert "--request DELETE" in command


def test_a_declared_digest_is_the_record() -> None:
    record = f"{D0}  m:1-pristine"
    asked = {"model": "m:1-pristine", "path": "/opt/o/model.digest"}
    assert plan(model.recorded, {"model.digest": record}, **asked) == []
    assert plan(model.recorded, {"model.digest": record}, **asked, digest=D0) == []
    write, _ = plan(model.recorded, {"model.digest": record}, **asked, digest=D1)
    assert D1 in write


def test_a_pull_that_ends_in_an_error_fails_the_host_without_a_second_try() -> None:
    missing = {"/api/pull": {"success": False, "stdout": "the pull ended with: does not exist"}}
    with fake_host(missing) as host:
        assert model.pull(host.state, host, "m:1", False, 60) is False
        assert len(host.connector.executed_commands) == 1  # type: ignore[attr-defined]  # @fake's


def test_a_tuned_model_is_left_alone() -> None:
    shown = {"/api/show": json.dumps(TUNED)}
    wanted = {"num_ctx": 4096, "num_thread": 2}
    assert plan(model.tuned, shown, **TUNE, parameters=wanted) == []


def test_another_cpu_limit_tunes_the_model_anew_from_the_pristine_one() -> None:
    shown = {"/api/show": json.dumps(TUNED)}
    begin, *calls = plan(model.tuned, shown, **TUNE, parameters={"num_thread": 1})
    assert begin == "begin"
    assert "--max-time 60 " in calls[0]
    assert bodies(calls) == [
        'create {"model": "m:1", "from": "m:1-pristine", "parameters": {"num_thread": 1}, '
        '"stream": false}'
    ]
    assert calls[0].endswith(
        "|| { printf '%s\\n' 'model_name: m:1 could not be tuned; read "
        "`docker logs --tail 50 ollama` on the host' >&2; exit 1; }"
    )


def loaded(digest: str, runner: str) -> list[str]:
    answers = {
        "/api/tags": TAGS,
        "/api/ps": json.dumps({"models": [{"name": "m:1", "digest": digest}]}),
        "docker top": runner,
    }
    figures = {"threads": 2, "parallel": 3, "num_ctx": 4096, "seconds": 60}
    return plan(model.loaded, answers, model="m:1", **figures)


def test_a_model_in_memory_as_declared_is_left_alone() -> None:
    assert loaded("d1", RUNNER) == []


def test_a_model_loaded_before_it_was_tuned_is_loaded_again() -> None:
    (load,) = loaded("d0", RUNNER)
    assert bodies([load]) == ['generate {"model": "m:1"}']
    assert "--max-time 60 " in load
    assert "m:1 did not load within 60 s (model_load_timeout); " in load


@pytest.mark.parametrize(
    "other", [("threads 2", "threads 8"), ("parallel 3", "parallel 1"), ("12288", "4096")]
)
def test_a_runner_that_is_otherwise_is_loaded_again_and_then_refused(
    other: tuple[str, str],
) -> None:
    load, refusal = loaded("d1", RUNNER.replace(*other))
    assert bodies([load]) == ['generate {"model": "m:1"}']
    assert "Ollama may not run this model" in refusal


def test_an_upstream_pull_shares_no_weights_with_a_model_of_the_same_name() -> None:
    shown = {
        "m:1-pristine": json.dumps(TUNED | {"modelfile": "FROM /blobs/b2"}),
        "/api/show": json.dumps(TUNED),
    }
    wanted = {"num_ctx": 4096, "num_thread": 2}
    assert plan(model.tuned, shown, **TUNE, parameters=wanted)


RECORD = {"path": "/opt/o l/model.digest", "model": "m:1-pristine"}


def test_the_first_digest_is_recorded() -> None:
    assert plan(model.recorded, {"/api/tags": TAGS}, **RECORD) == [
        "printf '%s  %s\\n' d0 m:1-pristine | install -m 644 /dev/stdin '/opt/o l/model.digest.new'",
        str(renamed("/opt/o l/model.digest.new", "/opt/o l/model.digest")),
    ]


def test_a_record_is_not_brought_up_to_date() -> None:
    there = {"/api/tags": TAGS, "model.digest": ["before  m:1-pristine"]}
    assert plan(model.recorded, there, **RECORD) == []


def test_another_model_begins_a_new_record() -> None:
    there = {"/api/tags": TAGS, "model.digest": ["before  other:1-pristine"]}
    assert len(plan(model.recorded, there, **RECORD)) == 2


def test_only_models_that_a_deploy_pulled_are_pruned() -> None:
    names = (
        "m:1",
        "m:1-pristine",
        "old:1",
        "old:1-pristine-aaaaaaaaaaaa",
        "by-hand:1",
        "x:1-pristine",
    )
    tags = {"/api/tags": json.dumps({"models": [{"name": n, "digest": D0} for n in names]})}
    calls = plan(model.pruned, tags, kept=["m:1"], record="/o/{}".format)
    assert [call for call in calls if call.startswith("rm ")] == [
        "rm -f /o/old:1",
        "rm -f /o/x:1",
    ]
    assert bodies(calls) == [
        'delete {"model": "old:1"}',
        'delete {"model": "old:1-pristine-aaaaaaaaaaaa"}',
        'delete {"model": "x:1-pristine"}',
    ]
    assert plan(model.pruned, tags, kept=["m:1", "old:1", "x:1"], record="/o/{}".format) == []
