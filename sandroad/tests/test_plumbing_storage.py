"""One promise on SQLite and PostgreSQL: a writing transaction reads and writes as if it were alone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select, text, update
from sqlalchemy.exc import DatabaseError

from sandroad.storage import Database, StorageError

metadata = MetaData()
vouchers = Table("vouchers", metadata, Column("number", Integer, primary_key=True), Column("redeemed_by", String(20)))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    opened.create(metadata, "1")
    yield opened
    opened.close()


def test_eight_writers_redeem_one_voucher_once(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(insert(vouchers), [{"number": n} for n in range(20)])
    start = threading.Barrier(8)

    def redeem(who: int) -> int:
        start.wait()
        won = 0
        for number in range(20):
            with database.begin() as connection:
                row = connection.execute(select(vouchers).where(vouchers.c.number == number)).one()
                if row.redeemed_by is None:
                    connection.execute(update(vouchers).where(vouchers.c.number == number).values(redeemed_by=str(who)))
                    won += 1
        return won

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(redeem, range(8))) == 20


def test_two_processes_worth_of_writers_do_not_overlap_either(database: Database, database_url: str) -> None:
    """A second ``Database`` has a lock of its own, as another process would: the database itself must hold them apart."""
    other = Database(database_url)
    with database.begin() as connection:
        connection.execute(insert(vouchers).values(number=1, redeemed_by="0"))
    start = threading.Barrier(8)

    def count_up(through: Database) -> None:
        start.wait()
        for _ in range(10):
            with through.begin() as connection:
                before = int(connection.execute(select(vouchers.c.redeemed_by)).scalar_one())
                connection.execute(update(vouchers).values(redeemed_by=str(before + 1)))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count_up, [database, other] * 4))
    with database.read() as connection:
        assert connection.execute(select(vouchers.c.redeemed_by)).scalar_one() == "80"
    other.close()


def test_an_exception_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as connection:
        connection.execute(insert(vouchers).values(number=7))
        raise RuntimeError("between two lines")
    with database.read() as connection:
        assert connection.execute(select(vouchers)).all() == []


def test_a_reader_keeps_its_snapshot_while_others_write(database: Database) -> None:
    with database.read() as reading:
        assert reading.execute(select(vouchers)).all() == []
        with database.begin() as writing:
            writing.execute(insert(vouchers).values(number=1))
        assert reading.execute(select(vouchers)).all() == []
    with database.read() as reading:
        assert len(reading.execute(select(vouchers)).all()) == 1


def test_a_database_of_another_version_is_refused_with_both_versions(database: Database, database_url: str) -> None:
    with pytest.raises(StorageError, match=r"has schema version 1, this program needs 2"):
        Database(database_url).create(metadata, "2")


def test_commits_are_told_and_rollbacks_are_not(database: Database) -> None:
    told: list[int] = []
    database.after_commit(lambda: told.append(1))
    with database.begin():
        pass
    with pytest.raises(RuntimeError), database.begin():
        raise RuntimeError
    assert len(told) == 1


def test_a_failed_statement_does_not_carry_the_data_into_the_log(database: Database) -> None:
    with pytest.raises(DatabaseError) as failed, database.begin() as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:number)"), {"number": "QZ0000000018"})
    assert "QZ0000000018" not in str(failed.value)
