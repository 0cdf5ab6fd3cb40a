"""The page's image on its host: what goes when no release runs it, and what is said when it is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_stack.page_image import REPOSITORY
from tests.unit.host.test_release import Host

pytestmark = pytest.mark.process

OLD, NOW, OTHER = (f"{REPOSITORY}:{digit * 12}" for digit in "123")


def runs(page: str) -> str:
    return f"services:\n  app:\n    image: {page}\n"


@pytest.fixture
def service(tmp_path: Path) -> Host:
    return Host(tmp_path)


def answering(service: Host, cases: str) -> None:
    """Docker says this too."""
    with (service.doubles / "docker").open("a") as double:
        double.write(f'case "$*" in\n{cases}\nesac\n')


def removed(service: Host) -> list[str]:
    calls = service.calls.read_text().splitlines()
    return [call.removeprefix("docker rmi ") for call in calls if call.startswith("docker rmi")]


def test_pages_that_no_kept_release_runs_are_removed(service: Host) -> None:
    ours = f"label=ollama-stack.built-in={service.folder}"  # not one that somebody built by hand
    answering(service, f"'image ls --filter {ours} '*) printf '%s\\n' {OLD} {NOW} {OTHER};;")
    service.keep(runs(OLD))
    assert removed(service) == [NOW, OTHER]
    service.keep(runs(NOW))
    assert removed(service) == [OTHER]  # one can still go back to the old one


def test_the_page_of_a_release_goes_with_it(service: Host) -> None:
    answering(service, f"'image ls '*) printf '%s\\n' {OLD} {NOW};;")
    service.keep(runs(OLD))
    for number in range(5):
        assert removed(service) == ([NOW] if number == 0 else [])
        service.keep(f"{runs(NOW)}# {number}\n")
    assert removed(service) == [OLD]


def test_a_page_that_is_gone_is_said_to_be(service: Host) -> None:
    answering(service, f"*'config --images app') echo {NOW};;\n'image inspect '*) exit 1;;")
    service.stage(runs(NOW))
    done = service.run("switch", "staged")
    assert done.returncode == 1
    assert (
        f"app_image: {NOW} is not on this host any more: a deploy builds the page that is declared; if "
        "app_image names this one, load it here\n"
    ) in done.stdout
