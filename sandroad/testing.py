"""For tests: a real HTTP server around an app, settings for it, and the databases of the store suites."""

import contextlib
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import waitress
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from sandroad.settings import AppConfig
from sandroad.web import running

ROOT = Path(__file__).resolve().parent.parent
C = TypeVar("C", bound=AppConfig)


def config_for_tests(kind: type[C], folder: Path, **changed: Any) -> C:
    """Return settings for an app under test: SQLite in ``folder``, responses checked against the contract."""
    values: dict[str, Any] = {
        "name": "app-under-test",
        "member": "GOV/TEST",
        "subsystem": "TEST",
        "port": 0,
        "database": f"sqlite:///{folder}/app.db",
        "gateway_url": "http://127.0.0.1:9",
        "gateway_secret": "gateway-secret-" + secrets.token_hex(8),
        "management_token": "management-token-" + secrets.token_hex(8),
        "contracts": ROOT / "contracts",
        "country": ROOT / "country",
        "data": folder,
        "check_responses": True,
    }
    return kind(**{**values, **changed})


@contextlib.contextmanager
def served(app: Flask, port: int = 0) -> Iterator[str]:
    """Serve ``app`` on loopback with its background work running; yield its base URL."""
    server = waitress.create_server(app, host="127.0.0.1", port=port, threads=8)
    state = running(app)
    state.start()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.close()
        thread.join(timeout=10)
        state.stop()


def as_client(config: AppConfig, client: str) -> dict[str, str]:
    """Return the headers with which the own gateway calls on behalf of ``client``."""
    return {
        "X-Sandroad-Gateway": config.gateway_secret,
        "X-Road-Client": client,
        "X-Road-Request-Id": secrets.token_hex(8),
    }


def as_steward(config: AppConfig) -> dict[str, str]:
    """Return the headers of the member's own administrator."""
    return {"Authorization": f"Bearer {config.management_token}"}


@contextlib.contextmanager
def fresh_postgresql_database(admin_url: str) -> Iterator[str]:
    """Make an empty database on a running PostgreSQL server; yield its URL; drop it afterwards."""
    name = "t" + secrets.token_hex(8)
    url = make_url(admin_url).set(drivername="postgresql+pg8000")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}"'))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))
        admin.dispose()


def environment_url(name: str) -> str | None:
    """Return the URL of a server that the test runner started, such as ``SANDROAD_TEST_POSTGRESQL``."""
    return os.environ.get(name) or None
