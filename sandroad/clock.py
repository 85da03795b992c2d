"""Business time: due dates, ages and cycles follow it, and a trainer can move it forward for the whole sandbox.

Security time (signatures, certificates, tokens, request ages) never comes from here: it is ``datetime.now(UTC)``.
"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, select

from sandroad.problems import Refusal
from sandroad.storage import Database

Clock = Callable[[], datetime]
LONGEST = timedelta(days=366 * 50)


class ClockMovesForwardOnly(Refusal):
    """Business time never goes back: what has happened would not have happened yet."""

    code = "clock_moves_forward_only"


def system_clock() -> datetime:
    """Return the real time, aware, UTC."""
    return datetime.now(UTC)


class BusinessClock:
    """The real time plus an offset that is kept in the app's database."""

    def __init__(self, database: Database, metadata: MetaData | None = None) -> None:
        self._database = database
        self._table = Table("business_clock", metadata or MetaData(), Column("offset_seconds", Integer, nullable=False))
        self._lock = threading.Lock()
        self._offset: timedelta | None = None

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset

    @property
    def offset(self) -> timedelta:
        """How far business time is ahead of the real time."""
        if self._offset is None:
            with self._lock, self._database.begin() as connection:
                self._table.create(connection, checkfirst=True)
                self._offset = timedelta(seconds=connection.execute(select(self._table.c.offset_seconds)).scalar() or 0)
        return self._offset

    def move_to(self, offset: timedelta) -> None:
        """Set the offset; the same again changes nothing, a smaller one is refused."""
        if offset < self.offset:
            raise ClockMovesForwardOnly(f"business time is {self.offset} ahead already, {offset} would go back")
        if offset > LONGEST:
            raise ClockMovesForwardOnly(f"business time goes at most {LONGEST.days} days ahead")
        if offset == self.offset:
            return
        with self._lock, self._database.begin() as connection:
            connection.execute(delete(self._table))
            connection.execute(insert(self._table).values(offset_seconds=int(offset.total_seconds())))
            self._offset = timedelta(seconds=int(offset.total_seconds()))
