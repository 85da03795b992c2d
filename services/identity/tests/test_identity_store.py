"""One promise on SQLite and PostgreSQL: one number per person and programme, one use per code, under concurrency too."""

import concurrent.futures
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sandroad.storage import Database
from services.identity import login_store, store
from services.identity.authorization import AuthorizationRequest
from services.identity.domain import Individual, RelyingParty
from services.identity.login import begin_login
from services.identity.login_store import Grant, digest
from services.identity.tables import SCHEMA_VERSION, metadata
from services.identity.tokens import Assertion

AMINA = Individual("QZ1000000017", "national-id", {"name": "Amina Ökello", "phone_number": "+999700000017"})
REQUEST = AuthorizationRequest("c", "https://c.example/cb", "openid", claims=("name",), claims_locales=("fr",))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    database.create(metadata, SCHEMA_VERSION)
    with database.begin() as connection:
        store.add_individuals(connection, [AMINA], "2026-01-01T00:00:00+00:00")
    yield database
    database.close()


def test_a_person_is_kept_as_enrolled(database: Database) -> None:
    with database.read() as connection:
        assert store.find_individual(connection, AMINA.individual_id) == AMINA
        assert store.find_individual(connection, "QZ0") is None


def test_a_person_changes(database: Database) -> None:
    changed = replace(AMINA, claims={"name": "Amina"})
    with database.begin() as connection:
        store.change_individual(connection, changed)
    with database.read() as connection:
        assert list(store.all_individuals(connection)) == [changed]


def test_a_person_gets_one_number_per_programme_from_many_at_once(database: Database) -> None:
    def ask(_: int) -> str:
        with database.begin() as connection:
            return store.functional_ids_of(connection, "CT-01", [AMINA.individual_id])[AMINA.individual_id]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        (number,) = set(pool.map(ask, range(24)))
    with database.read() as connection:
        assert store.individuals_behind(connection, [number, "CT01-X"]) == {number: AMINA.individual_id}


def test_a_subject_is_the_same_ever_after(database: Database) -> None:
    with database.begin() as connection:
        assert store.subject_of(connection, "welfare", AMINA.individual_id, "first") == "first"
        assert store.subject_of(connection, "welfare", AMINA.individual_id, "second") == "first"
        assert store.subject_of(connection, "health", AMINA.individual_id, "third") == "third"


def test_a_relying_party_is_kept_and_changed(database: Database) -> None:
    party = RelyingParty("c", "C", "g", "https://c/l", ("https://c/cb",), ("a",), ("name",), {"kty": "RSA"}, ("CT-01",))
    with database.begin() as connection:
        store.put_party(connection, party)
        store.put_party(connection, replace(party, active=False))
        assert store.find_party(connection, "c") == replace(party, active=False)
        assert store.find_party(connection, "a\0b") is None


def test_a_login_is_kept_in_every_state(database: Database) -> None:
    login = begin_login(REQUEST, "b", 1000.25, 900)
    coded = login.with_code("QZ1", AMINA.individual_id, 1001.5, 180)
    with database.begin() as connection:
        login_store.add_login(connection, login)
        assert login_store.find_login(connection, login.login_id) == login
        login_store.put_login(connection, coded)
        assert login_store.find_login(connection, login.login_id) == coded


def test_an_assertion_is_used_once_by_many_at_once(database: Database) -> None:
    def use(_: int) -> bool:
        with database.begin() as connection:
            return login_store.use_assertion(connection, Assertion("c", "jti", 2000.0))

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(use, range(16))) == 1


def test_a_grant_is_found_by_code_login_and_token(database: Database) -> None:
    grant = Grant(digest("code"), "login", AMINA.individual_id, "sub", REQUEST, 1000, 2000.5)
    used = replace(grant, token_id="token", token_expires_at=3000.0)
    with database.begin() as connection:
        login_store.add_grant(connection, grant)
        assert login_store.grant_of_code(connection, "code") == grant
        login_store.put_grant(connection, used)
        assert login_store.grant_of_token(connection, "token") == used
        assert login_store.grant_of_login(connection, "login") == used
        assert login_store.grant_of_code(connection, "other") is None


def test_sweeping_forgets_what_has_expired_and_nothing_else(database: Database) -> None:
    login = begin_login(REQUEST, "b", 1000.0, 900)
    with database.begin() as connection:
        login_store.add_login(connection, login)
        login_store.use_assertion(connection, Assertion("c", "old", 1500.0))
        login_store.use_assertion(connection, Assertion("c", "new", 90_000.0))
        login_store.add_attempt(connection, "p", "sent", 1000.0)
        login_store.sweep(connection, 2000.0)
        assert login_store.find_login(connection, login.login_id) == login
        assert login_store.use_assertion(connection, Assertion("c", "old", 5000.0))
        assert not login_store.use_assertion(connection, Assertion("c", "new", 90_000.0))
        assert login_store.count_attempts(connection, "p", "sent", 0.0) == 1
        login_store.sweep(connection, 1900.0 + login_store.KEEP_SECONDS + 1)
        assert login_store.find_login(connection, login.login_id) is None
        assert login_store.count_attempts(connection, "p", "sent", 0.0) == 0
