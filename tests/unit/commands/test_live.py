"""The live view: rates, sums, and how they read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter
from rich.console import Console

from services.commands.live import Numbers, Rate, clocks_by_team, counted, line
from services.commands.screen import view
from services.handoff.store import HandedOff
from services.kpi.domain.tallies import CLOCKS_OPEN, CLOCKS_OVERDUE, HANDOFFS

AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
NUMBERS = Numbers(
    at=AT,
    states={"marketing": 40, "working": 2},
    clocks={"dach": (3, 1), "inbound": (1, 0)},
    handoffs=[
        HandedOff(lead="hubspot:1:7", at=AT, trigger="Asked", grade="A1", team="dach", owner="greta@example.com")
    ],
    events_per_minute=123.4,
    handoffs_per_minute=2.5,
)


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_of_the_last_minute() -> None:
    seconds = Seconds()
    rate = Rate(seconds)
    rate.per_minute(0)
    for n in range(1, 61):
        seconds.now += 2
        found = rate.per_minute(n * 10 if n <= 30 else 300)
        if n == 30:
            assert found == 300
    assert found == 0


def test_a_rate_that_was_looked_at_once_is_nothing() -> None:
    assert Rate(Seconds()).per_minute(1000) == 0


def test_clocks_are_summed_by_team_over_their_kinds() -> None:
    found = clocks_by_team(
        {
            (CLOCKS_OPEN, ("first_touch", "dach", "urgent")): 2,
            (CLOCKS_OPEN, ("next_attempt", "dach", "normal")): 1,
            (CLOCKS_OVERDUE, ("first_touch", "dach", "normal")): 4,
            (CLOCKS_OPEN, ("first_touch", "inbound", "normal")): 0,
            (HANDOFFS, ("Asked", "dach")): 9,
        }
    )
    assert found == {"dach": (3, 4)}


def test_a_counter_is_summed_over_its_labels() -> None:
    registry = CollectorRegistry()
    counter = Counter("leadpact_some", "Some.", ["kind"], registry=registry)
    counter.labels("a").inc(2)
    counter.labels("b").inc(3)
    assert counted(registry, "leadpact_some") == 5


def test_without_a_terminal_all_is_in_a_line() -> None:
    assert line(NUMBERS) == (
        "2026-03-02 09:00:00Z  42 leads (40 marketing, 2 working)  clocks 4 open, 1 overdue  "
        "123 events/min, 2.5 hand-offs/min"
    )


def test_what_is_lacking_is_in_the_line() -> None:
    assert line(Numbers(at=AT, lacks=["the bus is away"])).endswith("  ! the bus is away")


def test_the_screen_shows_leads_clocks_handoffs_and_what_is_lacking() -> None:
    console = Console(width=120, markup=False, highlight=False)
    lacking = Numbers(**{**vars(NUMBERS), "lacks": ["the bus is away"]})
    with console.capture() as captured:
        console.print(view(lacking, addresses=["http://127.0.0.1:8000/docs"], speed=3600))
    said = captured.get()
    for text in (
        "marketing",
        "42",
        "dach",
        "hubspot:1:7",
        "greta@example.com",
        "3600 times",
        "8000/docs",
        "bus is away",
    ):
        assert text in said


def test_on_eighty_columns_times_keys_and_grades_are_whole() -> None:
    console = Console(width=80, markup=False, highlight=False)
    long = replace(
        NUMBERS.handoffs[0],
        lead="hubspot:62515:1795685654332",
        trigger="Pregătit după punctaj",
        grade="sună azi",
        team="flote_mari",
    )
    with console.capture() as captured:
        console.print(view(replace(NUMBERS, handoffs=[long]), addresses=[], speed=1))
    for text in (f"{long.at:%d %b %H:%M:%S}", long.lead, "Preg…", "sună azi", "flote_…"):
        assert text in captured.get()
