"""Fixtures for all tests: databases and brokers of both kinds. A server that is not there is a skip with its reason, never silent."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandroad.storage import OPEN
from sandroad.testing import fresh_postgresql_database

STORES = ("sqlite", "postgresql")


@pytest.fixture(autouse=True)
def _no_connections_left() -> Iterator[None]:
    """Close what a test's apps left open: two thousand tests would otherwise run out of file descriptors."""
    yield
    for database in list(OPEN):
        database.close()


@pytest.fixture
def postgresql_url() -> Iterator[str]:
    """An empty database on the PostgreSQL server that ``scripts/test`` started."""
    admin = os.environ.get("SANDROAD_TEST_POSTGRESQL")
    if not admin:
        pytest.skip("no PostgreSQL: SANDROAD_TEST_POSTGRESQL is not set (scripts/test starts one)")
    with fresh_postgresql_database(admin) as url:
        yield url


@pytest.fixture(params=STORES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def amqp_admin_url() -> str:
    """An administrator's URL of the RabbitMQ that ``scripts/test`` started."""
    url = os.environ.get("SANDROAD_TEST_AMQP")
    if not url:
        pytest.skip("no RabbitMQ: SANDROAD_TEST_AMQP is not set (scripts/test starts one)")
    return url
