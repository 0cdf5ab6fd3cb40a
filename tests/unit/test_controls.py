"""The table of controls: whole, documented, and each with a way to break it."""

from __future__ import annotations

import re

import pytest

from lab.cluster_mutations import CLUSTER
from ollama_stack.inventory import Target
from ollama_stack.reports.audit import HostAudit
from tests.audit.control import DEPLOY, Blocked, Finding, NotApplicable, Reading, Unreadable
from tests.audit.controls import PAGE, page, specs
from tests.audit.live import Live
from tests.audit.looking import look
from tests.audit.test_environment import normal, spoken
from tests.lab.mutations import FLEET, LOCKED, OPEN
from tests.unit.conftest import group_data


def test_every_control_has_a_mutation_of_its_own() -> None:
    tables = [*OPEN, *LOCKED, *FLEET, *CLUSTER]
    assert sorted(tables) == sorted(spec.control.id for spec in specs())


def test_controls_say_why_in_one_sentence() -> None:
    for spec in specs():
        assert re.fullmatch(r"[A-Z][^\n]*\.", spec.control.reason), spec.control.id
        assert spec.control.reference
        assert "{" not in spec.control.remedy.replace(DEPLOY, "make deploy"), spec.control.id
        assert spec.control.remedy


def test_the_page_of_controls_is_fresh() -> None:
    assert PAGE.read_text() == page(), "make docs"


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        *(("5m", "300s"), ("5m0s", "300s"), ("1h", "3600s"), ("1h0m0s", "3600s")),
        *(("-1", "for ever"), ("2562047h47m16.854775807s", "for ever")),
        *(("http://0.0.0.0:11434", "0.0.0.0:11434"), ("true", "1"), ("15", "15")),
    ],
)
def test_what_the_server_says_and_we_declare_are_spelt_alike(written: str, spelt: str) -> None:
    assert normal(written) == spelt


def test_a_variable_that_the_server_does_not_read_is_not_in_its_line() -> None:
    line = 'msg="server config" env="map[OLLAMA_KEEP_ALIVE:5m0s OLLAMA_MAX_QUEUE:15 no_proxy:]"'
    assert spoken(line, "OLLAMA_MAX_QUEUE") == "15"
    assert spoken(line, "OLLAMA_KEEP_ALIVE") == "300s"
    assert spoken(line, "OLLAMA_NUM_THREAD") is None


# Looks at a host that need no host.
FAR = Reading("there", "true", "there")


def one(waivers: list[dict[str, str]], **looks: object) -> HostAudit:
    """One host's audit, with what each control's look gives or raises."""
    data = group_data("all", "medium") | {"audit_waivers": waivers}
    chosen = []
    for spec in specs():
        outcome = looks.get(spec.control.id.replace("-", "_"))
        if outcome is None:
            continue

        def see(_: Live, outcome: object = outcome) -> Finding:
            if isinstance(outcome, Exception):
                raise outcome
            assert isinstance(outcome, Finding)
            return outcome

        chosen.append(spec._replace(look=see))
    return look([Target("web", ("medium",), data)], chosen)[0]


def statuses(audit: HostAudit) -> dict[str, str]:
    return {result.control: result.status for result in audit.results}


SCORE = PAGE.parent / "audit.md"
WAIVER = {"id": "OLS-801", "reason": "loopback only", "until": "2100-01-01"}


def test_a_finding_is_waived_until_its_day() -> None:
    wrong, right = FAR.equals("elsewhere"), FAR.equals("there")
    found = one([WAIVER], OLS_801=wrong, OLS_802=wrong, OLS_501=right)
    assert statuses(found) == {"OLS-501": "pass", "OLS-801": "waived", "OLS-802": "finding"}
    assert dict(found.results[1].waiver or {}) == WAIVER
    over = {**WAIVER, "until": "2026-01-31"}
    assert statuses(one([over], OLS_801=wrong)) == {"OLS-801": "finding"}


def test_a_waiver_covers_no_host_that_cannot_be_looked_at() -> None:
    found = one([WAIVER], OLS_801=Unreadable("the host cannot be reached: no route"))
    assert statuses(found) == {"OLS-801": "error"}


def test_blocked_needs_a_control_that_has_failed() -> None:
    wrong, right = FAR.equals("elsewhere"), FAR.equals("there")
    found = one([], OLS_502=wrong, OLS_503=Blocked("OLS-502"))
    assert statuses(found) == {"OLS-502": "finding", "OLS-503": "blocked"}
    found = one([], OLS_502=right, OLS_503=Blocked("OLS-502"))
    assert statuses(found) == {"OLS-502": "pass", "OLS-503": "error"}


def test_an_answer_that_nobody_expected_hides_no_other() -> None:
    found = one([], OLS_502=KeyError("State"), OLS_503=NotApplicable("no"))
    assert statuses(found) == {"OLS-502": "error", "OLS-503": "not applicable"}
    assert found.results[0].note == "the host's answer is not understood: KeyError: 'State'"


def test_the_score_in_the_docs_is_the_table_s() -> None:
    mutations = [each.also for each in (*OPEN.values(), *LOCKED.values(), *FLEET.values())]
    mutations += [each.also for each in CLUSTER.values()]
    alone = sum(not also for also in mutations)
    score = re.search(r"Score: (\d+) of (\d+), (\d+) of them\s+alone", SCORE.read_text())
    assert score
    assert [int(number) for number in score.groups()] == [len(mutations), len(specs()), alone]
