"""Revisions: every change of a policy, agreement or record as a serialised snapshot, chained per object and over all."""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Integer, MetaData, String, Table, Text, func, insert, select, update

from services.consent.domain import canonical

GENESIS = "0" * 64


@dataclass(frozen=True)
class Revision:
    """One locked row; only ``successor`` is written later. ``timestamp`` is ISO 8601 text as it stands in the snapshot."""

    id: str
    schema_name: str
    object_id: str
    snapshot: str
    hash: str
    timestamp: str
    individual: str
    other: str
    without_object_id: bool
    predecessor_hash: str
    predecessor_signature: str
    successor: str


def snapshot_of(
    schema_name: str,
    object_id: str,
    data: Mapping[str, Any],
    timestamp: str,
    *,
    individual: str = "",
    other: str = "",
    without_object_id: bool = False,
) -> str:
    """Return the serialised snapshot of an object (GovStack Consent, schema Revision)."""
    return canonical(
        {
            "objectData": data,
            "schemaName": schema_name,
            "objectId": "" if without_object_id else object_id,
            "signedWithoutObjectId": without_object_id,
            "timestamp": timestamp,
            "authorizedByIndividual": individual,
            "authorizedByOther": other,
        }
    )


def hash_of(snapshot: str) -> str:
    """Return the SHA-256 of a snapshot, hexadecimal (GovStack says SHA-1, which nobody may sign with any more)."""
    return hashlib.sha256(snapshot.encode()).hexdigest()


def stamp(moment: datetime) -> str:
    """Return a moment as snapshots spell it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class Revisions:
    """The revisions' table. ``chain`` covers, row by row, everything before it: a row changed or removed later is seen."""

    def __init__(self, metadata: MetaData) -> None:
        self.table = Table(
            "revisions",
            metadata,
            Column("position", Integer, primary_key=True, autoincrement=True),
            Column("id", String(40), nullable=False, unique=True),
            Column("schema_name", String(40), nullable=False),
            Column("object_id", String(100), nullable=False, index=True),
            Column("snapshot", Text, nullable=False),
            Column("hash", String(64), nullable=False, index=True),
            Column("timestamp", String(40), nullable=False),
            Column("individual", String(100), nullable=False),
            Column("other", String(300), nullable=False),
            Column("without_object_id", Boolean, nullable=False),
            Column("predecessor_hash", String(64), nullable=False),
            Column("predecessor_signature", Text, nullable=False),
            Column("successor", String(40), nullable=False),
            Column("chain", String(64), nullable=False),
        )

    def add(
        self,
        connection: Connection,
        schema_name: str,
        object_id: str,
        data: Mapping[str, Any],
        timestamp: str,
        *,
        individual: str = "",
        other: str = "",
        without_object_id: bool = False,
        predecessor_signature: str = "",
    ) -> Revision:
        """Add the next revision of an object and link it to the one before."""
        table = self.table
        snapshot = snapshot_of(
            schema_name, object_id, data, timestamp,
            individual=individual, other=other, without_object_id=without_object_id,
        )  # fmt: skip
        before = self.latest(connection, schema_name, object_id)
        revision = Revision(
            id=secrets.token_hex(16),
            schema_name=schema_name,
            object_id=object_id,
            snapshot=snapshot,
            hash=hash_of(snapshot),
            timestamp=timestamp,
            individual=individual,
            other=other,
            without_object_id=without_object_id,
            predecessor_hash=before.hash if before else "",
            predecessor_signature=predecessor_signature,
            successor="",
        )
        chain = connection.execute(select(table.c.chain).order_by(table.c.position.desc()).limit(1)).scalar() or GENESIS
        connection.execute(insert(table).values(chain=_link(chain, revision), **vars(revision)))
        if before:
            connection.execute(update(table).where(table.c.id == before.id).values(successor=revision.id))
        return revision

    def get(self, connection: Connection, revision_id: str) -> Revision | None:
        """Return a revision by its id."""
        return _one(connection.execute(select(self.table).where(self.table.c.id == revision_id)).mappings().first())

    def latest(self, connection: Connection, schema_name: str, object_id: str) -> Revision | None:
        """Return an object's latest revision."""
        query = self._of(schema_name, object_id).order_by(self.table.c.position.desc()).limit(1)
        return _one(connection.execute(query).mappings().first())

    def history(
        self, connection: Connection, schema_name: str, object_id: str, offset: int = 0, limit: int = 1000
    ) -> list[Revision]:
        """Return an object's revisions, the oldest first."""
        query = self._of(schema_name, object_id).order_by(self.table.c.position).offset(offset).limit(limit)
        return [Revision(**_plain(row)) for row in connection.execute(query).mappings()]

    def by_hash(self, connection: Connection, digest: str) -> Revision | None:
        """Return the revision whose snapshot has this hash."""
        return _one(connection.execute(select(self.table).where(self.table.c.hash == digest)).mappings().first())

    def forget(self, connection: Connection, schema_name: str, object_id: str) -> None:
        """Drop what the snapshots of an object say; their hashes stay, so the chain still verifies."""
        table = self.table
        connection.execute(
            update(table)
            .where(table.c.schema_name == schema_name, table.c.object_id == object_id)
            .values(snapshot="", individual="")
        )

    def count(self, connection: Connection) -> int:
        """Return how many revisions there are."""
        return connection.execute(select(func.count()).select_from(self.table)).scalar_one()

    def defects(self, connection: Connection) -> Iterator[str]:
        """Yield what is wrong with the chain: changed snapshots, changed rows, rows removed or put between."""
        chain = GENESIS
        for row in connection.execute(select(self.table).order_by(self.table.c.position)).mappings():
            revision = Revision(**_plain(row))
            if revision.snapshot and hash_of(revision.snapshot) != revision.hash:
                yield f"revision {revision.id}: its snapshot is not the one that was hashed"
            chain = _link(chain, revision)
            if chain != row["chain"]:
                yield f"revision {revision.id}: the chain breaks here"
                chain = row["chain"]

    def _of(self, schema_name: str, object_id: str) -> Any:
        return select(self.table).where(self.table.c.schema_name == schema_name, self.table.c.object_id == object_id)


def _link(chain: str, revision: Revision) -> str:
    links = (chain, revision.id, revision.schema_name, revision.object_id, revision.hash, revision.predecessor_hash)
    return hashlib.sha256("\n".join(links).encode()).hexdigest()


def _one(row: Any) -> Revision | None:
    return Revision(**_plain(row)) if row else None


def _plain(row: Any) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("position", "chain")}
