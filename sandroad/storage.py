"""Storage with one promise on SQLite and PostgreSQL: a writing transaction reads and writes as if it were alone.

With SQLAlchemy's defaults on SQLite, a transaction that reads before it writes takes its lock too late, and eight threads
redeem one voucher eight times. So every writing transaction here begins with ``BEGIN IMMEDIATE``; on PostgreSQL it takes one
advisory lock per database, which gives the same meaning: writers one after the other, readers never waiting.
"""

import re
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, MetaData, String, Table, create_engine, event, insert, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from sandroad.problems import Error

WRITER_LOCK = 7231


class StorageError(Error):
    """The database cannot be used as it is: unreachable, or of another version."""


OPEN: "weakref.WeakSet[Database]" = weakref.WeakSet()
"""Every database object of this process that still exists."""


class Database:
    """One app's database.

    ``url`` is ``sqlite:///path`` or ``postgresql+pg8000://…`` (``postgresql://`` is read as pg8000). ``full_sync`` makes a commit
    on SQLite survive a power cut (message log, ledger, outbox); without it a commit survives the death of the process only.
    What a statement carries is about people, so an error names the statement without it: errors are logged.
    """

    def __init__(self, url: str, *, full_sync: bool = True) -> None:
        self.url = re.sub(r"^postgresql://", "postgresql+pg8000://", url)
        self.is_sqlite = make_url(self.url).get_backend_name() == "sqlite"
        self._writer = threading.Lock()
        self._after_commit: list[Callable[[], None]] = []
        self.engine = self._sqlite(full_sync) if self.is_sqlite else self._postgresql()
        OPEN.add(self)

    def _sqlite(self, full_sync: bool) -> Engine:
        path = make_url(self.url).database
        if not path or path == ":memory:":
            raise StorageError("an SQLite database here is a file: sqlite:///folder/name.db")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(
            self.url, poolclass=QueuePool, pool_size=8, max_overflow=24, connect_args={"timeout": 30},
            hide_parameters=True,
        )  # fmt: skip

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: Any) -> None:
            connection.isolation_level = None
            for pragma in (
                "journal_mode=WAL",
                f"synchronous={'FULL' if full_sync else 'NORMAL'}",
                "busy_timeout=30000",
                "foreign_keys=ON",
            ):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writing = connection.get_execution_options().get("writing")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        return engine

    def _postgresql(self) -> Engine:
        engine = create_engine(
            self.url, pool_size=2, max_overflow=14, pool_pre_ping=True, pool_recycle=900, hide_parameters=True
        )
        # Many rows go as one statement: pg8000 would send them one by one, each with its own round trip.
        engine.dialect.use_insertmanyvalues_wo_returning = True
        return engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One writing transaction, alone in this database; committed at the end, rolled back by an exception.

        No I/O and no waiting inside. Within a process, writers queue on a lock of their own, because SQLite's busy
        handler polls and is not fair.
        """
        with self._writer:
            connection = self.engine.connect().execution_options(writing=True)
            with connection, connection.begin():
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": WRITER_LOCK})
                yield connection
        for listener in self._after_commit:
            listener()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction: a snapshot that sees no later commit."""
        with self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    def after_commit(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after each commit of this process (to wake a worker; it must not write itself)."""
        self._after_commit.append(listener)

    def create(self, metadata: MetaData, version: str) -> None:
        """Make the tables that are missing; refuse a database of another version.

        Raises ``StorageError`` that says which version the database has and which this program needs.
        """
        marker = Table(
            "schema_version", metadata, Column("version", String(40), primary_key=True), extend_existing=True
        )
        with self.begin() as connection:
            metadata.create_all(connection)
            found = connection.execute(select(marker.c.version)).scalar_one_or_none()
            if found is None:
                connection.execute(insert(marker).values(version=version))
            elif found != version:
                raise StorageError(
                    f"the database has schema version {found}, this program needs {version}; "
                    "start with the program that made it, or reset the sandbox"
                )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()
