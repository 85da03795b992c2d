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
from usecases.cash_transfer.domain import Batch, Instruction
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.letters import write_letter
from usecases.cash_transfer.operations.payment import PAYMENT, VALIDATION
from usecases.cash_transfer.store import Rows
from usecases.cash_transfer.store.trace import TraceLine

DETAIL = "batch-detail"
PAGE = 500
OUTCOMES = {"ACSC": "paid", "RJCT": "failed"}


class Reconciliation:
    """Takes callbacks and asks for transactions; everything here may come twice and in any order."""

    def __init__(self, office: Office) -> None:
        self._office = office

    def validated(self, batch: str, failed: Mapping[str, str]) -> None:
        """Take the outcome of a validation: what would fail is held back, the rest may be released."""
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            if found.state != "validating":
                return
            for each in rows.batches.content(batch, "planned"):
                if each.id in failed:
                    rows.batches.set_state(each.id, "failed", failed[each.id])
                    self._tell_failed(rows, each)
            rest = rows.batches.content(batch, "planned")
            state = "validated" if rest else "reconciled"
            rows.batches.put(replace(found, state=state))
            outcome = f"{len(rest)} can be paid, {len(failed)} would fail"
            line = TraceLine(
                batch, PAYMENT, "Payments has validated the batch", "", self._office.config.payments, outcome=outcome
            )
            rows.trace.add(line)

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
        """Ask for the transactions of a batch because an officer wants to know (callbacks may be lost)."""
        with self._office.store.begin() as rows:
            found = rows.batches.get(batch)
            if found.state == "paying":
                self._ask_detail(rows, batch, mark, 0)
        return found

    def on_order_sent(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments acknowledged validation or payment: ResponseCode 00 is taken, 01 is refused (v1.0 answers both with 200)."""
        rows = self._office.store.rows(connection)
        acknowledged = reply.json() or {}
        if acknowledged.get("ResponseCode") != "00":
            self._reject(rows, entry, reply, str(acknowledged.get("ResponseDescription") or "refused without a reason"))
            return
        self._note(rows, entry, reply, "taken")

    def on_order_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Payments refused the order: nothing of it was executed."""
        self._reject(self._office.store.rows(connection), entry, reply, reply.reason())

    def on_detail(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Book one page of transactions, and ask for the next or settle the batch."""
        rows = self._office.store.rows(connection)
        _, batch, mark, page = entry.id.split(":")
        transactions = reply.json() or []
        self._note(rows, entry, reply, f"{len(transactions)} transactions")
        open_ones = {each.id: each for each in rows.batches.content(batch, "paying")}
        for transaction in transactions:
            instruction = open_ones.get(str(transaction.get("transactionId")))
            if instruction is not None:
                self._book(rows, instruction, transaction)
        if len(transactions) == PAGE:
            self._ask_detail(rows, batch, mark, int(page) + 1)
            return
        self._settle(rows, batch)

    def _book(self, rows: Rows, instruction: Instruction, transaction: Mapping[str, Any]) -> None:
        state = OUTCOMES.get(str(transaction.get("status")))
        if state is None:
            return
        reason = str(transaction.get("errorInformation") or "") if state == "failed" else ""
        rows.batches.set_state(instruction.id, state, reason)
        if state == "failed":
            self._tell_failed(rows, instruction)
        else:
            self._tell(rows, "paid", instruction)

    def _settle(self, rows: Rows, batch: str) -> None:
        found = rows.batches.get(batch)
        if found.state != "paying" or rows.batches.content(batch, "paying"):
            return
        rows.batches.put(replace(found, state="reconciled"))
        totals = rows.batches.totals(batch)
        said = ", ".join(f"{count['count']} {state} ({count['amount']})" for state, count in sorted(totals.items()))
        rows.trace.add(TraceLine(batch, PAYMENT, "Every instruction is accounted for", outcome=said))

    def _reject(self, rows: Rows, entry: Entry, reply: Reply, reason: str) -> None:
        batch = entry.id.split(":")[1]
        found = rows.batches.get(batch)
        self._note(rows, entry, reply, f"refused: {reason}")
        if found.state not in ("validating", "paying"):
            return
        if reply.status >= 500 or reply.gateway_error:
            # Given up without an answer: payments may have executed it, so nothing may be tried again under new ids.
            rows.batches.put(replace(found, reason=f"fate unknown: {reason}"[:300]))
            return
        rows.batches.put(replace(found, state="rejected", reason=reason[:300]))
        for each in rows.batches.content(batch, "planned", "paying"):
            rows.batches.set_state(each.id, "failed", reason)

    def _ask_detail(self, rows: Rows, batch: str, mark: str, page: int) -> None:
        query = f"batchId={batch}&pageNo={page}&pageSize={PAGE}"
        self._office.outbox.put(
            rows.connection,
            id=f"{DETAIL}:{batch}:{mark}:{page}",
            key=f"batch:{batch}",
            kind=DETAIL,
            method="GET",
            target=f"/r1/{self._office.config.payments}/api/v1/batch/detail?{query}",
            headers={"X-Road-Issue": batch},
        )

    def _tell_failed(self, rows: Rows, instruction: Instruction) -> None:
        self._tell(rows, "failed", instruction)

    def _tell(self, rows: Rows, kind: str, instruction: Instruction) -> None:
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
        }
        about = About(
            entry.headers.get("X-Road-Issue", ""), PAYMENT, titles.get(entry.kind, "Order payments to pay the batch")
        )
        rows.trace.add(line_of(about, self._office.config.payments, reply, outcome))
