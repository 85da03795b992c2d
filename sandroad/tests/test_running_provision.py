"""What is made on real servers: a database that only its own role reads, and a clear sentence when an administrator's URL is wrong."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from sandroad.country.topology import Topology
from sandroad.running.provision import Provision, ProvisionError
from sandroad.running.secrets import Secrets
from sandroad.testing import ROOT

WHOLE = Topology.read(ROOT / "country")
TOPOLOGY = replace(WHOLE, members=tuple(m for m in WHOLE.members if m.id in ("GOV/CIVIL", "COM/KITE-MOBILE")))
NAMES = ["central", *(m.gateway for m in TOPOLOGY.members), *(a.name for _, a in TOPOLOGY.apps())]


@pytest.fixture
def postgresql_admin_url() -> str:
    url = os.environ.get("SANDROAD_TEST_POSTGRESQL")
    if not url:
        pytest.skip("no PostgreSQL: SANDROAD_TEST_POSTGRESQL is not set (scripts/test starts one)")
    return url


@pytest.fixture
def provision(postgresql_admin_url: str, tmp_path: Path) -> Iterator[Provision]:
    made = Provision("", postgresql_admin_url, tmp_path)
    yield made
    made.empty_databases(NAMES)
    with as_administrator(postgresql_admin_url) as connection:
        mine = f"sandroad_{made.virtual_host.removeprefix('sandroad-')}_%"
        for role in (
            connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname LIKE :m"), {"m": mine}).scalars().all()
        ):
            connection.execute(text(f'DROP ROLE "{role}"'))


def as_administrator(url: str):
    return create_engine(make_url(url).set(drivername="postgresql+pg8000"), isolation_level="AUTOCOMMIT").connect()


def opened(url: str) -> str:
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return str(connection.execute(text("SELECT current_database()")).scalar())
    finally:
        engine.dispose()


def test_each_app_reaches_its_own_database_and_no_other(provision: Provision, tmp_path: Path) -> None:
    provision.make(TOPOLOGY, Secrets(tmp_path))
    urls = {name: make_url(provision.database_url(name)) for name in NAMES}
    assert len({url.password for url in urls.values()}) == len(NAMES)
    for name in ("civil-registry", "civil-identity", "kite-gateway"):
        assert opened(urls[name].render_as_string(hide_password=False)) == urls[name].database
        for other in ("kite-mobile", "civil-gateway", "central"):
            with pytest.raises(SQLAlchemyError, match="permission denied for database"):
                opened(urls[name].set(database=urls[other].database).render_as_string(hide_password=False))


def test_a_second_start_changes_nothing(provision: Provision, tmp_path: Path) -> None:
    secrets = Secrets(tmp_path)
    provision.make(TOPOLOGY, secrets)
    own = provision.database_url("civil-registry")
    engine = create_engine(own)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE kept (id int)"))
    engine.dispose()
    provision.make(TOPOLOGY, secrets)
    assert provision.database_url("civil-registry") == own
    engine = create_engine(own)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM kept")).scalar() == 0
    engine.dispose()


def test_a_start_that_was_killed_between_database_and_grant_is_completed(
    provision: Provision, postgresql_admin_url: str, tmp_path: Path
) -> None:
    secrets = Secrets(tmp_path)
    provision.make(TOPOLOGY, secrets)
    registry = make_url(provision.database_url("civil-registry"))
    with as_administrator(postgresql_admin_url) as connection:
        connection.execute(text(f'GRANT CONNECT ON DATABASE "{registry.database}" TO PUBLIC'))  # as before the REVOKE
    provision.make(TOPOLOGY, secrets)
    other = make_url(provision.database_url("civil-identity")).set(database=registry.database)
    with pytest.raises(SQLAlchemyError, match="permission denied for database"):
        opened(other.render_as_string(hide_password=False))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://root@host/db", "--database needs an administrator's URL"),
        ("postgresql://user:password@host:port/db", "--database needs an administrator's URL"),
        ("postgresql:///db", "--database needs an administrator's URL"),
        ("nonsense", "--database needs an administrator's URL"),
    ],
)
def test_what_is_no_url_of_postgresql_is_refused(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match=said):
        Provision("", url, tmp_path)


def refused(amqp: str, database: str, folder: Path) -> str:
    with pytest.raises(ProvisionError) as failure:
        Provision(amqp, database, folder).make(TOPOLOGY, Secrets(folder))
    said = str(failure.value)
    assert "\n" not in said
    return said


def test_a_wrong_password_of_postgresql_is_said_without_repeating_it(postgresql_admin_url: str, tmp_path: Path) -> None:
    wrong = make_url(postgresql_admin_url).set(password="not-the-password").render_as_string(hide_password=False)
    said = refused("", wrong, tmp_path)
    assert 'password authentication failed for user "postgres"' in said
    assert "not-the-password" not in said


def test_a_port_where_nobody_listens_is_named(free_port: int, tmp_path: Path) -> None:
    said = refused("", f"postgresql://postgres:x@127.0.0.1:{free_port}/postgres", tmp_path)
    assert said.startswith(f"PostgreSQL at 127.0.0.1:{free_port} as postgres: ")


def test_a_user_who_is_no_administrator_of_postgresql_is_told_so(
    provision: Provision, tmp_path: Path, postgresql_admin_url: str
) -> None:
    provision.make(TOPOLOGY, Secrets(tmp_path))
    ordinary = provision.database_url("civil-registry").replace("postgresql+pg8000://", "postgresql://")
    (tmp_path / "other").mkdir()
    said = refused("", ordinary, tmp_path / "other")
    assert "permission denied to create role" in said
    assert "--database needs an administrator's URL" in said


@pytest.mark.parametrize("url", ["http://host/", "amqp:///", "amqp://user:password@host:port/", "nonsense"])
def test_what_is_no_url_of_a_broker_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ProvisionError, match="--amqp needs an administrator's URL"):
        Provision(url, "", tmp_path)


def test_a_broker_without_management_is_told_with_the_remedy(free_port: int, tmp_path: Path) -> None:
    said = refused(f"amqp://a:b@127.0.0.1/?management=http://127.0.0.1:{free_port}", "", tmp_path)
    assert said.startswith(
        f"RabbitMQ's management API does not answer at http://127.0.0.1:{free_port}; enable the plugin"
    )


def test_a_wrong_password_of_the_broker_is_said_without_repeating_it(amqp_admin_url: str, tmp_path: Path) -> None:
    parts = urlsplit(amqp_admin_url)
    wrong = f"amqp://{parts.username}:not-the-password@{parts.hostname}:{parts.port}/?{parts.query}"
    said = refused(wrong, "", tmp_path)
    assert said == "RabbitMQ's management API refused the user of --amqp; it must be an administrator"


def test_a_broker_user_who_is_no_administrator_is_told_so(amqp_admin_url: str, tmp_path: Path) -> None:
    parts = urlsplit(amqp_admin_url)
    base = parts.query.removeprefix("management=")
    user = f"{base}/api/users/ordinary-{tmp_path.name}-{tmp_path.parent.name}"
    session = requests.Session()
    session.trust_env = False
    session.auth = (parts.username or "", parts.password or "")
    assert session.put(user, data=json.dumps({"password": "ordinary", "tags": "management"}), timeout=10).ok
    try:
        ordinary = f"amqp://{user.rsplit('/', 1)[1]}:ordinary@{parts.hostname}:{parts.port}/?{parts.query}"
        assert refused(ordinary, "", tmp_path).endswith("it must be an administrator")
    finally:
        session.delete(user, timeout=10)
