"""The store's promise, the same on SQLite and PostgreSQL, eight writers at once included."""

import itertools
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from sandroad.callers import Caller
from sandroad.clock import system_clock
from services.registry.changes import Changes
from services.registry.databases import Databases
from services.registry.domain import (
    Condition,
    Reader,
    RecordExists,
    RegistryNotHosted,
    RegistryVersionSuperseded,
    RegistryVersionUnknown,
    SchemaBreaksRecords,
    Usage,
)
from services.registry.reading import Listing, Reading
from services.registry.release import Release
from services.registry.rights import Access
from services.registry.store import Store
from services.registry.usage import record_usage, usage_of

WRITERS = 8
NOBODY: Any = None  # no test here names a person by functional id, so identity and consent are never asked
OWN = Access(Caller("SANDBOX/GOV/LANDS/REGISTRY", "local"), is_own=True)
PARCELS = {
    "type": "object",
    "x-subject": "owner",
    "required": ["parcel"],
    "properties": {
        "parcel": {"type": "string", "primaryKey": True},
        "owner": {"type": "string"},
        "hectares": {"type": "number"},
        "use": {"type": "string"},
        **{f"mark{n}": {"type": "integer"} for n in range(WRITERS)},
    },
}


class Lands:
    """A registry of parcels without HTTP."""

    def __init__(self, database):
        self.store = Store(database)
        release = Release(self.store, NOBODY, NOBODY)
        self.changes = Changes(self.store, release, system_clock)
        self.reading = Reading(self.store, release)
        self.databases = Databases(self.store, ("land",), system_clock)
        self.publish(PARCELS)

    def publish(self, schema, code="land"):
        return self.databases.modify(OWN, {"code": code, "schema": schema})

    def create(self, content, version=1):
        return self.changes.create(OWN, "land", version, content)

    def listed(self, version=1, **conditions):
        page = self.reading.list_records(OWN, "land", version, Listing(conditions, page_size=500))
        assert page.count == len(page.results)
        return [row["parcel"] for row in page.results]

    def history(self, key):
        with self.store.read() as connection:
            records = self.store.records(connection, self.store.newest(connection, "land"))
            record = records.get(key)
            assert record is not None
            return records.history(record)


@pytest.fixture
def lands(database):
    return Lands(database)


def at_once(work):
    """Run ``work(number)`` in eight threads that start together; return results and exceptions."""
    barrier = threading.Barrier(WRITERS)

    def one(number):
        barrier.wait()
        try:
            return work(number)
        except Exception as refusal:
            return refusal

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(one, range(WRITERS)))


def test_eight_writers_on_one_record_lose_no_change(lands):
    lands.create({"parcel": "AB-1"})
    work = at_once(lambda n: lands.changes.update(OWN, "land", 1, None, {"parcel": "AB-1", f"mark{n}": n}))
    assert work == [None] * WRITERS
    history = lands.history("AB-1")
    assert [each["version"] for each in history] == list(range(1, WRITERS + 2))
    assert history[-1]["content"] == {"parcel": "AB-1", **{f"mark{n}": n for n in range(WRITERS)}}
    assert all(before["validTo"] == after["validFrom"] for before, after in itertools.pairwise(history))
    assert lands.listed(mark3="3") == ["AB-1"]


def test_eight_creators_of_one_key_with_other_contents_make_one_record(lands):
    answers = at_once(lambda n: lands.create({"parcel": "AB-1", "mark0": n}))
    kept = [each for each in answers if isinstance(each, dict)]
    assert len(kept) == 1
    assert sum(isinstance(each, RecordExists) for each in answers) == WRITERS - 1
    assert lands.listed(mark0=str(kept[0]["mark0"])) == ["AB-1"]


def test_eight_creators_of_the_same_record_all_get_it(lands):
    answers = at_once(lambda _: lands.create({"parcel": "AB-1", "hectares": 1.5}))
    assert answers == [{"parcel": "AB-1", "hectares": 1.5}] * WRITERS
    assert lands.listed() == ["AB-1"]


def test_eight_at_update_or_create_make_one_record(lands):
    change = lands.changes.update_or_create
    at_once(lambda n: change(OWN, "land", 1, {"owner": "QZ1"}, {"parcel": f"AB-{n}", "owner": "QZ1"}))
    assert len(lands.listed(owner="QZ1")) == 1


def test_eight_requests_with_one_x_road_id_have_one_effect(lands):
    access = Access(Caller("SANDBOX/GOV/LANDS/DESK", "gateway", message_id="SANDBOX-7"), is_own=True)
    schema = {"type": "object", "properties": {"parcel": {"type": "string"}}}
    databases = Databases(lands.store, ("notes",), system_clock)
    databases.modify(OWN, {"code": "notes", "schema": schema})
    answers = at_once(lambda _: lands.changes.create(access, "notes", 1, {"parcel": "AB-1"}))
    assert answers == [{"parcel": "AB-1"}] * WRITERS
    page = lands.reading.list_records(OWN, "notes", 1, Listing({}))
    assert page.count == 1


def test_generated_keys_count_on_and_are_never_given_twice(lands):
    schema: dict[str, Any] = {
        "type": "object",
        "incrementIndex": 31,
        "properties": {"number": {"type": "string", "primaryKey": True, "readOnly": True}, "child": {"type": "string"}},
        "required": ["number"],
    }
    schema["properties"]["number"]["triggers"] = [
        {"actions": [{"type": "set-value", "value": "{code}-{indexNoByCode}"}]}
    ]
    databases = Databases(lands.store, ("MCTS",), system_clock)
    databases.modify(OWN, {"code": "MCTS", "schema": schema})
    answers = at_once(lambda n: lands.changes.create(OWN, "MCTS", 1, {"child": f"c{n}"})["number"])
    assert sorted(answers) == [f"MCTS-{number}" for number in range(31, 39)]


def test_numbers_are_found_and_ordered_as_numbers(lands):
    sizes = [-1000.5, -2, -0.25, 0, 0.25, 3, 10, 200, 1e9]
    for number, hectares in enumerate(reversed(sizes)):
        lands.create({"parcel": f"AB-{number}", "hectares": hectares})
    page = lands.reading.list_records(OWN, "land", 1, Listing({}, ordering="hectares"))
    assert [row["hectares"] for row in page.results] == sizes
    for limit in (-2, 0, 9.5, 1e9):
        assert lands.reading.exists(OWN, "land", 1, {"hectares": {">": limit}}) is any(each > limit for each in sizes)
    assert not lands.reading.exists(OWN, "land", 1, {"hectares": {"<": -1000.5}})


def test_keys_and_texts_are_ordered_by_their_bytes(lands):
    for parcel in ("b", "B", "a", "Ä", "A-1", "A1"):
        lands.create({"parcel": parcel})
    assert lands.listed() == sorted(["b", "B", "a", "Ä", "A-1", "A1"], key=str.encode)


def test_the_same_schema_again_is_no_new_version_and_another_is(lands):
    assert lands.publish(PARCELS)["x-versionNumber"] == "1"
    wider = json.loads(json.dumps(PARCELS))
    wider["properties"]["crop"] = {"type": "string"}
    assert lands.publish(wider)["x-versionNumber"] == "2"
    assert lands.publish(wider)["x-versionNumber"] == "2"


def test_a_new_version_reads_old_records_and_takes_all_writing(lands):
    lands.create({"parcel": "AB-1", "owner": "QZ1", "use": "maize"})
    wider = json.loads(json.dumps(PARCELS)) | {"x-subject": "use"}
    wider["properties"]["owner"]["x-searchable"] = False
    wider["properties"]["use"]["x-fulltext"] = True
    lands.publish(wider)
    with pytest.raises(RegistryVersionSuperseded):
        lands.create({"parcel": "AB-2"}, version=1)
    lands.create({"parcel": "AB-2"}, version=2)
    assert lands.listed(version=1) == lands.listed(version=2) == ["AB-1", "AB-2"]
    page = lands.reading.list_records(OWN, "land", 2, Listing({}, search="MAI"))
    assert [row["parcel"] for row in page.results] == ["AB-1"]
    with lands.store.read() as connection:
        records = lands.store.records(connection, lands.store.newest(connection, "land"))
        assert list(records.by_subjects(["maize"])) == ["maize"]


def test_an_archived_version_answers_no_more_and_its_records_stay(lands):
    lands.create({"parcel": "AB-1"})
    lands.databases.archive(OWN, 1)
    with pytest.raises(RegistryVersionUnknown):
        lands.listed()
    assert lands.databases.read(1)["isArchived"]
    assert lands.publish(PARCELS)["x-versionNumber"] == "2"
    assert lands.listed(version=2) == ["AB-1"]


def test_a_schema_that_would_change_the_key_of_records_is_refused(lands):
    lands.create({"parcel": "AB-1"})
    other = json.loads(json.dumps(PARCELS))
    del other["properties"]["parcel"]["primaryKey"]
    other["properties"]["owner"]["primaryKey"] = True
    with pytest.raises(SchemaBreaksRecords):
        lands.publish(other)
    with pytest.raises(RegistryNotHosted):
        lands.publish(PARCELS, code="tax")
    assert [each["version"] for each in lands.databases.list_all()["databases"]] == ["1"]


def test_usage_is_kept_and_found_by_either_id(database):
    store = Store(database)
    entry = Usage(
        datetime.now(UTC), "land", "read", Reader("SANDBOX/GOV/A/B"), ("hectares",), "QZ1", "CT01-X", outcome="answered"
    )
    with store.begin() as connection:
        record_usage(connection, [entry, Usage(entry.at, "tax", "read", entry.reader, (), "QZ1")])
    with store.read() as connection:
        assert [each.registry for each in usage_of(connection, "land", "QZ1", None)] == ["land"]
        assert usage_of(connection, "land", None, "CT01-X")[0].fields == ("hectares",)
        assert usage_of(connection, "land", "QZ2", None) == []
        assert usage_of(connection, "land", None, None) == []


def work_of(connection, ask):
    """Return how much work a question is: SQLite's own steps, or the rows that PostgreSQL looks at."""
    if connection.dialect.name == "sqlite":
        steps = [0]
        driver = connection.connection.driver_connection
        driver.set_progress_handler(lambda: steps.__setitem__(0, steps[0] + 10), 10)
        ask()
        driver.set_progress_handler(None, 10)
        return steps[0]
    asked = []
    event.listen(connection, "before_cursor_execute", lambda c, cur, sql, values, *_: asked.append((sql, values)))
    ask()
    plans = [connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", values) for sql, values in list(asked)]
    return sum(_rows(plan.scalar_one()[0]["Plan"]) for plan in plans)


def _rows(plan):
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return own + sum(_rows(each) for each in plan.get("Plans", []))


@pytest.mark.parametrize(
    "conditions",
    [
        [Condition("owner", "=", "QZ77")],
        [Condition("parcel", "=", "P0000077")],
        [Condition("hectares", ">", 7998)],
        [Condition("hectares", "in", (77, 78)), Condition("owner", "!=", "QZ1")],
    ],
)
def test_a_question_about_an_indexed_field_looks_at_few_records(lands, conditions):
    for first in range(0, 8000, 2000):
        numbers = range(first, first + 2000)
        contents = [{"parcel": f"P{n:07d}", "owner": f"QZ{n}", "hectares": n, "use": "maize"} for n in numbers]
        lands.changes.create_entries(OWN, "land", 1, contents)
    with lands.store.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    with lands.store.read() as connection:
        records = lands.store.records(connection, lands.store.newest(connection, "land"))
        found = records.find(conditions)
        assert len(found) in (1, 2)
        assert work_of(connection, lambda: records.find(conditions)) < 20_000
    with lands.store.read() as connection:
        records = lands.store.records(connection, lands.store.newest(connection, "land"))
        assert work_of(connection, lambda: records.count([Condition("use", "!=", "rice")])) > 8000, "the measure works"
