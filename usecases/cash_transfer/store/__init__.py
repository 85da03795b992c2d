"""What the ministry keeps: cases, beneficiaries, batches and the trace; one serialised transaction per step."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from sandroad.storage import Database
from usecases.cash_transfer.store.applications import Applications
from usecases.cash_transfer.store.batches import Batches
from usecases.cash_transfer.store.beneficiaries import Beneficiaries
from usecases.cash_transfer.store.tables import SCHEMA_VERSION, metadata
from usecases.cash_transfer.store.trace import Traces

__all__ = ["SCHEMA_VERSION", "Rows", "Store", "metadata"]


class Rows:
    """The tables as seen by one transaction."""

    def __init__(self, connection: Connection, currency: str) -> None:
        self.connection = connection
        self.applications = Applications(connection)
        self.beneficiaries = Beneficiaries(connection, currency)
        self.batches = Batches(connection, currency)
        self.trace = Traces(connection)


class Store:
    """The app's database."""

    def __init__(self, database: Database, currency: str) -> None:
        self.database = database
        self.currency = currency

    @contextmanager
    def begin(self) -> Iterator[Rows]:
        """One writing transaction, alone in the database. No network inside."""
        with self.database.begin() as connection:
            yield Rows(connection, self.currency)

    @contextmanager
    def read(self) -> Iterator[Rows]:
        """A snapshot."""
        with self.database.read() as connection:
            yield Rows(connection, self.currency)

    def rows(self, connection: Connection) -> Rows:
        """Return the tables inside a transaction that somebody else began (the outbox)."""
        return Rows(connection, self.currency)
