"""Sub-batches of credits: each instruction is decided once, and its result is told until payments has taken it.

Taking a sub-batch, crediting the accounts and writing the callback are one transaction. What a late account receives
stays `pending` until its time; then the credit and two equal callbacks are one transaction again.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from sandroad.clock import Clock
from sandroad.money import Money
from sandroad.outbox import Outbox
from sandroad.problems import IdempotencyConflict
from sandroad.storage import Database
from services.fsp import books
from services.fsp.accounts import Accounts
from services.fsp.domain import SETTLEMENT, Account, InstructionSeenBefore, UnknownSubBatch
from services.fsp.tables import credits, sub_batches


class Credits:
    """Taking sub-batches, reporting on them, and crediting late."""

    def __init__(self, database: Database, accounts: Accounts, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._outbox = outbox
        self._clock = clock

    def take(self, sub_batch: str, batch_id: str, callback: str, instructions: Sequence[Mapping[str, Any]]) -> None:
        """Credit a sub-batch; one that came before changes nothing, and with another content is refused."""
        content = hashlib.sha256(json.dumps([batch_id, callback, instructions], sort_keys=True).encode()).hexdigest()
        with self._database.begin() as connection:
            known = connection.execute(select(sub_batches.c.content).where(sub_batches.c.id == sub_batch)).scalar()
            if known is not None:
                if known != content:
                    raise IdempotencyConflict(f"sub-batch {sub_batch} came before with another content")
                return
            self._refuse_repetition(connection, batch_id, [each["instructionID"] for each in instructions])
            found = self._accounts.look_up(connection, [each["financialAddress"] for each in instructions])
            rows = [
                self._row(sub_batch, batch_id, position, each, found.get(each["financialAddress"]))
                for position, each in enumerate(instructions)
            ]
            pending = sum(row["state"] == "pending" for row in rows)
            values = {"id": sub_batch, "batch_id": batch_id, "content": content, "callback": callback}
            connection.execute(insert(sub_batches).values(values | {"pending": pending}))
            connection.execute(insert(credits), rows)
            self._book(connection, [row for row in rows if row["state"] == "completed"])
            self._tell(connection, sub_batch, "first")

    def results(self, sub_batch: str) -> Mapping[str, Any]:
        """Return the results so far, or raise ``UnknownSubBatch``."""
        with self._database.read() as connection:
            return self._results(connection, sub_batch)[1]

    def next_due(self) -> float | None:
        """Return the business time (epoch seconds) at which the next pending credit is due."""
        with self._database.read() as connection:
            return connection.execute(select(func.min(credits.c.due)).where(credits.c.state == "pending")).scalar()

    def credit_due(self) -> None:
        """Credit what is due by now, and tell it twice, as an institution does whose first answer was lost."""
        now = int(self._clock().timestamp())
        with self._database.begin() as connection:
            due = (credits.c.state == "pending") & (credits.c.due <= now)
            rows = [dict(row) for row in connection.execute(select(credits).where(due)).mappings()]
            for sub_batch, group in _by_sub_batch(rows).items():
                self._credit_late(connection, sub_batch, group)

    def export(self) -> Iterator[Mapping[str, Any]]:
        """Yield every credit, sorted by batch and instruction."""
        with self._database.read() as connection:
            for row in connection.execute(select(credits).order_by(credits.c.batch_id, credits.c.instruction_id)):
                yield {
                    "batchId": row.batch_id,
                    "instructionID": row.instruction_id,
                    "subBatchId": row.sub_batch,
                    "account": row.account,
                    "amount": str(Money.from_minor(row.amount, row.currency).amount),
                    "currency": row.currency,
                    "status": row.state,
                    "failureReason": row.reason,
                }

    def _credit_late(self, connection: Connection, sub_batch: str, rows: list[dict[str, Any]]) -> None:
        found = self._accounts.look_up(connection, [row["account"] for row in rows])
        for row in rows:
            account = found.get(row["account"])
            row["reason"] = account.cannot_be_credited(row["currency"]) if account else "no_such_account"
            row["state"] = "failed" if row["reason"] else "completed"
            connection.execute(
                update(credits)
                .where(credits.c.batch_id == row["batch_id"], credits.c.instruction_id == row["instruction_id"])
                .values(state=row["state"], reason=row["reason"], decided_at=self._clock().isoformat())
            )
        self._book(connection, [row for row in rows if row["state"] == "completed"])
        connection.execute(
            update(sub_batches).where(sub_batches.c.id == sub_batch).values(pending=sub_batches.c.pending - len(rows))
        )
        told = f"late-{rows[0]['instruction_id']}"
        self._tell(connection, sub_batch, told)
        self._tell(connection, sub_batch, f"{told}-again")

    def _refuse_repetition(self, connection: Connection, batch_id: str, ids: list[str]) -> None:
        """One instruction of a batch is credited in one sub-batch only, whatever the sub-batch is called."""
        if len(set(ids)) != len(ids):
            raise InstructionSeenBefore("an instruction stands twice in the sub-batch")
        mine = (credits.c.batch_id == batch_id) & credits.c.instruction_id.in_(ids)
        seen = connection.execute(select(credits.c.instruction_id).where(mine).limit(1)).scalar()
        if seen is not None:
            raise InstructionSeenBefore(f"instruction {seen} of batch {batch_id} came before in another sub-batch")

    def _row(
        self, sub_batch: str, batch_id: str, position: int, each: Mapping[str, Any], account: Account | None
    ) -> dict[str, Any]:
        reason = account.cannot_be_credited(each["currency"]) if account else "no_such_account"
        late = account is not None and not reason and account.behaviour == "late-success"
        now = self._clock()
        due = now + timedelta(seconds=account.behaviour_seconds) if account and late else now
        return {
            "batch_id": batch_id,
            "instruction_id": each["instructionID"],
            "sub_batch": sub_batch,
            "position": position,
            "account": each["financialAddress"],
            "amount": Money.parse(each["amount"], each["currency"]).minor,
            "currency": each["currency"],
            "state": "pending" if late else "failed" if reason else "completed",
            "reason": reason,
            "due": int(due.timestamp()) + 1 if late else 0,
            "decided_at": "" if late else now.isoformat(),
        }

    def _book(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        changes: Counter[str] = Counter()
        for row in rows:
            changes[row["account"]] += row["amount"]
        books.change_balances(connection, dict(changes))
        movements = [
            (f"credit:{row['batch_id']}:{row['instruction_id']}", SETTLEMENT, row["account"], row["amount"])
            for row in rows
        ]
        books.post(connection, "credit", movements, self._clock().isoformat())

    def _tell(self, connection: Connection, sub_batch: str, which: str) -> None:
        callback, body = self._results(connection, sub_batch)
        self._outbox.put(
            connection,
            id=f"results-{sub_batch}-{which}",
            key=sub_batch,
            kind="results",
            method="POST",
            target=callback,
            json_body=body,
        )

    def _results(self, connection: Connection, sub_batch: str) -> tuple[str, Mapping[str, Any]]:
        known = connection.execute(select(sub_batches).where(sub_batches.c.id == sub_batch)).mappings().first()
        if known is None:
            raise UnknownSubBatch(f"no sub-batch {sub_batch} ever arrived here")
        found = connection.execute(
            select(credits.c.instruction_id, credits.c.state, credits.c.reason)
            .where(credits.c.sub_batch == sub_batch)
            .order_by(credits.c.position)
        )
        results = [
            {"instructionID": row.instruction_id, "status": row.state}
            | ({"failureReason": row.reason} if row.reason else {})
            for row in found
        ]
        return known["callback"], {"subBatchId": sub_batch, "batchId": known["batch_id"], "results": results}


def _by_sub_batch(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["sub_batch"], []).append(row)
    return groups
