"""Who gets a lead."""

from __future__ import annotations

from collections import Counter

from services.handoff.domain.routing import owner_for


def test_leads_are_shared_out_by_weight() -> None:
    shares = Counter(owner_for({"ana": 3, "ben": 1, "away": 0}, f"hubspot:1:{n}", 1) for n in range(4000))
    assert set(shares) == {"ana", "ben"}
    assert 0.70 < shares["ana"] / 4000 < 0.80


def test_a_team_without_people_leaves_the_lead_to_the_team() -> None:
    assert owner_for({}, "hubspot:1:7", 1) == ""
