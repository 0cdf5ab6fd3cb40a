"""Which hosts and which controls, how they are told, and the exit status.

0: every host conforms, 1: there are findings, 2: something could not be looked at.
"""

from __future__ import annotations

import platform
from collections import Counter
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

import pytest
from _pytest.junitxml import xml_key
from _pytest.terminal import TerminalReporter

import ollama_stack
from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target, read_inventory
from ollama_stack.reports.audit import (
    EXIT,
    SEVERITIES,
    STATUSES,
    HostAudit,
    Kept,
    Report,
    Result,
    compare,
    kept,
    utc_now,
    verdict,
)
from ollama_stack.reports.audit_files import refuse_others, write
from ollama_stack.revision import revision
from ollama_stack.rules import faults
from tests.audit.control import DEPLOY, Spec, sentence
from tests.audit.controls import specs
from tests.audit.looking import look

TARGETS = pytest.StashKey[list[Target]]()
REPORT = pytest.StashKey[Report]()
KEPT = pytest.StashKey[Kept]()
COULD_NOT_LOOK = EXIT["could not look"]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("audit")
    group.addoption("--inventory", help="inventory of the hosts to audit")
    group.addoption("--limit", action="append", default=[], help="only this group or host")
    group.addoption(
        "--deep", action="store_true", help="also a real prompt, and every blob's checksum"
    )
    group.addoption("--report", type=Path, help="folder for report.json, report.html and junit.xml")
    group.addoption("--since", type=Path, help="an earlier report.json; tells what changed since")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.tbstyle == "auto":
        config.option.tbstyle, config.option.reportchars = "no", ""  # told once, by the summary
    if config.option.report and not config.option.xmlpath:
        config.option.xmlpath = str(config.option.report / "junit.xml")
    config.stash[TARGETS] = _chosen(config)
    try:
        if config.option.since:
            config.stash[KEPT] = kept(config.option.since, config.option.inventory)
        if config.option.report:
            refuse_others(config.option.report)
    except ValueError as error:
        _stop(str(error))


def _chosen(config: pytest.Config) -> list[Target]:
    inventory, limit = config.option.inventory, config.option.limit
    if not inventory:
        _stop("which hosts? pytest tests/audit --inventory inventories/X.py")
    try:
        chosen = read_inventory(inventory, limit)
    except ValueError as error:
        _stop(str(error))
    refused = [f"{t.name}: {fault}" for t in chosen for fault in faults(t.groups, t.data)]
    if refused:
        _stop("refused, nothing was looked at:\n" + "\n".join(refused))
    return chosen


def _stop(why: str) -> NoReturn:
    raise pytest.exit.Exception(why, returncode=COULD_NOT_LOOK)


def pytest_report_header(config: pytest.Config) -> str:
    names = ", ".join(target.name for target in config.stash[TARGETS])
    return f"audit: {config.option.inventory}: {names}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "result" in metafunc.fixturenames:
        names = [target.name for target in metafunc.config.stash[TARGETS]]
        metafunc.parametrize("host_name", names, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """By host, and then by the controls' numbers; deep ones only if asked for."""
    _check_waivers(config)
    left_out = [item for item in items if _spec(item).deep and not config.option.deep]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    kept = [item for item in items if item not in left_out]
    hosts = [target.name for target in config.stash[TARGETS]]
    items[:] = sorted(kept, key=lambda item: (hosts.index(_host_name(item)), _number(item)))


def _check_waivers(config: pytest.Config) -> None:
    known = [spec.control.id for spec in specs()]
    for target in config.stash[TARGETS]:
        for waiver in read_settings(target.data).audit_waivers:
            if waiver["id"] not in known:
                near = get_close_matches(waiver["id"], known, n=1)
                hint = f"did you mean {near[0]}?" if near else "docs/controls.md lists them all"
                _stop(f"{target.name}: audit_waivers: {waiver['id']} is no control; {hint}")


def _spec(item: pytest.Item) -> Spec:
    marker = item.get_closest_marker("control")
    assert marker, f"{item.nodeid} is no control"
    spec: Spec = marker.args[0]
    return spec


def _host_name(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return str(item.callspec.params["host_name"])


def _number(item: pytest.Item) -> int:
    return int(_spec(item).control.id.removeprefix("OLS-"))


@pytest.fixture(scope="session")
def report(request: pytest.FixtureRequest) -> Report:
    """All hosts, looked at once, at the controls that were chosen."""
    config, session = request.config, request.session
    chosen = list({_spec(item).control.id: _spec(item) for item in session.items}.values())
    deploy = f"make deploy INVENTORY={config.option.inventory}"
    controls = [
        spec.control.model_copy(update={"remedy": spec.control.remedy.replace(DEPLOY, deploy)})
        for spec in chosen
    ]
    targets = config.stash[TARGETS]
    hosts = look(targets, chosen)
    made = Report(
        time=utc_now(),
        inventory=str(config.option.inventory),
        commit=revision(Path(config.option.inventory).absolute().parent),
        deep=config.option.deep,
        tools=_tools(),
        verdict=verdict(hosts),
        controls=controls,
        hosts=hosts,
    )
    if KEPT in config.stash:
        made = made.model_copy(update={"since": compare(config.stash[KEPT], made)})
    config.stash[REPORT] = made
    return made


@pytest.fixture
def result(report: Report, request: pytest.FixtureRequest, host_name: str) -> Result:
    """What one host gave for one control; an error if that could not be seen."""
    spec = _spec(request.node)
    host = next(host for host in report.hosts if host.host == host_name)
    found = next(result for result in host.results if result.control == spec.control.id)
    if found.status == "error":
        pytest.fail(f"{spec.control.id} {spec.control.title}: {found.note}", pytrace=False)
    return found


def _tools() -> dict[str, str]:
    packages = ("pytest", "pytest-testinfra", "pydantic", "Jinja2")
    return {
        "ollama-stack": ollama_stack.__version__,
        "Python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports; the exit status is the verdict's."""
    config = session.config
    if REPORT not in config.stash:
        if session.exitstatus not in (0, COULD_NOT_LOOK):
            session.exitstatus = COULD_NOT_LOOK
        return
    made = config.stash[REPORT]
    session.exitstatus = max(EXIT[made.verdict], int(session.exitstatus == 2) * COULD_NOT_LOOK)
    if config.option.report:
        try:
            digest = write(made, config.option.report)
        except ValueError as error:
            _stop(str(error))
        if xml := config.stash.get(xml_key, None):
            rows = {"inventory": made.inventory, "commit": made.commit, "time": made.time}
            rows |= {"report.json sha256": digest, "verdict": made.verdict, **made.tools}
            for name, value in rows.items():
                xml.add_global_property(name, str(value))


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Every finding, what could not be looked at, what is waived, what changed; a line a host."""
    if REPORT not in config.stash:
        broken = terminalreporter.stats.get("error", [])
        for trace in dict.fromkeys(report.longreprtext for report in broken):
            terminalreporter.write_line(f"the audit itself is broken:\n{trace}")
        return
    made, say = config.stash[REPORT], terminalreporter.write_line
    controls = {control.id: control for control in made.controls}
    terminalreporter.section(f"audit of {made.inventory}: {made.verdict}")
    for host in made.hosts:
        for result in host.results:
            if result.status in ("finding", "waived"):
                say(f"{host.host}: {sentence(controls[result.control], result)}\n")
        for note, count in Counter(r.note for r in host.results if r.status == "error").items():
            say(f"{host.host}: {count} controls could not be looked at: {note}\n")
    for host in made.hosts:
        say(f"{host.host}: {_summary(made, host)}")
    if made.since:
        say(f"since {made.since.time:%Y-%m-%d %H:%M} UTC: {len(made.since.changes)} changes")
        for change in made.since.changes:
            say(f"  {change.host} {change.control}: {change.before} -> {change.now}")
    if config.option.report:
        say(f"{config.option.report}: report.html, report.json, report.json.sha256, junit.xml")


def _summary(made: Report, host: HostAudit) -> str:
    counts, severe = made.counts([host]), made.findings(host)
    by_severity = ", ".join(f"{severe[level]} {level}" for level in SEVERITIES if severe[level])
    plurals = {"finding": "findings", "error": "not looked at", "pass": "passed"}
    parts = [f"{counts[s]} {plurals.get(s, s)}" for s in STATUSES if counts[s]]
    return "; ".join(parts) + (f" ({by_severity})" if by_severity else "")
