"""The delivery worker: takes due messages from the queue to their channel until each is delivered or has failed."""

import base64
import json
import logging
import random
import threading
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from sandroad.outbox import Outbox
from sandroad.problems import Error
from services.messaging.channels import Channel
from services.messaging.domain import Letter, Outcome, State, counters
from services.messaging.store import MessagingStore

log = logging.getLogger(__name__)
AT_ONCE = 200


class NotDelivering(Error):
    """The worker has died or cannot get on."""


class Delivery:
    """One thread. Every step is committed before the next: a killed process goes on where it was (``MessagingStore.recover``)."""

    def __init__(
        self,
        store: MessagingStore,
        channels: Mapping[str, Channel],
        outbox: Outbox,
        *,
        first_wait: float,
        longest_wait: float,
        give_up_after: float,
    ) -> None:
        self._store = store
        self._channels = channels
        self._outbox = outbox
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._give_up_after = give_up_after
        self._wake = threading.Condition()
        self._changes = 0
        self._stopping = False
        self._trouble = ""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Recover what was in hand and start delivering."""
        self._store.recover()
        self._store.database.after_commit(self._notify)
        self._thread = threading.Thread(target=self._work, name="delivery", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the messages in hand."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        if self._thread:
            self._thread.join(timeout=30)

    def check(self) -> None:
        """Raise ``NotDelivering`` if the worker has died or cannot get on (health check)."""
        if self._thread is None or not self._thread.is_alive():
            raise NotDelivering("the delivery worker does not run")
        if self._trouble:
            raise NotDelivering(f"messages are not delivered: {self._trouble}")

    def deliver_due(self) -> int:
        """Deliver one handful of due messages; return how many were taken in hand."""
        letters = self._store.take(AT_ONCE)
        for channel, group in _by_channel(letters).items():
            self._deliver(self._channels[channel], group)
        return len(letters)

    def _notify(self) -> None:
        with self._wake:
            self._changes += 1
            self._wake.notify_all()

    def _work(self) -> None:
        while True:
            with self._wake:
                if self._stopping:
                    return
                seen = self._changes
            try:
                if self.deliver_due():
                    continue
                soonest, self._trouble = self._store.soonest(), ""
            except Exception as defect:
                log.exception("delivery failed; trying again")
                self._trouble = type(defect).__name__
                soonest = self._after_trouble()
            with self._wake:
                if self._changes == seen and not self._stopping:
                    self._wake.wait(timeout=None if soonest is None else max(0.01, soonest - time.time()))

    def _after_trouble(self) -> float:
        """Put back what was in hand, if the database lets us; return when to try again."""
        try:
            self._store.recover()
        except Exception:
            log.exception("what was in hand could not be put back; it will be at the next start")
        return time.time() + max(1.0, self._first_wait)

    def _deliver(self, channel: Channel, letters: Sequence[Letter]) -> None:
        outcomes = channel.hand_over(letters)
        taken = [letter.message_id for letter in letters if outcomes[letter.message_id].taken]
        if taken:
            self._store.move(taken, State.SENT)
        arrived = channel.reports(taken) if taken else set()
        with self._store.database.begin() as connection:
            if arrived:
                self._store.finish(connection, sorted(arrived), State.DELIVERED)
            for letter in letters:
                if letter.message_id not in arrived:
                    self._not_delivered(connection, letter, outcomes[letter.message_id])
            self._call_back(connection, [letter.message_id for letter in letters])

    def _not_delivered(self, connection: Connection, letter: Letter, outcome: Outcome) -> None:
        now = time.time()
        if outcome.final:
            self._store.finish(connection, [letter.message_id], State.BOUNCED, outcome.reason)
        elif now - letter.received >= self._give_up_after:
            self._store.finish(connection, [letter.message_id], State.EXPIRED, outcome.reason)
        else:
            wait = min(self._longest_wait, self._first_wait * 2 ** min(letter.attempts, 20))
            due = min(now + wait * random.uniform(0.8, 1.2), letter.received + self._give_up_after)
            reason = outcome.reason or "taken, but no delivery report came"
            self._store.defer(connection, letter.message_id, letter.attempts + 1, due, reason)

    def _call_back(self, connection: Connection, message_ids: Sequence[str]) -> None:
        """Write, once for each finished request that asked for it, the callback with the counters (GovStack: meta, content)."""
        for uid, channel, callback, states in self._store.finished_requests(connection, message_ids):
            content = json.dumps({"requestUid": uid, "channel": channel, "status": counters(states)})
            self._outbox.put(
                connection,
                id=f"status:{uid}",
                key=uid,
                kind="status-callback",
                method="POST",
                target=callback,
                headers={"requestUid": uid},
                json_body={"meta": "status", "content": base64.b64encode(content.encode()).decode()},
            )


def _by_channel(letters: Sequence[Letter]) -> dict[str, list[Letter]]:
    found: dict[str, list[Letter]] = {}
    for letter in letters:
        found.setdefault(letter.channel, []).append(letter)
    return found
