"""Releases: what is kept, run and gone back to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.double import CONFIG, Host

pytestmark = pytest.mark.process


def test_the_last_five_releases_stay(service: Host) -> None:
    for number in range(1, 8):
        assert service.keep(f"v{number}").stdout == f"release {number} is kept\n"
    assert service.kept == ["3", "4", "5", "6", "7"]
    assert service.current == "7"
    changes = (service.releases / "7" / "changes").read_text()
    assert "-v6" in changes
    assert "+v7" in changes


def test_what_is_staged_touches_nothing_that_runs(service: Host) -> None:
    service.keep("v1")
    assert service.stage("v2").stdout == "release 2 is staged\n"
    assert (service.now, service.kept, service.current) == ("v1", ["1"], "1")
    assert "docker" not in service.calls.read_text()
    service.stage("v3")  # the run that staged the other one never came to it
    service.run("switch", "current", "ollama")  # which is what another one declares
    assert service.now == "v1"
    (two,) = [path for path in service.releases.glob("[0-9]*") if path.name != "1"]
    assert (two / "docker-compose.yml").read_text() == "v3"


@pytest.mark.parametrize(("status", "good"), [(200, True), (503, True), (429, True), (502, False)])
def test_a_release_whose_app_answers_nobody_is_left_again(
    status: int, good: bool, service: Host
) -> None:
    (service.doubles / "sleep").symlink_to("/bin/true")
    service.keep(f"v1 app says {status}", APP="yes")
    service.keep("v2 app says 200", APP="yes")
    done = service.run("back", "previous")
    assert done.returncode == (0 if good else 1)
    assert service.now.startswith("v1" if good else "v2")
    deaf = f"the app does not answer a question (HTTP {status}): docker logs --tail 50 ollama-app\n"
    assert (deaf in done.stdout) == (not good)


def test_a_release_that_somebody_has_changed_is_not_run(service: Host) -> None:
    service.keep("v1")
    service.keep("v2")
    (service.releases / "1" / "docker-compose.yml").write_text("theirs")
    done = service.run("back", "previous")
    assert done.returncode == 1
    assert "release 1 is not what was kept: somebody has changed " in done.stdout
    assert "returned to release 2, which answers" in done.stdout
    assert service.now == "v2"


def test_secrets_are_in_no_release_and_in_no_list_of_changes(service: Host) -> None:
    for number in (1, 2):
        service.keep(f"v{number}", CONFIG, {"tls.pem": f"PRIVATE KEY {number}"}, SCHEME="https")
    live = service.folder / "gateway" / "tls.pem"
    assert live.read_text() == "PRIVATE KEY 2"
    assert live.stat().st_mode & 0o777 == 0o600
    assert list(service.releases.rglob("tls.pem")) == []
    assert "PRIVATE" not in (service.releases / "2" / "changes").read_text()
    service.run("back", "previous")
    assert live.read_text() == "PRIVATE KEY 2"


def test_a_token_that_was_taken_away_does_not_come_back(service: Host) -> None:
    tokens = service.folder / "gateway" / "tokens.map"
    service.keep("v1", CONFIG, {"tokens.map": "leaked"}, TOKENS="yes")
    service.keep("v2", CONFIG, {"tokens.map": "new"}, TOKENS="yes")
    service.run("back", "1")
    assert (service.now, tokens.read_text()) == ("v1", "new")
    service.keep("v3", CONFIG)
    assert not tokens.exists()
    done = service.run("back", "1")
    assert done.returncode == 1
    assert (
        "release 1 asks for tokens, and this host has none any more: declare gatew" in done.stdout
    )
    assert service.now == "v3"


def test_what_only_another_release_needed_goes(service: Host) -> None:
    service.keep("v1", CONFIG)
    (service.folder / "gateway" / "old.lua").touch()
    service.keep("v2", CONFIG)
    assert [path.name for path in (service.folder / "gateway").iterdir()] == ["haproxy.cfg"]
    service.keep("v3")
    assert not (service.folder / "gateway").exists()


def test_a_change_that_is_not_healthy_goes_back_by_itself(service: Host) -> None:
    service.keep("v1")
    service.stage("broken")
    done = service.run("switch", "staged", "ollama")
    assert done.returncode == 1
    assert "the container's last words" in done.stdout
    assert 'returned to release 1, which answers: {"by": "v1"}' in done.stdout
    assert service.now == "v1"
    assert (service.releases / "staged").readlink() == Path("1")


def test_a_first_deploy_has_nothing_to_go_back_to(service: Host) -> None:
    service.stage("broken")
    done = service.run("switch", "staged")
    assert done.returncode == 1
    assert "there is no earlier release to return to" in done.stdout
    assert service.now == "broken"


def test_the_one_before_is_run_again_and_then_the_one_before_that(service: Host) -> None:
    for number in (1, 2, 3):
        service.keep(f"v{number}")
    for expected in ("2", "1"):
        done = service.run("back", "previous")
        assert done.returncode == 0, done.stdout
        assert service.current == expected
        assert service.now == f"v{expected}"
    done = service.run("back", "previous")
    assert done.returncode == 1
    assert "there is no release to go back to; kept are:" in done.stdout
    assert service.now == "v1"


def test_a_release_by_number_that_does_not_answer_is_left_again(service: Host) -> None:
    service.keep("v1")
    service.keep("v2")
    for double in service.doubles.iterdir():  # it has become so
        double.write_text(double.read_text().replace("silent", "v1"))
    done = service.run("back", "1")
    assert done.returncode == 1
    assert "returned to release 2" in done.stdout
    assert (service.current, service.now) == ("2", "v2")


def test_an_unknown_release_changes_nothing_and_the_kept_ones_are_shown(service: Host) -> None:
    service.keep("v1")
    done = service.run("back", "9")
    assert done.returncode == 1
    assert "there is no release 9; kept are:" in done.stdout
    assert 'releases/1/release.json:{"by": "v1"}' in done.stdout
    assert "docker" not in service.calls.read_text()


@pytest.mark.parametrize("number", ["0", "new", "current/../1", "", "2"])
def test_what_was_never_found_good_is_no_release(number: str, service: Host) -> None:
    service.keep("v1")
    service.stage("v2")
    (service.releases / "new").mkdir()
    assert service.run("back", number).returncode == 1
    assert "docker" not in service.calls.read_text()


def test_the_one_before_is_never_one_that_was_gone_back_from(service: Host) -> None:
    for number in (1, 2, 3):
        service.keep(f"v{number}")
    service.run("back", "previous")
    service.keep("v4")
    service.run("back", "previous")
    assert service.now == "v2"
