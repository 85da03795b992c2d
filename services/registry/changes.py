"""Writing: create, createEntries, update, updateEntries, updateOrCreate, delete. One transaction each, all or nothing."""

import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select

from sandroad.problems import IdempotencyConflict
from services.registry.conditions import persons_named, read_conditions
from services.registry.domain import (
    Author,
    Condition,
    ContentInvalid,
    FieldNotAllowed,
    PrimaryKeyFixed,
    QueryInvalid,
    Record,
    RecordDeleted,
    RecordExists,
    RecordNotFound,
    SeveralRecordsMatch,
)
from services.registry.records import Records
from services.registry.release import Inquiry, Release, must_read_only_under_agreement, shown_fields
from services.registry.rights import Access
from services.registry.schema import Schema
from services.registry.store import Published, Store
from services.registry.tables import answered_requests, to_json, to_text

MOST_AT_ONCE = 2000
Content = dict[str, Any]


class Changes:
    """The writing operations of the data API."""

    def __init__(self, store: Store, release: Release, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._release = release
        self._clock = clock

    def create(self, access: Access, code: str, version: int, content: Content) -> Content:
        """Keep one record. The same ``X-Road-Id`` of the same subsystem gives the first answer again."""
        schema = self._writable_fields(access, code, version, [content])
        digest, now = digest_of({"registry": code, "content": content}), self._clock()
        with self._store.begin() as connection:
            answered = self._answered(connection, access, digest)
            if answered is not None:
                return self._as_shown(access, schema, answered)
            published = self._store.writable(connection, code, version)
            records = self._store.records(connection, published)
            created = self._create(records, published, [content], access, now)[0]
            self._remember(connection, access, digest, created.content, now)
        return self._as_shown(access, schema, created.content)

    def create_entries(
        self, access: Access, code: str, version: int, contents: Sequence[Content]
    ) -> list[tuple[Content, Record]]:
        """Keep several records, all or none; those that are kept already with the same content stay as they are."""
        schema, now = self._writable_fields(access, code, version, contents), self._clock()
        with self._store.begin() as connection:
            published = self._store.writable(connection, code, version)
            records = self._store.records(connection, published)
            created = self._create(records, published, contents, access, now, many=True)
        return [(self._as_shown(access, schema, record.content), record) for record in created]

    def update(self, access: Access, code: str, version: int, query: Content | None, write: Content) -> None:
        """Change the one record that answers ``query``, or that has the primary key in ``write``."""
        schema, now = self._writable_fields(access, code, version, [write]), self._clock()
        conditions, inquiry = self._selected(access, code, version, "update", _selection(schema, query, write))
        with self._store.begin() as connection:
            records = self._store.records(connection, self._store.writable(connection, code, version))
            found = _only(records.find(conditions, subject=inquiry.subject))
            if found is None:
                raise RecordNotFound
            self._release.found_for_change(connection, inquiry, [found])
            self._change(records, schema, found, write, access, now)

    def update_entries(self, access: Access, code: str, version: int, query: Content | None, write: Content) -> None:
        """Change every record that answers, all or none."""
        schema, now = self._writable_fields(access, code, version, [write]), self._clock()
        conditions, inquiry = self._selected(access, code, version, "updateEntries", _selection(schema, query, write))
        with self._store.begin() as connection:
            records = self._store.records(connection, self._store.writable(connection, code, version))
            found = records.find(conditions, subject=inquiry.subject, limit=MOST_AT_ONCE + 1)
            if len(found) > MOST_AT_ONCE:
                raise QueryInvalid(f"more than {MOST_AT_ONCE} records answer; change them in several parts")
            self._release.found_for_change(connection, inquiry, found)
            for record in found:
                self._change(records, schema, record, write, access, now)

    def update_or_create(
        self, access: Access, code: str, version: int, query: Content | None, write: Content
    ) -> Content:
        """Change the one record that answers, or create it from ``write``; two at once never make two."""
        schema, now = self._writable_fields(access, code, version, [write]), self._clock()
        conditions, inquiry = self._selected(access, code, version, "updateOrCreate", _selection(schema, query, write))
        with self._store.begin() as connection:
            published = self._store.writable(connection, code, version)
            records = self._store.records(connection, published)
            found = _only(records.find(conditions, subject=inquiry.subject))
            if found is None:
                kept = self._create(records, published, [write], access, now)[0]
            else:
                inquiry.fields = shown_fields(
                    access, published
                )  # the answer shows the whole record, not what was written
                self._release.found_for_change(connection, inquiry, [found])
                kept = self._change(records, schema, found, write, access, now)
        return self._as_shown(access, schema, kept.content)

    def delete(self, access: Access, code: str, version: int, key: str) -> None:
        """Delete softly, by UUID or primary key; again changes nothing."""
        self._writable_fields(access, code, version, [])
        now = self._clock()
        with self._store.begin() as connection:
            records = self._store.records(connection, self._store.writable(connection, code, version))
            record = records.get(key)
            if record is None:
                raise RecordNotFound
            if record.deleted_at is None:
                records.remove(record, author_of(access), now)

    def _writable_fields(self, access: Access, code: str, version: int, contents: Sequence[Content]) -> Schema:
        must_read_only_under_agreement(access)
        with self._store.read() as connection:
            schema = self._store.writable(connection, code, version).schema
        if access.fields is not None:
            for content in contents:
                if outside := sorted(content.keys() - set(access.fields)):
                    raise FieldNotAllowed(
                        f"the right of {access.caller.client} covers {', '.join(access.fields)}; not {outside[0][:100]}"
                    )
        return schema

    def _selected(
        self, access: Access, code: str, version: int, operation: str, query: Content
    ) -> tuple[list[Condition], Inquiry]:
        """Return the conditions, and the inquiry that they are: whom they name, what is written down of it."""
        with self._store.read() as connection:
            published = self._store.writable(connection, code, version)
        inquiry = Inquiry(access, published, operation, tuple(query), persons_named(published.schema, query))
        with self._release.inquiry(inquiry):
            conditions = read_conditions(published.schema, query, access)
            self._release.name_persons(inquiry)
            if inquiry.functional_ids and inquiry.subject is None:
                raise RecordNotFound
        return conditions, inquiry

    def _create(
        self,
        records: Records,
        published: Published,
        contents: Sequence[Content],
        access: Access,
        now: datetime,
        *,
        many: bool = False,
    ) -> list[Record]:
        schema = published.schema
        prepared: list[tuple[str | None, Content, str, str]] = []
        for number, content in enumerate(contents):
            content = self._with_key(records, published, content)
            text = schema.check(content, f"/write/{number}/content" if many else "/write/content")
            prepared.append((schema.key_of(content), content, text, digest_of(content)))
        kept = records.by_keys(key for key, *_ in prepared if key is not None)
        new: dict[str, tuple[str | None, Content, str, str]] = {}
        for number, entry in enumerate(prepared):
            key = entry[0]
            if key in kept:
                _must_be_the_same(kept[key], entry[3], published.code, number if many else None)
            elif key is not None and new.setdefault(key, entry)[3] != entry[3]:
                raise RecordExists(f"entry {number}: another entry of this list has the same key and other content")
            elif key is None:
                new[f"\0{number}"] = entry
        added = dict(zip(new, records.add(list(new.values()), author_of(access), now), strict=True))
        return [
            _as_created(kept[key], content) if key in kept else added[key if key is not None else f"\0{number}"]
            for number, (key, content, _, _) in enumerate(prepared)
        ]

    def _with_key(self, records: Records, published: Published, content: Content) -> Content:
        schema = published.schema
        if not schema.increments or schema.primary_key is None or schema.primary_key in content:
            return content
        while True:
            number = records.next_index()
            if schema.fields[schema.primary_key].kind == "integer":
                made: Any = number
            else:
                made = schema.key_pattern.replace("{code}", published.code).replace("{indexNoByCode}", str(number))
            if not records.by_keys([str(made)]):
                return {schema.primary_key: made, **content}

    def _change(
        self, records: Records, schema: Schema, record: Record, write: Content, access: Access, now: datetime
    ) -> Record:
        merged = {**record.content, **write}
        content = {name: value for name, value in merged.items() if name not in write or value is not None}
        if content == record.content:
            return record
        text = schema.check(content, "/write/content")
        if schema.primary_key is not None and schema.key_of(content) != record.key:
            raise PrimaryKeyFixed(f"the record keeps its {schema.primary_key}; delete it and create another")
        return records.change(record, content, text, author_of(access), now)

    def _answered(self, connection: Connection, access: Access, digest: str) -> Content | None:
        if access.caller.is_local or not access.caller.message_id:
            return None
        row = connection.execute(
            select(answered_requests).where(
                answered_requests.c.client == access.caller.client,
                answered_requests.c.message_id == access.caller.message_id[:200],
            )
        ).one_or_none()
        if row is None:
            return None
        if row.digest != digest:
            raise IdempotencyConflict("the same X-Road-Id came before with another content; use a new one")
        return json.loads(row.answer)

    def _remember(self, connection: Connection, access: Access, digest: str, content: Content, now: datetime) -> None:
        if access.caller.is_local or not access.caller.message_id:
            return
        connection.execute(
            insert(answered_requests).values(
                client=access.caller.client,
                message_id=access.caller.message_id[:200],
                digest=digest,
                answer=to_json(content),
                at=to_text(now),
            )
        )

    def _as_shown(self, access: Access, schema: Schema, content: Content) -> Content:
        return schema.shown(content, access.fields, to_own=access.is_own)


def author_of(access: Access) -> Author:
    """Return who is written down as having made a change."""
    caller = access.caller
    return Author(caller.client, caller.user_id or ("administrator" if caller.is_local else caller.client))


def digest_of(content: Any) -> str:
    """Return a SHA-256 over content that does not depend on the order of its members."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _selection(schema: Schema, query: Content | None, write: Content) -> Content:
    if query is not None:
        return query
    if schema.primary_key is None or schema.primary_key not in write:
        raise ContentInvalid("query is missing, and write names no primary key to select the record by")
    return {schema.primary_key: write[schema.primary_key]}


def _only(found: Sequence[Record]) -> Record | None:
    if len(found) > 1:
        raise SeveralRecordsMatch("more than one record answers: add conditions, or use updateEntries")
    return found[0] if found else None


def _must_be_the_same(record: Record, digest: str, code: str, number: int | None) -> None:
    where = "" if number is None else f"entry {number}: "
    if record.deleted_at is not None:
        raise RecordDeleted(f"{where}the record of this key was deleted from {code}; keys are not used twice")
    if record.created_digest != digest:
        raise RecordExists(
            f"{where}{code} keeps a record with this key that was created with other content; use update"
        )


def _as_created(record: Record, content: Content) -> Record:
    """A repeated create answers as the first one did, whatever has become of the record since."""
    return Record(record.id, record.uuid, record.key, 1, content, record.subject, record.created_at, record.valid_from)
