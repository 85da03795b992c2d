"""Batches as sources see them: handed over once, split by institution, told about, listed.

Acceptance is one transaction: the batch, its instructions with the address that the account mapper has at this moment, its
sub-batches and the question to the paying bank. What the mapper does not know fails at once and is never paid for.
"""

import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, func, insert, select, update

from sandroad.clock import Clock
from sandroad.money import Money
from sandroad.outbox import Outbox
from sandroad.storage import Database
from services.payments.domain import (
    BatchDiffers,
    Instruction,
    InstructionPaidBefore,
    Programme,
    UnknownBatch,
    check_instructions,
    number,
)
from services.payments.mapper import look_up, why_not_payable
from services.payments.requests import digest
from services.payments.tables import batches, instructions, sub_batches
from services.payments.wiring import Wiring

ISO_20022 = {"completed": "ACSC", "failed": "RJCT", "ongoing": "PDNG"}
STATES = {code: state for state, code in ISO_20022.items()}
Row = Mapping[Any, Any]


@dataclass(frozen=True)
class Order:
    """What a source hands over: ``source_id`` names the batch (BatchID, X-CorrelationID), ``request_id`` is echoed.

    ``programme`` is the one that the source has named, if any. ``keeps_name``: the source goes on calling the batch by its
    ``source_id`` (version 1.0), and not by ours (3.0).
    """

    client: str
    source_id: str
    request_id: str
    callback: str
    programme: str | None
    instructions: Sequence[Instruction]
    keeps_name: bool = False


class Batches:
    """Accepting batches and reporting on them."""

    def __init__(
        self, database: Database, wiring: Wiring, outbox: Outbox, clock: Clock, *, currency: str, largest: int
    ) -> None:
        self._database = database
        self._wiring = wiring
        self._outbox = outbox
        self._clock = clock
        self._currency = currency
        self._largest = largest

    def accept(self, connection: Connection, order: Order) -> str:
        """Accept a batch in the caller's transaction; return the id that its source knows it by.

        A batch that came before has its first answer, even if its programme has been moved since: a refusal would say that
        nothing is paid.
        """
        content = digest([[i.id, i.payee, i.amount, i.currency, i.narration] for i in order.instructions])
        known = connection.execute(
            select(batches.c.public_id, batches.c.content).where(
                batches.c.client == order.client, batches.c.source_id == order.source_id
            )
        ).first()
        if known is not None:
            if known.content != content:
                raise BatchDiffers(f"batch {order.source_id} came before with another content")
            return known.public_id
        programme = self._wiring.programme_of(order.client, order.programme)
        check_instructions(order.instructions, self._currency)
        self._refuse_paid_before(connection, order)
        return self._write(connection, order, programme, content)

    def summary(self, client: str, batch: str) -> dict[str, Any]:
        """Return the counters of a batch of ``client``."""
        with self._database.read() as connection:
            return self.status(connection, _found(connection, client, batch))

    def transactions(
        self, client: str, batch: str, *, page: int, size: int, status: str | None, correlation: str | None
    ) -> list[dict[str, Any]]:
        """Return a page of a batch's transactions in the batch's order."""
        with self._database.read() as connection:
            row = _found(connection, client, batch)
            if correlation and correlation != row["source_id"]:
                raise UnknownBatch(f"batch {batch[:50]} was not handed over as {correlation}")
            query = select(instructions).where(instructions.c.batch == row["id"])
            if status:
                query = query.where(instructions.c.state == STATES[status])
            query = query.order_by(instructions.c.position).limit(size).offset(page * size)
            return [_transaction(row, each) for each in connection.execute(query).mappings()]

    def status(self, connection: Connection, row: Row) -> dict[str, Any]:
        """Return a batch in the spelling of BulkPaymentStatusUpdate."""
        counts: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        grouped = select(instructions.c.state, func.count(), func.sum(instructions.c.amount))
        for state, count, amount in connection.execute(
            grouped.where(instructions.c.batch == row["id"]).group_by(instructions.c.state)
        ):
            counts[state] = (count, int(amount))
        currency = row["currency"]
        return {
            "requestId": row["request_id"],
            "batchId": row["public_id"],
            "TotalTransactions": row["total"],
            "ongoing": counts["ongoing"][0],
            "failed": counts["failed"][0],
            "completed": counts["completed"][0],
            "currency": currency,
            "totalAmount": number(row["total_amount"], currency),
            "completed_amount": number(counts["completed"][1], currency),
            "ongoing_amount": number(counts["ongoing"][1], currency),
            "failed_amount": number(counts["failed"][1], currency),
            "result_file": "",
            "resultGeneratedAt": self._clock().isoformat(),
            "note": f"{row['state']}: {row['note']}" if row["note"] else row["state"],
        }

    def tell(self, connection: Connection, batch: str) -> None:
        """Write a status callback, in order after those before it, if the source has named an address."""
        row = batch_row(connection, batch)
        if not row["callback"]:
            return
        told = row["told"] + 1
        connection.execute(update(batches).where(batches.c.id == batch).values(told=told))
        joint = "&" if "?" in row["callback"] else "?"
        query = urlencode({"batchId": row["public_id"], "X-CorrelationID": row["source_id"]})
        self._outbox.put(
            connection,
            id=f"status-{batch}-{told}",
            key=f"status-{batch}",
            kind="callback",
            method="POST",
            target=f"{row['callback']}{joint}{query}",
            json_body=self.status(connection, row),
        )

    def export_batches(self) -> Iterator[Mapping[str, Any]]:
        """Yield every batch, sorted by source and its id."""
        with self._database.read() as connection:
            for row in connection.execute(select(batches).order_by(batches.c.client, batches.c.source_id)).mappings():
                status = self.status(connection, row)
                yield {
                    "client": row["client"],
                    "sourceId": row["source_id"],
                    "batchId": row["id"],
                    "programme": row["programme"],
                    "state": row["state"],
                    "acceptedAt": row["accepted_at"],
                    "closedAt": row["closed_at"],
                } | {name: status[name] for name in ("TotalTransactions", "ongoing", "failed", "completed")}

    def export_instructions(self) -> Iterator[Mapping[str, Any]]:
        """Yield every instruction, sorted by source and id."""
        rows = select(instructions).order_by(instructions.c.client, instructions.c.instruction_id)
        with self._database.read() as connection:
            for row in connection.execute(rows).mappings():
                yield {
                    "client": row["client"],
                    "instruction": row["instruction_id"],
                    "batchId": row["batch"],
                    "payee": row["payee"],
                    "institution": row["institution"],
                    "amount": str(Money.from_minor(row["amount"], self._currency).amount),
                    "currency": self._currency,
                    "state": row["state"],
                    "reason": row["reason"],
                }

    def _refuse_paid_before(self, connection: Connection, order: Order) -> None:
        ids = [each.id for each in order.instructions]
        for start in range(0, len(ids), 500):
            seen = connection.execute(
                select(instructions.c.instruction_id)
                .where(
                    instructions.c.client == order.client, instructions.c.instruction_id.in_(ids[start : start + 500])
                )
                .limit(1)
            ).scalar()
            if seen is not None:
                raise InstructionPaidBefore(f"instruction {seen} came before in another batch; nothing was accepted")

    def _write(self, connection: Connection, order: Order, programme: Programme, content: str) -> str:
        batch, now = uuid.uuid4().hex, self._clock().isoformat()
        public = order.source_id if order.keeps_name else batch
        rows = self._rows(connection, order, batch, now)
        funded = sum(row["amount"] for row in rows if row["sub_batch"])
        connection.execute(
            insert(batches).values(
                id=batch,
                client=order.client,
                source_id=order.source_id,
                public_id=public,
                request_id=order.request_id,
                content=content,
                programme=programme.code,
                funding_account=str(programme.account),
                currency=self._currency,
                callback=order.callback,
                state="authorising" if funded else "closed",
                note="" if funded else "no payee can be paid",
                total=len(rows),
                total_amount=sum(row["amount"] for row in rows),
                told=0,
                accepted_at=now,
                closed_at="" if funded else now,
            )
        )
        connection.execute(insert(instructions), rows)
        if not funded:
            self.tell(connection, batch)
            return public
        self._write_sub_batches(connection, batch, rows)
        self._ask_for_funds(connection, batch, programme, funded)
        return public

    def _rows(self, connection: Connection, order: Order, batch: str, now: str) -> list[dict[str, Any]]:
        """Return the instructions' rows, each with its sub-batch or the reason why it has none."""
        known = look_up(connection, order.client, (each.payee for each in order.instructions))
        filled: dict[str, int] = defaultdict(int)
        rows = []
        for position, each in enumerate(order.instructions):
            payee = known.get(each.payee)
            reason = why_not_payable(payee, self._wiring.institutions)
            institution = payee["institution"] if payee else ""
            part = filled[institution] // self._largest
            filled[institution] += not reason
            rows.append(
                {
                    "client": order.client,
                    "instruction_id": each.id,
                    "batch": batch,
                    "position": position,
                    "payee": each.payee,
                    "amount": each.amount,
                    "narration": each.narration,
                    "institution": institution,
                    "account": payee["account"] if payee else "",
                    "sub_batch": "" if reason else f"{batch}-{institution}-{part}",
                    "state": "failed" if reason else "ongoing",
                    "reason": reason,
                    "decided_at": now if reason else "",
                }
            )
        return rows

    def _write_sub_batches(self, connection: Connection, batch: str, rows: Sequence[Row]) -> None:
        institutions = {row["sub_batch"]: row["institution"] for row in rows if row["sub_batch"]}
        services = self._wiring.institutions
        values = [
            {
                "id": sub_batch,
                "batch": batch,
                "institution": institution,
                "client": services[institution].rpartition("/")[0],
                "service": services[institution],
                "state": "planned",
                "heard": 0.0,
                "polls": 0,
            }
            for sub_batch, institution in institutions.items()
        ]
        connection.execute(insert(sub_batches), values)

    def _ask_for_funds(self, connection: Connection, batch: str, programme: Programme, funded: int) -> None:
        service = self._wiring.institutions[programme.account.institution]
        self._outbox.put(
            connection,
            id=f"authorise-{batch}",
            key=f"funds-{batch}",
            kind="authorise",
            method="POST",
            target=f"/r1/{service}/batches/{batch}",
            headers={"X-Client-Correlation-ID": batch[:12]},
            json_body={
                "batchID": batch,
                "payerIdentifier": programme.account.account,
                "currency": self._currency,
                "amount": str(Money.from_minor(funded, self._currency).amount),
            },
        )


def batch_row(connection: Connection, batch: str) -> Row:
    """Return the row of a batch that exists."""
    return connection.execute(select(batches).where(batches.c.id == batch)).mappings().one()


def _found(connection: Connection, client: str, batch: str) -> Row:
    mine = (batches.c.client == client) & (batches.c.public_id == batch)
    row = connection.execute(select(batches).where(mine)).mappings().first()
    if row is None:
        raise UnknownBatch(f"{client} has handed over no batch {batch[:50]}")
    return row


def _transaction(batch: Row, each: Row) -> dict[str, Any]:
    payer, _, account = batch["funding_account"].partition(":")
    return {
        "workflowInstanceKey": each["sub_batch"],
        "transactionId": each["instruction_id"],
        "startedAt": batch["accepted_at"],
        "completedAt": each["decided_at"] or None,
        "status": ISO_20022[each["state"]],
        "statusDetail": each["state"],
        "payeeDfspId": each["institution"],
        "payeePartyId": each["payee"],
        "payeePartyIdType": "payeeIdentity",
        "payerDfspId": payer,
        "payerPartyId": account,
        "payerPartyIdType": "accountid",
        "amount": number(each["amount"], batch["currency"]),
        "currency": batch["currency"],
        "direction": "OUTGOING",
        "errorInformation": each["reason"],
        "batchId": batch["public_id"],
    }
