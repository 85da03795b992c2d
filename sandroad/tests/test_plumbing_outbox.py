"""The outbox under trouble: databases that go away, clocks that jump, receivers that refuse, and what it keeps and says."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import MetaData, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from sandroad.gateway_client import GatewayClient, GatewayUnreachable, Reply
from sandroad.outbox import Outbox
from sandroad.storage import Database

TWO_DAYS = 48 * 3600.0


class Receiver(GatewayClient):
    """Another organisation, in this process: answers with what the test has decided."""

    def __init__(self) -> None:
        super().__init__("http://unused", "SANDBOX/GOV/TEST/TEST")
        self.answer: Callable[[], Reply] = lambda: Reply(200, {}, b"")
        self.taken: list[str] = []
        self.changed = threading.Condition()

    def send(self, method: str, target: str, **_arguments: Any) -> Reply:
        with self.changed:
            self.taken.append(target)
            self.changed.notify_all()
        return self.answer()

    def wait_for(self, count: int) -> None:
        """Wait until so many calls have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.taken) >= count, timeout=15), self.taken


class Box:
    """An outbox with its receiver and its rows."""

    def __init__(self, database: Database, **settings: Any) -> None:
        self.database, self.receiver, metadata = database, Receiver(), MetaData()
        self.outbox = Outbox(database, metadata, self.receiver, **settings)
        database.create(metadata, "1")

    def put(self, id: str, kind: str = "letter", key: str = "", body: Any = None) -> None:
        with self.database.begin() as connection:
            self.outbox.put(
                connection, id=id, key=key or id, kind=kind, method="POST", target=f"/r1/{id}", json_body=body
            )

    def rows(self) -> dict[str, Any]:
        with self.database.read() as connection:
            return {row.id: row for row in connection.execute(select(self.outbox.table))}

    def change(self, **values: Any) -> None:
        with self.database.begin() as connection:
            connection.execute(update(self.outbox.table).values(values))

    def deliver(self) -> None:
        """Deliver every head once, as a worker does."""
        for row in self.outbox._heads():
            self.outbox._attempt(self.outbox._still_waiting(row))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def unreachable() -> Reply:
    raise GatewayUnreachable("no gateway")


def test_a_database_that_goes_away_for_a_moment_does_not_end_the_workers(database: Database) -> None:
    box = Box(database, workers=2)
    read, failures = database.read, threading.Semaphore(4)

    def failing() -> Any:
        if failures.acquire(blocking=False):
            raise OperationalError("SELECT", {}, Exception("the server closed the connection"))
        return read()

    database.read = failing  # type: ignore[method-assign]
    box.outbox.start()
    box.put("late")
    box.receiver.wait_for(1)
    box.outbox.stop()


def test_an_entry_whose_postponement_cannot_be_written_is_tried_again(database: Database) -> None:
    box = Box(database, workers=1)
    begin, failures = database.begin, threading.Semaphore(0)

    def failing() -> Any:
        if failures.acquire(blocking=False):
            raise OperationalError("UPDATE", {}, Exception("the server closed the connection"))
        return begin()

    def two_commits_fail() -> Reply:
        if len(box.receiver.taken) == 1:
            failures.release(2)
        return Reply(200, {}, b"")

    box.put("once")
    database.begin = failing  # type: ignore[method-assign]
    box.receiver.answer = two_commits_fail
    box.outbox.start()
    box.receiver.wait_for(2)
    box.outbox.stop()


def test_a_clock_that_jumped_ahead_gives_nothing_up(database: Database) -> None:
    box = Box(database, give_up_after=3600.0)
    box.put("order")
    box.change(written=time.time() - TWO_DAYS)
    box.receiver.answer = unreachable
    box.deliver()
    assert box.rows()["order"].state == "waiting"


def test_what_was_tried_for_long_enough_is_given_up(database: Database) -> None:
    fates: list[int] = []
    box = Box(database, give_up_after=3600.0)
    box.outbox.on("letter", died=lambda _connection, _entry, reply: fates.append(reply.status))
    box.put("order")
    box.change(written=time.time() - TWO_DAYS, attempts=100)
    box.receiver.answer = unreachable
    box.deliver()
    assert box.rows()["order"].state == "dead"
    assert fates == [504]


def test_a_clock_that_was_set_back_holds_nothing_up(database: Database) -> None:
    box = Box(database)
    box.put("order")
    box.change(due=time.time() + TWO_DAYS)
    box.outbox.start()
    box.receiver.wait_for(1)
    box.outbox.stop()


def test_bodies_are_erased_when_their_time_is_over_and_ids_stay_taken(database: Database) -> None:
    box = Box(database, keep_bodies=3600.0, forgotten=["poll"])
    for id, kind in (("old", "letter"), ("poll-1", "poll")):
        box.put(id, kind, body={"phone": "+999700000001"})
    box.deliver()
    box.change(due=time.time() - TWO_DAYS)
    box.put("waiting", body={"phone": "+999700000002"})
    for id in ("new", "new-poll"):
        box.put(id, "poll" if "poll" in id else "letter", body={"phone": "+999700000003"})
    before = box.rows()
    box.outbox._attempt(box.outbox._still_waiting(dict(before["new"]._mapping)))
    box.outbox._attempt(box.outbox._still_waiting(dict(before["new-poll"]._mapping)))
    assert box.outbox.erase() == 2
    assert {id: len(row.body) > 0 for id, row in box.rows().items()} == {
        "old": False, "waiting": True, "new": True, "new-poll": True,
    }  # fmt: skip
    assert box.outbox.erase() == 0
    box.put("old", body={"phone": "+999700000001"})
    box.deliver()
    assert box.receiver.taken.count("/r1/old") == 1


def test_entries_that_wait_or_are_dead_keep_their_bodies_however_old_they_are(database: Database) -> None:
    box = Box(database, keep_bodies=3600.0, forgotten=["letter"])
    box.put("refused", body={"a": 1})
    box.receiver.answer = lambda: Reply(400, {}, b"")
    box.deliver()
    box.put("waiting", body={"a": 1})
    box.change(due=time.time() - TWO_DAYS, written=time.time() - TWO_DAYS)
    assert box.outbox.erase() == 0
    assert {row.state: len(row.body) > 0 for row in box.rows().values()} == {"dead": True, "waiting": True}


def test_the_log_repeats_no_sentence_of_others_and_no_parameter_of_a_statement(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    box = Box(database)
    box.put("letter-1")
    box.receiver.answer = lambda: Reply(400, {}, b'{"message": "no account of Amina Dune"}')
    with caplog.at_level(logging.DEBUG):
        box.deliver()
    assert "letter-1" in caplog.text
    assert "Amina" not in caplog.text
    assert "Amina" in box.outbox.summary()["dead_entries"][0]["reason"]
    row = {column.name: "x" for column in box.outbox.table.c} | {"id": "Amina Dune", "body": b""}
    with pytest.raises(IntegrityError) as refused, database.begin() as connection:
        for position in (7, 7):
            connection.execute(
                box.outbox.table.insert().values(
                    row | {"position": position, "attempts": 0, "due": 0.0, "written": 0.0}
                )
            )
    assert "Amina" not in str(refused.value)
