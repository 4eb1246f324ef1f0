"""Who the simulated leads are and what they do: made from a seed and a number, nothing else."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

OF_COMPANY: Final = "company."  # before a property of the company's record, as agreements name it
SITE: Final = "https://www.example.com"

FIRST_NAMES: Final = (
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farah", "Goran", "Hanna", "Ines", "Jonas", "Katja", "Luca", "Marta",
    "Nils", "Olga", "Pedro", "Quinn", "Rosa", "Sven", "Tara", "Ulrich", "Vera", "Wanda", "Yusuf", "Zoe",
)  # fmt: skip
LAST_NAMES: Final = (
    "Albrecht", "Bianchi", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Huber", "Ivanova", "Jansen", "Keller",
    "Lindqvist", "Moreau", "Novak", "Okafor", "Petrov", "Rossi", "Schmidt", "Tanaka", "Usman", "Vogel", "Weber",
)  # fmt: skip
COMPANIES: Final = ("Brightwater", "Cobalt", "Dunwick", "Elmfield", "Fairhaven", "Granite", "Harbour", "Ironbridge")
KINDS_OF_COMPANY: Final = ("Systems", "Logistics", "Health", "Foods", "Energy", "Software", "Finance", "Works")

# (job titles, hs_buying_role, how many of a hundred leads)
ROLES: Final = (
    (("VP Sales", "Chief Marketing Officer", "Head of Growth", "CEO"), "DECISION_MAKER", 28),
    (("Marketing Manager", "Sales Operations Manager", "RevOps Lead"), "INFLUENCER", 32),
    (("Marketing Specialist", "Account Executive", "CRM Administrator"), "END_USER", 25),
    (("Student", "Intern", "Freelancer"), "OTHER", 15),
)
SIZES: Final = ((5, 10), (18, 15), (45, 20), (120, 22), (480, 18), (1500, 10), (8000, 5))
INDUSTRIES: Final = (
    ("COMPUTER_SOFTWARE", 30), ("INFORMATION_TECHNOLOGY_AND_SERVICES", 20), ("FINANCIAL_SERVICES", 14),
    ("HOSPITAL_HEALTH_CARE", 12), ("LOGISTICS_AND_SUPPLY_CHAIN", 10), ("EDUCATION_MANAGEMENT", 8), ("FARMING", 6),
)  # fmt: skip
COUNTRIES: Final = (
    ("United States", 26), ("Germany", 20), ("United Kingdom", 12), ("Austria", 8), ("Switzerland", 8),
    ("France", 10), ("Romania", 8), ("Brazil", 8),
)  # fmt: skip
SOURCES: Final = (
    ("ORGANIC_SEARCH", 28), ("PAID_SEARCH", 18), ("PAID_SOCIAL", 12), ("EMAIL_MARKETING", 12), ("REFERRALS", 10),
    ("DIRECT_TRAFFIC", 10), ("SOCIAL_MEDIA", 6), ("AI_REFERRALS", 4),
)  # fmt: skip

AWARENESS_PAGES: Final = ("/blog/what-is-a-sales-sla", "/blog/lead-scoring-basics", "/blog/speed-to-lead", "/about")
CONSIDERATION_PAGES: Final = ("/product", "/case-studies/brightwater", "/integrations/hubspot", "/webinar/handoff")
DECISION_PAGES: Final = ("/pricing", "/demo", "/security", "/pricing/enterprise")
AWARENESS_FORMS: Final = ("Blog: ebook", "Blog: newsletter")
CONSIDERATION_FORMS: Final = ("Landing: webinar", "Landing: case-study")
DECISION_FORMS: Final = ("Landing: demo-request", "Landing: assessment", "Landing: consultation")
HASTES: Final = (0.03, 0.3, 1.0)  # some do in an hour what takes others days
KNOWN: Final = 0.9  # share of leads of whom a property of their trade is known
COMES_BACK: Final = 0.1  # share of those who asked for Sales that ask once more, weeks later


class Intent(StrEnum):
    """How far a lead means to go."""

    CURIOUS = "curious"
    COMPARING = "comparing"
    BUYING = "buying"


class StepKind(StrEnum):
    PAGE = "page"
    FORM = "form"
    PROFILE = "profile"  # a property is filled in or corrected


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One thing a lead does, `after_h` hours after the one before."""

    after_h: float
    kind: StepKind
    name: str
    value: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Life:
    """A lead from its creation on: the properties it is created with, those of its company too, and what it does."""

    number: int
    intent: Intent
    properties: dict[str, str]
    steps: tuple[Step, ...]

    @property
    def own(self) -> dict[str, str]:
        """The properties of the contact itself."""
        return {name: value for name, value in self.properties.items() if not name.startswith(OF_COMPANY)}

    @property
    def of_company(self) -> dict[str, str]:
        """The properties of its company's record, as the CRM calls them."""
        return {
            name.removeprefix(OF_COMPANY): value
            for name, value in self.properties.items()
            if name.startswith(OF_COMPANY)
        }

    @property
    def domain(self) -> str:
        """Where it has its mailbox."""
        return self.properties["email"].rpartition("@")[2]


@dataclass(frozen=True, kw_only=True)
class Market:
    """What leads of a trade do, and what is known of them beside a persona: property → what it can be.

    `offered` and `won` are stages of their deals.
    """

    pages: tuple[tuple[str, ...], ...] = (AWARENESS_PAGES, CONSIDERATION_PAGES, DECISION_PAGES)
    forms: tuple[tuple[str, ...], ...] = (AWARENESS_FORMS, CONSIDERATION_FORMS, DECISION_FORMS)
    properties: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    offered: str = "qualifiedtobuy"
    won: str = "closedwon"


SOFTWARE: Final = Market()  # whom the shipped agreement is about


def make_life(seed: int, number: int, market: Market = SOFTWARE) -> Life:
    """The life of lead `number`: the same for the same seed and market, whatever else happens."""
    rng = random.Random(f"{seed}:life:{number}")
    intent = rng.choices(list(Intent), weights=(40, 30, 30))[0]
    haste = rng.choice(HASTES)
    steps = tuple(replace(step, after_h=step.after_h * haste) for step in _steps(rng, intent, market))
    known = _persona(rng, number) | _of_market(random.Random(f"{seed}:market:{number}"), market)
    return Life(number=number, intent=intent, properties=known, steps=steps)


def _of_market(rng: random.Random, market: Market) -> dict[str, str]:
    known = {name: rng.choice(values) for name, values in market.properties.items() if rng.random() < KNOWN}
    return {name: value for name, value in known.items() if value}


def _pick(rng: random.Random, table: tuple[tuple[str, int], ...]) -> str:
    return rng.choices([name for name, _ in table], weights=[weight for _, weight in table])[0]


def _persona(rng: random.Random, number: int) -> dict[str, str]:
    titles, role, _ = rng.choices(ROLES, weights=[weight for _, _, weight in ROLES])[0]
    first, last = rng.choice(FIRST_NAMES), rng.choice(LAST_NAMES)
    company = f"{rng.choice(COMPANIES)} {rng.choice(KINDS_OF_COMPANY)}"
    size = rng.choices([s for s, _ in SIZES], weights=[w for _, w in SIZES])[0]
    title, industry = rng.choice(titles), _pick(rng, INDUSTRIES)
    domain = f"{company.replace(' ', '-')}-{size}{industry[0]}.example"  # all of one domain are with one company
    known = {
        "firstname": first,
        "lastname": last,
        "email": f"{first}.{last}.{number}@{domain}".lower(),
        "company": company,
        "jobtitle": title,
        "hs_buying_role": role,
        f"{OF_COMPANY}numberofemployees": str(size),
        f"{OF_COMPANY}industry": industry,
        "country": _pick(rng, COUNTRIES),
        "hs_analytics_source": _pick(rng, SOURCES),
        "lifecyclestage": "lead",
    }
    if rng.random() < 0.25:
        del known["hs_buying_role"]
    return known


def _steps(rng: random.Random, intent: Intent, market: Market) -> list[Step]:
    (aware_of, comparing, deciding), (first, second, last) = market.pages, market.forms
    steps = [_page(rng, aware_of, hours=0.1) for _ in range(rng.randint(1, 3))]
    steps.append(_form(rng, first, hours=0.2))
    if rng.random() < 0.3:
        steps.append(Step(after_h=rng.uniform(1, 20), kind=StepKind.PROFILE, name="phone", value=_phone(rng)))
    if intent is Intent.CURIOUS:
        return steps
    steps += [_page(rng, comparing, hours=16) for _ in range(rng.randint(1, 3))]
    if rng.random() < 0.6:
        steps.append(_form(rng, second, hours=4))
    if intent is Intent.COMPARING:
        return steps
    steps += [_page(rng, deciding, hours=24) for _ in range(rng.randint(1, 3))]
    steps.append(_form(rng, last, hours=0.5))
    others = tuple(form for form in last if form != steps[-1].name)
    if rng.random() < COMES_BACK and others:
        steps.append(_form(rng, others, hours=240))
    return steps


def _page(rng: random.Random, pages: tuple[str, ...], *, hours: float) -> Step:
    # Each visit has its own query, as campaigns give: the CRM only tells a change of the last address.
    url = f"{SITE}{rng.choice(pages)}?v={rng.randrange(10**9)}"
    return Step(after_h=rng.uniform(0, 2 * hours), kind=StepKind.PAGE, name=url)


def _form(rng: random.Random, forms: tuple[str, ...], *, hours: float) -> Step:
    return Step(after_h=rng.uniform(0, 2 * hours), kind=StepKind.FORM, name=rng.choice(forms))


def _phone(rng: random.Random) -> str:
    return f"+1 555 01{rng.randrange(100):02d}"
