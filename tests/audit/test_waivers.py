"""Waivers: what is accepted has a reason and an end."""

from __future__ import annotations

from datetime import date

from tests.audit.control import Finding, Reading, control
from tests.audit.live import Live


@control(
    *("OLS-1101", "No waiver has expired", "high", "ours"),
    "correct the finding, or give audit_waivers another day",
)
def test_no_waiver_has_expired(live: Live) -> Finding:
    """What was accepted for a time is a finding after it."""
    waivers = live.settings.audit_waivers
    over = [w for w in waivers if date.fromisoformat(w["until"]) < date.today()]
    shown = ", ".join(f"{w['id']} until {w['until']}" for w in waivers) or "none"
    return Reading(over, "audit_waivers in the inventory", shown).equals(
        [], lambda ended: ", ".join(f"{w['id']} until {w['until']}" for w in ended) or "none"
    )
