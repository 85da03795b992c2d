"""The tables of identity. Times of logins and tokens are seconds since 1970 by the real clock."""

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = "identity-1"
metadata = MetaData()

individuals = Table(
    "individuals",
    metadata,
    Column("individual_id", String(40), primary_key=True),
    Column("document_type", String(20), nullable=False),
    Column("claims", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("enrolled_at", String(40), nullable=False),
)
relying_parties = Table(
    "relying_parties",
    metadata,
    Column("client_id", String(50), primary_key=True),
    Column("details", Text, nullable=False),
    Column("active", Boolean, nullable=False),
)
subjects = Table(
    "subjects",
    metadata,
    Column("subject_group", String(50), primary_key=True),
    Column("individual_id", String(40), ForeignKey("individuals.individual_id"), primary_key=True),
    Column("sub", String(64), nullable=False, unique=True),
)
functional_ids = Table(
    "functional_ids",
    metadata,
    Column("functional_id", String(20), primary_key=True),
    Column("programme", String(5), nullable=False),
    Column("individual_id", String(40), ForeignKey("individuals.individual_id"), nullable=False),
    UniqueConstraint("programme", "individual_id"),
)
logins = Table(
    "logins",
    metadata,
    Column("login_id", String(40), primary_key=True),
    Column("browser", String(64), nullable=False),
    Column("form_token", String(64), nullable=False),
    Column("request", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("state", String(20), nullable=False),
    Column("typed_id", String(60), nullable=False),
    Column("individual_id", String(40), nullable=False),
    Column("secret", String(60), nullable=False),
    Column("counter", Integer, nullable=False),
    Column("code_expires_at", Float(53), nullable=False),
    Column("sent_at", Float(53), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("auth_time", Integer, nullable=False),
    Column("answer", Text, nullable=False),
    Index("logins_expire", "expires_at"),
)
# What a person (by a digest of the number typed) did lately: codes sent and codes mistyped, for the limits.
attempts = Table(
    "attempts",
    metadata,
    Column("person", String(64), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("at", Float(53), nullable=False),
    Index("attempts_of_person", "person", "kind", "at"),
)
# A code is kept as its digest; `token_id` is filled when it is exchanged, which can happen once.
grants = Table(
    "grants",
    metadata,
    Column("code_digest", String(64), primary_key=True),
    Column("login_id", String(40), nullable=False, index=True),
    Column("individual_id", String(40), nullable=False),
    Column("sub", String(64), nullable=False),
    Column("request", Text, nullable=False),
    Column("auth_time", Integer, nullable=False),
    Column("expires_at", Float(53), nullable=False),
    Column("token_id", String(40), unique=True),
    Column("token_expires_at", Float(53)),
    Column("revoked", Boolean, nullable=False),
    Index("grants_expire", "expires_at"),
)
assertions = Table(
    "assertions",
    metadata,
    Column("client_id", String(50), primary_key=True),
    Column("assertion_id", String(64), primary_key=True),
    Column("expires_at", Float(53), nullable=False),
    Index("assertions_expire", "expires_at"),
)
