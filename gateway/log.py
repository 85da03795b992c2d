"""The message log: every request and response with its signature, append-only, chained by hashes.

The chain runs over digests. Contents lie beside it, so that retention or a person's right can erase them while the
chain still verifies; in the mode *metadata* they are never kept. Each gateway instance writes a chain of its own
(``id`` = chain number and position); batch time-stamps join the chains.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from struct import Struct
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from gateway import tables
from gateway.signature import Compact
from gateway.tables import put_if_absent
from gateway.trust.configuration import CertificateEntry
from sandroad.problems import Error
from sandroad.storage import Database

POSITIONS = 1 << 40
PAGE = 500
FIRST_LINK = bytes(64)
CHAINED = (
    "id", "at", "side", "kind", "request_id", "message_id", "client", "service", "mode",
    "alg", "t", "x5t", "sig", "message_digest", "body_digest", "ocsp",
)  # fmt: skip

_LENGTH = Struct(">i").pack
_NUMBER = Struct(">q").pack
_ABSENT = _LENGTH(-1)
_RECORD, _CONTENT, _OPERATION = insert(tables.records), insert(tables.contents), insert(tables.operations)
_ANSWER = (
    update(tables.requests)
    .where(tables.requests.c.client_member == bindparam("b_member"), tables.requests.c.request_id == bindparam("b_id"))
    .values(state="answered", answer=bindparam("b_answer"))
)


class ChainBroken(Error):
    """The message log was altered; the text says at which record."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One message to log. ``certificate`` is the signer's; in mode ``metadata`` message and body are not kept."""

    side: str
    kind: str
    request_id: str
    message_id: str
    client: str
    service: str
    compact: Compact
    message_digest: bytes
    body_digest: bytes | None
    certificate: CertificateEntry
    mode: str = "full"
    message: bytes = field(default=b"", repr=False)
    body: bytes = field(default=b"", repr=False)


def link(previous: bytes, row: dict[str, Any]) -> bytes:
    """Return the chain's digest after a row: SHA-512 over the previous one and every field with its length."""
    parts = [previous]
    for name in CHAINED:
        value = row[name]
        if value is None:
            parts.append(_ABSENT)
            continue
        raw = _NUMBER(value) if isinstance(value, int) else value.encode() if isinstance(value, str) else value
        parts += (_LENGTH(len(raw)), raw)
    return hashlib.sha512(b"".join(parts)).digest()


class Batch:
    """What is written with one commit; rows are collected and inserted together at its end."""

    def __init__(self, connection: Connection, head: tuple[int, bytes], known: set[bytes]) -> None:
        self.connection = connection
        self.head = head
        self.new_blobs: dict[bytes, bytes] = {}
        self._known = known
        self._records: list[dict[str, Any]] = []
        self._contents: list[dict[str, Any]] = []
        self._operations: list[dict[str, Any]] = []
        self._answers: list[dict[str, Any]] = []

    def log(self, entry: Entry) -> int:
        """Append a message; return its id."""
        identity, previous = self.head[0] + 1, self.head[1]
        compact = entry.compact
        row: dict[str, Any] = {
            "id": identity,
            "at": time.time_ns() // 1_000_000,
            "side": entry.side,
            "kind": entry.kind,
            "request_id": entry.request_id,
            "message_id": entry.message_id,
            "client": entry.client,
            "service": entry.service,
            "mode": entry.mode,
            "alg": compact.alg,
            "t": compact.t,
            "x5t": compact.x5t,
            "sig": compact.sig,
            "message_digest": entry.message_digest,
            "body_digest": entry.body_digest,
            "ocsp": self._blob(entry.certificate.ocsp_der),
        }
        self._blob(entry.certificate.der)
        row["link"] = link(previous, row)
        self.head = identity, row["link"]
        self._records.append(row)
        if entry.mode == "full":
            self._contents.append({"id": identity, "message": entry.message, "body": entry.body})
        return identity

    def operation(self, at: int, fields: str) -> None:
        """Add an operational record, rendered as JSON."""
        self._operations.append({"at": at, "fields": fields})

    def answered(self, client_member: str, request_id: str, answer: int) -> None:
        """Note that a received request has its response, record ``answer``."""
        self._answers.append({"b_member": client_member, "b_id": request_id, "b_answer": answer})

    def _blob(self, der: bytes) -> bytes:
        digest = _sha256(der)
        if digest not in self._known:
            self.new_blobs[digest] = der
        return digest

    def flush(self) -> None:
        """Insert what was collected so far."""
        execute = self.connection.execute
        blobs = [{"hash": digest, "der": der} for digest, der in self.new_blobs.items()]
        if blobs:
            put_if_absent(self.connection, tables.blobs, blobs)
        for statement, rows in (
            (_RECORD, self._records),
            (_CONTENT, self._contents),
            (_ANSWER, self._answers),
            (_OPERATION, self._operations),
        ):
            if rows:
                execute(statement, rows)
                rows.clear()


_digests: dict[bytes, bytes] = {}


def _sha256(der: bytes) -> bytes:
    """Certificates and OCSP responses are few and come again with every message: their digests are remembered."""
    digest = _digests.get(der)
    if digest is None:
        if len(_digests) > 1000:
            _digests.clear()
        digest = _digests[der] = hashlib.sha256(der).digest()
    return digest


class MessageLog:
    """The log of one gateway instance (``name``) in its member's database."""

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        self._head = (0, FIRST_LINK)
        self._known: set[bytes] = set()

    def open(self) -> None:
        """Make the tables that are missing and find the end of the own chain."""
        self.database.create(tables.metadata, tables.VERSION)
        with self.database.begin() as connection:
            number = _chain_number(connection, self.name)
            self._head = _head(connection, number)

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """One transaction: everything logged in it is committed at its end, or nothing and the chain is as before."""
        with self.database.begin() as connection:
            batch = Batch(connection, self._head, self._known)
            yield batch
            batch.flush()
        self._head = batch.head
        self._known |= batch.new_blobs.keys()

    def own_range(self) -> tuple[int, int]:
        """Return the id before the first, and the last one possible, of the own chain."""
        first = self._head[0] // POSITIONS * POSITIONS
        return first, first + POSITIONS - 1

    def verify(self) -> int:
        """Walk every chain in the database; return how many records hold, or raise ``ChainBroken``."""
        count = 0
        with self.database.read() as connection:
            for number in connection.execute(select(tables.chains.c.number)).scalars().all():
                count += _verify_chain(connection, number)
        return count


def _chain_number(connection: Connection, name: str) -> int:
    chains = tables.chains
    number = connection.execute(select(chains.c.number).where(chains.c.name == name)).scalar()
    if number is None:
        put_if_absent(connection, chains, [{"name": name}])
        number = connection.execute(select(chains.c.number).where(chains.c.name == name)).scalar_one()
    return int(number)


def _in_chain(number: int) -> Any:
    return tables.records.c.id.between(number * POSITIONS, (number + 1) * POSITIONS - 1)


def _head(connection: Connection, number: int) -> tuple[int, bytes]:
    records = tables.records
    query = select(records.c.id, records.c.link).where(_in_chain(number)).order_by(records.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return (number * POSITIONS, FIRST_LINK) if row is None else (int(row.id), bytes(row.link))


def _verify_chain(connection: Connection, number: int) -> int:
    records, contents = tables.records, tables.contents
    joined = records.outerjoin(contents, contents.c.id == records.c.id)
    query = select(records, contents.c.message, contents.c.body).select_from(joined).order_by(records.c.id).limit(PAGE)
    last, previous = number * POSITIONS, FIRST_LINK
    while rows := connection.execute(query.where(_in_chain(number), records.c.id > last)).mappings().all():
        for row in rows:
            if row["id"] != last + 1:
                raise ChainBroken(f"record {last + 1} is missing")
            last, previous = last + 1, link(previous, dict(row))
            if previous != row["link"]:
                raise ChainBroken(f"record {last} is not the one that was logged")
            # No contents: they were erased, or never kept.
            if row["message"] is not None and not _content_fits(row):
                raise ChainBroken(f"the contents of record {last} are not those that were logged")
    return last - number * POSITIONS


def _content_fits(row: Any) -> bool:
    body = hashlib.sha512(row["body"]).digest() if row["body"] else None
    return hashlib.sha512(row["message"]).digest() == row["message_digest"] and body == row["body_digest"]
