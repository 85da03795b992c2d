"""The records of one registry within one transaction: found, added, changed, deleted softly; former versions are kept."""

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from services.registry.domain import Author, Condition, Record
from services.registry.schema import Schema
from services.registry.search import Search, matching, ordered
from services.registry.tables import (
    insert_many,
    record_keys,
    record_versions,
    records,
    registries,
    to_text,
    to_time,
)

AT_ONCE = 500


class Records:
    """``schema`` is the version through which they are looked at, and by which they are indexed when they are written."""

    def __init__(self, connection: Connection, registry_id: int, schema: Schema) -> None:
        self._connection = connection
        self._registry_id = registry_id
        self._schema = schema

    def find(
        self,
        conditions: Sequence[Condition],
        *,
        subject: str | None = None,
        search: Search | None = None,
        order_by: str | None = None,
        descending: bool = False,
        limit: int = 2,
        offset: int = 0,
    ) -> list[Record]:
        """Return live records that answer all conditions, by key unless ``order_by`` names a field."""
        clause = matching(self._registry_id, self._schema, conditions, subject, search)
        statement = ordered(select(records).where(clause), self._registry_id, order_by, descending=descending)
        return [_record(row) for row in self._connection.execute(statement.limit(limit).offset(offset))]

    def count(
        self, conditions: Sequence[Condition], *, subject: str | None = None, search: Search | None = None
    ) -> int:
        """Return how many live records answer."""
        clause = matching(self._registry_id, self._schema, conditions, subject, search)
        return self._connection.execute(select(func.count()).select_from(records).where(clause)).scalar_one()

    def by_keys(self, keys: Iterable[str]) -> dict[str, Record]:
        """Return key → record, deleted ones too."""
        return {record.key: record for record in self._among(records.c.key, keys)}

    def by_subjects(self, subjects: Iterable[str]) -> dict[str, list[Record]]:
        """Return subject → its live records, by key."""
        found: dict[str, list[Record]] = {}
        for record in sorted(self._among(records.c.subject, subjects), key=lambda each: each.key):
            if record.deleted_at is None and record.subject is not None:
                found.setdefault(record.subject, []).append(record)
        return found

    def get(self, key_or_uuid: str) -> Record | None:
        """Return a record by UUID or primary key, a deleted one too."""
        base = select(records).where(records.c.registry_id == self._registry_id)
        row = self._connection.execute(base.where(records.c.uuid == key_or_uuid)).one_or_none()
        row = row or self._connection.execute(base.where(records.c.key == key_or_uuid)).one_or_none()
        return _record(row) if row else None

    def any(self) -> bool:
        """Tell whether there ever was a record."""
        statement = select(records.c.id).where(records.c.registry_id == self._registry_id).limit(1)
        return self._connection.execute(statement).first() is not None

    def walk(self) -> Iterator[Record]:
        """Yield all live records by key, a few hundred in memory at a time."""
        last = ""
        while True:
            statement = (
                select(records)
                .where(records.c.registry_id == self._registry_id, records.c.key > last)
                .order_by(records.c.key)
                .limit(AT_ONCE)
            )
            rows = self._connection.execute(statement).all()
            yield from (_record(row) for row in rows if row.deleted_at is None)
            if len(rows) < AT_ONCE:
                return
            last = rows[-1].key

    def next_index(self) -> int:
        """Return the next number for generated keys, and count on."""
        where = registries.c.id == self._registry_id
        number = self._connection.execute(select(registries.c.next_index).where(where)).scalar_one()
        self._connection.execute(update(registries).where(where).values(next_index=number + 1))
        return number

    def add(
        self, entries: Sequence[tuple[str | None, dict[str, Any], str, str]], author: Author, now: datetime
    ) -> list[Record]:
        """Keep new records: (key or None for the UUID, content, its JSON text, its digest) each."""
        highest = self._connection.execute(select(func.max(records.c.id))).scalar() or 0
        moment = to_text(now)
        rows: list[dict[str, Any]] = []
        keys: list[dict[str, Any]] = []
        for number, (key, content, text, digest) in enumerate(entries, highest + 1):
            name = str(uuid.uuid4())
            rows.append(
                {
                    "id": number,
                    "registry_id": self._registry_id,
                    "key": key or name,
                    "uuid": name,
                    "subject": self._schema.subject_of(content),
                    "version": 1,
                    "content": text,
                    "created_digest": digest,
                    "created_at": moment,
                    "valid_from": moment,
                    "source": author.source,
                    "actor": author.actor,
                }
            )
            keys.extend(self._index_rows(number, content))
        insert_many(self._connection, records, rows)
        insert_many(self._connection, record_keys, keys)
        return [
            Record(r["id"], r["uuid"], r["key"], 1, entry[1], r["subject"], now, now, r["created_digest"])
            for r, entry in zip(rows, entries, strict=True)
        ]

    def change(self, record: Record, content: dict[str, Any], text: str, author: Author, now: datetime) -> Record:
        """Make ``content`` the record's next version; its time is never before the one it follows."""
        now = max(now, record.valid_from)
        self._keep_version(record, now)
        subject = self._schema.subject_of(content)
        self._connection.execute(
            update(records)
            .where(records.c.id == record.id)
            .values(
                version=record.version + 1,
                content=text,
                subject=subject,
                valid_from=to_text(now),
                source=author.source,
                actor=author.actor,
            )
        )
        self._index(record.id, content)
        return Record(record.id, record.uuid, record.key, record.version + 1, content, subject, record.created_at, now)

    def remove(self, record: Record, author: Author, now: datetime) -> None:
        """Delete softly: nothing finds the record any more, and its history says who ended it and when."""
        now = max(now, record.valid_from)
        self._keep_version(record, now)
        self._connection.execute(
            update(records)
            .where(records.c.id == record.id)
            .values(deleted_at=to_text(now), deleted_by=f"{author.source} {author.actor}")
        )
        self._connection.execute(delete(record_keys).where(record_keys.c.record_id == record.id))

    def history(self, record: Record) -> list[dict[str, Any]]:
        """Return all versions, the oldest first; the current one has no ``validTo``."""
        statement = (
            select(record_versions).where(record_versions.c.record_id == record.id).order_by(record_versions.c.version)
        )
        former = [_version(row, row.valid_to) for row in self._connection.execute(statement)]
        if record.deleted_at is not None:
            return former
        current = self._connection.execute(select(records).where(records.c.id == record.id)).one()
        return [*former, _version(current, None)]

    def index_again(self) -> None:
        """Write the key index and the subject of every live record anew, by this schema."""
        for record in list(self.walk()):
            self._index(record.id, record.content)
            subject = self._schema.subject_of(record.content)
            if subject != record.subject:
                self._connection.execute(update(records).where(records.c.id == record.id).values(subject=subject))

    def _index(self, record_id: int, content: dict[str, Any]) -> None:
        self._connection.execute(delete(record_keys).where(record_keys.c.record_id == record_id))
        insert_many(self._connection, record_keys, self._index_rows(record_id, content))

    def _index_rows(self, record_id: int, content: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"registry_id": self._registry_id, "field": field, "value": value, "record_id": record_id}
            for field, value in self._schema.index_of(content)
        ]

    def _keep_version(self, record: Record, now: datetime) -> None:
        current = self._connection.execute(select(records).where(records.c.id == record.id)).one()
        self._connection.execute(
            insert(record_versions).values(
                record_id=record.id,
                version=current.version,
                content=current.content,
                valid_from=current.valid_from,
                valid_to=to_text(now),
                source=current.source,
                actor=current.actor,
            )
        )

    def _among(self, column: Any, values: Iterable[str]) -> Iterator[Record]:
        wanted = list(dict.fromkeys(values))
        for start in range(0, len(wanted), AT_ONCE):
            chunk = wanted[start : start + AT_ONCE]
            statement = select(records).where(records.c.registry_id == self._registry_id, column.in_(chunk))
            yield from (_record(row) for row in self._connection.execute(statement))


def _record(row: Row) -> Record:
    return Record(
        id=row.id,
        uuid=row.uuid,
        key=row.key,
        version=row.version,
        content=json.loads(row.content),
        subject=row.subject,
        created_at=to_time(row.created_at),
        valid_from=to_time(row.valid_from),
        created_digest=row.created_digest,
        deleted_at=to_time(row.deleted_at) if row.deleted_at else None,
    )


def _version(row: Row, valid_to: str | None) -> dict[str, Any]:
    return {
        "version": row.version,
        "validFrom": row.valid_from,
        "validTo": valid_to,
        "source": row.source,
        "actor": row.actor,
        "content": json.loads(row.content),
    }
