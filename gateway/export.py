"""Finds a message in the log by one of its ids and unfolds its evidence to a container."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from gateway import replay, tables
from gateway.envelope import REQUEST, RESPONSE
from gateway.evidence import hashchain
from gateway.evidence.container import Evidence
from gateway.timestamping import TimeStamping, blobs_of
from sandroad.problems import Refusal
from sandroad.storage import Database

SIDES = {"request": REQUEST, "response": RESPONSE}


class NoEvidence(Refusal):
    """The message log has no such message, or no longer its contents."""

    code = "not_found"


@dataclass(frozen=True)
class Hit:
    """One exchange that an id names; ``record`` is the message's place in the log, ``at`` in ms since 1970."""

    record: int
    request_id: str
    message_id: str
    at: int
    client: str
    service: str

    def shown(self) -> dict[str, Any]:
        """Return what may be told to choose among several."""
        names = ("request_id", "message_id", "at", "client", "service")
        return {name: getattr(self, name) for name in names}


def find(database: Database, identifier: str, side: str) -> list[Hit]:
    """Return the exchanges whose request id or message id is ``identifier``, each once, oldest first.

    A member that calls itself logs a message on both sides: the consumer's record stands for both.
    """
    records = tables.records
    columns = (
        records.c.id,
        records.c.request_id,
        records.c.message_id,
        records.c.at,
        records.c.client,
        records.c.service,
    )
    named = (records.c.request_id == identifier) | (records.c.message_id == identifier)
    query = select(*columns).where(named, records.c.kind == side).order_by(records.c.side, records.c.id)
    hits: dict[str, Hit] = {}
    with database.read() as connection:
        for row in connection.execute(query):
            hits.setdefault(row.request_id, Hit(*row))
    return sorted(hits.values(), key=lambda hit: hit.record)


async def container(database: Database, stamping: TimeStamping, hit: Hit, side: str) -> bytes:
    """Return the container of a message; it gets a time-stamp now if it has none yet. Raises ``NoEvidence``."""
    evidence = await asyncio.to_thread(_evidence, database, hit.record, side)
    if evidence is None:
        await stamping.stamp()
        evidence = await asyncio.to_thread(_evidence, database, hit.record, side)
    if evidence is None:
        raise NoEvidence(f"message {hit.message_id} has no time-stamp: {stamping.trouble or 'try again'}")
    return await asyncio.to_thread(evidence.container)


def _evidence(database: Database, record: int, side: str) -> Evidence | None:
    """Return all that a container is made of; None without a time-stamp."""
    with database.read() as connection:
        envelope = replay.envelope_of(connection, record, SIDES[side])
        if envelope is None:
            raise NoEvidence(
                "the contents of this message were not kept (its service is logged as metadata only) or were erased"
            )
        stamp = _stamp(connection, record)
        if stamp is None:
            return None
        authorities = [bytes.fromhex(digest) for digest in json.loads(stamp["authorities"])]
        x5t, ocsp = envelope.compact.x5t, bytes(stamp["ocsp"])
        ders = blobs_of(connection, {x5t, ocsp, *authorities})
    return Evidence(
        envelope.compact,
        envelope.message,
        envelope.body,
        ders[x5t],
        tuple(ders[digest] for digest in authorities),
        (ders[ocsp],),
        hashchain.unpack(bytes(stamp["path"])),
        bytes(stamp["token"]),
    )


def _stamp(connection: Connection, record: int) -> Any:
    stamps, batches = tables.stamps, tables.batches
    query = (
        select(stamps.c.path, stamps.c.ocsp, batches.c.token, batches.c.authorities)
        .join(batches, batches.c.id == stamps.c.batch)
        .where(stamps.c.id == record)
    )
    return connection.execute(query).mappings().first()
