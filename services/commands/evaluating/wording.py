"""The findings in words: the same on the screen and on the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from services.commands.evaluating.figures import Estimate
from services.commands.evaluating.history import Stage
from services.commands.evaluating.leaks import Leak, LeakFinding
from services.commands.evaluating.report import Report
from services.commands.evaluating.suggesting import Points, Suggestion
from services.commands.evaluating.verdicts import RuleFinding

STAGES: Final = {Stage.SQL: "an SQL", Stage.OPPORTUNITY: "an opportunity", Stage.CUSTOMER: "a customer"}
# An AUC from which on people speak so of a score; usual for sales scores is 0.65 to 0.8.
AUC_WORDS: Final = ((0.8, "orders leads well"), (0.7, "orders leads fairly"), (0.6, "orders leads a little"))


def share(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.0%} ({one.low:.0%} to {one.high:.0%})"


def figure(one: Estimate | None) -> str:
    return "" if one is None else f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"


def length(window: timedelta) -> str:
    """As the agreement writes it."""
    seconds = int(window.total_seconds())
    for unit, of in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % of == 0:
            return f"{seconds // of}{unit}"
    return f"{seconds}s"


def about(found: Report) -> Iterator[str]:
    """What was judged, in sentences."""
    yield (
        f"{found.leads:,} leads of {found.source}, handed off from {found.first:%Y-%m-%d} to {found.last:%Y-%m-%d}; "
        f"{found.converted:,} became {STAGES[found.to]} within {length(found.window)}: {share(found.share)}."
    )
    left = found.left_out
    counts = (
        (left.too_young, f"handed off less than {length(found.window)} before the end ({found.until:%Y-%m-%d})"),
        (left.converted_before, f"{STAGES[found.to]} before they were handed off"),
        (left.forgotten, "erased"),
        (left.nothing_known, "without a record from before the hand-off"),
    )
    if said := [f"{count:,} {why}" for count, why in counts if count]:
        yield f"Left out: {'; '.join(said)}."
    if left.never_handed_off:
        yield (
            f"Not judged: {left.never_handed_off:,} leads that were never handed off; "
            f"{left.converted_without_handoff:,} of them became {STAGES[found.to]} all the same."
        )
    if found.recorded.of and found.recorded.same < found.recorded.of:
        yield (
            f"Judged anew by agreement {found.version}, with what was known at the hand-off: "
            f"{found.recorded.same:,} of {found.recorded.of:,} grades are those that were told then."
        )


def separation(found: Report) -> str:
    """How well it orders, in a sentence."""
    one = found.separation.points
    if one is None:
        return "All leads converted, or none did: there is nothing to tell apart."
    if one.low <= 0.5 <= one.high:
        said = "the score does not tell who converts, as far as so many leads can show"
    elif one.high < 0.5:
        said = "the score is upside down: leads with more points convert less"
    else:
        said = next((words for least, words in AUC_WORDS if one.value >= least), "barely orders leads")
        said = f"the score {said}"
    return (
        f"Of two leads, one that converted and one that did not, the first had more points in {one.value:.0%}: {said}."
    )


def misplaced(found: Report) -> Iterator[str]:
    for one in found.misplaced:
        yield f"{one.better} converts worse than {one.worse}, which the agreement holds for worse."


def odds(one: RuleFinding) -> str:
    if one.odds_ratio is None:
        return ""
    return f"×{one.odds_ratio.value:.2f} ({one.odds_ratio.low:.2f} to {one.odds_ratio.high:.2f})"


def leak(one: LeakFinding) -> str:
    """Why a field is suspected, with its figures."""
    rules = f"; asked about by {', '.join(one.rules)}" if one.rules else ""
    if one.leak in (Leak.BECAME_KNOWN, Leak.CHANGED):
        figures = f"of {share(one.converted)} of those who converted, {share(one.not_converted)} of the others"
    elif one.leak is Leak.KNOWN:
        figures = f"where it is known {share(one.converted)} converted"
    else:
        figures = f"AUC of it alone {figure(one.auc)}"
    return f"{one.field}: {one.leak}: {figures}{rules}."


def suggestion(found: Suggestion) -> Iterator[str]:
    """What was learned and what it is worth."""
    if found.auc_now and found.judged_on and found.learned_from and found.points:
        yield (
            f"Learned from {found.learned_from.leads:,} leads until {found.learned_from.last:%Y-%m-%d}, "
            f"judged on {found.judged_on.leads:,} later ones ({found.judged_on.converted:,} converted)."
        )
        yield f"AUC on the later leads: today {figure(found.auc_now)}" + (
            f", suggested {figure(found.auc_suggested)}." if found.auc_suggested else "."
        )
    if found.why_not:
        yield f"Nothing is suggested: {found.why_not}."
    elif found.better_by:
        by = found.better_by
        sure = "surely better" if by.low > 0 else "perhaps by chance"
        yield f"Better by {by.value:+.3f} ({by.low:+.3f} to {by.high:+.3f}): {sure}."


def points(one: Points) -> str:
    """Why a rule's points stay or what they may be."""
    if one.low is not None and one.high is not None:
        likely = f"{one.low:g} to {one.high:g}"
        return f"{likely}; {one.why}" if one.why else likely
    return one.why


def limits(found: Report) -> Iterator[str]:
    """What these figures cannot tell."""
    yield (
        "Only leads that were handed off had the chance to convert by Sales: nothing is said of the others, and "
        "among handed-off leads, which are alike, any score separates worse than among all."
    )
    yield (
        "What goes with a rule need not come from it: Sales may have tried harder for good grades, and campaigns "
        "bring several things at once. Odds compare leads of about the same other points, no more."
    )
    if not found.late_values:
        yield (
            "The file says what fields are now, not what they were at the hand-off: what Sales filled in later makes "
            "rules look better than they are. Fields that tell too much are named; others may hide."
        )
    yield (
        f"Each judgement on a rule is drawn so that all together are right in 95% of histories; "
        f"a conversion later than {length(found.window)} counts as none."
    )
