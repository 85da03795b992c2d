"""Cases, beneficiaries and batches as JSON for screens and the scenario."""

from collections.abc import Iterable, Mapping
from typing import Any

from usecases.cash_transfer.domain import Application, Batch, Beneficiary, Instruction


def application(each: Application) -> dict[str, Any]:
    """Return an application. The record of the population registry is shown as it was read."""
    return {
        "id": each.id,
        "state": each.state,
        "reason": each.reason,
        "opened_at": each.opened_at.isoformat(),
        "opened_by": each.opened_by,
        "functional_id": each.functional_id,
        "household": each.household,
        "record": dict(each.record),
        "visit": dict(each.visit),
        "answers": dict(each.answers),
        "decision": dict(each.decision),
        "payee": dict(each.payee),
        "citizen_link": f"/citizen/start/{each.id}",
    }


def beneficiary(each: Beneficiary) -> dict[str, Any]:
    """Return a beneficiary."""
    return {
        "functional_id": each.functional_id,
        "source": each.source,
        "state": each.state,
        "reason": each.reason,
        "household": each.household,
        "name": each.name,
        "package": each.package,
        "amount": str(each.amount.amount),
        "currency": each.amount.currency,
        "payee": {"modality": each.modality, "address": each.address},
        "lawful_basis": each.lawful_basis,
    }


def batch(each: Batch, totals: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Return a batch, with counts and amounts by state if they are at hand."""
    shown: dict[str, Any] = {
        "id": each.id,
        "cycle": each.cycle,
        "attempt": each.attempt,
        "part": each.part,
        "state": each.state,
        "reason": each.reason,
        "prepared_by": each.prepared_by,
        "prepared_at": each.prepared_at.isoformat(),
        "approved_by": each.approved_by,
    }
    if totals is not None:
        shown["totals"] = {
            state: {"count": total["count"], "amount": str(total["amount"].amount)} for state, total in totals.items()
        }
    return shown


def instructions(content: Iterable[Instruction]) -> list[dict[str, Any]]:
    """Return instructions."""
    return [
        {
            "id": each.id,
            "functional_id": each.functional_id,
            "attempt": each.attempt,
            "amount": str(each.amount.amount),
            "currency": each.amount.currency,
            "state": each.state,
            "reason": each.reason,
        }
        for each in content
    ]
