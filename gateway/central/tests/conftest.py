"""A running central for each test, and one for each kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.central.testing import CentralUnderTest, central_under_test
from sandroad.testing import environment_url, fresh_postgresql_database


@pytest.fixture
def central(tmp_path: Path) -> Iterator[CentralUnderTest]:
    with central_under_test(tmp_path) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind; PostgreSQL's server is the test runner's."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/central.db"
        return
    admin = environment_url("SANDROAD_TEST_POSTGRESQL")
    if admin is None:
        pytest.skip("SANDROAD_TEST_POSTGRESQL names no server")
    with fresh_postgresql_database(admin) as url:
        yield url
