"""A garage for fleets, in Romanian: the second agreement that ships, from a lead's acts to its way back.

Through scoring's and hand-off's own rules: nothing in them knows the first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.scoring.domain.lead import Lead
from services.scoring.domain.score import scorer_of
from services.scoring.domain.wording import Wording
from services.scoring.worker import HANDLERS
from shared.agreement import Agreement, check, load
from shared.events import (
    Channel,
    ClockBreached,
    ClockKind,
    ClockStarted,
    ContactChanged,
    FormSubmitted,
    LeadAssigned,
    LeadHandedOff,
    LeadReturned,
    LeadScored,
    NurtureStarted,
    PageVisited,
    PropertyValue,
    identity,
)
from shared.languages import ENGLISH, Language, languages
from shared.work import Facts
from tests.agreements import SHIPPED_FILE
from tests.unit.handoff.story import TENANT, Story

FILE = SHIPPED_FILE.parent / "agreements" / "service-auto.yaml"
GARAGE: Agreement = load(FILE)
MORNING = datetime(2027, 3, 2, 8, 0, tzinfo=UTC)  # ten o'clock on a Tuesday in Bucharest
FLEET = {
    "firstname": "Mircea",
    "phone": "+40 700 000 000",
    "jobtitle": "SEF PARC AUTO",
    "numar_vehicule": "40",
    "judet": "CONSTANTA",
    "tip_flota": "Camioane",
}


class Told:
    """One lead, first to scoring; what that says goes to hand-off."""

    def __init__(self, start: datetime = MORNING) -> None:
        self.lead = Lead()
        self.handoff = Story(agreement=GARAGE, start=start)
        self.scored: list[LeadScored] = []

    @property
    def now(self) -> datetime:
        return self.handoff.now

    def has(self, **properties: str) -> Told:
        values = tuple(PropertyValue(name=name, value=value, at=self.now) for name, value in properties.items())
        return self._hear(ContactChanged, values=values)

    def submits(self, form: str) -> Told:
        return self._hear(FormSubmitted, form=form)

    def visits(self, path: str) -> Told:
        return self._hear(PageVisited, url=f"https://service-auto.example{path}")

    def _hear(self, kind: type[Any], **said: Any) -> Told:
        about = {"tenant": TENANT, "lead": self.handoff.lead.lead, "at": self.now}
        message = kind(id=identity(kind.__name__, self.now, sorted(said.items(), key=str)), **about, **said)
        decision = HANDLERS[kind](self.lead, message, Facts(now=self.now, agreement=GARAGE))
        self.lead = decision.state
        for score in [one for one in decision.messages if isinstance(one, LeadScored)]:
            self.scored.append(score)
            self._to_handoff(score)
        return self

    def _to_handoff(self, score: LeadScored) -> None:
        names = ("fit", "interest", "fit_grade", "interest_level", "grade", "journey", "disqualified")
        more = {name: getattr(score, name) for name in (*names, "fit_reasons", "interest_reasons", "profile", "forms")}
        self.handoff.scored(version=score.version, **more)

    def why(self) -> str:
        return self.why_in(ENGLISH)

    def why_in(self, language: Language) -> str:
        return Wording(GARAGE, language).score(scorer_of(GARAGE).score(self.lead, self.now))


def test_it_is_right_without_a_warning() -> None:
    assert check(FILE) == []


def test_a_lead_is_graded_by_the_rules_of_its_trade_however_they_are_typed() -> None:
    told = Told().has(**FLEET).submits("calculator-costuri")
    assert told.scored[-1].grade == "încălzește"
    assert told.why() == (
        "Grade încălzește: fit ideală with 90 points (Role: sef parc auto; Flotă de mărimea potrivită;"
        " În raza atelierelor noastre; Camioane sau utilitare), interest rece with 20 points (A calculat costurile),"
        " in the consideration stage."
    )


def test_the_garage_hears_in_its_own_language_why_a_lead_is_worth_what_it_is() -> None:
    assert Told().has(**FLEET).submits("calculator-costuri").why_in(languages()["ro"]) == (
        "Nota încălzește: potrivire ideală cu 90 de puncte (Rol: sef parc auto; Flotă de mărimea potrivită;"
        " În raza atelierelor noastre; Camioane sau utilitare), interes rece cu 20 de puncte (A calculat costurile),"
        " în etapa de evaluare."
    )


def test_a_broken_down_truck_goes_to_its_county_at_once() -> None:
    told = Told().has(**FLEET, urgenta="Imobilizat").submits("programare-service")
    handed = told.handoff.only(LeadHandedOff)
    assert (handed.trigger, handed.priority, handed.team) == ("Vehicul imobilizat", "imobilizat", "constanta")
    assert handed.information["judet"] == "CONSTANTA"
    due = {clock.clock: clock.due_at for clock in told.handoff.heard(ClockStarted)}
    assert due[ClockKind.FIRST_TOUCH] == MORNING + timedelta(minutes=15)


def test_a_large_fleet_has_a_team_and_a_time_of_its_own() -> None:
    told = Told().has(**{**FLEET, "numar_vehicule": "150"}).submits("oferta-flota")
    assert told.handoff.only(LeadHandedOff).team == "flote_mari"
    assert told.handoff.only(LeadAssigned).owner == "sorin@service-auto.example"


def test_who_only_looks_is_handed_over_by_the_score() -> None:
    told = Told().has(**FLEET)
    for _ in range(4):
        told.handoff.after(timedelta(minutes=5))
        told.visits("/preturi")
    assert told.handoff.only(LeadHandedOff).trigger == "Pregătit după punctaj"
    assert told.scored[-1].journey == "decision"


def test_the_matrix_of_the_trade_says_who_is_called_today_and_the_fit_by_when() -> None:
    told = Told().has(**FLEET).submits("calculator-costuri").submits("ghid-mentenanta")
    assert (told.scored[-1].fit_grade, told.scored[-1].interest_level) == ("ideală", "cald")
    handed = told.handoff.only(LeadHandedOff)
    assert (handed.trigger, handed.grade) == ("Pregătit după punctaj", "sună azi")
    due = {clock.clock: clock.due_at for clock in told.handoff.heard(ClockStarted)}
    assert due[ClockKind.FIRST_TOUCH] == MORNING + timedelta(hours=4 + 1)  # an hour of it at noon


def test_who_fits_well_and_is_no_more_than_warm_is_called_this_week_and_stays_with_marketing() -> None:
    told = Told().has(**{**FLEET, "jobtitle": "", "tip_flota": ""}).submits("calculator-costuri")
    told.submits("ghid-mentenanta")
    assert told.scored[-1].grade == "sună săptămâna asta"
    assert told.handoff.heard(LeadHandedOff) == []


def test_somebody_at_the_competition_is_no_lead() -> None:
    told = Told().has(**FLEET, email="spion@alt-service.example").submits("oferta-flota")
    assert told.handoff.heard(LeadHandedOff) == []
    assert told.why() == "Not a lead for us: concurenta."


def test_a_garage_works_on_saturday_morning_and_not_at_easter() -> None:
    saturday = datetime(2027, 3, 6, 10, 30, tzinfo=UTC)  # half past twelve there: half an hour is left
    told = Told(saturday).has(**{**FLEET, "judet": "Ilfov"}).submits("oferta-flota")
    due = {clock.clock: clock.due_at for clock in told.handoff.heard(ClockStarted)}
    assert due[ClockKind.FIRST_TOUCH] == datetime(2027, 3, 8, 6, 30, tzinfo=UTC)
    holy = datetime(2027, 4, 30, 8, 0, tzinfo=UTC)
    assert not GARAGE.calendar_for("cluj", "timea@service-auto.example").is_open(holy)


def test_who_has_a_contract_already_comes_back_next_year() -> None:
    told = Told().has(**{**FLEET, "judet": "Ilfov"}).submits("oferta-flota")
    story = told.handoff.after(timedelta(minutes=20)).activity(channel=Channel.WHATSAPP)
    story.send_back("are_contract_in_vigoare")
    assert story.only(LeadReturned).reason == "are_contract_in_vigoare"
    assert story.only(NurtureStarted).track == "contract_la_anul"
    assert story.heard(ClockBreached) == []
