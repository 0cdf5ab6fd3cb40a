"""A certificate that certbot keeps on a host, and who may show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.double import CONFIG, Host

pytestmark = pytest.mark.process

RELOAD = "docker kill --signal USR2 ollama-gateway"


@pytest.fixture
def lineage(tmp_path: Path) -> Path:
    folder = tmp_path / "lineage"
    folder.mkdir()
    for part in ("fullchain", "privkey"):
        (folder / f"{part}.pem").write_text(f"{part} 1\n")
    return folder


@pytest.fixture
def acme(service: Host, lineage: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """Release 1 has a certificate of the site's own, release 2 one that certbot keeps."""
    monkeypatch.setenv("RENEWED_LINEAGE", str(lineage))
    service.keep("v1", CONFIG, {"tls.pem": "own"}, SCHEME="https")
    service.keep("v2", CONFIG, SCHEME="https", ACME="yes")
    return service


def shown(service: Host) -> str:
    return (service.folder / "gateway" / "tls.pem").read_text()


def test_a_renewal_is_shown_at_once(acme: Host, lineage: Path) -> None:
    assert shown(acme) == "fullchain 1\nprivkey 1\n"
    (lineage / "privkey.pem").write_text("privkey 2\n")
    assert acme.run("renewed").returncode == 0
    assert shown(acme) == "fullchain 1\nprivkey 2\n"
    assert (acme.folder / "gateway" / "tls.pem").stat().st_mode & 0o777 == 0o600
    assert RELOAD in acme.calls.read_text()
    assert not list(acme.releases.rglob("tls.pem"))


def test_a_renewal_touches_no_release_that_has_another(acme: Host) -> None:
    acme.keep("v3", CONFIG, {"tls.pem": "own again"}, SCHEME="https")
    assert acme.run("renewed").returncode == 0
    assert shown(acme) == "own again"
    assert RELOAD not in acme.calls.read_text()


def test_who_goes_back_shows_what_certbot_keeps_by_then(acme: Host, lineage: Path) -> None:
    acme.keep("v3", CONFIG, {"tls.pem": "own again"}, SCHEME="https")
    (lineage / "fullchain.pem").write_text("fullchain 3\n")
    assert acme.run("back", "2").returncode == 0
    assert shown(acme) == "fullchain 3\nprivkey 1\n"


def test_what_certbot_has_lost_replaces_nothing(acme: Host, lineage: Path) -> None:
    (lineage / "privkey.pem").unlink()
    done = acme.run("renewed")
    assert done.returncode == 1
    assert f"gateway_tls: there is no {lineage}/privkey.pem; a deploy orders a" in done.stdout
    assert shown(acme) == "fullchain 1\nprivkey 1\n"
    assert RELOAD not in acme.calls.read_text()


def test_before_the_first_release_there_is_nothing_to_show(service: Host) -> None:
    assert service.run("renewed").returncode == 0
    assert "docker" not in service.calls.read_text()
