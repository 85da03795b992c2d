"""The tables of a gateway's database, and the one insert that tolerates what is there already."""

from functools import cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.dialects import postgresql, sqlite

VERSION = "gateway-1"
Number = BigInteger().with_variant(Integer, "sqlite")  # SQLite's row id has 64 bits, but must be called INTEGER

metadata = MetaData()

chains = Table(
    "chains",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String(200), nullable=False, unique=True),
)

# Append-only: no statement of the gateway changes or deletes a row of it.
records = Table(
    "records",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("side", String(8), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("request_id", Text, nullable=False, index=True),
    Column("message_id", Text, nullable=False, index=True),
    Column("client", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("mode", String(8), nullable=False),
    Column("alg", String(8), nullable=False),
    Column("t", BigInteger, nullable=False),
    Column("x5t", LargeBinary, nullable=False),
    Column("sig", LargeBinary, nullable=False),
    Column("message_digest", LargeBinary, nullable=False),
    Column("body_digest", LargeBinary),
    Column("ocsp", LargeBinary, nullable=False),
    Column("link", LargeBinary, nullable=False),
)

# Beside the chain: a row can be erased, the chain over the digests still verifies.
contents = Table(
    "contents",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("message", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# Certificates and OCSP responses, once each, by their SHA-256.
blobs = Table(
    "blobs",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("der", LargeBinary, nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("token", LargeBinary, nullable=False),
    Column("authorities", Text, nullable=False),
)

stamps = Table(
    "stamps",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=False),
    Column("batch", Number, nullable=False),
    Column("path", LargeBinary, nullable=False),
    Column("ocsp", LargeBinary, nullable=False),
)

# The provider's replay store, and how far each request has come.
requests = Table(
    "requests",
    metadata,
    Column("client_member", String(300), primary_key=True),
    Column("request_id", String(300), primary_key=True),
    Column("delivery", Text, nullable=False),
    Column("reply_to", Text, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("state", String(8), nullable=False),
    Column("deadline", BigInteger, nullable=False),
    Column("received_at", BigInteger, nullable=False, index=True),
    Column("record", Number, nullable=False),
    Column("answer", Number),
)

operations = Table(
    "operations",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("fields", Text, nullable=False),
)

services = Table(
    "services",
    metadata,
    Column("id", String(500), primary_key=True),
    Column("declaration", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("notice", Text, nullable=False),
)

rights = Table(
    "rights",
    metadata,
    Column("subject", String(500), primary_key=True),
    Column("service", String(500), primary_key=True),
    Column("patterns", Text, nullable=False),
    Column("allowed", Boolean, nullable=False),
    Column("terms", Text, nullable=False),
)

# Every change that an administrator made, and the one mark that the settings were taken over.
changes = Table(
    "changes",
    metadata,
    Column("id", Number, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("action", String(40), nullable=False),
    Column("details", Text, nullable=False),
)


def put_if_absent(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> int:
    """Insert rows, leaving alone those whose primary key is there; return how many were inserted (exact for one row)."""
    return connection.execute(_tolerant_insert(connection.dialect.name, table), rows).rowcount


@cache
def _tolerant_insert(dialect: str, table: Table) -> Any:
    maker = sqlite if dialect == "sqlite" else postgresql
    return maker.insert(table).on_conflict_do_nothing()
