"""The tables. Amounts are whole minor units, times are ISO 8601 in UTC, what varies by programme is JSON."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

SCHEMA_VERSION = "1"
metadata = MetaData()

applications = Table(
    "applications",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("state", String(20), nullable=False),
    Column("opened_by", String(120), nullable=False),
    Column("opened_at", String(40), nullable=False),
    Column("functional_id", String(20), nullable=False, index=True),
    Column("household", String(40), nullable=False),
    Column("phone", String(30), nullable=False),
    Column("record", Text, nullable=False),
    Column("visit", Text, nullable=False),
    Column("answers", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("payee", Text, nullable=False),
    Column("reason", Text, nullable=False),
)

# One place per household and one per person: whoever holds it keeps others from applying twice.
places = Table(
    "places",
    metadata,
    Column("place", String(60), primary_key=True),
    Column("holder", String(80), nullable=False),
)

beneficiaries = Table(
    "beneficiaries",
    metadata,
    Column("functional_id", String(20), primary_key=True),
    Column("source", String(80), nullable=False, unique=True),
    Column("state", String(20), nullable=False, index=True),
    Column("household", String(40), nullable=False),
    Column("package", String(20), nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("modality", String(20), nullable=False),
    Column("address", String(30), nullable=False),
    Column("name", String(300), nullable=False),
    Column("phone", String(30), nullable=False),
    Column("lawful_basis", String(30), nullable=False),
    Column("reason", Text, nullable=False),
    Column("payee_version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
)

# A request for payee registration names many beneficiaries; the callback names the failed ones only.
payee_requests = Table(
    "payee_requests",
    metadata,
    Column("request_id", String(12), primary_key=True),
    Column("functional_id", String(20), primary_key=True),
    Column("state", String(12), nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("cycle", String(7), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("prepared_by", String(120), nullable=False),
    Column("prepared_at", String(40), nullable=False),
    Column("approved_by", String(120), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("cycle", "attempt", "part"),
)

instructions = Table(
    "instructions",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("batch_id", String(12), nullable=False, index=True),
    Column("cycle", String(7), nullable=False),
    Column("functional_id", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    UniqueConstraint("cycle", "functional_id", "attempt"),
    Index("instructions_state", "batch_id", "state"),
)

# What was done for a case or batch and by whom; every line of an exchange bears its message id, which finds the evidence.
trace = Table(
    "trace",
    metadata,
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("subject", String(80), nullable=False, index=True),
    Column("at", String(40), nullable=False),
    Column("step", String(30), nullable=False),
    Column("title", Text, nullable=False),
    Column("actor", String(120), nullable=False),
    Column("service", String(160), nullable=False),
    Column("message_id", String(80), nullable=False),
    Column("status", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
)

# The client id that identity gave this app.
relying_party = Table(
    "relying_party",
    metadata,
    Column("client_id", String(300), primary_key=True),
    Column("issuer", String(300), nullable=False),
)
