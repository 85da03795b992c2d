"""The trace: what was done for a case or batch, in plain words, with the message id that finds the evidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from usecases.cash_transfer.store.tables import trace


@dataclass(frozen=True)
class TraceLine:
    """One line. ``step`` is GovStack's name of the step; ``service`` and ``message_id`` are empty for what happened here."""

    subject: str
    step: str
    title: str
    actor: str = ""
    service: str = ""
    message_id: str = ""
    status: int = 0
    outcome: str = ""


class Traces:
    """Trace lines within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, line: TraceLine) -> None:
        """Write one line. The time is the real one: it has to match the message log."""
        self._connection.execute(insert(trace).values(at=datetime.now(UTC).isoformat(), **vars(line)))

    def of(self, subject: str, limit: int = 1000) -> list[dict[str, Any]]:
        """Return the lines of a case or batch, oldest first."""
        query = select(trace).where(trace.c.subject == subject).order_by(trace.c.position).limit(limit)
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def since(self, position: int, limit: int = 1000) -> Iterator[dict[str, Any]]:
        """Yield lines after a position, oldest first."""
        query = select(trace).where(trace.c.position > position).order_by(trace.c.position).limit(limit)
        for row in self._connection.execute(query).mappings():
            yield dict(row)
