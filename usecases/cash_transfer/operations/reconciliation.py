"""What payments answers: validation results, acknowledgements, and the state of each instruction until all is accounted for."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from sandroad.gateway_client import Reply
from sandroad.outbox import Entry
from usecases.cash_transfer.calls import About, line_of
from usecases.cash_transfer.domain import Batch, Instruction, request_id
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.letters import write_letter
from usecases.cash_transfer.operations.payment import PAYMENT, VALIDATION
from usecases.cash_transfer.refusals import ProviderUnavailable
from usecases.cash_transfer.store import Rows
from usecases.cash_transfer.store.trace import TraceLine

DETAIL, OUTCOME = "batch-detail", "validation-outcome"
PAGE = 500
FATE_UNKNOWN = "fate unknown"
LONGEST_CALL = (
    90.0  # seconds after which an order can no longer arrive from a queue: the gateways' deadline and some grace
)
OUTCOMES = {"ACSC": "paid", "RJCT": "failed"}


class Reconciliation:
    """Takes callbacks and asks for transactions; everything here may come twice and in any order."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def validated(self, batch: str, failed: Mapping[str, str]) -> None:
        """Take the outcome of a validation: what would fail is held back, the rest may be released."""
        with self._office.store.begin() as rows:
            self._validated(rows, batch, failed)

    def told_status(self, batch: str, status: Mapping[str, Any]) -> None:
        """Take a status callback as a hint that it is worth asking for the transactions.

        In a large batch callbacks come by the dozen; asking at each would read the whole batch again and again, so it is asked
        when nothing is under way any more, or when a twentieth more is known than is booked here.
        """
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            counts = {name: status.get(name) for name in ("ongoing", "failed", "completed")}
            title = "Payments reports {completed} paid, {failed} failed, {ongoing} under way".format(**counts)
            rows.trace.add(TraceLine(batch, PAYMENT, title, "", self._office.config.payments))
            if found.state == "paying" and self._is_news(rows, batch, counts):
                marked = hashlib.sha256(json.dumps(dict(status), sort_keys=True).encode()).hexdigest()[:12]
                self._ask_detail(rows, batch, marked, 0)

    def _is_news(self, rows: Rows, batch: str, counts: Mapping[str, Any]) -> bool:
        totals = {state: int(total["count"]) for state, total in rows.batches.totals(batch).items()}
        known = int(counts["completed"] or 0) + int(counts["failed"] or 0)
        unknown = known - totals.get("paid", 0) - totals.get("failed", 0)
        return not counts["ongoing"] or unknown > max(0, sum(totals.values()) // 20)

    def ask_again(self, batch: str, mark: str) -> Batch:
        """Ask for a batch's transactions, or its validation's outcome, because an officer wants to know (callbacks may be lost)."""
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            self._ask(rows, found, mark, after=LONGEST_CALL if found.reason.startswith(FATE_UNKNOWN) else 0.0)
        return found

    def on_order_sent(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments acknowledged validation or payment: ResponseCode 00 is taken, 01 is refused (v1.0 answers both with 200).

        An answer that is neither concludes nothing: raises ``ProviderUnavailable``, and the order is repeated.
        """
        rows = self._office.store.rows(connection)
        acknowledged = reply.json()
        code = acknowledged.get("ResponseCode") if isinstance(acknowledged, dict) else None
        if code == "01":
            self._reject(rows, entry, reply, str(acknowledged.get("ResponseDescription") or "refused without a reason"))
            return
        if code != "00":
            raise ProviderUnavailable("payments' acknowledgement has a ResponseCode that is neither 00 nor 01")
        self._note(rows, entry, reply, "taken")

    def on_order_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments refused the order, or never answered."""
        self._reject(self._office.store.rows(connection), entry, reply, reply.reason())

    def on_outcome(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments was asked for the outcome of a validation: 200 brings it, 202 says that it is not known yet."""
        rows, told = self._office.store.rows(connection), reply.json()
        self._note(rows, entry, reply, "known" if reply.status == 200 else "institutions have not all answered")
        if reply.status == 200:
            failures = told.get("FailedAccounts") if isinstance(told, dict) else None
            if not isinstance(failures, list):
                raise ProviderUnavailable("payments' outcome of a validation has no FailedAccounts")
            self._validated(rows, _batch(entry), {each["InstructionID"]: each["FailureReason"] for each in failures})

    def on_outcome_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments knows nothing of the validation: it may be sent again, and moves no money if it comes twice."""
        rows, said = self._office.store.rows(connection), reply.json()
        self._note(rows, entry, reply, f"refused: {reply.reason()}")
        found = rows.batches.get(_batch(entry))
        refused = isinstance(said, dict) and said.get("ResponseCode") == "01" and not reply.gateway_error
        if found.state == "validating" and refused:
            rows.batches.put(replace(found, state="prepared", reason=""))

    def on_detail_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Asked for transactions, payments refused. If it never got an order whose fate was unknown, that one is free again."""
        rows, said = self._office.store.rows(connection), reply.json()
        self._note(rows, entry, reply, f"refused: {reply.reason()}")
        found = rows.batches.get(_batch(entry))
        unknown = isinstance(said, dict) and said.get("code") == "unknown_batch" and not reply.gateway_error
        if unknown and found.state == "paying" and found.reason.startswith(FATE_UNKNOWN):
            self._free(rows, found, "the order never reached payments")

    def on_detail(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Book one page of transactions, and ask for the next or settle the batch."""
        rows = self._office.store.rows(connection)
        _, batch, mark, page = entry.id.split(":")
        transactions = reply.json()
        if not isinstance(transactions, list):
            raise ProviderUnavailable("payments' answer about a batch is no list of transactions")
        self._note(rows, entry, reply, f"{len(transactions)} transactions")
        found = rows.batches.get(batch)
        if found.reason.startswith(FATE_UNKNOWN):
            rows.batches.put(replace(found, reason=""))  # payments has it
        open_ones = {each.id: each for each in rows.batches.content(batch, "paying")}
        for transaction in transactions:
            instruction = open_ones.get(str(transaction.get("transactionId")))
            if instruction is not None:
                self._book(rows, instruction, transaction)
        if len(transactions) == PAGE:
            self._ask_detail(rows, batch, mark, int(page) + 1)
            return
        self._settle(rows, batch)

    def _validated(self, rows: Rows, batch: str, failed: Mapping[str, str]) -> None:
        found = rows.batches.get(batch)
        if found.state != "validating":
            return
        for each in rows.batches.content(batch, "planned"):
            if each.id in failed:
                rows.batches.set_state(each.id, "failed", failed[each.id])
                self._tell("failed", rows, each)
        rest = rows.batches.content(batch, "planned")
        rows.batches.put(replace(found, state="validated" if rest else "reconciled", reason=""))
        outcome = f"{len(rest)} can be paid, {len(failed)} would fail"
        title, payments = "Payments has validated the batch", self._office.config.payments
        rows.trace.add(TraceLine(batch, PAYMENT, title, "", payments, outcome=outcome))

    def _book(self, rows: Rows, instruction: Instruction, transaction: Mapping[str, Any]) -> None:
        state = OUTCOMES.get(str(transaction.get("status")))
        if state is None:
            return
        reason = str(transaction.get("errorInformation") or "") if state == "failed" else ""
        rows.batches.set_state(instruction.id, state, reason)
        self._tell(state, rows, instruction)

    def _settle(self, rows: Rows, batch: str) -> None:
        found = rows.batches.get(batch)
        if found.state != "paying" or rows.batches.content(batch, "paying"):
            return
        rows.batches.put(replace(found, state="reconciled"))
        totals = rows.batches.totals(batch)
        said = ", ".join(f"{count['count']} {state} ({count['amount']})" for state, count in sorted(totals.items()))
        rows.trace.add(TraceLine(batch, PAYMENT, "Every instruction is accounted for", outcome=said))

    def _reject(self, rows: Rows, entry: Entry, reply: Reply, reason: str) -> None:
        found = rows.batches.get(_batch(entry))
        self._note(rows, entry, reply, f"refused: {reason}")
        if found.state not in ("validating", "paying"):
            return
        if reply.status >= 500 or reply.gateway_error or entry.attempts:
            # Given up, or refused after an attempt without an answer: payments may have executed that one, so nothing may be
            # tried again under new ids before payments says that it knows nothing.
            rows.batches.put(replace(found, reason=f"{FATE_UNKNOWN}: {reason}"[:300]))
            self._ask(rows, found, f"fate{entry.attempts}", after=LONGEST_CALL)
            return
        self._free(rows, found, reason)

    def _free(self, rows: Rows, batch: Batch, reason: str) -> None:
        """Nothing of the batch was executed: its instructions have failed and may be tried again."""
        rows.batches.put(replace(batch, state="rejected", reason=reason[:300]))
        for each in rows.batches.content(batch.id, "planned", "paying"):
            rows.batches.set_state(each.id, "failed", reason)

    def _ask(self, rows: Rows, batch: Batch, mark: str, *, after: float) -> None:
        """Ask payments what it knows of a batch that waits for it."""
        if batch.state == "paying":
            self._ask_detail(rows, batch.id, mark, 0, after)
        elif batch.state == "validating":
            self._office.outbox.put(
                rows.connection,
                id=f"{OUTCOME}:{batch.id}:{mark}",
                key=f"batch:{batch.id}",
                kind=OUTCOME,
                method="POST",
                target=f"/r1/{self._office.config.payments}/prepayment-validation-response",
                headers={"X-Road-Issue": batch.id},
                json_body={"RequestID": request_id(VALIDATION, batch.id), "Source_BatchID": batch.id},
                after=after,
            )

    def _ask_detail(self, rows: Rows, batch: str, mark: str, page: int, after: float = 0.0) -> None:
        query = f"batchId={batch}&pageNo={page}&pageSize={PAGE}"
        self._office.outbox.put(
            rows.connection,
            id=f"{DETAIL}:{batch}:{mark}:{page}",
            key=f"batch:{batch}",
            kind=DETAIL,
            method="GET",
            target=f"/r1/{self._office.config.payments}/api/v1/batch/detail?{query}",
            headers={"X-Road-Issue": batch},
            after=after,
        )

    def _tell(self, kind: str, rows: Rows, instruction: Instruction) -> None:
        beneficiary = rows.beneficiaries.find(instruction.functional_id)
        if beneficiary is not None:
            write_letter(
                self._office, rows, kind, beneficiary.phone, beneficiary.source, instruction.id,
                amount=str(instruction.amount), cycle=instruction.cycle,
            )  # fmt: skip

    def _note(self, rows: Rows, entry: Entry, reply: Reply, outcome: str) -> None:
        titles = {
            VALIDATION: "Ask payments to validate the batch",
            DETAIL: "Ask payments what became of each instruction",
            OUTCOME: "Ask payments for the outcome of the validation",
        }
        about = About(
            entry.headers.get("X-Road-Issue", ""), PAYMENT, titles.get(entry.kind, "Order payments to pay the batch")
        )
        rows.trace.add(line_of(about, self._office.config.payments, reply, outcome))


def _batch(entry: Entry) -> str:
    """Return the batch that an entry of ours is about."""
    return entry.id.split(":")[1]
