"""Reading: list, exists, read, readEntries, readValue. Each names its persons, asks for consent where the right says so, looks,
writes down who looked, and only then answers (GovStack Digital Registries 4.4, DRS-6, DRS-8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.registry.conditions import askable, checked_functional_id, persons_named, read_conditions, read_texts
from services.registry.domain import (
    FUNCTIONAL_ID,
    VIRTUAL_FIELD,
    FieldNotAllowed,
    PersonNotNamed,
    QueryInvalid,
    Record,
    RecordNotFound,
    SeveralRecordsMatch,
)
from services.registry.release import Inquiry, Release, must_name_persons, shown_fields
from services.registry.rights import Access
from services.registry.search import Search
from services.registry.store import Published, Store


@dataclass(frozen=True)
class Page:
    """One page of a list: ``count`` is that of all pages."""

    count: int
    results: list[dict[str, Any]]


@dataclass(frozen=True)
class Listing:
    """What a list is asked for: conditions as texts, and order and page."""

    conditions: Mapping[str, str]
    search: str | None = None
    filter: str | None = None
    ordering: str | None = None
    page: int = 1
    page_size: int = 20


class Reading:
    """The reading operations of the data API."""

    def __init__(self, store: Store, release: Release) -> None:
        self._store = store
        self._release = release

    def read(self, access: Access, code: str, version: int, query: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of the one record that answers, as this caller may see it."""
        inquiry = self._asked(access, code, version, "read", query, shown_fields)
        with self._release.inquiry(inquiry):
            found = self._one(inquiry, query)
        self._release.found(inquiry, [found])
        return shown(inquiry, found)

    def exists(self, access: Access, code: str, version: int, query: Mapping[str, Any]) -> bool:
        """Tell whether any record answers all conditions."""
        inquiry = self._asked(access, code, version, "exists", query, lambda *_: tuple(query))
        with self._release.inquiry(inquiry):
            conditions = read_conditions(inquiry.published.schema, query, access)
            self._release.name_persons(inquiry)
            found = self._find(inquiry, conditions)
        if found:
            self._release.found(inquiry, found[:1])
        else:
            self._release.not_found(inquiry, inquiry.functional_ids)
        return bool(found)

    def list_records(self, access: Access, code: str, version: int, asked: Listing) -> Page:
        """Return one page of the records that answer."""
        texts = dict(asked.conditions)
        inquiry = self._asked(access, code, version, "list", texts, shown_fields)
        schema = inquiry.published.schema
        with self._release.inquiry(inquiry):
            conditions = read_conditions(schema, read_texts(schema, texts, access), access)
            search = _search(inquiry, asked)
            order_by, descending = _order(inquiry, asked)
            self._release.name_persons(inquiry)
        subject = inquiry.subject
        if inquiry.functional_ids and subject is None:
            self._release.not_found(inquiry, inquiry.functional_ids)
            return Page(0, [])
        with self._store.read() as connection:
            records = self._store.records(connection, inquiry.published)
            count = records.count(conditions, subject=subject, search=search)

            def page(number: int) -> list[Record]:
                return records.find(
                    conditions, subject=subject, search=search, order_by=order_by, descending=descending,
                    limit=asked.page_size, offset=(number - 1) * asked.page_size,
                )  # fmt: skip

            found = page(asked.page)
            # A page beyond the last shows nobody and still tells how many there are: those of the first one are looked at.
            counted = found or (page(1) if count else [])
        self._release.found(inquiry, counted)
        if not counted:
            self._release.not_found(inquiry, inquiry.functional_ids)
        return Page(count, [shown(inquiry, record) for record in found])

    def read_entries(
        self, access: Access, code: str, version: int, query: Mapping[str, Sequence[str]]
    ) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, str]]]:
        """Return ((key, content) …, (key, reason) … left out), in the order of the list; one consent question for all."""
        if "keys" in query:
            return self._by_keys(access, code, version, query["keys"])
        ids = tuple(checked_functional_id(each) for each in query["functionalIds"])
        inquiry = self._asked(access, code, version, "readEntries", {}, shown_fields)
        _needs_subject(inquiry.published)
        inquiry.functional_ids = ids
        with self._release.inquiry(inquiry):
            persons = self._release.name_persons(inquiry, leave_out=True)
        refused = [each for each in ids if access.agreement and each not in persons.proofs]
        wanted = {each: persons.subjects[each] for each in ids if each not in set(refused)}
        with self._store.read() as connection:
            records = self._store.records(connection, inquiry.published)
            by_subject = records.by_subjects([subject for subject in wanted.values() if subject is not None])
        found = [(each, record) for each, subject in wanted.items() for record in by_subject.get(subject or "", [])]
        missing = [each for each, subject in wanted.items() if not by_subject.get(subject or "")]
        self._release.found(inquiry, [record for _, record in found])
        self._release.refused(inquiry, refused, "consent_required")
        self._release.not_found(inquiry, missing)
        reasons = dict.fromkeys(refused, "consent_required") | dict.fromkeys(missing, "record_not_found")
        return (
            [(each, shown(inquiry, record)) for each, record in found],
            [(each, reasons[each]) for each in ids if each in reasons],
        )

    def read_value(self, access: Access, code: str, version: int, key: str, field: str) -> Any:
        """Return one field of one record, named by UUID, primary key or functional id."""
        named = {VIRTUAL_FIELD: key} if FUNCTIONAL_ID.fullmatch(key) else {}
        inquiry = self._asked(access, code, version, "readValue", {}, lambda *_: (field,))
        schema = inquiry.published.schema
        inquiry.functional_ids = (key,) if named and schema.subject else ()
        with self._release.inquiry(inquiry):
            if field not in schema.fields or (not access.is_own and field not in schema.open_fields()):
                raise FieldNotAllowed(f"{field[:100]} is no field that may be shown to {access.caller.client}")
            if access.fields is not None and field not in access.fields:
                raise FieldNotAllowed(f"the right of {access.caller.client} covers {', '.join(access.fields)}")
            found = self._one(inquiry, named) if inquiry.functional_ids else self._by_key(inquiry, key)
            if field not in found.content:
                raise RecordNotFound
        self._release.found(inquiry, [found])
        return schema.shown(found.content, (field,), to_own=access.is_own)[field]

    def _asked(
        self, access: Access, code: str, version: int, operation: str, query: Mapping[str, Any], fields: Any
    ) -> Inquiry:
        with self._store.read() as connection:
            published = self._store.published(connection, code, version)
        inquiry = Inquiry(access, published, operation, fields(access, published))
        inquiry.functional_ids = persons_named(published.schema, query)
        return inquiry

    def _one(self, inquiry: Inquiry, query: Mapping[str, Any]) -> Record:
        conditions = read_conditions(inquiry.published.schema, query, inquiry.access)
        self._release.name_persons(inquiry)
        found = self._find(inquiry, conditions)
        if not found:
            raise RecordNotFound
        if len(found) > 1:
            raise SeveralRecordsMatch("more than one record answers: add conditions, or list them")
        return found[0]

    def _find(self, inquiry: Inquiry, conditions: Sequence[Any]) -> list[Record]:
        subject = inquiry.subject
        if inquiry.functional_ids and subject is None:
            return []
        with self._store.read() as connection:
            return self._store.records(connection, inquiry.published).find(conditions, subject=subject)

    def _by_key(self, inquiry: Inquiry, key: str) -> Record:
        if must_name_persons(inquiry.access, inquiry.published):
            raise PersonNotNamed("under this right a value is asked for by the person's functional id")
        with self._store.read() as connection:
            record = self._store.records(connection, inquiry.published).get(key)
        if record is None or record.deleted_at is not None:
            raise RecordNotFound
        return record

    def _by_keys(
        self, access: Access, code: str, version: int, keys: Sequence[str]
    ) -> tuple[list[tuple[str, dict[str, Any]]], list[tuple[str, str]]]:
        inquiry = self._asked(access, code, version, "readEntries", {}, shown_fields)
        if must_name_persons(access, inquiry.published):
            raise PersonNotNamed("under this right a list is made of functionalIds")
        with self._store.read() as connection:
            records = self._store.records(connection, inquiry.published).by_keys(keys)
        found = {key: records[key] for key in keys if key in records and records[key].deleted_at is None}
        self._release.found(inquiry, found.values())
        entries = [(key, shown(inquiry, record)) for key, record in found.items()]
        return entries, [(key, "record_not_found") for key in keys if key not in found]


def shown(inquiry: Inquiry, record: Record) -> dict[str, Any]:
    """Return what the caller may see; the functional id that it used stands in the place of the national id."""
    access, schema = inquiry.access, inquiry.published.schema
    content = schema.shown(record.content, access.fields, to_own=access.is_own)
    known_as = inquiry.persons.functional_id_of(record.subject)
    return {VIRTUAL_FIELD: known_as, **content} if known_as else content


def _needs_subject(published: Published) -> None:
    if published.schema.subject is None:
        raise QueryInvalid("functionalIds: this registry says of no field that it names a person")


def _search(inquiry: Inquiry, asked: Listing) -> Search | None:
    if asked.search is None:
        return None
    schema, access = inquiry.published.schema, inquiry.access
    marked = [name for name in shown_fields(access, inquiry.published) if schema.fields[name].is_fulltext]
    if asked.filter is not None:
        marked = [name for name in marked if name == asked.filter]
    if not marked:
        raise QueryInvalid("search: no field that you may see (and filter names) is marked x-fulltext")
    return Search(asked.search, marked)


def _order(inquiry: Inquiry, asked: Listing) -> tuple[str | None, bool]:
    """Return (field or None for the key, descending)."""
    ordering = asked.ordering or "ascending"
    if ordering in ("ascending", "descending"):
        name, descending = (asked.filter if asked.ordering else None), ordering == "descending"
    else:
        name, descending = ordering.removeprefix("-"), ordering.startswith("-")
    if name is not None and askable(inquiry.published.schema, name, inquiry.access).kind == "array":
        raise QueryInvalid(f"ordering: {name} holds several values and has no order")
    return name, descending
