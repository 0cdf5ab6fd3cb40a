"""The sheet of paper for a class: the address as text and as QR code, no secret, no way out of the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import segno

from ollama_stack import ROOT
from ollama_stack.inventory import Target
from ollama_stack.reports.handout import RULES, make_sheets, token_command, write_sheets
from tests.unit.commands import command
from tests.unit.conftest import group_data

PAGE = {"app_enabled": True, "app_bind": "0.0.0.0", "allow_unusual": ["app_bind"]}


def target(name: str = "class-1", **data: Any) -> Target:
    usual = group_data("all", "medium") | PAGE | {"ssh_hostname": "10.0.0.5", "ssh_user": "ops"}
    return Target(name, ("medium",), usual | data)


def sheet(one: Target) -> str:
    return make_sheets([one])[one.name].text


def test_the_sheet_has_the_address_as_text_and_as_code() -> None:
    text = sheet(target())
    assert '<a class="url" href="http://10.0.0.5:8080">http://10.0.0.5:8080</a>' in text
    assert segno.make_qr("http://10.0.0.5:8080", error="m").svg_inline(omitsize=True) in text
    assert "is not open" not in text


def test_the_code_is_that_of_the_address() -> None:
    codes = [
        re.findall(r"<svg.*?</svg>", sheet(target(ssh_hostname=at)), re.DOTALL)
        for at in ("10.0.0.5", "10.0.0.6")
    ]
    assert [len(found) for found in codes] == [1, 1]
    assert codes[0] != codes[1]


def test_three_rules_in_two_languages() -> None:
    text = sheet(target())
    for language, rules in RULES.items():
        assert len(rules) == 3
        part = text.split(f'<section lang="{language}">')[1].split("</section>")[0]
        assert re.findall("<li>(.*)</li>", part) == list(rules)


def test_the_teacher_s_part_is_not_printed() -> None:
    text = sheet(target())
    students, _, teacher = text.partition('<aside class="teacher">')
    assert "@media print" in students
    assert re.search(r"@media print \{[^@]*\.teacher \{ display: none; \}", students)
    assert "/teacher" not in students
    assert 'href="http://10.0.0.5:8080/teacher"' in teacher
    assert "ssh ops@10.0.0.5 &#39;sudo cat /opt/ollama/app/teacher.token&#39;" in teacher


def test_with_an_own_authority_the_teacher_is_told_which_file_devices_trust() -> None:
    text = sheet(target(gateway_tls="own", allow_unusual=[]))
    students, _, teacher = text.partition('<aside class="teacher">')
    assert '<a class="url" href="https://10.0.0.5:8080">' in students
    assert "<code>secrets/tls/ca.crt</code>" in teacher
    (heading,) = re.findall(r'docs/tls\.md, "(.+?)"', teacher)
    assert f"\n## {heading}\n" in (ROOT / "docs/tls.md").read_text()
    assert "ca.crt" not in sheet(target())


def test_nothing_is_fetched_and_nothing_runs() -> None:
    text = sheet(target())
    assert "default-src 'none'" in text
    assert not re.search(r"<(script|img|link|iframe)|\bsrc=|@import|url\(", text)
    assert set(re.findall(r'href="([^"]*)"', text)) == {
        "http://10.0.0.5:8080",
        "http://10.0.0.5:8080/teacher",
    }


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"app_bind": "127.0.0.1"}, "app_bind: at 127.0.0.1 the page is not open to the network"),
        ({"app_enabled": False}, "app_enabled: there is no page; set app_enabled = True"),
    ],
)
def test_a_page_that_is_not_open_is_told_plainly(data: dict[str, Any], problem: str) -> None:
    text = sheet(target(**data))
    assert "The page on class-1 is not open to the school's network yet." in text.replace(
        "&#39;", "'"
    )
    assert problem in text
    assert "<svg" not in text


def test_what_an_inventory_says_is_text() -> None:
    text = sheet(target("<b>x</b>", ssh_user="<script>alert(1)</script>"))
    assert "<script" not in text
    assert "<b>" not in text


def test_no_secret_is_in_the_sheet(tmp_path: Path) -> None:
    secret = tmp_path / "class.token"
    secret.write_text("a-token-that-nobody-may-see")
    text = sheet(target(gateway_tokens={"class": f"file:{secret}"}))
    assert "nobody-may-see" not in text
    assert str(secret) not in text


@pytest.mark.parametrize(
    ("name", "data", "shown"),
    [
        ("class-1", {}, "ssh ops@10.0.0.5 'sudo cat /t'"),
        ("class-1", {"ssh_user": "root", "_sudo": False}, "ssh root@10.0.0.5 'cat /t'"),
        ("class-1", {"ssh_port": 2222}, "ssh -p 2222 ops@10.0.0.5 'sudo cat /t'"),
        ("class-1", {"ssh_key": "~/my key"}, "ssh -i ~/'my key' ops@10.0.0.5 'sudo cat /t'"),
        ("class-1", {"ssh_key": "/k; reboot"}, "ssh -i '/k; reboot' ops@10.0.0.5 'sudo cat /t'"),
        ("@local", {"_sudo": False}, "cat /t"),
    ],
)
def test_the_teacher_s_command_is_the_deploy_s_login(
    name: str, data: dict[str, Any], shown: str
) -> None:
    assert token_command(target(name, **data), "/t") == shown


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("class-1.school.lan", "class-1.school.lan.html"),
        ("@ssh/class-1", "ssh_class-1.html"),
        ("../../etc/x", ".._.._etc_x.html"),
        ("fd00::5", "fd00__5.html"),
        ("klasse-5ä", "klasse-5ä.html"),  # 5ö has a sheet of its own
    ],
)
def test_the_file_is_named_after_the_host_and_stays_in_its_folder(name: str, file: str) -> None:
    assert make_sheets([target(name)])[name].file == file


def test_a_cluster_has_one_sheet_with_its_own_address_and_the_first_manager_s_token() -> None:
    own = {"cluster": "school", "app_hosts": ["ai.school.example"]}
    sheets = make_sheets([target(name, **own) for name in ("a", "b", "c")])
    assert list(sheets) == ["a"]
    some = [target("b", **own)]
    with pytest.raises(
        ValueError, match=r"b is of a cluster whose first manager is a, .* \(--limit a\)"
    ):
        make_sheets(some, [target("a", **own), *some])
    assert "ai.school.example:8080" in sheets["a"].text


def test_two_hosts_never_share_a_file() -> None:
    with pytest.raises(ValueError, match=r"a_b and a/b would both have a_b\.html; take one at a"):
        make_sheets([target("a_b"), target("a/b")])


def test_an_older_sheet_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    (one,) = make_sheets([target()]).values()
    (path,) = write_sheets([one], tmp_path / "new")
    assert write_sheets([one], tmp_path / "new") == [path]
    path.write_text("<p>mine</p>")
    with pytest.raises(ValueError, match="is no handout and stays as it is; name another folder"):
        write_sheets([one], tmp_path / "new")
    assert path.read_text() == "<p>mine</p>"


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"cannot be written \(Not a directory|File exists\)"):
        write_sheets(make_sheets([target()]).values(), tmp_path / "file")


def test_the_verb_writes_a_sheet_a_host_and_asks_none(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.py"
    hosts = [("a.invalid", {"ssh_key": "no such key", **PAGE}), ("b.invalid", {})]
    inventory.write_text(f"medium = {hosts!r}")
    done = command("ollama_stack.cli", "handout", str(inventory), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr == "b.invalid: app_enabled: there is no page; set app_enabled = True\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "a.invalid.html",
        "b.invalid.html",
    ]
    arguments = ("handout", str(inventory), "--out", str(tmp_path / "out"), "--limit", "a.*")
    assert command("ollama_stack.cli", *arguments).returncode == 0


def test_faulty_settings_make_no_sheet(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.py"
    inventory.write_text("medium = [('a.invalid', {'app_port': 0})]")
    done = command("ollama_stack.cli", "handout", str(inventory), "--out", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "    a.invalid: app_port: 0 is refused" in done.stderr
    assert not (tmp_path / "out").exists()
