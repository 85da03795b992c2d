"""The message log and its writer: chained, append-only, all or nothing, on every database that is supported."""

import asyncio
import hashlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import delete, insert, select, update

from gateway import replay, tables
from gateway.log import Batch, ChainBroken, Entry, MessageLog
from gateway.replay import ANSWERED, RECEIVED, STARTED, Arrival
from gateway.signature import Compact
from gateway.tables import records
from gateway.trust.configuration import CertificateEntry
from gateway.verification import digests
from gateway.writer import Writer
from sandroad.storage import Database, StorageError
from sandroad.testing import environment_url, fresh_postgresql_database

NOW = datetime.now(UTC)
KEY = ec.generate_private_key(ec.SECP256R1()).public_key()
CERTIFICATE = CertificateEntry(
    b"x" * 32, b"certificate", KEY, "GOV/A", "a", NOW, NOW, b"ocsp", NOW, NOW + timedelta(hours=1), "good", None
)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path) -> Iterator[Database]:
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path}/log.db")
        yield opened
        opened.close()
        return
    url = environment_url("SANDROAD_TEST_POSTGRESQL")
    if url is None:
        pytest.skip("no PostgreSQL: set SANDROAD_TEST_POSTGRESQL, as scripts/test does")
    with fresh_postgresql_database(url) as fresh:
        opened = Database(fresh)
        yield opened
        opened.close()


@pytest.fixture
def message_log(database) -> MessageLog:
    opened = MessageLog(database, "one")
    opened.open()
    return opened


def entry(text: str = "hello", *, mode: str = "full", kind: str = "request", request_id: str = "") -> Entry:
    message, body = f"POST\r\n/{text}\r\n".encode(), text.encode()
    message_digest, body_digest = digests(message, body)
    compact = Compact("ES256", 1, CERTIFICATE.x5t, b"s" * 64)
    ids = (request_id or str(uuid.uuid4()), "message")
    return Entry(
        "provider",
        kind,
        *ids,
        "client",
        "service",
        compact,
        message_digest,
        body_digest,
        CERTIFICATE,
        mode,
        message,
        body,
    )


def written(message_log: MessageLog, *entries: Entry) -> list[int]:
    with message_log.batch() as batch:
        return [batch.log(each) for each in entries]


def test_a_chain_holds_over_batches_and_restarts(database, message_log):
    written(message_log, entry("1"), entry("2"))
    written(message_log)
    again = MessageLog(database, "one")
    again.open()
    written(again, entry("3"))
    assert again.verify() == 3


def test_each_instance_has_a_chain_of_its_own(database, message_log):
    other = MessageLog(database, "two")
    other.open()
    first, second = written(message_log, entry("1")), written(other, entry("1"))
    assert first != second
    written(message_log, entry("2"))
    assert message_log.verify() == other.verify() == 3


def alter(database: Database, *statements) -> None:
    with database.begin() as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "column", ["at", "client", "service", "request_id", "sig", "message_digest", "t", "mode", "link"]
)
def test_an_altered_record_breaks_the_chain(database, message_log, column):
    ids = written(message_log, entry("1"), entry("2"), entry("3"))
    value = {int: 7, str: "x", bytes: b"y" * 64}[type(_value(database, ids[1], column))]
    alter(database, update(records).where(records.c.id == ids[1]).values({column: value}))
    with pytest.raises(ChainBroken, match=str(ids[1])):
        message_log.verify()


def _value(database: Database, identity: int, column: str):
    with database.read() as connection:
        value = connection.execute(select(records.c[column]).where(records.c.id == identity)).scalar()
    return bytes(value) if isinstance(value, memoryview) else value


def test_a_removed_record_breaks_the_chain(database, message_log):
    ids = written(message_log, entry("1"), entry("2"), entry("3"))
    alter(database, delete(records).where(records.c.id == ids[1]))
    with pytest.raises(ChainBroken, match="missing"):
        message_log.verify()


def test_altered_contents_are_noticed(database, message_log):
    ids = written(message_log, entry("1"), entry("2"))
    alter(database, update(tables.contents).where(tables.contents.c.id == ids[0]).values(body=b"another"))
    with pytest.raises(ChainBroken, match="contents"):
        message_log.verify()


def test_contents_can_be_erased_and_the_chain_still_holds(database, message_log):
    ids = written(message_log, entry("1"), entry("2"))
    alter(database, delete(tables.contents).where(tables.contents.c.id == ids[0]))
    assert message_log.verify() == 2


def test_as_metadata_no_contents_are_kept(database, message_log):
    written(message_log, entry("secret", mode="metadata"))
    with database.read() as connection:
        assert connection.execute(select(tables.contents)).all() == []
    assert message_log.verify() == 1


def test_an_empty_body_is_no_body(message_log):
    message = b"GET\r\n/\r\n"
    written(
        message_log,
        replace(entry(), message=message, message_digest=hashlib.sha512(message).digest(), body=b"", body_digest=None),
    )
    assert message_log.verify() == 1


def test_a_batch_that_fails_leaves_nothing_and_the_chain_goes_on(message_log):
    written(message_log, entry("1"))
    with pytest.raises(RuntimeError), message_log.batch() as batch:
        batch.log(entry("2"))
        raise RuntimeError("the disk is full")
    written(message_log, entry("3"))
    assert message_log.verify() == 2


def test_a_database_of_another_version_is_refused(database, message_log):
    alter(database, update(tables.metadata.tables["schema_version"]).values(version="gateway-0"))
    with pytest.raises(StorageError, match="gateway-0"):
        MessageLog(database, "one").open()


def arrival(request_id: str = "r", delivery: str = "d", text: str = "hello") -> Arrival:
    return Arrival("SANDBOX/GOV/A", delivery, "", "one", 0, 0, entry(text, request_id=request_id))


def test_a_request_is_received_once(message_log):
    with message_log.batch() as batch:
        assert arrival().write(RECEIVED)(batch) is None
    with message_log.batch() as batch:
        known = arrival(delivery="other", text="other").write(RECEIVED)(batch)
    assert known is not None
    assert (known.state, known.delivery) == (RECEIVED, "d")
    assert message_log.verify() == 1


def test_the_same_request_twice_in_one_batch_is_received_once(message_log):
    with message_log.batch() as batch:
        assert arrival().write(RECEIVED)(batch) is None
        assert arrival(delivery="other").write(RECEIVED)(batch) is not None
    assert message_log.verify() == 1


def test_a_request_is_started_once(message_log):
    start = replay.start("SANDBOX/GOV/A", "r", "one", (RECEIVED,))
    with message_log.batch() as batch:
        assert not start(batch)
        arrival().write(RECEIVED)(batch)
        assert start(batch)
        assert not start(batch)


def test_of_two_instances_one_starts_a_request(database, message_log):
    other = MessageLog(database, "two")
    other.open()
    with message_log.batch() as batch:
        arrival().write(RECEIVED)(batch)
    started = []

    def run(instance: MessageLog) -> None:
        with instance.batch() as batch:
            started.append(replay.start("SANDBOX/GOV/A", "r", instance.name, (RECEIVED,))(batch))

    threads = [threading.Thread(target=run, args=(each,)) for each in (message_log, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(started) == [False, True]


def test_what_is_unanswered_is_found_after_a_restart(database, message_log):
    with message_log.batch() as batch:
        arrival("received").write(RECEIVED)(batch)
        arrival("started").write(STARTED)(batch)
        arrival("refused").write(ANSWERED, entry(kind="response", request_id="refused"))(batch)
        arrival("answered").write(STARTED)(batch)
    with message_log.batch() as batch:
        batch.answered("SANDBOX/GOV/A", "answered", batch.log(entry(kind="response", request_id="answered")))
    with database.read() as connection:
        assert {known.request_id for known in replay.unanswered(connection, "one")} == {"received", "started"}
        assert replay.unanswered(connection, "two") == []
        for request_id in ("refused", "answered"):
            known = replay.find(connection, "SANDBOX/GOV/A", request_id)
            assert known is not None and known.answer is not None
            envelope = replay.envelope_of(connection, known.answer)
            assert envelope is not None and envelope.body == b"hello"


def test_only_answered_requests_are_forgotten(database, message_log):
    with message_log.batch() as batch:
        arrival("old").write(ANSWERED, entry(kind="response"))(batch)
        arrival("open").write(STARTED)(batch)
        batch.flush()
        replay.forget_before(1)(batch)
    with database.read() as connection:
        assert replay.find(connection, "SANDBOX/GOV/A", "old") is None
        assert replay.find(connection, "SANDBOX/GOV/A", "open") is not None


def test_writes_share_a_commit_and_a_defective_one_fails_alone(message_log):
    async def play() -> list[object]:
        writer = Writer(message_log)
        writer.start()

        def defective(batch: Batch) -> None:
            batch.log(entry("never"))
            batch.connection.execute(insert(tables.chains).values(number=1, name="taken"))

        writer.write_late(lambda batch: batch.operation(1, "{}"))
        good = [writer.write(partial(Batch.log, entry=entry(str(n)))) for n in range(50)]
        results = await asyncio.gather(*good, writer.write(defective), return_exceptions=True)
        await writer.stop()
        return list(results)

    results = asyncio.run(play())
    assert len({result for result in results if isinstance(result, int)}) == 50
    assert [type(result).__name__ for result in results if not isinstance(result, int)] == ["IntegrityError"]
    assert message_log.verify() == 50
    with message_log.database.read() as connection:
        assert len(connection.execute(select(tables.operations)).all()) == 1
