"""The report: its verdict, what it says has changed, and a page that no host can write into."""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from ollama_stack.reports.audit import Change, HostAudit, compare, kept, verdict
from ollama_stack.reports.audit_files import refuse_others, write
from tests.unit.reports import CONTROLS, HOSTILE, host, mixed, report, result

DOCS = Path(__file__).parents[2] / "docs"
A, B = "OLS-104", "OLS-105"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["pass", "waived", "not applicable"], "conforms"),
        (["pass", "finding"], "findings"),
        (["finding", "error"], "could not look"),
        (["pass", "blocked"], "findings"),
        ([], "could not look"),
    ],
)
def test_the_verdict_is_that_of_the_worst_result(statuses: list[str], expected: str) -> None:
    assert verdict([host("web", *(result(A, status) for status in statuses))]) == expected


def changes(before: list[HostAudit], now: list[HostAudit], folder: Path) -> list[tuple[str, ...]]:
    write(report(*before), folder)
    found = compare(kept(folder / "report.json", report().inventory), report(*now)).changes
    return [(change.host, change.control, change.before, change.now) for change in found]


def test_what_changed_is_told_of_each_control(tmp_path: Path) -> None:
    before = [host("web", result(A, "pass", "2 CPUs"), result(B, "pass", "0"))]
    now = [host("web", result(A, "finding", "4 CPUs"), result(B, "pass", "0"))]
    assert changes(before, now, tmp_path) == [
        ("web", A, "pass: 2 CPUs", "finding: 4 CPUs (expected 2 CPUs)")
    ]


def test_a_figure_that_moves_by_itself_is_no_change(tmp_path: Path) -> None:
    moves = [host("web", result(A, "pass", f"{share}%", steady=False)) for share in (3, 4)]
    assert changes(moves[:1], moves[1:], tmp_path) == []
    stays = [host("web", result(A, "pass", f"{share}%")) for share in (3, 4)]
    assert changes(stays[:1], stays[1:], tmp_path) == [("web", A, "pass: 3%", "pass: 4%")]


def test_hosts_that_come_and_go_are_one_change_each(tmp_path: Path) -> None:
    gone, new = host("old", result(A, "pass")), host("new", result(A, "pass"))
    assert changes([gone], [new], tmp_path) == [
        ("old", "", "audited", "not audited"),
        ("new", "", "not audited", "audited"),
    ]


def test_what_only_one_of_the_two_looked_at_is_no_change(tmp_path: Path) -> None:
    both = [result(A, "pass"), result(B, "pass")]
    assert changes([host("web", *both)], [host("web", both[0])], tmp_path) == []
    assert changes([host("web", both[0])], [host("web", *both)], tmp_path) == []


def test_a_report_of_other_hosts_is_refused(tmp_path: Path) -> None:
    write(report(host("web", result(A, "pass"))), tmp_path)
    with pytest.raises(ValueError, match=r"is of .*, not of inventories/other\.py"):
        kept(tmp_path / "report.json", "inventories/other.py")


@pytest.mark.parametrize("text", ["{}", "no json", '{"version": 2}'])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(ValueError) as refused:
        kept(path, "inventories/lab.py")
    assert str(refused.value) == (
        f"--since {path}: is no report of this version of the audit; name a report.json"
    )


def test_a_report_is_checked_by_its_sum(tmp_path: Path) -> None:
    digest = write(mixed(2), tmp_path)
    check = ["sha256sum", "--check", "report.json.sha256"]
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 0
    assert digest in (tmp_path / "report.html").read_text()
    (tmp_path / "report.json").write_text("{}")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_folder_that_takes_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    fault = f"--report: {tmp_path}/file cannot be written (File exists); name a folder of yours, on a disk with room"
    for attempt in (refuse_others, lambda folder: write(mixed(1), folder)):
        with pytest.raises(ValueError, match=re.escape(fault)):
            attempt(tmp_path / "file")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 1}', "[" * 100_000])
def test_a_file_that_is_no_report_stays_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    fault = f"--report: {tmp_path}/report.json is no report of the audit's and stays as it is; name another folder"
    with pytest.raises(ValueError, match=re.escape(fault)):
        refuse_others(tmp_path)


def test_a_report_may_be_written_over_an_older_one(tmp_path: Path) -> None:
    write(mixed(1), tmp_path)
    refuse_others(tmp_path)


def test_the_page_runs_nothing_and_fetches_nothing(tmp_path: Path) -> None:
    write(mixed(2), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert HOSTILE not in page
    assert "<script" not in page
    assert html.escape(HOSTILE, quote=False)[:20] in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?!#)[^"'> ]+|@import|url\(""", page)


def test_every_finding_is_told_whole(tmp_path: Path) -> None:
    made = mixed(1)
    write(made, tmp_path)
    text = html.unescape(re.sub(r"<[^>]+>", " ", (tmp_path / "report.html").read_text()))
    controls = {control.id: control for control in CONTROLS}
    for one in made.hosts[0].results:
        if one.status == "finding":
            control = controls[one.control]
            for text_of_one in (control.title, control.remedy, control.reason, one.live):
                assert text_of_one in text, (one.control, text_of_one)
            assert f"of {one.control}" in text  # the evidence


def test_thirty_hosts_stay_one_page_that_can_be_mailed(tmp_path: Path) -> None:
    write(mixed(30), tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
    assert len(json.loads((tmp_path / "report.json").read_text())["hosts"]) == 30


def test_a_change_is_on_the_page(tmp_path: Path) -> None:
    change = Change(host="web", control=A, before="pass: 2 CPUs", now="finding: 4 CPUs")
    write(report(host("web", result(A, "finding")), changes=[change]), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "pass: 2 CPUs" in page
    assert "finding: 4 CPUs" in page


def test_the_sample_in_the_docs_is_a_report_of_today_s_form() -> None:
    sample = DOCS / "audit-sample" / "report.json"
    jsonschema.validate(
        json.loads(sample.read_text()), json.loads((DOCS / "audit.schema.json").read_text())
    )
    assert kept(sample, "inventories/lab.py").report.hosts
