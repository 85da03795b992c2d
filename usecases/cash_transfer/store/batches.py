"""Batches and their instructions."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from sandroad.money import Money
from usecases.cash_transfer.domain import Batch, Instruction
from usecases.cash_transfer.refusals import UnknownBatch
from usecases.cash_transfer.store.tables import batches, instructions


class Batches:
    """Batches within one transaction."""

    def __init__(self, connection: Connection, currency: str) -> None:
        self._connection = connection
        self._currency = currency

    def get(self, batch_id: str) -> Batch:
        """Return a batch or raise ``UnknownBatch``."""
        row = self._connection.execute(select(batches).where(batches.c.id == batch_id)).mappings().first()
        if row is None:
            raise UnknownBatch(f"batch {batch_id[:20]!r}")
        return _batch(row)

    def listing(self, cycle: str | None = None) -> list[Batch]:
        """Return the batches of a cycle, or all, the newest first."""
        query = select(batches).order_by(batches.c.prepared_at.desc(), batches.c.id)
        if cycle is not None:
            query = query.where(batches.c.cycle == cycle)
        return [_batch(row) for row in self._connection.execute(query).mappings()]

    def has_cycle(self, cycle: str) -> bool:
        """Tell whether a cycle was opened."""
        return self._connection.execute(select(batches.c.id).where(batches.c.cycle == cycle)).first() is not None

    def parts(self, cycle: str, attempt: int) -> int:
        """Return the number of the last part of an attempt, 0 if there is none."""
        mine = (batches.c.cycle == cycle) & (batches.c.attempt == attempt)
        return int(self._connection.execute(select(func.max(batches.c.part)).where(mine)).scalar() or 0)

    def add(self, batch: Batch, content: Iterable[Instruction]) -> None:
        """Keep a new batch with its instructions."""
        self._connection.execute(insert(batches).values(**_batch_row(batch)))
        if rows := [_instruction_row(each) for each in content]:
            self._connection.execute(insert(instructions), rows)

    def put(self, batch: Batch) -> None:
        """Keep a changed batch."""
        self._connection.execute(update(batches).where(batches.c.id == batch.id).values(**_batch_row(batch)))

    def content(self, batch_id: str, *states: str) -> list[Instruction]:
        """Return a batch's instructions (in these states, all by default), by id."""
        query = select(instructions).where(instructions.c.batch_id == batch_id).order_by(instructions.c.id)
        if states:
            query = query.where(instructions.c.state.in_(states))
        return self._instructions(query)

    def failed_in(self, cycle: str) -> list[Instruction]:
        """Return the failed instructions of a cycle that were not tried again: the last attempt of each beneficiary."""
        query = select(instructions).where(instructions.c.cycle == cycle).order_by(instructions.c.attempt)
        last: dict[str, Instruction] = {each.functional_id: each for each in self._instructions(query)}
        return sorted((each for each in last.values() if each.state == "failed"), key=lambda each: each.id)

    def move(self, batch_id: str, source: str, target: str) -> int:
        """Put every instruction of a batch that is in ``source`` into ``target``; return how many."""
        changed = self._connection.execute(
            update(instructions)
            .where(instructions.c.batch_id == batch_id, instructions.c.state == source)
            .values(state=target)
        )
        return int(changed.rowcount)

    def set_state(self, instruction_id: str, state: str, reason: str) -> None:
        """Set the state of one instruction."""
        self._connection.execute(
            update(instructions).where(instructions.c.id == instruction_id).values(state=state, reason=reason[:300])
        )

    def totals(self, batch_id: str) -> dict[str, dict[str, Any]]:
        """Return ``{state: {"count", "amount": Money}}``."""
        query = (
            select(instructions.c.state, func.count(), func.sum(instructions.c.amount_minor))
            .where(instructions.c.batch_id == batch_id)
            .group_by(instructions.c.state)
        )
        return {
            state: {"count": count, "amount": Money.from_minor(int(minor), self._currency)}
            for state, count, minor in self._connection.execute(query)
        }

    def _instructions(self, query: Any) -> list[Instruction]:
        return [self._instruction(row) for row in self._connection.execute(query).mappings()]

    def _instruction(self, row: Any) -> Instruction:
        values = dict(row)
        values["amount"] = Money.from_minor(values.pop("amount_minor"), self._currency)
        return Instruction(**values)


def _batch(row: Any) -> Batch:
    return Batch(**{**row, "prepared_at": datetime.fromisoformat(row["prepared_at"])})


def _batch_row(batch: Batch) -> dict[str, Any]:
    return {column.name: getattr(batch, column.name) for column in batches.c} | {
        "prepared_at": batch.prepared_at.isoformat()
    }


def _instruction_row(each: Instruction) -> dict[str, Any]:
    row = {column.name: getattr(each, column.name) for column in instructions.c if column.name != "amount_minor"}
    return row | {"amount_minor": each.amount.minor}
