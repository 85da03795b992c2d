"""Tables of an institution. Amounts are integers in minor units; every movement of money is one row of ``postings``."""

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()
SCHEMA_VERSION = "fsp-1"

accounts = Table(
    "accounts",
    metadata,
    Column("number", String(20), primary_key=True),
    Column("holder_name", String(100), nullable=False),
    Column("holder_reference", String(40), nullable=False),
    Column("status", String(10), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("balance", BigInteger, nullable=False),
    Column("behaviour", String(20), nullable=False),
    Column("behaviour_seconds", Integer, nullable=False),
    Column("opened_with", String(64), nullable=False),
)

# The id of a posting is fixed by what causes it, so that a movement cannot be written twice.
postings = Table(
    "postings",
    metadata,
    Column("id", String(160), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("debit_account", String(40), nullable=False),
    Column("credit_account", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("posted_at", String(40), nullable=False),
    Index("postings_kind", "kind"),
)

authorisations = Table(
    "authorisations",
    metadata,
    Column("batch_id", String(64), primary_key=True),
    Column("correlation_id", String(64), nullable=False),
    Column("account", String(20), nullable=False),
    Column("currency", String(3), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("status", String(1), nullable=False),
    Column("reason", String(100), nullable=False),
)

refunds = Table(
    "refunds",
    metadata,
    Column("batch_id", String(64), primary_key=True),
    Column("refund_id", String(64), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
)

sub_batches = Table(
    "sub_batches",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("batch_id", String(64), nullable=False),
    Column("content", String(64), nullable=False),
    Column("callback", Text, nullable=False),
    Column("pending", Integer, nullable=False),
)

credits = Table(
    "credits",
    metadata,
    Column("batch_id", String(64), primary_key=True),
    Column("instruction_id", String(16), primary_key=True),
    Column("sub_batch", String(64), nullable=False),
    Column("position", Integer, nullable=False),
    Column("account", String(40), nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("state", String(10), nullable=False),
    Column("reason", String(30), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("decided_at", String(40), nullable=False),
    Index("credits_sub_batch", "sub_batch", "position"),
    Index("credits_due", "state", "due"),
)
