"""The registry's tables: JSON as text, and beside it one row per value that can be asked for, so that a search needs no scan."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

VERSION = "registry-1"
metadata = MetaData()
Id = BigInteger().with_variant(Integer(), "sqlite")
# Order and equality must be those of bytes on every server, whatever its locale: index values are made for that.
Bytewise = Text().with_variant(Text(collation="C"), "postgresql")

registries = Table(
    "registries",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("code", String(40), nullable=False, unique=True),
    Column("next_index", Integer, nullable=False),
)
databases = Table(
    "databases",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("registry_id", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("schema", Text, nullable=False),
    Column("group_name", Text, nullable=False),
    Column("catalog_name", Text, nullable=False),
    Column("modified_at", String(40), nullable=False),
    Column("modified_by", Text, nullable=False),
    Column("archived_at", String(40)),
    UniqueConstraint("registry_id", "version"),
)
records = Table(
    "records",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("registry_id", Integer, nullable=False),
    Column("key", Bytewise, nullable=False),
    Column("uuid", String(36), nullable=False, unique=True),
    Column("subject", Bytewise),
    Column("version", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("created_digest", String(64), nullable=False),
    Column("created_at", String(40), nullable=False),
    Column("valid_from", String(40), nullable=False),
    Column("source", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("deleted_at", String(40)),
    Column("deleted_by", Text),
    Index("records_key", "registry_id", "key", unique=True),
    Index("records_subject", "registry_id", "subject"),
)
record_versions = Table(
    "record_versions",
    metadata,
    Column("record_id", Id, primary_key=True, autoincrement=False),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("content", Text, nullable=False),
    Column("valid_from", String(40), nullable=False),
    Column("valid_to", String(40), nullable=False),
    Column("source", Text, nullable=False),
    Column("actor", Text, nullable=False),
)
record_keys = Table(
    "record_keys",
    metadata,
    Column("registry_id", Integer, primary_key=True, autoincrement=False),
    Column("field", Bytewise, primary_key=True),
    Column("value", Bytewise, primary_key=True),
    Column("record_id", Id, primary_key=True, autoincrement=False),
    Index("record_keys_record", "record_id", "field", "value"),
    sqlite_with_rowid=False,
)
data_usage = Table(
    "data_usage",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=True),
    Column("at", String(40), nullable=False),
    Column("registry", String(40), nullable=False),
    Column("operation", String(40), nullable=False),
    Column("client", Text, nullable=False),
    Column("user_id", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("fields", Text, nullable=False),
    Column("subject", Bytewise),
    Column("functional_id", Bytewise),
    Column("record_uuid", String(36)),
    Column("agreement", Text),
    Column("consent_record_id", Text),
    Column("outcome", String(60), nullable=False),
    Index("data_usage_subject", "registry", "subject"),
    Index("data_usage_functional_id", "registry", "functional_id"),
)
answered_requests = Table(
    "answered_requests",
    metadata,
    Column("client", String(200), primary_key=True),
    Column("message_id", String(200), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("answer", Text, nullable=False),
    Column("at", String(40), nullable=False),
)


def insert_many(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert all rows in one statement; they have the same columns, of plain types.

    PostgreSQL's driver sends one statement per row of an executemany, so there the rows travel as one JSON array. On SQLite the
    driver's own executemany takes half of the time that SQLAlchemy's takes.
    """
    if not rows:
        return
    names = list(rows[0])
    columns = ", ".join(f'"{name}"' for name in names)
    values = [tuple(row[name] for name in names) for row in rows]
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        connection.exec_driver_sql(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', values)
        return
    kinds = [table.c[name].type.compile(connection.dialect) for name in names]
    picked = ", ".join(f"CAST(e->>{number} AS {kind.split(' COLLATE')[0]})" for number, kind in enumerate(kinds))
    source = "json_array_elements(CAST(:rows AS json)) AS e"
    statement = text(f'INSERT INTO "{table.name}" ({columns}) SELECT {picked} FROM {source}')
    connection.execute(statement, {"rows": to_json(values)})


def to_text(moment: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC with microseconds, which sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_time(text: str) -> datetime:
    """Return the aware time that ``to_text`` wrote."""
    return datetime.fromisoformat(text)


def to_json(value: Any) -> str:
    """Return compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
