"""The consent block's tables, and rows ↔ domain objects. Transactions are the operations' (one an operation)."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    delete,
    insert,
    select,
    update,
)

from sandroad.storage import Database
from services.consent.domain import Agreement, Record
from services.consent.revisions import Revisions
from services.consent.signatures import Signature

SCHEMA = "consent-1"


class ConsentStore:
    """Policies, agreements, individuals, records, signatures; ``revisions`` holds their history."""

    def __init__(self, database: Database, metadata: MetaData) -> None:
        self.database = database
        self.revisions = Revisions(metadata)
        self.policies = Table(
            "policies",
            metadata,
            Column("id", String(100), primary_key=True),
            Column("body", Text, nullable=False),
            Column("revision_id", String(40), nullable=False),
            Column("deleted", Boolean, nullable=False),
        )
        self.agreements = Table(
            "agreements",
            metadata,
            Column("id", String(100), primary_key=True),
            Column("body", Text, nullable=False),
            Column("policy_id", String(100), nullable=False),
            Column("revision_id", String(40), nullable=False),
            Column("revision_hash", String(64), nullable=False),
            Column("terms", String(64), nullable=False),
            Column("programme", String(20), nullable=False),
            Column("active", Boolean, nullable=False),
            Column("deleted", Boolean, nullable=False),
        )
        self.individuals = Table(
            "individuals",
            metadata,
            Column("id", String(100), primary_key=True),
            Column("body", Text, nullable=False),
            Column("client", String(200), nullable=False),
        )
        # A no that is said again changes no record, and still outdates what was drafted before it. By digest: it outlives forgetting.
        self.repeated_refusals = Table(
            "repeated_refusals",
            metadata,
            Column("agreement_id", String(100), primary_key=True),
            Column("person", String(64), primary_key=True),
            Column("at", String(40), nullable=False),
        )
        self.records = Table(
            "records",
            metadata,
            Column("position", Integer, primary_key=True, autoincrement=True),
            Column("id", String(40), nullable=False, unique=True),
            Column("agreement_id", String(100), nullable=False),
            Column("agreement_revision_id", String(40), nullable=False),
            Column("agreement_revision_hash", String(64), nullable=False),
            Column("terms", String(64), nullable=False),
            Column("individual_id", String(100), nullable=False, index=True),
            Column("opt_in", Boolean, nullable=False),
            Column("state", String(30), nullable=False),
            Column("revision_id", String(40), nullable=False),
            Column("is_current", Boolean, nullable=False),
            Column("signature_id", String(40), nullable=False),
            Column("signed_at", DateTime(timezone=True)),
            UniqueConstraint("agreement_revision_id", "individual_id"),
            Index("records_of", "agreement_id", "individual_id"),
        )
        self.signatures = Table(
            "signatures",
            metadata,
            Column("position", Integer, primary_key=True, autoincrement=True),
            Column("id", String(40), nullable=False, unique=True),
            Column("record_id", String(40), nullable=False),
            Column("revision_id", String(40), nullable=False, index=True),
            Column("payload", Text, nullable=False),
            Column("signature", Text, nullable=False),
            Column("method", String(60), nullable=False),
            Column("verification_payload", Text, nullable=False),
            Column("verification_payload_hash", String(64), nullable=False),
            Column("artifact", Text, nullable=False),
            Column("signed_by", Text, nullable=False),
            Column("signed_as", String(20), nullable=False),
            Column("jws_header", Text, nullable=False),
            Column("timestamp", String(40), nullable=False),
            Column("without_object_reference", Boolean, nullable=False),
        )

    def policy(self, connection: Connection, policy_id: str) -> dict[str, Any] | None:
        """Return a policy's body, with ``_revision`` (its revision's id); None if it is unknown or deleted."""
        row = connection.execute(select(self.policies).where(self.policies.c.id == policy_id)).mappings().first()
        if row is None or row["deleted"]:
            return None
        return {**json.loads(row["body"]), "_revision": row["revision_id"]}

    def agreement(self, connection: Connection, agreement_id: str) -> Agreement | None:
        """Return an agreement, deleted ones too."""
        row = connection.execute(select(self.agreements).where(self.agreements.c.id == agreement_id)).mappings().first()
        return _agreement(row) if row else None

    def list_agreements(
        self, connection: Connection, offset: int, limit: int, *, deleted: bool = False
    ) -> list[Agreement]:
        """Return agreements by id."""
        query = select(self.agreements).order_by(self.agreements.c.id).offset(offset).limit(limit)
        if not deleted:
            query = query.where(self.agreements.c.deleted.is_(False))
        return [_agreement(row) for row in connection.execute(query).mappings()]

    def individual(self, connection: Connection, individual_id: str) -> dict[str, Any] | None:
        """Return an individual."""
        query = select(self.individuals.c.body).where(self.individuals.c.id == individual_id)
        body = connection.execute(query).scalar()
        return json.loads(body) if body else None

    def client_of(self, connection: Connection, individual_id: str) -> str | None:
        """Return the subsystem that bound an individual, empty if the person came by themselves, None if there is none."""
        query = select(self.individuals.c.client).where(self.individuals.c.id == individual_id)
        return connection.execute(query).scalar()

    def record(self, connection: Connection, record_id: str) -> Record | None:
        """Return a record by its id."""
        return self._first(connection, self.records.c.id == record_id)

    def current_record(self, connection: Connection, agreement_id: str, individual_id: str) -> Record | None:
        """Return the one record that says what a person answered to an agreement."""
        columns = self.records.c
        return self._first(
            connection,
            columns.agreement_id == agreement_id,
            columns.individual_id == individual_id,
            columns.is_current.is_(True),
        )

    def list_records(
        self, connection: Connection, *conditions: Any, offset: int = 0, limit: int = 1000
    ) -> list[Record]:
        """Return records in the order in which they were made."""
        query = select(self.records).where(*conditions).order_by(self.records.c.position).offset(offset).limit(limit)
        return [_record(row) for row in connection.execute(query).mappings()]

    def consenting(self, connection: Connection, agreement: Agreement, individual_ids: Sequence[str]) -> list[Record]:
        """Return the records of these persons that count as consent to ``agreement`` now."""
        columns = self.records.c
        found = self.list_records(
            connection,
            columns.agreement_id == agreement.id,
            columns.individual_id.in_(individual_ids),
            columns.is_current.is_(True),
            limit=len(individual_ids),
        )
        return [record for record in found if record.is_consent(agreement)]

    def add_record(self, connection: Connection, record: Record) -> None:
        """Add a record, which supersedes what the person answered before to other terms of the agreement."""
        columns = self.records.c
        connection.execute(
            update(self.records)
            .where(columns.agreement_id == record.agreement_id, columns.individual_id == record.individual_id)
            .values(is_current=False)
        )
        connection.execute(insert(self.records).values(**vars(record)))

    def put_record(self, connection: Connection, record: Record) -> None:
        """Write a record's changed values."""
        connection.execute(update(self.records).where(self.records.c.id == record.id).values(**vars(record)))

    def refused_again(self, connection: Connection, agreement_id: str, person: str, at: str) -> None:
        """Note when somebody, known by a digest, repeated their no."""
        table = self.repeated_refusals
        same = (table.c.agreement_id == agreement_id, table.c.person == person)
        if not connection.execute(update(table).where(*same).values(at=at)).rowcount:
            connection.execute(insert(table).values(agreement_id=agreement_id, person=person, at=at))

    def last_repeated_refusal(self, connection: Connection, agreement_id: str, person: str) -> str | None:
        """Return when that was last."""
        table = self.repeated_refusals
        query = select(table.c.at).where(table.c.agreement_id == agreement_id, table.c.person == person)
        return connection.execute(query).scalar()

    def was_signed(self, connection: Connection, record_id: str) -> bool:
        """Tell whether a record was ever signed."""
        columns = self.signatures.c
        query = select(columns.id).where(columns.record_id == record_id, columns.signature != "").limit(1)
        return connection.execute(query).first() is not None

    def forget_record(self, connection: Connection, record: Record, tomb: str) -> None:
        """Delete a record's signatures and put ``tomb`` in the person's place: it is nobody's record any more."""
        connection.execute(delete(self.signatures).where(self.signatures.c.record_id == record.id))
        connection.execute(
            update(self.records)
            .where(self.records.c.id == record.id)
            .values(individual_id=tomb, is_current=False, signature_id="", revision_id=record.revision_id)
        )

    def signature(self, connection: Connection, signature_id: str) -> Signature | None:
        """Return a signature by its id."""
        found = list(self._signatures(connection, self.signatures.c.id == signature_id))
        return found[0] if found else None

    def signatures_of(self, connection: Connection, revision_id: str) -> list[Signature]:
        """Return the signature objects of a revision, unsigned ones too, in their order."""
        return list(self._signatures(connection, self.signatures.c.revision_id == revision_id))

    def all_signatures(self, connection: Connection) -> Iterable[Signature]:
        """Return all signatures."""
        return self._signatures(connection, self.signatures.c.signature != "")

    def put_signature(self, connection: Connection, signature: Signature) -> None:
        """Write a signature object, new or changed."""
        table = self.signatures
        changed = connection.execute(update(table).where(table.c.id == signature.id).values(**vars(signature)))
        if not changed.rowcount:
            connection.execute(insert(table).values(**vars(signature)))

    def _signatures(self, connection: Connection, condition: Any) -> Iterable[Signature]:
        query = select(self.signatures).where(condition).order_by(self.signatures.c.position)
        for row in connection.execute(query).mappings():
            yield Signature(**{name: value for name, value in row.items() if name != "position"})

    def _first(self, connection: Connection, *conditions: Any) -> Record | None:
        found = self.list_records(connection, *conditions, limit=1)
        return found[0] if found else None


def _agreement(row: Any) -> Agreement:
    return Agreement(
        row["id"], json.loads(row["body"]), row["revision_id"], row["revision_hash"], row["terms"], row["active"],
        row["programme"], row["deleted"],
    )  # fmt: skip


def _record(row: Any) -> Record:
    values = {name: value for name, value in row.items() if name != "position"}
    signed_at: datetime | None = values["signed_at"]
    if signed_at is not None and signed_at.tzinfo is None:
        values["signed_at"] = signed_at.replace(tzinfo=UTC)
    return Record(**values)
