"""The inbox stand-in: where e-mails and text messages arrive instead of people's mail servers and phones."""

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import (
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
    func,
    insert,
    select,
)

from sandroad.storage import Database
from services.messaging.domain import InboxMessage, Letter


class Inbox:
    """Messages by address; a letter that is delivered again (same id, same address) is there once."""

    def __init__(self, database: Database, metadata: MetaData) -> None:
        self._database = database
        self.table = Table(
            "inbox",
            metadata,
            Column("id", Integer, primary_key=True, autoincrement=True),
            Column("message_id", String(120), nullable=False),
            Column("address", String(320), nullable=False),
            Column("channel", String(10), nullable=False),
            Column("sender", Text, nullable=False),
            Column("title", Text, nullable=False),
            Column("content", Text, nullable=False),
            Column("at", DateTime(timezone=True), nullable=False),
            UniqueConstraint("message_id", "address"),
            Index("inbox_address", "address", "id"),
        )

    def put(self, letters: Sequence[Letter], at: datetime) -> None:
        """Deliver letters to all their addresses."""
        rows = [self._row(letter, address, at) for letter in letters for address in dict.fromkeys(letter.to)]
        with self._database.begin() as connection:
            here = self._present(connection, [letter.message_id for letter in letters])
            fresh = [row for row in rows if (row["message_id"], row["address"]) not in here]
            if fresh:
                connection.execute(insert(self.table), fresh)

    def received(self, message_ids: Sequence[str]) -> set[str]:
        """Return which letters have arrived: the delivery report."""
        with self._database.read() as connection:
            return {message_id for message_id, _ in self._present(connection, message_ids)}

    def messages(
        self, address: str, *, after: int = 0, limit: int = 200, newest_first: bool = False
    ) -> list[InboxMessage]:
        """Return at most ``limit`` messages of an address with ids above ``after``, oldest first unless asked otherwise."""
        table = self.table
        order = table.c.id.desc() if newest_first else table.c.id
        query = select(table).where(table.c.address == normal(address), table.c.id > after)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(order).limit(limit)).mappings()
            return [_message(row) for row in rows]

    def newest(self, limit: int = 100) -> list[tuple[InboxMessage, int]]:
        """Return each address's newest message and its number of messages, the newest first."""
        table = self.table
        newest = (
            select(func.max(table.c.id).label("id"), func.count().label("count")).group_by(table.c.address).subquery()
        )
        query = select(table, newest.c.count).join(newest, newest.c.id == table.c.id)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
            return [(_message(row), row["count"]) for row in rows]

    def _present(self, connection: Connection, message_ids: Sequence[str]) -> set[tuple[str, str]]:
        query = select(self.table.c.message_id, self.table.c.address).where(self.table.c.message_id.in_(message_ids))
        return {(row[0], row[1]) for row in connection.execute(query)}

    def _row(self, letter: Letter, address: str, at: datetime) -> dict[str, object]:
        return {
            "message_id": letter.message_id,
            "address": normal(address),
            "channel": letter.channel,
            "sender": letter.sender,
            "title": letter.title,
            "content": letter.content,
            "at": at,
        }


def normal(address: str) -> str:
    """Return the form under which an address's messages lie: e-mail in small letters, phone without spaces."""
    return "".join(address.split()).lower()


def _message(row: object) -> InboxMessage:
    found = dict(row)  # type: ignore[call-overload]
    at = found["at"] if found["at"].tzinfo else found["at"].replace(tzinfo=UTC)
    return InboxMessage(
        found["id"], found["channel"], found["address"], found["sender"], found["title"], found["content"], at
    )
