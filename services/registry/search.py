"""Conditions as SQL over the key index: each condition is one range of it, and no condition reads every record."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, false, func, or_, select

from services.registry.domain import Condition
from services.registry.schema import Schema, fulltext_field, index_value, words
from services.registry.tables import record_keys, records

NARROWEST = ("=", "in", ">", ">=", "<", "<=", "!=")


def matching(
    registry_id: int,
    schema: Schema,
    conditions: Sequence[Condition],
    subject: str | None = None,
    search: "Search | None" = None,
) -> ColumnElement[bool]:
    """Return the clause that holds for the live records that answer all conditions (and concern ``subject``)."""
    clauses: list[ColumnElement[bool]] = [records.c.deleted_at.is_(None)]
    persons = [] if subject is None else [subject]
    others = []
    for condition in conditions:
        if condition.field == schema.subject and condition.operator == "=":
            persons.append(condition.value)
        else:
            others.append(condition)
    # The narrowest condition finds records through the index, the others look at what it found.
    others.sort(key=lambda each: (each.field != schema.primary_key, NARROWEST.index(each.operator)))
    clauses.extend(_concerning(registry_id, person) for person in persons)
    for condition in others:
        found = len(clauses) > 1
        clauses.append(_also(condition) if found else _indexed(registry_id, condition.field, _compared(condition)))
    if search is not None:
        clauses.extend(search.clauses(registry_id))
    if len(clauses) == 1:
        # Only here: each clause above holds for this registry alone, and saying the registry once more would invite SQLite to
        # walk all of its records in the order of their keys, which saves it a sort and costs a scan.
        clauses.append(records.c.registry_id == registry_id)
    return and_(*clauses)


class Search:
    """Words to be found, by their beginning, in the full-text fields (or one of them); all words must be found."""

    def __init__(self, text: str, fields: Sequence[str]) -> None:
        self._words = words(text)
        self._fields = [fulltext_field(name) for name in fields]

    def clauses(self, registry_id: int) -> list[ColumnElement[bool]]:
        """Return one clause per word; a search without any word finds nothing."""
        if not self._words:
            return [false()]
        return [or_(*(_indexed(registry_id, name, _begins(word)) for name in self._fields)) for word in self._words]


def ordered(statement: Select[Any], registry_id: int, field: str | None, *, descending: bool) -> Select[Any]:
    """Order by a field's index value (records without one first), then by key; by key alone without a field."""
    key = records.c.key.desc() if descending else records.c.key
    if field is None:
        return statement.order_by(key)
    smallest = (
        select(func.min(record_keys.c.value))
        .where(record_keys.c.record_id == records.c.id, record_keys.c.field == field)
        .scalar_subquery()
    )
    value = func.coalesce(smallest, "")
    return statement.order_by(value.desc() if descending else value, key)


def _indexed(registry_id: int, field: str, compared: ColumnElement[bool]) -> ColumnElement[bool]:
    """The records with an index row of ``field`` for which ``compared`` holds."""
    return records.c.id.in_(
        select(record_keys.c.record_id).where(
            record_keys.c.registry_id == registry_id, record_keys.c.field == field, compared
        )
    )


def _concerning(registry_id: int, subject: str) -> ColumnElement[bool]:
    """The records about a person."""
    same = records.alias("concerning")
    return records.c.id.in_(select(same.c.id).where(same.c.registry_id == registry_id, same.c.subject == subject))


def _also(condition: Condition) -> ColumnElement[bool]:
    """Whether a record that is found already answers this condition too."""
    of_record = record_keys.c.record_id == records.c.id
    return exists().where(of_record, record_keys.c.field == condition.field, _compared(condition))


def _compared(condition: Condition) -> ColumnElement[bool]:
    column = record_keys.c.value
    if condition.operator == "in":
        return column.in_([index_value(each) for each in condition.value])
    value = index_value(condition.value)
    if condition.operator == "=":
        return column == value
    if condition.operator == "!=":
        return column != value
    if condition.operator == ">":
        return column > value
    if condition.operator == ">=":
        return column >= value
    return column < value if condition.operator == "<" else column <= value


def _begins(word: str) -> ColumnElement[bool]:
    return and_(record_keys.c.value >= word, record_keys.c.value < word + "\U0010ffff")
