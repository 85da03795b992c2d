"""The outbox: calls to others that must arrive. Written in the transaction that causes them, sent by a thread until answered.

A crash between any two lines repeats at most one call with the same id; the receiver's contract makes repetitions harmless.
"""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from sandroad.gateway_client import GatewayClient, GatewayUnreachable, Reply
from sandroad.storage import Database

log = logging.getLogger(__name__)
RETRIED_STATUSES = frozenset({408, 425, 429})
FEWEST_ATTEMPTS = 30  # before giving up: a laptop that slept for two days has not tried for two days
LONGEST_DELAY = 600.0
ERASED_AT_ONCE = 500


@dataclass(frozen=True)
class Entry:
    """One call to be made: ``id`` is fixed when it is written and never changes; ``key`` orders (same key, one after the other)."""

    id: str
    key: str
    kind: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    attempts: int = 0


Done = Callable[[Connection, Entry, Reply], None]


def outbox_table(metadata: MetaData) -> Table:
    """Return the outbox's table, to be created with the app's other tables."""
    return Table(
        "outbox",
        metadata,
        Column("position", Integer, primary_key=True, autoincrement=True),
        Column("id", String(120), nullable=False, unique=True),
        Column("key", String(120), nullable=False),
        Column("kind", String(60), nullable=False),
        Column("method", String(10), nullable=False),
        Column("target", Text, nullable=False),
        Column("headers", Text, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("state", String(10), nullable=False),
        Column("attempts", Integer, nullable=False, default=0),
        Column("due", Float, nullable=False),
        Column("written", Float, nullable=False),
        Column("reason", Text, nullable=False, default=""),
        Index("outbox_state", "state", "key", "position"),
    )


class Outbox:
    """Sends what was written, in order per key, ``workers`` keys at a time.

    2xx is arrival. A gateway's error, 408, 425, 429 and 5xx are tried again with back-off (from 0.2 s to ``longest_wait``),
    until ``give_up_after`` seconds have passed; any other 4xx, and giving up, make the entry *dead*: it is listed, and does not
    hold up the entries behind it. ``done`` maps a kind to what has to happen, in the same transaction, when a call has
    arrived; ``died`` likewise when it never will.

    ``keep_bodies`` seconds after its arrival the body of an entry is erased: it may hold names and telephone numbers. The row
    stays, so that the same id is never sent again; those of ``forgotten`` kinds, whose ids never come again, are deleted.
    """

    def __init__(
        self,
        database: Database,
        metadata: MetaData,
        client: GatewayClient,
        *,
        done: Mapping[str, Done] | None = None,
        died: Mapping[str, Done] | None = None,
        workers: int = 4,
        longest_wait: float = 15.0,
        give_up_after: float = 24 * 3600.0,
        keep_bodies: float = 7 * 24 * 3600.0,
        forgotten: Collection[str] = (),
    ) -> None:
        self.table = outbox_table(metadata)
        self._database = database
        self._client = client
        self._done = dict(done or {})
        self._died = dict(died or {})
        self._longest_wait = longest_wait
        self._give_up_after = give_up_after
        self._keep_bodies = keep_bodies
        self._forgotten = tuple(forgotten)
        self._count = workers
        self._threads: list[threading.Thread] = []
        self._wake = threading.Condition()
        self._busy: set[str] = set()
        self._stopping = False
        self._stopped = threading.Event()
        self._changes = 0

    def on(self, kind: str, *, done: Done | None = None, died: Done | None = None) -> None:
        """Say what follows a call of ``kind``, for an app whose parts need the outbox first; before ``start``."""
        if done:
            self._done[kind] = done
        if died:
            self._died[kind] = died

    def put(
        self,
        connection: Connection,
        *,
        id: str,
        key: str,
        kind: str,
        method: str,
        target: str,
        json_body: Any = None,
        headers: Mapping[str, str] | None = None,
        after: float = 0.0,
    ) -> None:
        """Write a call in the caller's own transaction, to be made ``after`` seconds (up to ``LONGEST_DELAY``).

        The same id again is ignored: it was written before.
        """
        if connection.execute(select(self.table.c.position).where(self.table.c.id == id)).first():
            return
        content = b"" if json_body is None else json.dumps(json_body, ensure_ascii=False).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if content else dict(headers or {})
        now = time.time()
        connection.execute(
            insert(self.table).values(
                id=id,
                key=key,
                kind=kind,
                method=method,
                target=target,
                headers=json.dumps(sent),
                body=content,
                state="waiting",
                attempts=0,
                due=now + min(after, LONGEST_DELAY),
                written=now,
                reason="",
            )
        )

    def start(self) -> None:
        """Start sending."""
        self._database.after_commit(self._notify)
        work = [(self._work, f"outbox-{number}") for number in range(self._count)]
        for target, name in [*work, (self._erase_from_time_to_time, "outbox-erasing")]:
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop after the calls that are under way."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._stopped.set()
        for thread in self._threads:
            thread.join(timeout=10)

    def summary(self) -> dict[str, Any]:
        """Return counts by state and the dead entries (without contents)."""
        table = self.table
        with self._database.read() as connection:
            found = connection.execute(select(table.c.state, func.count()).group_by(table.c.state))
            counts: dict[str, int] = {state: count for state, count in found}  # noqa: C416 (a result has keys(), so dict() fails)
            dead = connection.execute(
                select(table).where(table.c.state == "dead").order_by(table.c.position).limit(100)
            ).mappings()
            entries = [
                {k: row[k] for k in ("id", "key", "kind", "method", "target", "attempts", "reason")} for row in dead
            ]
        return {"waiting": 0, "done": 0, "dead": 0, **counts, "dead_entries": entries}

    def erase(self) -> int:
        """Erase the bodies of entries that arrived long ago; return how many entries were changed."""
        table, changed = self.table, 0
        kept = (table.c.state == "done") & (table.c.due < time.time() - self._keep_bodies)
        old = kept & (or_(func.length(table.c.body) > 0, table.c.kind.in_(self._forgotten)))
        while True:
            with self._database.read() as connection:
                query = select(table.c.position).where(old).order_by(table.c.position).limit(ERASED_AT_ONCE)
                found = connection.execute(query).scalars().all()
            if not found:
                return changed
            mine = table.c.position.in_(found)
            with self._database.begin() as connection:
                connection.execute(delete(table).where(mine, table.c.kind.in_(self._forgotten)))
                connection.execute(update(table).where(mine).values(body=b""))
            changed += len(found)

    def _erase_from_time_to_time(self) -> None:
        while True:
            try:
                self.erase()
            except Exception:
                log.exception("old entries of the outbox could not be erased; tried again")
            if self._stopped.wait(timeout=3600.0):
                return

    def _notify(self) -> None:
        with self._wake:
            self._changes += 1
            self._wake.notify_all()

    def _work(self) -> None:
        """Deliver until stopped. A database that cannot be reached for a while must not end the thread, or nothing is sent again."""
        while True:
            try:
                entry = self._next()
                if entry is None:
                    return
                self._attempt(entry)
            except Exception:
                log.exception("the outbox cannot use its database; tried again")
                if self._stopped.wait(timeout=1.0):
                    return

    def _attempt(self, entry: Entry) -> None:
        try:
            self._deliver(entry)
        except Exception:
            log.exception("outbox entry %s of kind %s could not be handled", entry.id, entry.kind)
            self._postpone(entry, "internal fault")
        finally:
            with self._wake:
                self._busy.discard(entry.key)
                self._changes += 1
                self._wake.notify_all()

    def _next(self) -> Entry | None:
        """Wait for the first entry of a key that nobody works on and that is due; None when stopping."""
        while True:
            with self._wake:
                if self._stopping:
                    return None
                seen = self._changes
            heads = self._heads()
            now = time.time()
            soonest = None
            with self._wake:
                for row in heads:
                    if row["key"] in self._busy:
                        continue
                    # Nothing is ever due later than this, unless the clock was set back.
                    if row["due"] <= now or row["due"] > now + LONGEST_DELAY:
                        entry = self._still_waiting(row)
                        self._busy.add(row["key"])
                        return entry
                    soonest = min(soonest or row["due"], row["due"])
                if self._changes == seen and not self._stopping:
                    self._wake.wait(timeout=None if soonest is None else max(0.01, soonest - now))

    def _still_waiting(self, row: Mapping[str, Any]) -> Entry:
        return Entry(
            row["id"],
            row["key"],
            row["kind"],
            row["method"],
            row["target"],
            json.loads(row["headers"]),
            row["body"],
            row["attempts"],
        )

    def _heads(self) -> list[Mapping[str, Any]]:
        """Return the first waiting entry of each key."""
        table = self.table
        first = select(func.min(table.c.position)).where(table.c.state == "waiting").group_by(table.c.key)
        with self._database.read() as connection:
            found = connection.execute(
                select(table).where(table.c.position.in_(first)).order_by(table.c.due).limit(200)
            )
            return [dict(row) for row in found.mappings()]

    def _deliver(self, entry: Entry) -> None:
        if not self._is_waiting(entry):
            return None
        try:
            reply = self._client.send(entry.method, entry.target, content=entry.body or None, headers=entry.headers)
        except GatewayUnreachable as defect:
            return self._postpone(entry, str(defect))
        if reply.ok:
            return self._finish(entry, reply, "done", "", self._done.get(entry.kind))
        if reply.gateway_error or reply.status >= 500 or reply.status in RETRIED_STATUSES:
            return self._postpone(entry, reply.reason(), reply)
        return self._finish(entry, reply, "dead", reply.reason(), self._died.get(entry.kind))

    def _is_waiting(self, entry: Entry) -> bool:
        """Look again: another worker may have finished the entry between our look and our claim."""
        with self._database.read() as connection:
            state = connection.execute(select(self.table.c.state).where(self.table.c.id == entry.id)).scalar()
        return state == "waiting"

    def _finish(self, entry: Entry, reply: Reply, state: str, reason: str, then: Done | None) -> None:
        with self._database.begin() as connection:
            changed = connection.execute(
                update(self.table)
                .where(self.table.c.id == entry.id, self.table.c.state == "waiting")
                .values(state=state, attempts=entry.attempts + 1, due=time.time(), reason=reason[:500])
            )
            if changed.rowcount and then:
                then(connection, entry, reply)
        if state == "dead":
            # Not the reason: it is another organisation's sentence and may name a person. Control lists it.
            log.warning("outbox entry %s of kind %s is dead: HTTP %s", entry.id, entry.kind, reply.status)

    def _postpone(self, entry: Entry, reason: str, reply: Reply | None = None) -> None:
        wait = min(self._longest_wait, 0.2 * 2 ** min(entry.attempts, 20)) * random.uniform(0.75, 1.25)
        with self._database.read() as connection:
            written = (
                connection.execute(select(self.table.c.written).where(self.table.c.id == entry.id)).scalar() or 0.0
            )
        if entry.attempts >= FEWEST_ATTEMPTS and time.time() - written > self._give_up_after:
            return self._finish(
                entry, reply or Reply(504, {}, b""), "dead", f"given up: {reason}", self._died.get(entry.kind)
            )
        with self._database.begin() as connection:
            connection.execute(
                update(self.table)
                .where(self.table.c.id == entry.id, self.table.c.state == "waiting")
                .values(attempts=entry.attempts + 1, due=time.time() + wait, reason=reason[:500])
            )
