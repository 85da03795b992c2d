"""The log of who read whose data, refused attempts included: what GovStack calls personal data usage (DRS-8, DRS-37)."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from services.registry.domain import Reader, Usage
from services.registry.tables import data_usage, insert_many, to_json, to_text, to_time

MOST_LISTED = 5000


def record_usage(connection: Connection, entries: Sequence[Usage]) -> None:
    """Keep the entries, in the transaction of ``connection``."""
    insert_many(connection, data_usage, [_row(entry) for entry in entries])


def usage_of(connection: Connection, registry: str, subject: str | None, functional_id: str | None) -> list[Usage]:
    """Return who read a person's data in a registry, the newest first, at most 5,000."""
    pairs = [(data_usage.c.subject, subject), (data_usage.c.functional_id, functional_id)]
    person = [column == value for column, value in pairs if value is not None]
    if not person:
        return []
    statement = (
        select(data_usage)
        .where(data_usage.c.registry == registry, or_(*person))
        .order_by(data_usage.c.id.desc())
        .limit(MOST_LISTED)
    )
    return [_usage(row) for row in connection.execute(statement)]


def _row(entry: Usage) -> dict[str, Any]:
    return {
        "at": to_text(entry.at),
        "registry": entry.registry,
        "operation": entry.operation,
        "client": entry.reader.client,
        "user_id": entry.reader.user_id,
        "request_id": entry.reader.request_id,
        "message_id": entry.reader.message_id,
        "fields": to_json(entry.fields),
        "subject": entry.subject,
        "functional_id": entry.functional_id,
        "record_uuid": entry.record_uuid,
        "agreement": entry.agreement,
        "consent_record_id": entry.consent_record_id,
        "outcome": entry.outcome,
    }


def _usage(row: Row) -> Usage:
    return Usage(
        at=to_time(row.at),
        registry=row.registry,
        operation=row.operation,
        reader=Reader(row.client, row.user_id, row.request_id, row.message_id),
        fields=tuple(json.loads(row.fields)),
        subject=row.subject,
        functional_id=row.functional_id,
        record_uuid=row.record_uuid,
        agreement=row.agreement,
        consent_record_id=row.consent_record_id,
        outcome=row.outcome,
        id=row.id,
    )
