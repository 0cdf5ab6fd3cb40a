"""Logs: they end somewhere, and say nothing of late that should have woken somebody."""

from __future__ import annotations

import json
import re

from tests.audit.control import Finding, Reading, control
from tests.audit.inspected import Inspected
from tests.audit.live import APP, GATEWAY, OLLAMA, Live

MINUTES = 15
# A killed runner and a broken answer have no word `error` in them (facts by llm/server.go and
# server/routes.go). What a client does is no failure: leaving (499, 500, "context canceled"), a
# wrong option.
FAILURES = (
    r'level=ERROR|msg="(Load failed|failed to create server)'
    r'|msg="(llama runner process no longer running|llama-server process no longer running)'
    r'|msg="(runtime OOM detected|model request too large)'
    r"|\| 5[0-9][0-9] \||^panic:|fatal error:|GGML_ASSERT|signal: killed"
    r"|out of memory|failed to allocate"
)
LEFT = r"context canceled"
# Also that of a client who left before a whole answer; the gateway can tell them apart.
GATEWAY_TELLS = r"|\| 500 \|"
# HAProxy's session state: the server broke off, or fell silent, in the middle of the data.
BROKEN = r'"status":(500|502|504)|"end":"[Ss]D'
# Nobody looks at what `admin` asks: a wrong option, or a name that no registry has, is a 500 of Ollama's as well.
UNLOOKED = re.compile(r'"token":"admin",.*"status":500')
# What the app could not give a student who was there to read it.
LOST = r'"outcome": "(unavailable|late)"'
DECLARED = {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}


@control("OLS-901", "Ollama's log is rotated", "medium", "docker json-file driver")
def test_ollamas_log_is_rotated(live: Live) -> Finding:
    """Docker's default never rotates, and the disk fills up in the middle of a term."""
    return _rotated(live.ollama)


@control("OLS-902", "The gateway's log is rotated", "medium", "docker json-file driver")
def test_gateways_log_is_rotated(live: Live) -> Finding:
    """Docker's default never rotates, and the disk fills up in the middle of a term."""
    return _rotated(live.gateway)


@control("OLS-905", "The app's log is rotated", "medium", "docker json-file driver")
def test_apps_log_is_rotated(live: Live) -> Finding:
    """Docker's default never rotates, and the disk fills up in the middle of a term."""
    return _rotated(live.app)


def _rotated(container: Inspected) -> Finding:
    config = container.read("HostConfig.LogConfig")
    return config.equals(DECLARED, lambda found: json.dumps(found, sort_keys=True))


@control(
    *("OLS-903", f"Ollama's log tells of no failure in the last {MINUTES} minutes", "high"),
    *("Ollama llm/, server/sched.go", f"docker logs --since 1h {OLLAMA}"),
)
def test_ollamas_log_tells_of_no_failure(live: Live) -> Finding:
    """A killed runner or a broken answer is told there and nowhere else."""
    live.pid(live.ollama)
    log = live.log(OLLAMA, FAILURES, f"{MINUTES}m")
    left = re.compile(LEFT + GATEWAY_TELLS if live.settings.gateway_enabled else LEFT)
    return _quiet(log, [line for line in log.value.splitlines() if not left.search(line)])


@control(
    *(
        "OLS-904",
        f"The gateway's log tells of no broken answer in the last {MINUTES} minutes",
        "high",
    ),
    *("HAProxy log-format", f"docker logs --since 1h {GATEWAY}"),
)
def test_gateways_log_tells_of_no_broken_answer(live: Live) -> Finding:
    """A refusal (503) is the queue at work; any other broken answer is one that somebody lost."""
    live.pid(live.gateway)
    log = live.log(GATEWAY, BROKEN, f"{MINUTES}m")
    return _quiet(log, [line for line in log.value.splitlines() if not UNLOOKED.search(line)])


@control(
    *("OLS-906", f"The app's log tells of no lost question in the last {MINUTES} minutes", "high"),
    *("ours", f"docker logs --since 1h {APP}"),
)
def test_apps_log_tells_of_no_lost_question(live: Live) -> Finding:
    """A stream that fails is HTTP 200 to everybody else."""
    live.pid(live.app)
    log = live.log(APP, LOST, f"{MINUTES}m")
    return _quiet(log, log.value.splitlines())


def _quiet(log: Reading, lines: list[str]) -> Finding:
    last = lines[-1] if lines else "(no line)"
    return Reading(len(lines), log.command, last[:500]).meets(
        "no line", not lines, f"{len(lines)} lines", steady=False
    )
