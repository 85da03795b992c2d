"""Verification and audit: does consent exist now? Decided on committed records, every question written to the log."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    select,
)

from sandroad.callers import Caller
from sandroad.clock import Clock
from sandroad.problems import InvalidRequest
from services.consent.agreements import Configuration
from services.consent.domain import Agreement, Record, RecordUnknown
from services.consent.keys import OwnKeys
from services.consent.revisions import Revision
from services.consent.signatures import verify
from services.consent.store import ConsentStore


@dataclass(frozen=True)
class Question:
    """One entry of the verification log, as the person concerned sees it."""

    client: str
    agreement_id: str
    asked_at: datetime
    found: bool


class VerificationLog:
    """Who asked when about whose consent; the answer too."""

    def __init__(self, metadata: MetaData) -> None:
        self.entries = Table(
            "verifications",
            metadata,
            Column("id", String(40), primary_key=True),
            Column("client", String(200), nullable=False),
            Column("request_id", String(200), nullable=False),
            Column("agreement_id", String(100), nullable=False),
            Column("asked", Integer, nullable=False),
            Column("found", Integer, nullable=False),
            Column("asked_at", DateTime(timezone=True), nullable=False),
        )
        self.persons = Table(
            "verified_persons",
            metadata,
            Column("position", Integer, primary_key=True, autoincrement=True),
            Column("verification_id", ForeignKey("verifications.id"), nullable=False),
            Column("individual_id", String(100), nullable=False, index=True),
            Column("found", Boolean, nullable=False),
        )

    def write(
        self,
        connection: Connection,
        caller: Caller,
        agreement_id: str,
        asked: Sequence[str],
        found: Sequence[Record],
        at: datetime,
    ) -> None:
        """Write one question with a line per person."""
        entry, consenting = secrets.token_hex(16), {record.individual_id for record in found}
        connection.execute(
            insert(self.entries).values(
                id=entry, client=caller.client, request_id=caller.request_id[:200], agreement_id=agreement_id,
                asked=len(asked), found=len(found), asked_at=at,
            )
        )  # fmt: skip
        if asked:
            rows = [{"verification_id": entry, "individual_id": each, "found": each in consenting} for each in asked]
            connection.execute(insert(self.persons), rows)

    def about(self, connection: Connection, individual_ids: Sequence[str], limit: int = 100) -> list[Question]:
        """Return the last questions about a person, the newest first."""
        entries, persons = self.entries, self.persons
        query = (
            select(entries.c.client, entries.c.agreement_id, entries.c.asked_at, persons.c.found)
            .join(persons, persons.c.verification_id == entries.c.id)
            .where(persons.c.individual_id.in_(individual_ids))
            .order_by(persons.c.position.desc())
            .limit(limit)
        )
        return [
            Question(row[0], row[1], row[2] if row[2].tzinfo else row[2].replace(tzinfo=UTC), row[3])
            for row in connection.execute(query)
        ]


class Verification:
    """Answers providers and auditors. Nothing positive is cached: the answer is read in the transaction that logs it."""

    def __init__(
        self, store: ConsentStore, configuration: Configuration, log: VerificationLog, keys: OwnKeys, clock: Clock
    ) -> None:
        self._store = store
        self._configuration = configuration
        self._log = log
        self._keys = keys
        self._clock = clock

    def consent_of(self, caller: Caller, agreement_id: str, individual_ids: Sequence[str]) -> list[Record]:
        """Return the records that are consent of these persons to an agreement at this moment; the others are left out."""
        asked = list(dict.fromkeys(individual_ids))
        with self._store.database.begin() as connection:
            agreement = self._configuration.existing(connection, agreement_id)
            found = self._store.consenting(connection, agreement, asked)
            self._log.write(connection, caller, agreement_id, asked, found, self._clock())
        return found

    def consents(
        self, caller: Caller, individual_id: str, agreement_id: str, revision_id: str, offset: int, limit: int
    ) -> list[Record]:
        """Return the records that are consent now, filtered (labelled extension, 6.7.6).

        Another organisation has to say whom it asks about: the list of everybody who consented is nobody's business.
        """
        if agreement_id and individual_id:
            found = self.consent_of(caller, agreement_id, [individual_id])
        else:
            if not individual_id and not caller.is_local:
                raise InvalidRequest("individualId says whose consent is asked for")
            found = self._all_consents(caller, individual_id, agreement_id, offset, limit)
        return [record for record in found if revision_id in ("", record.agreement_revision_id)]

    def _all_consents(
        self, caller: Caller, individual_id: str, agreement_id: str, offset: int, limit: int
    ) -> list[Record]:
        columns = self._store.records.c
        conditions: list[Any] = [columns.is_current.is_(True), columns.opt_in.is_(True)]
        conditions += [columns.individual_id == individual_id] if individual_id else []
        conditions += [columns.agreement_id == agreement_id] if agreement_id else []
        with self._store.database.begin() as connection:
            records = self._store.list_records(connection, *conditions, offset=offset, limit=limit)
            agreements = {each: self._store.agreement(connection, each) for each in {r.agreement_id for r in records}}
            found = [r for r in records if (agreement := agreements[r.agreement_id]) and r.is_consent(agreement)]
            asked = [individual_id] if individual_id else []
            self._log.write(connection, caller, agreement_id, asked, found, self._clock())
        return found

    def record(self, record_id: str) -> tuple[Record, Revision]:
        """Return a record as it is now, with its revision."""
        with self._store.database.read() as connection:
            record = self._store.record(connection, record_id)
            revision = self._store.revisions.get(connection, record.revision_id) if record else None
        if record is None or revision is None:
            raise RecordUnknown(f"there is no consent record {record_id[:60]}")
        return record, revision

    def agreements(self, offset: int, limit: int, *, only_active: bool) -> list[Agreement]:
        """Return the agreements that can be verified, or all of them for an auditor."""
        with self._store.database.read() as connection:
            found = self._store.list_agreements(connection, offset, limit, deleted=not only_active)
        return [agreement for agreement in found if agreement.active or not only_active]

    def records(self, offset: int, limit: int, **equal: str | bool) -> list[Record]:
        """Return records for an auditor, in the order in which they were made."""
        columns = self._store.records.c
        conditions = [columns[name] == value for name, value in equal.items() if value]
        with self._store.database.read() as connection:
            return self._store.list_records(connection, *conditions, offset=offset, limit=limit)

    def require_managed(self, caller: Caller, agreement_id: str) -> None:
        """Raise ``NotManagedByCaller`` if others record the answers to an agreement: then they are not the caller's to read."""
        with self._store.database.read() as connection:
            agreement = self._configuration.existing(connection, agreement_id)
        if not caller.is_local:
            agreement.require_managed_by(caller.client)

    def managed_records(self, caller: Caller, offset: int, limit: int, **equal: str | bool) -> list[Record]:
        """As ``records``, without those of agreements whose answers others record."""
        if caller.is_local:
            return self.records(offset, limit, **equal)
        columns = self._store.records.c
        conditions = [columns[name] == value for name, value in equal.items() if value]
        with self._store.database.read() as connection:
            agreements = self._store.list_agreements(connection, 0, 10**9, deleted=True)
            foreign = [each.id for each in agreements if not each.is_managed_by(caller.client)]
            conditions += [columns.agreement_id.not_in(foreign)] if foreign else []
            return self._store.list_records(connection, *conditions, offset=offset, limit=limit)

    def integrity(self) -> dict[str, Any]:
        """Return what an auditor finds who recomputes every hash, chain link and signature."""
        key = self._keys.signing
        with self._store.database.read() as connection:
            defects = list(self._store.revisions.defects(connection))
            signatures = 0
            for signature in self._store.all_signatures(connection):
                signatures += 1
                if not verify(signature.payload, signature.signature, key):
                    defects.append(f"signature {signature.id}: does not verify")
            revisions = self._store.revisions.count(connection)
        return {"revisions": revisions, "signatures": signatures, "defects": defects[:100]}

    def export_records(self) -> Iterator[dict[str, Any]]:
        """Yield every record, by id."""
        with self._store.database.read() as connection:
            for record in sorted(self._store.list_records(connection, limit=10**9), key=lambda each: each.id):
                yield {
                    "id": record.id,
                    "dataAgreementId": record.agreement_id,
                    "individualId": record.individual_id,
                    "optIn": record.opt_in,
                    "state": record.state,
                    "revisionId": record.revision_id,
                    "current": record.is_current,
                    "signedAt": record.signed_at.isoformat() if record.signed_at else None,
                }

    def export_agreements(self) -> Iterator[dict[str, Any]]:
        """Yield every agreement, by id."""
        with self._store.database.read() as connection:
            for agreement in self._store.list_agreements(connection, 0, 10**9, deleted=True):
                yield {
                    "id": agreement.id,
                    **agreement.body,
                    "active": agreement.active,
                    "deleted": agreement.deleted,
                    "revisionId": agreement.revision_id,
                    "revisionHash": agreement.revision_hash,
                }
