"""One institution over HTTP on each kind of database, and a receiver of its callbacks behind a relay."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from sandroad.testing import (
    as_client,
    as_steward,
    config_for_tests,
    environment_url,
    fresh_postgresql_database,
    relay,
    served,
)
from services.fsp.app import create_app
from services.fsp.config import Config

PAYMENTS = "SANDBOX/GOV/TREASURY/PAYMENTS"
CALLBACK = f"/r1/{PAYMENTS}/payments/callbacks/sub-batches/s1"


class Institution:
    """A running institution with short ways to use it; ``told`` are the callbacks it has made."""

    def __init__(self, folder: Path, stack: ExitStack, database: str) -> None:
        self.told: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        passing = stack.enter_context(relay())
        values = {"member": "COM/KITE-MOBILE", "subsystem": "ACCOUNTS", "code": "KITE", "gateway_url": passing.url}
        self.config = config_for_tests(Config, folder, database=database, **values)
        passing.services[f"{PAYMENTS}/payments"] = (self._receiver(stack), "none")
        self.app = create_app(self.config)
        self.url = stack.enter_context(served(self.app))

    def call(self, method: str, path: str, *, client: str = PAYMENTS, **arguments: Any) -> requests.Response:
        """Call as the gateway does on behalf of ``client``."""
        headers = as_client(self.config, client) | {"X-Client-Correlation-ID": "c1"} | arguments.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=30, **arguments)

    def steward(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Call as the institution's administrator."""
        return requests.request(method, self.url + path, headers=as_steward(self.config), timeout=30, **arguments)

    def open(self, *accounts: dict[str, Any]) -> requests.Response:
        """Open accounts."""
        body = {"accounts": [{"holderName": "Somebody", **each} for each in accounts]}
        return self.steward("POST", "/accounts/batch", json=body)

    def balance(self, account: str) -> str:
        """Return an account's balance."""
        return self.steward("GET", f"/accounts/{account}").json()["balance"]

    def ledger(self) -> dict[str, Any]:
        """Return the institution's ledger."""
        return self.steward("GET", "/-/ledger").json()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Wait until ``count`` callbacks were made; return all of them."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.told) >= count, timeout=30), self.told
        return self.told

    def _receiver(self, stack: ExitStack) -> str:
        institution = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with institution.changed:
                    institution.told.append(body)
                    institution.changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture(params=["sqlite", "postgresql"])
def institution(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Institution]:
    """A running institution."""
    admin = environment_url("SANDROAD_TEST_POSTGRESQL")
    if request.param == "postgresql" and not admin:
        pytest.skip("no PostgreSQL: SANDROAD_TEST_POSTGRESQL is not set (scripts/test starts one)")
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/fsp.db"
        if request.param == "postgresql":
            url = stack.enter_context(fresh_postgresql_database(admin or ""))
        yield Institution(tmp_path, stack, url)
