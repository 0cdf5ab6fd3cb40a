"""One Prometheus for a site, with what it reads and whom it calls."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from pyinfra import host
from pyinfra.api import QuoteString, StringCommand, operation
from pyinfra.facts.deb import DebPackages
from pyinfra.facts.files import FileContents

from ollama_stack.facts.files import FileDigests
from ollama_stack.facts.memory import known
from ollama_stack.facts.monitoring import RunningUnits
from ollama_stack.operations.secrets import written
from ollama_stack.paths import MONITORING_DIR, UNITS
from ollama_stack.shell import Commands, or_explain, ours, placed, renamed

ALERTMANAGER = f"{MONITORING_DIR}/alertmanager.yml"
LOOK = "ollama-stack-status"


@operation()
def unstarted(packages: list[str]) -> Commands:
    """Have the services of packages that are still to come switched off: Debian's listen on every address.

    Those of a package that is there are the site's own, and stay as they are.
    """
    missing = [package for package in packages if package not in known(DebPackages)]
    if not missing:
        host.noop("the packages are there; their own services are the site's")
        return
    for package in missing:
        theirs = QuoteString(f"{UNITS}/{package}.service")  # an earlier mask of ours, or the site's
        yield StringCommand("test -e", theirs, "-o -L", theirs, f"|| systemctl mask {package}")


@operation()
def running(
    configurations: Mapping[str, str], alertmanager: str, units: Mapping[str, str], ports: list[int]
) -> Commands:
    """Have our own services run, with these files by path, and answer on these ports.

    ``alertmanager``: the text of its configuration, which may hold a password.
    """
    names = [path.rpartition("/")[2] for path in units]
    started = [name for name in names if name != f"{LOOK}.service"]  # the timer starts that
    missing = {
        path: text
        for path, text in {**configurations, **units}.items()
        if known(FileContents, path=path) != text.splitlines()
    }
    digest = f"{sha256(alertmanager.encode()).hexdigest()} 600"
    there = known(FileDigests, folder=MONITORING_DIR).get("alertmanager.yml", "")
    same = there.rpartition(" ")[0] == digest
    if not missing and same and known(RunningUnits, units=tuple(started)) == started:
        host.noop("Prometheus and its parts run as declared")
        return
    for path in missing.keys() & units.keys():
        yield ours(path, f"monitoring: {path} is not ours; move it away, and run again")
    yield StringCommand("mkdir -p --mode=755", QuoteString(MONITORING_DIR))
    if not same:
        yield from _alertmanager(alertmanager)
    for path, text in missing.items():
        yield from placed(host, path, text)
    yield "systemctl daemon-reload"
    yield or_explain(
        StringCommand(f"systemctl start {LOOK}.service"),
        f"monitoring: the first look at the servers failed; journalctl --unit {LOOK} there says why; "
        "correct that, and run again",
    )
    yield StringCommand("systemctl enable --quiet", *started, "&& systemctl restart", *started)
    yield or_explain(
        StringCommand("timeout 60 sh -c", QuoteString(_answers(ports))),
        "monitoring: Prometheus or Alertmanager does not answer; journalctl --unit "
        "'ollama-stack-*' there says why; correct that, and run again",
    )


def _alertmanager(text: str) -> Commands:
    """Nobody but Alertmanager reads it, and only what amtool understands takes the old one's place."""
    draft = f"{ALERTMANAGER}.new"
    yield from written(draft, text, "prometheus")
    yield or_explain(
        StringCommand("amtool check-config", QuoteString(draft), ">&2"),
        "monitoring_alertmanager: amtool does not understand the file, see its output above; what runs is as "
        "before; correct the file, and run again",
    )
    yield renamed(draft, ALERTMANAGER)


def _answers(ports: list[int]) -> str:
    asks = " && ".join(
        f"curl -fsS --noproxy '*' -o /dev/null http://127.0.0.1:{port}/-/ready" for port in ports
    )
    return f"until {asks}; do sleep 1; done"
