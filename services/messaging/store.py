"""Tables and transactions of the messaging block: requests, the queue of messages, and the inbox stand-in."""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    func,
    insert,
    select,
    update,
)

from sandroad.problems import IdempotencyConflict
from sandroad.storage import Database
from services.messaging.domain import FINAL, Letter, RequestUnknown, State, Submission
from services.messaging.sealing import Seal

SCHEMA = "messaging-1"


class MessagingStore:
    """The queue. A row's contents and contacts exist sealed while it waits and are gone when its state is final (5.1.8)."""

    def __init__(self, database: Database, metadata: MetaData, seal: Seal) -> None:
        self.database = database
        self._seal = seal
        self.requests = Table(
            "requests",
            metadata,
            Column("request_uid", String(40), primary_key=True),
            Column("client", String(200), nullable=False),
            Column("channel", String(10), nullable=False),
            Column("kind", String(10), nullable=False),
            Column("idempotency_key", String(200)),
            Column("transaction_id", String(120), nullable=False),
            Column("digest", String(64), nullable=False),
            Column("callback", Text, nullable=False),
            Column("received_at", DateTime(timezone=True), nullable=False),
            UniqueConstraint("client", "idempotency_key"),
        )
        self.messages = Table(
            "messages",
            metadata,
            Column("position", Integer, primary_key=True, autoincrement=True),
            Column("message_id", String(40), nullable=False, unique=True),
            Column("request_uid", ForeignKey("requests.request_uid"), nullable=False, index=True),
            Column("channel", String(10), nullable=False),
            Column("priority", Integer, nullable=False),
            Column("state", String(10), nullable=False),
            Column("attempts", Integer, nullable=False),
            Column("due", Float, nullable=False),
            Column("received", Float, nullable=False),
            Column("updated", Float, nullable=False),
            Column("reason", Text, nullable=False),
            Column("sealed", LargeBinary, nullable=False),
            Index("messages_waiting", "state", "priority", "position"),
        )

    def accept(self, submission: Submission) -> str:
        """Keep a submission with its messages; return its uid, the first one if it came before.

        Raises ``IdempotencyConflict`` if its key came before with another content.
        """
        with self.database.begin() as connection:
            if known := self._known(connection, submission):
                return known
            uid = _uid()
            connection.execute(
                insert(self.requests).values(
                    request_uid=uid,
                    client=submission.client,
                    channel=submission.channel,
                    kind=submission.kind,
                    idempotency_key=submission.idempotency_key or None,
                    transaction_id=submission.transaction_id,
                    digest=submission.digest,
                    callback=submission.callback,
                    received_at=submission.received_at,
                )
            )
            connection.execute(insert(self.messages), list(self._rows(uid, submission)))
        return uid

    def _known(self, connection: Connection, submission: Submission) -> str | None:
        if not submission.idempotency_key:
            return None
        table = self.requests
        row = connection.execute(
            select(table.c.request_uid, table.c.digest).where(
                table.c.client == submission.client, table.c.idempotency_key == submission.idempotency_key
            )
        ).first()
        if row is None:
            return None
        if row.digest != submission.digest:
            raise IdempotencyConflict(
                f"request {submission.idempotency_key.split(':', 1)[1]} came before with another content; "
                "send a new message under a new id"
            )
        return str(row.request_uid)

    def _rows(self, uid: str, submission: Submission) -> Iterator[dict[str, Any]]:
        now = time.time()
        for letter in submission.letters:
            plain = {
                "to": letter.to, "from": letter.sender, "title": letter.title, "content": letter.content,
                "reply_to": letter.reply_to, "copies": letter.copies,
            }  # fmt: skip
            yield {
                "message_id": secrets.token_hex(16),
                "request_uid": uid,
                "channel": submission.channel,
                "priority": submission.priority,
                "state": State.PENDING.value,
                "attempts": 0,
                "due": now,
                "received": now,
                "updated": now,
                "reason": "",
                "sealed": self._seal.close(json.dumps(plain, ensure_ascii=False).encode()),
            }

    def states(self, uid: str, client: str, channel: str, *, everybody: bool = False) -> list[tuple[str, int]]:
        """Return counts per state of a request of ``client`` (of anybody, for the member itself)."""
        table = self.requests
        with self.database.read() as connection:
            owner = connection.execute(
                select(table.c.client).where(table.c.request_uid == uid, table.c.channel == channel)
            ).scalar()
            if owner is None or (owner != client and not everybody):
                raise RequestUnknown(f"no request {uid[:60]} of yours on {channel}")
            return self._counts(connection, uid)

    def _counts(self, connection: Connection, uid: str) -> list[tuple[str, int]]:
        found = connection.execute(
            select(self.messages.c.state, func.count())
            .where(self.messages.c.request_uid == uid)
            .group_by(self.messages.c.state)
        )
        return [(str(state), int(count)) for state, count in found]

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield every request without contents or contacts, by uid."""
        with self.database.read() as connection:
            for row in connection.execute(select(self.requests).order_by(self.requests.c.request_uid)).mappings():
                yield {
                    "requestUid": row["request_uid"],
                    "client": row["client"],
                    "channel": row["channel"],
                    "kind": row["kind"],
                    "sourceTransactionId": row["transaction_id"],
                    "hash": row["digest"],
                    "receivedAt": row["received_at"].isoformat(),
                    "states": dict(sorted(self._counts(connection, row["request_uid"]))),
                }

    def recover(self) -> None:
        """Put back what a killed process had in hand; channels take a letter that they know already only once."""
        in_hand = (State.QUEUED.value, State.SENT.value)
        with self.database.begin() as connection:
            connection.execute(
                update(self.messages).where(self.messages.c.state.in_(in_hand)).values(state=State.PENDING.value)
            )

    def take(self, limit: int) -> list[Letter]:
        """Mark the next due messages as queued and return them: emergencies first, then in order of arrival."""
        table = self.messages
        waiting = (State.PENDING.value, State.ERRORED.value)
        with self.database.read() as connection:
            found = connection.execute(
                select(table)
                .where(table.c.state.in_(waiting), table.c.due <= time.time())
                .order_by(table.c.priority, table.c.position)
                .limit(limit)
            )
            rows = list(found.mappings())
        if rows:
            self.move([row["message_id"] for row in rows], State.QUEUED)
        return [self._letter(row) for row in rows]

    def soonest(self) -> float | None:
        """Return when the next waiting message is due (seconds since the epoch), None if nothing waits."""
        waiting = (State.PENDING.value, State.ERRORED.value)
        with self.database.read() as connection:
            return connection.execute(
                select(func.min(self.messages.c.due)).where(self.messages.c.state.in_(waiting))
            ).scalar()

    def move(self, message_ids: Sequence[str], state: State) -> None:
        """Move messages to a state that is not final."""
        with self.database.begin() as connection:
            connection.execute(
                update(self.messages)
                .where(self.messages.c.message_id.in_(message_ids))
                .values(state=state.value, updated=time.time())
            )

    def defer(self, connection: Connection, message_id: str, attempts: int, due: float, reason: str) -> None:
        """Have a message tried again at ``due``."""
        connection.execute(
            update(self.messages)
            .where(self.messages.c.message_id == message_id)
            .values(state=State.ERRORED.value, attempts=attempts, due=due, updated=time.time(), reason=reason[:300])
        )

    def finish(self, connection: Connection, message_ids: Sequence[str], state: State, reason: str = "") -> None:
        """Bring messages to a final state and drop their contents and contacts."""
        connection.execute(
            update(self.messages)
            .where(self.messages.c.message_id.in_(message_ids))
            .values(state=state.value, updated=time.time(), reason=reason[:300], sealed=b"")
        )

    def finished_requests(
        self, connection: Connection, message_ids: Sequence[str]
    ) -> list[tuple[str, str, str, list[tuple[str, int]]]]:
        """Return (uid, channel, callback, counts) of the requests of these messages that wait for a callback no longer."""
        table, requests = self.messages, self.requests
        uids = select(table.c.request_uid).where(table.c.message_id.in_(message_ids))
        unfinished = select(table.c.request_uid).where(
            table.c.request_uid.in_(uids), table.c.state.not_in([state.value for state in FINAL])
        )
        rows = connection.execute(
            select(requests.c.request_uid, requests.c.channel, requests.c.callback).where(
                requests.c.request_uid.in_(uids), requests.c.callback != "", requests.c.request_uid.not_in(unfinished)
            )
        )
        return [(row[0], row[1], row[2], self._counts(connection, row[0])) for row in rows]

    def _letter(self, row: Any) -> Letter:
        plain = json.loads(self._seal.open(row["sealed"]))
        return Letter(
            message_id=row["message_id"],
            channel=row["channel"],
            to=tuple(plain["to"]),
            sender=plain["from"],
            title=plain["title"],
            content=plain["content"],
            reply_to=plain["reply_to"],
            copies=tuple(plain["copies"]),
            attempts=row["attempts"],
            received=row["received"],
        )


def _uid() -> str:
    """Return a request uid in GovStack's form: six groups of four."""
    raw = secrets.token_hex(12)
    return "-".join(raw[start : start + 4] for start in range(0, 24, 4))
