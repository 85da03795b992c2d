"""For tests: a real HTTP server around an app, settings for it, and the databases of the store suites."""

import contextlib
import http.server
import json
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import requests
from flask import Flask
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from sandroad.callers import GATEWAY_SECRET_HEADER
from sandroad.serving import end_serving, server_of
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
    server = server_of(app, "127.0.0.1", port, threads=8)
    state = running(app)
    state.start()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        end_serving(server)
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


class Relay:
    """Stands in for all gateways in a test of blocks: ``/r1/<service>/…`` is passed on with the secret and X-Road headers.

    ``services`` maps a service (``SANDBOX/GOV/TREASURY/PAYMENTS/payments``) to (base URL, gateway secret) and may be changed
    while it runs. ``trouble`` is asked before each call and may answer ``unreachable`` (not passed on) or ``lost`` (passed
    on, but the reply is lost); both look like a gateway's ``NetworkError`` to the caller.
    """

    def __init__(self) -> None:
        self.services: dict[str, tuple[str, str]] = {}
        self.trouble: Callable[[str, str], str | None] = lambda method, path: None
        self.url = ""
        self._sessions = threading.local()

    def pass_on(
        self, method: str, path: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """Return (status, headers, body) of the service's answer, or of the error."""
        service = "/".join(path.split("/")[2:7]).split("?")[0]
        trouble = self.trouble(method, path)
        found = self.services.get(service)
        if found is None or trouble == "unreachable":
            return self._failed(f"no way to {service}")
        base, secret = found
        sent = {k: v for k, v in headers.items() if k.lower() not in ("host", "content-length", "connection")}
        sent |= {GATEWAY_SECRET_HEADER: secret, "X-Road-Request-Id": secrets.token_hex(8)}
        try:
            answer = self._session().request(
                method, base + path.removeprefix(f"/r1/{service}"), data=content, headers=sent, timeout=60
            )
        except requests.RequestException as defect:
            return self._failed(type(defect).__name__)
        if trouble == "lost":
            return self._failed("the reply was lost")
        return answer.status_code, {"Content-Type": answer.headers.get("Content-Type", "")}, answer.content

    def _failed(self, why: str) -> tuple[int, dict[str, str], bytes]:
        kind = "Server.ServerProxy.NetworkError"
        body = json.dumps({"type": kind, "message": why, "detail": secrets.token_hex(8)}).encode()
        return 500, {"X-Road-Error": kind, "Content-Type": "application/json"}, body

    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "session"):
            self._sessions.session = requests.Session()
            self._sessions.session.trust_env = False
        return self._sessions.session


@contextlib.contextmanager
def relay() -> Iterator[Relay]:
    """Serve a ``Relay`` on loopback; its ``url`` is what apps under test take as their gateway."""
    passing = Relay()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, headers, body = passing.pass_on(self.command, self.path, dict(self.headers), content)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the apps log."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    passing.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield passing
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
