"""Applications, beneficiaries, batches and instructions: their states, what each step needs, and what is refused. Pure."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sandroad.money import Money
from usecases.cash_transfer.refusals import FourEyes, StepOutOfOrder

# An application goes through these, in this order; ``refused`` ends it from anywhere.
APPLICATION_STATES = ("opened", "identified", "consented", "registered", "visited", "verified", "granted", "enrolled")


@dataclass(frozen=True)
class Application:
    """One household's application. ``record`` is what the population registry showed, ``visit`` what the officer saw."""

    id: str
    state: str
    opened_by: str
    opened_at: datetime
    functional_id: str = ""
    household: str = ""
    phone: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    visit: Mapping[str, Any] = field(default_factory=dict)
    answers: Mapping[str, bool] = field(default_factory=dict)
    decision: Mapping[str, Any] = field(default_factory=dict)
    payee: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    def reached(self, state: str) -> bool:
        """Tell whether the application has come as far as ``state``."""
        return self.state in APPLICATION_STATES and _rank(self.state) >= _rank(state)

    def need(self, *states: str, to: str) -> None:
        """Raise ``StepOutOfOrder`` unless the application is in one of ``states``."""
        if self.state not in states:
            raise StepOutOfOrder(f"application {self.id} is {self.state}; to {to} it must be {' or '.join(states)}")

    def advance(self, state: str, **changed: Any) -> "Application":
        """Return the application in a later state; one that it has passed, or a refusal, stays as it is."""
        stays = self.state == "refused" or self.reached(state)
        return replace(self, state=self.state if stays else state, **changed)

    def refuse(self, reason: str) -> "Application":
        """Return the application as refused."""
        return replace(self, state="refused", reason=reason)


@dataclass(frozen=True)
class Beneficiary:
    """Somebody who is paid. ``state``: pending-consent, registering, active, failed (payee not accepted), stopped.

    ``source`` is the application's id or the external reference of an imported row.
    """

    functional_id: str
    source: str
    state: str
    household: str
    package: str
    amount: Money
    modality: str
    address: str
    name: str = ""
    phone: str = ""
    lawful_basis: str = "consent"
    reason: str = ""
    payee_version: int = 1
    digest: str = ""


@dataclass(frozen=True)
class Batch:
    """The instructions of one cycle and attempt that are released together. Ids have the contract's 12 characters.

    ``state``: prepared → validating → validated → paying → reconciled; ``rejected`` when payments would not take it.
    """

    id: str
    cycle: str
    attempt: int
    part: int
    state: str
    prepared_by: str
    prepared_at: datetime
    approved_by: str = ""
    reason: str = ""

    def need(self, *states: str, to: str) -> None:
        """Raise ``StepOutOfOrder`` unless the batch is in one of ``states``."""
        if self.state not in states:
            raise StepOutOfOrder(f"batch {self.id} is {self.state}; to {to} it must be {' or '.join(states)}")

    def approve(self, officer: str) -> "Batch":
        """Return the batch as released by ``officer``, who must not be the one who prepared it."""
        self.need("validated", to="approve it")
        if officer.casefold() == self.prepared_by.casefold():
            raise FourEyes(f"batch {self.id} was prepared by the same officer; a second one must approve it")
        return replace(self, state="paying", approved_by=officer)


@dataclass(frozen=True)
class Instruction:
    """One payment of one cycle to one beneficiary. ``state``: planned, held, paying, paid, failed.

    ``held`` never reaches payments: the reason says why. The id has the contract's 16 characters and depends on cycle,
    beneficiary and attempt alone, so that whatever crashes, the same payment is never asked for under two ids.
    """

    id: str
    batch_id: str
    cycle: str
    functional_id: str
    attempt: int
    amount: Money
    state: str = "planned"
    reason: str = ""


def fixed_id(length: int, *parts: str | int) -> str:
    """Return ``length`` characters (A–Z, 2–7) that depend on ``parts`` alone: the same work has the same id after a crash."""
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return base64.b32encode(digest).decode()[:length]


def batch_id(programme: str, cycle: str, attempt: int, part: int) -> str:
    """Return the BatchID: 12 characters (payments v1.0)."""
    return fixed_id(12, "batch", programme, cycle, attempt, part)


def instruction_id(programme: str, cycle: str, functional_id: str, attempt: int) -> str:
    """Return the InstructionID: 16 characters (payments v1.0)."""
    return fixed_id(16, "instruction", programme, cycle, functional_id, attempt)


def request_id(kind: str, *parts: str | int) -> str:
    """Return a RequestID: 12 characters (payments v1.0)."""
    return fixed_id(12, kind, *parts)


def cycle_at(now: datetime, every_months: int, payday: int) -> str:
    """Return the cycle that is due at ``now`` as ``2026-03``: the last month whose payday has come and that is a cycle's month.

    Cycles count from January: every two months means January, March, May …
    """
    year, month = (now.year, now.month) if now.day >= payday else _month_before(now.year, now.month)
    while (month - 1) % every_months:
        year, month = _month_before(year, month)
    return f"{year:04}-{month:02}"


def next_payday(now: datetime, every_months: int, payday: int) -> datetime:
    """Return the first moment of the next cycle after the one that is due at ``now``."""
    due = cycle_at(now, every_months, payday)
    year, month = _month_after(int(due[:4]), int(due[5:]))
    while (month - 1) % every_months:
        year, month = _month_after(year, month)
    return now.replace(year=year, month=month, day=payday, hour=0, minute=0, second=0, microsecond=0)


def _month_before(year: int, month: int) -> tuple[int, int]:
    return (year, month - 1) if month > 1 else (year - 1, 12)


def _month_after(year: int, month: int) -> tuple[int, int]:
    return (year, month + 1) if month < 12 else (year + 1, 1)


def _rank(state: str) -> int:
    return APPLICATION_STATES.index(state)
