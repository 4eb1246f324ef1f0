"""Which agreements are in force: a snapshot by which a whole decision is made, and the place that has the newest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from shared.agreement.model import Agreement
from shared.errors import Refused

ALL_OTHERS: Final = ""  # in place of a tenant: the agreement of everybody who has none of their own
BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TakenUp:
    """An agreement in force; `at` is when this process took it up, in business time."""

    agreement: Agreement
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InForce:
    """The agreements in force at one moment, by tenant.

    Never changes: whoever decides takes one and keeps it to the end of the decision.
    """

    by_tenant: Mapping[str, TakenUp]

    def of(self, tenant: str) -> TakenUp:
        """The tenant's own, or that of all others. Raises Refused (`no_agreement`) where there is neither."""
        found = self.by_tenant.get(tenant) or self.by_tenant.get(ALL_OTHERS)
        if found is None:
            raise Refused("no_agreement", f"no agreement is for {tenant}, and none for all others")
        return found

    def for_tenant(self, tenant: str) -> Agreement:
        """Raises Refused (`no_agreement`)."""
        return self.of(tenant).agreement

    @property
    def agreements(self) -> Sequence[Agreement]:
        """All of them, that of all others first."""
        return [self.by_tenant[tenant].agreement for tenant in sorted(self.by_tenant)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A file that is not taken up. What it says wrong is personal at times, so only where and how much is told."""

    file: str
    why: str  # invalid, gone or ambiguous
    detail: str
    problems: int = 1

    def __str__(self) -> str:
        return f"{self.file} is not taken up: {self.detail}"


class Agreements:
    """Has the agreements in force. `now` is always a whole: it is replaced, never changed.

    `refused` says which files are not taken up; the agreements that they stood for stay in force.
    """

    def __init__(self, *agreements: Agreement) -> None:
        self.now = InForce(
            by_tenant={one.tenant or ALL_OTHERS: TakenUp(agreement=one, at=BEGINNING) for one in agreements}
        )
        self.refused: Sequence[Refusal] = ()
        self._after_swap: list[Callable[[], None]] = []

    def for_tenant(self, tenant: str) -> Agreement:
        """That of this moment: for one question, not for a decision. Raises Refused (`no_agreement`)."""
        return self.now.for_tenant(tenant)

    def after_swap(self, call: Callable[[], None]) -> None:
        """Have `call` called after each change of what is in force."""
        self._after_swap.append(call)

    def swap(self, in_force: InForce) -> None:
        """From now on these are in force."""
        self.now = in_force
        for call in self._after_swap:
            call()
