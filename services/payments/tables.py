"""Tables of payments. Amounts are integers in minor units; every movement of money is one row of ``postings``."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()
SCHEMA_VERSION = "payments-1"

requests = Table(
    "requests",
    metadata,
    Column("client", String(200), primary_key=True),
    Column("operation", String(40), primary_key=True),
    Column("request_id", String(40), primary_key=True),
    Column("content", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("answer", Text, nullable=False),
)

payees = Table(
    "payees",
    metadata,
    Column("client", String(200), primary_key=True),
    Column("payee", String(20), primary_key=True),
    Column("modality", String(2), nullable=False),
    Column("institution", String(11), nullable=False),
    Column("account", String(20), nullable=False),
    Column("name", String(100), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("changed_at", String(40), nullable=False),
)

validations = Table(
    "validations",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("client", String(200), nullable=False),
    Column("request_id", String(12), nullable=False),
    Column("batch_id", String(12), nullable=False),
    Column("callback", Text, nullable=False),
    Column("finished", Boolean, nullable=False),
    Column("begun", Float, nullable=False),
    Index("validations_finished", "finished", "begun"),
    UniqueConstraint("client", "request_id"),
)

validation_parts = Table(
    "validation_parts",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("validation", String(40), nullable=False),
    Column("instructions", Text, nullable=False),
    Column("answered", Boolean, nullable=False),
    Index("validation_parts_of", "validation", "answered"),
)

validation_failures = Table(
    "validation_failures",
    metadata,
    Column("validation", String(40), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("instruction_id", String(16), nullable=False),
    Column("reason", String(100), nullable=False),
)

batches = Table(
    "batches",
    metadata,
    Column("id", String(50), primary_key=True),
    Column("client", String(200), nullable=False),
    Column("source_id", String(40), nullable=False),
    Column("public_id", String(50), nullable=False),
    Column("request_id", String(40), nullable=False),
    Column("content", String(64), nullable=False),
    Column("programme", String(20), nullable=False),
    Column("funding_account", String(30), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("callback", Text, nullable=False),
    Column("state", String(12), nullable=False),
    Column("note", String(180), nullable=False),
    Column("total", Integer, nullable=False),
    Column("total_amount", BigInteger, nullable=False),
    Column("told", Integer, nullable=False),
    Column("accepted_at", String(40), nullable=False),
    Column("closed_at", String(40), nullable=False),
    UniqueConstraint("client", "source_id"),
)

# An instruction with a sub-batch is paid for by the batch's authorised funds; one without never was.
instructions = Table(
    "instructions",
    metadata,
    Column("client", String(200), primary_key=True),
    Column("instruction_id", String(16), primary_key=True),
    Column("batch", String(50), nullable=False),
    Column("position", Integer, nullable=False),
    Column("payee", String(20), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("narration", String(50), nullable=False),
    Column("institution", String(11), nullable=False),
    Column("account", String(20), nullable=False),
    Column("sub_batch", String(60), nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", String(100), nullable=False),
    Column("decided_at", String(40), nullable=False),
    Index("instructions_batch", "batch", "position", unique=True),
    Index("instructions_state", "batch", "state", "sub_batch", "amount"),
    Index("instructions_sub_batch", "sub_batch", "state"),
)

sub_batches = Table(
    "sub_batches",
    metadata,
    Column("id", String(60), primary_key=True),
    Column("batch", String(50), nullable=False),
    Column("institution", String(11), nullable=False),
    Column("client", String(200), nullable=False),
    Column("service", String(200), nullable=False),
    Column("state", String(12), nullable=False),
    Column("heard", Float, nullable=False),
    Column("polls", Integer, nullable=False),
    Index("sub_batches_batch", "batch"),
    Index("sub_batches_state", "state", "heard"),
)

# The id of a posting is fixed by what causes it: a movement cannot be written twice.
postings = Table(
    "postings",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("batch", String(50), nullable=False),
    Column("debit_account", String(40), nullable=False),
    Column("credit_account", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("posted_at", String(40), nullable=False),
    Index("postings_accounts", "debit_account", "credit_account", "amount"),
)

wiring = Table("wiring", metadata, Column("name", String(20), primary_key=True), Column("value", Text, nullable=False))
