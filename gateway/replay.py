"""The provider's memory of requests: each is received once, started once, answered once, across crashes.

A row of ``requests`` stands for (client's member, request id). It is made in the commit that logs the request, and
outlives the process; ``gateway.provider`` asks here before it does anything that cannot be undone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, select, update

from gateway import tables
from gateway.envelope import RESPONSE, Envelope, Kind
from gateway.log import POSITIONS, Batch, Entry
from gateway.signature import Compact
from gateway.tables import put_if_absent

LAST_MOMENTS_MS = 5000
RECEIVED, STARTED, ANSWERED = "received", "started", "answered"


@dataclass(frozen=True, slots=True)
class Known:
    """A request that was received before."""

    client_member: str
    request_id: str
    delivery: str
    reply_to: str
    owner: str
    state: str
    deadline: int
    record: int
    answer: int | None
    message_digest: bytes
    body_digest: bytes | None


def _mine(client_member: str, request_id: str) -> Any:
    requests = tables.requests
    return (requests.c.client_member == client_member) & (requests.c.request_id == request_id)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A verified request on its way into the store; ``deadline`` in ms since 1970."""

    client_member: str
    delivery: str
    reply_to: str
    owner: str
    deadline: int
    at: int
    entry: Entry

    def write(self, state: str, answer: Entry | None = None) -> Callable[[Batch], Known | None]:
        """Return the write that receives the request in ``state``, with its answer if it has one already.

        The write returns None, or what is known if the request came before: then it has changed nothing.
        """

        def receive(batch: Batch) -> Known | None:
            identity = batch.head[0] + 1
            row = {
                "client_member": self.client_member,
                "request_id": self.entry.request_id,
                "delivery": self.delivery,
                "reply_to": self.reply_to,
                "owner": self.owner,
                "state": state,
                "deadline": self.deadline,
                "received_at": self.at,
                "record": identity,
                "answer": None if answer is None else identity + 1,
            }
            if not put_if_absent(batch.connection, tables.requests, [row]):
                batch.flush()  # the first one may be in this very batch
                return find(batch.connection, self.client_member, self.entry.request_id)
            batch.log(self.entry)
            if answer is not None:
                batch.log(answer)
            return None

        return receive


def start(client_member: str, request_id: str, owner: str, from_states: tuple[str, ...]) -> Callable[[Batch], bool]:
    """Return the write that marks a request as started; it returns False if somebody else was faster."""
    requests = tables.requests
    statement = (
        update(requests)
        .where(_mine(client_member, request_id), requests.c.state.in_(from_states))
        .values(state=STARTED, owner=owner)
    )
    return lambda batch: batch.connection.execute(statement).rowcount == 1


def find(connection: Connection, client_member: str, request_id: str) -> Known | None:
    """Return what is known of a request."""
    rows = _select(connection, _mine(client_member, request_id))
    return rows[0] if rows else None


def unanswered(connection: Connection, owner: str) -> list[Known]:
    """Return the requests that an instance received and has not answered."""
    requests = tables.requests
    return _select(connection, (requests.c.owner == owner) & (requests.c.state != ANSWERED))


def perhaps_unsent(connection: Connection, owner: str, first: int, now: int) -> list[Known]:
    """Return the requests whose answer was committed in the last moments of an earlier process and may not be sent.

    ``first`` is where the instance's chain begins. Only those whose callers cannot ask again, and still wait.
    """
    requests, records = tables.requests, tables.records
    newest = (
        select(func.max(records.c.at)).where(records.c.id > first, records.c.id < first + POSITIONS).scalar_subquery()
    )
    last = select(records.c.id).where(records.c.id > first, records.c.at >= newest - LAST_MOMENTS_MS)
    return _select(
        connection,
        (requests.c.owner == owner)
        & (requests.c.state == ANSWERED)
        & (requests.c.reply_to != "")
        & (requests.c.deadline > now)
        & requests.c.answer.in_(last),
    )


def _select(connection: Connection, condition: Any) -> list[Known]:
    requests, records = tables.requests, tables.records
    query = (
        select(
            *(column for column in requests.c if column.name != "received_at"),
            records.c.message_digest,
            records.c.body_digest,
        )
        .join(records, records.c.id == requests.c.record)
        .where(condition)
    )
    return [Known(**row) for row in connection.execute(query).mappings()]


def envelope_of(connection: Connection, record: int, kind: Kind = RESPONSE) -> Envelope | None:
    """Return a logged message as the envelope it came in or went out; None if its contents were not kept."""
    records, contents = tables.records, tables.contents
    query = (
        select(records, contents.c.message, contents.c.body)
        .join(contents, contents.c.id == records.c.id)
        .where(records.c.id == record)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    compact = Compact(row["alg"], row["t"], bytes(row["x5t"]), bytes(row["sig"]))
    return Envelope(kind, compact, bytes(row["message"]), bytes(row["body"]))


def record_of(connection: Connection, record: int) -> dict[str, Any]:
    """Return a record of the message log."""
    records = tables.records
    return dict(connection.execute(select(records).where(records.c.id == record)).mappings().one())


def forget_before(before: int) -> Callable[[Batch], None]:
    """Return the write that forgets answered requests that nobody can repeat any more, being too old to be fresh."""
    requests = tables.requests
    old = delete(requests).where(requests.c.received_at < before, requests.c.state == ANSWERED)

    def forget(batch: Batch) -> None:
        batch.connection.execute(old)

    return forget
