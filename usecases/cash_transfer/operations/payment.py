"""Payment: a cycle becomes batches, a batch is validated, released by a second officer, paid and reconciled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from usecases.cash_transfer.calls import About
from usecases.cash_transfer.domain import (
    Batch,
    Beneficiary,
    Instruction,
    batch_id,
    cycle_at,
    instruction_id,
    next_payday,
    request_id,
)
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.refusals import CycleNotDue, NothingToPay
from usecases.cash_transfer.store import Rows
from usecases.cash_transfer.store.trace import TraceLine

PAYMENT = "Payment"
VALIDATION, BULK = "validation", "bulk-payment"
PART = 10_000


class Payment:
    """Cycles and batches until they are handed to payments; what comes back is ``Reconciliation``'s."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def open_cycle(self, officer: str) -> list[Batch]:
        """Prepare the batches of the cycle that is due by business time.

        Who has died, or has withdrawn the consent that their enrolment rests on, is held out of the batch, by name of the
        reason. Raises ``CycleNotDue`` if the cycle was opened before, ``NothingToPay`` if nobody is active.
        """
        programme, now = self._office.programme, self._office.now()
        cycle = cycle_at(now, programme.every_months, programme.payday)
        with self._office.store.read() as rows:
            self._refuse_opened(rows, cycle)
            active = rows.beneficiaries.in_state("active")
        if not active:
            raise NothingToPay("no beneficiary is active")
        held = self._held(active, cycle, officer)
        with self._office.store.begin() as rows:
            self._refuse_opened(rows, cycle)
            return self._prepare(rows, cycle, 1, officer, [self._instruction(each, cycle, 1, held) for each in active])

    def retry(self, cycle: str, officer: str) -> list[Batch]:
        """Prepare the next attempt for the instructions of a cycle that failed, at the payees' present accounts.

        Only what payments has finally failed is tried again: what is still under way might arrive, and would be paid twice.
        Who has died or withdrawn consent since is held out, as in ``open_cycle``.
        """
        with self._office.store.read() as rows:
            payees = self._to_retry(rows, cycle)
        held = self._held(list(payees.values()), cycle, officer)
        with self._office.store.begin() as rows:
            still = self._to_retry(rows, cycle)
            wanted = [
                each for each in rows.batches.failed_in(cycle) if each.functional_id in payees.keys() & still.keys()
            ]
            if not wanted:
                raise NothingToPay(f"nothing in cycle {cycle} has failed and can be tried again with an accepted payee")
            attempt = max(each.attempt for each in wanted) + 1
            again = [self._again(each, attempt, held) for each in wanted]
            return self._prepare(rows, cycle, attempt, officer, again)

    def validate(self, batch: str, officer: str) -> Batch:
        """Ask payments to look up every payee of a batch; a batch that was asked about stays as it is."""
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            if found.state in ("validating", "validated"):
                return found
            found.need("prepared", to="validate it")
            found = replace(found, state="validating")
            rows.batches.put(found)
            rows.trace.add(TraceLine(batch, PAYMENT, "The batch is sent for validation", officer))
            self._send(rows, found, VALIDATION, "prepayment-validation", "validations")
        return found

    def approve(self, batch: str, officer: str) -> Batch:
        """Release a validated batch: the second pair of eyes. The order to payments leaves in the same transaction."""
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            if found.state in ("paying", "reconciled") and found.approved_by == officer:
                return found
            found = found.approve(officer)
            rows.batches.put(found)
            rows.batches.move(batch, "planned", "paying")
            rows.trace.add(TraceLine(batch, PAYMENT, "A second officer releases the batch", officer))
            self._send(rows, found, BULK, "bulk-payment", "batches", states=("paying",))
        return found

    def _refuse_opened(self, rows: Rows, cycle: str) -> None:
        if rows.batches.has_cycle(cycle):
            programme = self._office.programme
            due = next_payday(self._office.now(), programme.every_months, programme.payday)
            raise CycleNotDue(
                f"cycle {cycle} was opened before; the next one is due on {due:%Y-%m-%d}", due=f"{due:%Y-%m-%d}"
            )

    def _prepare(
        self, rows: Rows, cycle: str, attempt: int, officer: str, instructions: Sequence[Instruction]
    ) -> list[Batch]:
        if all(each.state == "held" for each in instructions):
            raise NothingToPay(f"everybody in cycle {cycle} is held back: {instructions[0].reason}")
        prepared = []
        # What fails later than the rest of a cycle makes further parts of an attempt that exists already.
        first = rows.batches.parts(cycle, attempt) + 1
        for part, start in enumerate(range(0, len(instructions), PART), start=first):
            identity = batch_id(self._office.programme.id, cycle, attempt, part)
            batch = Batch(identity, cycle, attempt, part, "prepared", officer, self._office.now())
            content = [replace(each, batch_id=identity) for each in instructions[start : start + PART]]
            rows.batches.add(batch, content)
            title = f"Attempt {attempt} of cycle {cycle}: {len(content)} instructions are prepared"
            rows.trace.add(TraceLine(identity, PAYMENT, title, officer))
            prepared.append(batch)
        return prepared

    def _instruction(self, each: Beneficiary, cycle: str, attempt: int, held: Mapping[str, str]) -> Instruction:
        reason = held.get(each.functional_id, "")
        return Instruction(
            instruction_id(self._office.programme.id, cycle, each.functional_id, attempt),
            "",
            cycle,
            each.functional_id,
            attempt,
            each.amount,
            "held" if reason else "planned",
            reason,
        )

    def _again(self, failed: Instruction, attempt: int, held: Mapping[str, str]) -> Instruction:
        identity = instruction_id(self._office.programme.id, failed.cycle, failed.functional_id, attempt)
        reason = held.get(failed.functional_id, "")
        return replace(failed, id=identity, attempt=attempt, state="held" if reason else "planned", reason=reason)

    def _to_retry(self, rows: Rows, cycle: str) -> dict[str, Beneficiary]:
        """Return the active beneficiaries, by functional id, whose last attempt has failed and is not the last allowed."""
        found = (
            rows.beneficiaries.find(each.functional_id)
            for each in rows.batches.failed_in(cycle)
            if each.attempt <= self._office.programme.retries
        )
        return {each.functional_id: each for each in found if each is not None and each.state == "active"}

    def _held(self, active: Sequence[Beneficiary], cycle: str, officer: str) -> dict[str, str]:
        """Look at those whose enrolment rests on consent once more; return who is held back and why."""
        consenting = [each.functional_id for each in active if each.lawful_basis == "consent"]
        if not consenting:
            return {}
        about = About(f"cycle {cycle}", PAYMENT, "Are the payees alive, and do they still agree?", officer)
        return held_back(*self._office.registry("population").read_entries(consenting, about))

    def _send(
        self, rows: Rows, batch: Batch, kind: str, operation: str, callback: str, states: Iterable[str] = ("planned",)
    ) -> None:
        content = rows.batches.content(batch.id, *states)
        if not content:
            raise NothingToPay(f"batch {batch.id} has no instruction that can be paid")
        self._office.outbox.put(
            rows.connection,
            id=f"{kind}:{batch.id}" if kind == BULK else f"{kind}:{batch.id}:{self._office.now():%Y%m%d%H%M%S%f}",
            key=f"batch:{batch.id}",
            kind=kind,
            method="POST",
            target=f"/r1/{self._office.config.payments}/{operation}",
            headers={
                "X-Callback-URL": f"{self._office.config.own_service}/callbacks/{callback}",
                "X-Road-Issue": batch.id,
            },
            json_body={
                "RequestID": request_id(kind, batch.id),
                "SourceBBID": self._office.programme.payer,
                "BatchID": batch.id,
                "CreditInstructions": [self._credit(each) for each in content],
            },
        )

    def _credit(self, each: Instruction) -> dict[str, Any]:
        return {
            "InstructionID": each.id,
            "PayeeFunctionalID": each.functional_id,
            # A JSON number by contract; two decimals survive the shortest spelling of a float up to 10^13.
            "Amount": float(each.amount.amount),
            "Currency": each.amount.currency,
            "Narration": f"{self._office.programme.name} {each.cycle}"[:50],
        }


def held_back(records: Mapping[str, Mapping[str, Any]], left_out: Mapping[str, str]) -> dict[str, str]:
    """Return who is not paid after a look at the population registry, and why."""
    words = {"consent_required": "consent was withdrawn"}
    held = {each: words.get(reason, "no record in the population registry") for each, reason in left_out.items()}
    return held | {each: "has died" for each, record in records.items() if record.get("alive") is False}
