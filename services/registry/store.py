"""Registries and their published versions, kept and found; and the door to their records."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, Row, func, insert, select, update

from sandroad.storage import Database
from services.registry.domain import (
    RegistryUnknown,
    RegistryVersionSuperseded,
    RegistryVersionUnknown,
    SchemaBreaksRecords,
)
from services.registry.records import Records
from services.registry.schema import Schema
from services.registry.tables import VERSION, databases, metadata, registries, to_json, to_text, to_time


@dataclass(frozen=True)
class Published:
    """One version of a registry: ``id`` is the database id of the schema API."""

    id: int
    registry_id: int
    code: str
    version: int
    schema: Schema
    group_name: str
    catalog_name: str
    modified_at: datetime
    modified_by: str
    archived_at: datetime | None


class Store:
    """All that a registry instance keeps. Methods take the connection of a transaction that ``begin`` or ``read`` opened."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._schemas: dict[int, Schema] = {}
        self._lock = threading.Lock()
        database.create(metadata, VERSION)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """One writing transaction."""
        with self._database.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One reading transaction."""
        with self._database.read() as connection:
            yield connection

    def records(self, connection: Connection, published: Published) -> Records:
        """Return the records of a registry within this transaction."""
        return Records(connection, published.registry_id, published.schema)

    def versions(self, connection: Connection, code: str | None = None) -> list[Published]:
        """Return all versions of one registry or of all, the oldest first."""
        statement = (
            select(databases, registries.c.code)
            .join(registries, registries.c.id == databases.c.registry_id)
            .order_by(registries.c.code, databases.c.version)
        )
        if code is not None:
            statement = statement.where(registries.c.code == code)
        return [self._published(row) for row in connection.execute(statement)]

    def published(self, connection: Connection, code: str, version: int) -> Published:
        """Return one version that is not archived; raises ``RegistryUnknown``, ``RegistryVersionUnknown``."""
        versions = self.versions(connection, code)
        if not versions:
            raise RegistryUnknown(f"no registry {code[:40]!r} is defined here")
        for each in versions:
            if each.version == version and each.archived_at is None:
                return each
        open_ones = ", ".join(str(each.version) for each in versions if each.archived_at is None)
        raise RegistryVersionUnknown(f"{code} has no version {version}; there are: {open_ones or 'none'}")

    def newest(self, connection: Connection, code: str) -> Published:
        """Return the newest version that is not archived."""
        versions = self.versions(connection, code)
        if not versions:
            raise RegistryUnknown(f"no registry {code[:40]!r} is defined here")
        open_ones = [each for each in versions if each.archived_at is None]
        if not open_ones:
            raise RegistryVersionUnknown(f"every version of {code} is archived")
        return open_ones[-1]

    def writable(self, connection: Connection, code: str, version: int) -> Published:
        """Return the version if writing goes through it: the newest; raises ``RegistryVersionSuperseded``."""
        found = self.published(connection, code, version)
        newest = self.newest(connection, code)
        if newest.version != version:
            raise RegistryVersionSuperseded(
                f"version {version} of {code} is read only; write to version {newest.version}"
            )
        return found

    def publish(
        self, connection: Connection, code: str, schema: Schema, group: str, catalog: str, by: str, now: datetime
    ) -> Published:
        """Make ``schema`` the newest version, unless it is so already; the key index follows it."""
        before = self.versions(connection, code)
        open_ones = [each for each in before if each.archived_at is None]
        if open_ones and open_ones[-1].schema.document == schema.document:
            return open_ones[-1]
        registry_id = before[0].registry_id if before else self._new_registry(connection, code, schema)
        if before:
            self._follow(connection, before[-1], schema)
        highest = connection.execute(select(func.max(databases.c.id))).scalar() or 0
        connection.execute(
            insert(databases).values(
                id=highest + 1,
                registry_id=registry_id,
                version=before[-1].version + 1 if before else 1,
                schema=to_json(schema.document),
                group_name=group,
                catalog_name=catalog,
                modified_at=to_text(now),
                modified_by=by,
            )
        )
        return self.versions(connection, code)[-1]

    def archive(self, connection: Connection, database_id: int, now: datetime) -> bool:
        """Archive one version; False if there is none of that id."""
        known = connection.execute(select(databases.c.id).where(databases.c.id == database_id)).scalar()
        connection.execute(
            update(databases)
            .where(databases.c.id == database_id, databases.c.archived_at.is_(None))
            .values(archived_at=to_text(now))
        )
        return known is not None

    def _new_registry(self, connection: Connection, code: str, schema: Schema) -> int:
        highest = connection.execute(select(func.max(registries.c.id))).scalar() or 0
        first = int(schema.document.get("incrementIndex") or 1)
        connection.execute(insert(registries).values(id=highest + 1, code=code, next_index=first))
        return highest + 1

    def _follow(self, connection: Connection, before: Published, schema: Schema) -> None:
        """Make subject and key index of existing records those of the new schema."""
        records = Records(connection, before.registry_id, schema)
        if schema.primary_key != before.schema.primary_key and records.any():
            raise SchemaBreaksRecords(
                f"{before.code} has records under the primary key {before.schema.primary_key}; it cannot become "
                f"{schema.primary_key}"
            )
        records.index_again()

    def _published(self, row: Row) -> Published:
        with self._lock:
            schema = self._schemas.get(row.id)
            if schema is None:
                schema = self._schemas[row.id] = Schema(json.loads(row.schema))
        return Published(
            id=row.id,
            registry_id=row.registry_id,
            code=row.code,
            version=row.version,
            schema=schema,
            group_name=row.group_name,
            catalog_name=row.catalog_name,
            modified_at=to_time(row.modified_at),
            modified_by=row.modified_by,
            archived_at=to_time(row.archived_at) if row.archived_at else None,
        )
