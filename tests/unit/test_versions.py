"""Until when what a host runs gets fixes, by the words of the program itself."""

from __future__ import annotations

from datetime import date

import pytest

from tests.audit.test_versions import gets_fixes

LTS = "Status: long-term supported branch - will stop receiving fixes around Q2 2029."


@pytest.mark.parametrize(
    ("status", "day", "fixed"),
    [
        (LTS, date(2026, 11, 29), True),
        (LTS, date(2029, 6, 30), True),
        (LTS, date(2029, 7, 1), False),
        (
            "stable branch - will stop receiving fixes around Q1 2027.",
            date(2027, 3, 31),
            True,
        ),
        ("development branch - not safe for use in production.", date(2026, 1, 1), False),
        ("no status", date(2026, 1, 1), False),
    ],
)
def test_a_branch_of_haproxy_gets_fixes_until_its_quarter_ends(
    status: str, day: date, fixed: bool
) -> None:
    assert gets_fixes(status, day) is fixed
