"""What each verb of the command line does; what it returns is its exit status."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import gevent
import pyinfra_cli  # noqa: F401 first of all: it replaces the sockets of whoever imports it
from pydantic import BaseModel
from pyinfra.api import DeployError
from rich.console import Console

from ollama_stack.bundle.file import Machine
from ollama_stack.check import Checked, check, check_servers
from ollama_stack.config.settings import read_settings
from ollama_stack.inventory import Target, only, read_hosts, read_inventory
from ollama_stack.load import ClassHour
from ollama_stack.reports.plan import EXIT, make_plan, show_plan
from ollama_stack.reports.plan_monitoring import with_monitoring
from ollama_stack.reports.status import find_status
from ollama_stack.reports.status_table import show_status, watch_status
from ollama_stack.rolling import roll
from ollama_stack.rules import faults, refusal
from ollama_stack.run import asked, overridden, run

NO_REPORT = 3
gevent.get_hub().NOT_ERROR += (KeyboardInterrupt,)  # which it would tell as a fault of its own

Report = TypeVar("Report", bound=BaseModel)


def plan(inventory: str, limit: Sequence[str], bundle: str | None, as_json: bool) -> int:
    """Tell the report; pyinfra's own log and diffs go to stderr, but for machines."""
    ask = partial(asked, data=_given(bundle))
    try:
        checked, pyinfra = check(inventory, limit, ask), partial(ask, show=not as_json)
        report = with_monitoring(make_plan(checked, pyinfra), checked, pyinfra)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return NO_REPORT
    _print_report(report, as_json, show_plan)
    return EXIT[report.verdict]


def deploy(
    inventory: str, limit: Sequence[str], rolling: int | None, bundle: str | None, as_json: bool
) -> int:
    """All servers side by side; or, once all fit, ``rolling`` at a time until one fails. Then who watches them."""
    ask = partial(asked, data=_given(bundle))
    checked = check(inventory, limit, ask)
    checked.refuse()
    if checked.monitors and (code := _refused_monitoring(checked)):
        return code
    code = _serve(checked, rolling, bundle, as_json) if checked.targets else 0
    if checked.monitors and not code:
        code = _change(inventory, "monitoring.py", [target.name for target in checked.monitors])
    return code


def _refused_monitoring(checked: Checked) -> int:
    """Before any server changes; its host is looked at, and stays as it is."""
    dry = asked(
        checked.inventory, "monitoring.py", "--dry", *only(m.name for m in checked.monitors)
    )
    if dry.returncode:
        sys.stderr.write(dry.stderr)
    return dry.returncode


def _serve(checked: Checked, rolling: int | None, bundle: str | None, as_json: bool) -> int:
    data = _given(bundle)
    change = partial(_change, checked.inventory, "deploy.py", data=data)
    if rolling:
        report = make_plan(checked, partial(asked, data=data))
        if code := EXIT[report.verdict]:
            show_plan(report, Console(stderr=True))
            return code
        code = roll(checked.names, rolling, change)
    else:
        code = change(checked.names)
    if rolling or as_json:
        _print_status(checked, as_json, stderr=True)
    return code


def rollback(inventory: str, limit: Sequence[str], to: int | None, as_json: bool) -> int:
    """The release before the current one, or the one of this number."""
    checked = _faultless(inventory, limit)
    number = (f"_release={to}",) if to else ()
    code = _change(inventory, "rollback.py", checked.names, data=number)
    if as_json:
        _print_status(checked, as_json, stderr=True)
    return code


def status(
    inventory: str, limit: Sequence[str], as_json: bool, watch: bool, metrics: str | None
) -> int:
    """Which release every host runs, and how it is; ``watch``: until it is interrupted."""
    checked = _faultless(inventory, limit)
    if metrics:
        return _write_metrics(checked, metrics)
    if watch:
        watch_status(partial(find_status, checked.inventory, checked.targets), Console())
    _print_status(checked, as_json)
    return 0


def handout(inventory: str, limit: Sequence[str], folder: Path) -> int:
    """A sheet for every host, none of which is asked; 1 if students cannot open the page of one."""
    from ollama_stack.reports.handout import make_sheets, write_sheets

    sheets = make_sheets(_declared(inventory, limit), read_hosts(inventory, asked))
    for path in write_sheets(sheets.values(), folder):
        sys.stdout.write(f"{path} is written\n")
    closed = {name: sheet.problem for name, sheet in sheets.items() if sheet.problem}
    for name, problem in closed.items():
        sys.stderr.write(f"{name}: {problem}\n")
    return int(bool(closed))


def outdated(inventory: str, limit: Sequence[str], as_json: bool) -> int:
    """What registries have that is newer; no host is asked."""
    from ollama_stack.reports.outdated import EXIT, find_outdated, show_outdated

    try:
        report = find_outdated(inventory, _declared(inventory, limit))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return NO_REPORT
    _print_report(report, as_json, show_outdated)
    return EXIT[report.verdict]


def bundle(inventory: str, limit: Sequence[str], out: str, machine: Machine) -> int:
    """All that the hosts need, in one file; no host is asked."""
    from ollama_stack.bundle.making import make

    targets = _declared(inventory, limit)
    path = Path(out)
    try:
        digest = make(
            [read_settings(target.data) for target in targets], machine, path, Console(stderr=True)
        )
    except DeployError as error:  # pip's output
        raise ValueError(str(error)) from error
    sys.stdout.write(f"{path} is written, {path.stat().st_size / 1e6:.0f} MB, {digest}\n")
    return 0


def load(
    inventory: str, limit: Sequence[str], hour: ClassHour, folder: str | None, as_json: bool
) -> int:
    """A class at one host after the other; what stops it is no broken bound."""
    from ollama_stack.load.aim import locust
    from ollama_stack.reports.load import EXIT, measure, refuse_others, show_load, write_load

    try:
        locust()
        if folder:
            refuse_others(Path(folder))
        targets = _declared(inventory, limit)
        sys.stderr.write(
            f"{hour.students} students ask {', '.join(target.name for target in targets)} for {hour.minutes:g} min each ...\n"
        )
        found = measure(inventory, targets, hour)
        _print_report(found, as_json, show_load)
        for path in write_load(found, Path(folder)) if folder else []:
            sys.stderr.write(f"{path} is written\n")
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT["unmeasured"]
    return EXIT[found.verdict]


def sizing(inventory: str, limit: Sequence[str], as_json: bool) -> int:
    """What each host carries; hosts that nobody can measure have a line too."""
    from ollama_stack.reports.load import EXIT
    from ollama_stack.reports.sizing import find_sizing, keep_speeds, show_sizing

    try:
        targets = _declared(inventory, limit)
        sys.stderr.write(
            f"a few questions go to {', '.join(target.name for target in targets)} ...\n"
        )
        found = find_sizing(inventory, targets)
        _print_report(found, as_json, show_sizing)
        keep_speeds(found)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT["unmeasured"]
    return EXIT[found.verdict]


def _declared(inventory: str, limit: Sequence[str]) -> list[Target]:
    """The hosts, none of which is asked; ValueError with the faults of their settings."""
    targets = read_inventory(inventory, limit, asked)
    if message := refusal({target.name: faults(target.groups, target.data) for target in targets}):
        raise ValueError(message)
    return targets


def _faultless(inventory: str, limit: Sequence[str]) -> Checked:
    """pyinfra itself calls an inventory that is not there, or a limit without hosts, a success."""
    checked = check_servers(inventory, limit, asked)
    checked.refuse()
    return checked


def _given(bundle: str | None) -> tuple[str, ...]:
    """The setting, of every host of this run."""
    return (f"bundle={bundle}",) if bundle else ()


def _change(inventory: str, story: str, names: Sequence[str], data: Sequence[str] = ()) -> int:
    return run("-y", inventory, story, *only(names), *overridden(data))


def _write_metrics(checked: Checked, path: str) -> int:
    from ollama_stack.reports.metrics import refuse_others, write_metrics

    try:
        refuse_others(path)
        write_metrics(find_status(checked.inventory, checked.targets), path)
    except OSError as error:
        raise ValueError(
            f"--metrics: {path} cannot be written ({error.strerror}); name a file in a folder of yours"
        ) from error
    return 0


def _print_status(checked: Checked, as_json: bool, stderr: bool = False) -> None:
    _print_report(find_status(checked.inventory, checked.targets), as_json, show_status, stderr)


def _print_report(
    report: Report, as_json: bool, show: Callable[[Report, Console], None], stderr: bool = False
) -> None:
    """For machines on stdout; else for people."""
    if as_json:
        sys.stdout.write(json.dumps(report.model_dump(mode="json"), indent=2) + "\n")  # in ASCII
    else:
        show(report, Console(stderr=stderr))
