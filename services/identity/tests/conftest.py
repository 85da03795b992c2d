"""A served identity provider with one person, and a relying party registered at it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey

from sandroad.testing import config_for_tests, environment_url, fresh_postgresql_database, served
from services.identity.app import create_app
from services.identity.config import Config
from services.identity.keys import KeyRing
from services.identity.tests.walking import PERSON, Inbox, Party, Provider, free_port


@pytest.fixture(scope="session")
def rsa_key() -> Any:
    return RSAKey.generate_key(2048)


@pytest.fixture(scope="session")
def ec_key() -> Any:
    return ECKey.generate_key("P-256")


@pytest.fixture(scope="session")
def signing_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One key ring for the tests of this session: making RSA keys is slow."""
    folder = tmp_path_factory.mktemp("keys")
    KeyRing(folder, "http://127.0.0.1", datetime.now(UTC))
    return folder


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    inbox.close()


@pytest.fixture
def provider(tmp_path: Path, inbox: Inbox, signing_keys: Path) -> Iterator[Provider]:
    """A provider with one person and one relying party registered for the RSA key."""
    (tmp_path / "keys").symlink_to(signing_keys)
    port = free_port()
    config = config_for_tests(
        Config, tmp_path, name="civil-identity", member="GOV/CIVIL", subsystem="IDENTITY", port=port,
        public_url=f"http://127.0.0.1:{port}", gateway_url=inbox.url,
        rights=({"subject": "GOV/CIVIL/REGISTRY", "service": "GOV/CIVIL/IDENTITY/identity",
                 "allow": ["POST /functional-ids/resolve"]},
                {"subject": "GOV/WELFARE/CASH-TRANSFER", "service": "GOV/CIVIL/IDENTITY/identity",
                 "allow": ["POST /functional-ids"]},
                {"subject": "GOV/HEALTH/MCTS", "service": "GOV/CIVIL/IDENTITY/identity",
                 "allow": ["POST /functional-ids", "PUT /enrollment"], "programme": "PC-01"}),
    )  # fmt: skip
    found = Provider(config.public_url, config, inbox)
    app = create_app(config, now=lambda: datetime.now(UTC) + sum(found.ahead, timedelta()))
    with served(app, port):
        found.enrol(PERSON)
        yield found
        found.hang_up()


@pytest.fixture
def party(provider: Provider, rsa_key: Any) -> Party:
    assert provider.register(rsa_key).json()["errors"] == []
    return Party(provider, rsa_key)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database of each kind; PostgreSQL where the runner started a server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    admin = environment_url("SANDROAD_TEST_POSTGRESQL")
    if not admin:
        pytest.skip("SANDROAD_TEST_POSTGRESQL is not set")
    with fresh_postgresql_database(admin) as url:
        yield url
