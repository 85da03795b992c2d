"""Fixtures: the programme as configured, the app alone on loopback, and a whole sandbox with the real blocks."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from sandroad.running.client import Sandbox
from sandroad.testing import ROOT, as_client, as_steward, config_for_tests, served
from sandroad.web import running
from usecases.cash_transfer.app import create_app
from usecases.cash_transfer.config import Config
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.programme import Programme, read_programme

SERVICES = {
    "identity": "SANDBOX/GOV/CIVIL/IDENTITY/identity",
    "population": "SANDBOX/GOV/CIVIL/REGISTRY/registry",
    "tax": "SANDBOX/GOV/TREASURY/REGISTRY/registry",
    "land": "SANDBOX/GOV/LANDS/REGISTRY/registry",
    "welfare_registry": "SANDBOX/GOV/WELFARE/REGISTRY/registry",
    "consent": "SANDBOX/GOV/DIGITAL/CONSENT/consent",
    "payments": "SANDBOX/GOV/TREASURY/PAYMENTS/payments",
    "messaging": "SANDBOX/GOV/DIGITAL/MESSAGING/messaging",
}
PAYMENTS = "SANDBOX/GOV/TREASURY/PAYMENTS"


@pytest.fixture(scope="session")
def programme() -> Programme:
    return read_programme(ROOT / "country" / "programmes" / "CT-01.yaml")


@dataclass
class Served:
    """The app on loopback. Its gateway is not there: what it wants to send stays in the outbox, to be looked at."""

    config: Config
    office: Office
    resources: dict[type, Any]
    url: str

    def callback(self, path: str, body: Any, client: str = PAYMENTS) -> requests.Response:
        """Call back as the own gateway does for ``client``."""
        return requests.post(
            f"{self.url}/callbacks/{path}", json=body, headers=as_client(self.config, client), timeout=20
        )

    def steward(self, method: str, path: str, **more: Any) -> requests.Response:
        """Call control."""
        return requests.request(method, f"{self.url}/-{path}", headers=as_steward(self.config), timeout=20, **more)

    def waiting(self, kind: str) -> list[Any]:
        """Return the calls of a kind that wait in the outbox: (id, target, body)."""
        table = self.office.outbox.table
        with self.office.store.database.read() as connection:
            rows = connection.execute(table.select().where(table.c.kind == kind).order_by(table.c.position))
            return [(row.id, row.target, row.body) for row in rows]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Served]:
    config = config_for_tests(
        Config,
        tmp_path,
        name="cash-transfer",
        member="GOV/WELFARE",
        subsystem="CASH-TRANSFER",
        public_url="http://127.0.0.1:9",
        programme="programmes/CT-01.yaml",
        **SERVICES,
    )
    made = create_app(config)
    resources = running(made).resources
    with served(made) as url:
        yield Served(config, resources[Office], resources, url)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A whole sandbox, started as a user starts it, with the smallest population."""
    data = tmp_path_factory.mktemp("sandbox") / "data"
    command = [str(Path(sys.executable).with_name("sandroad")), "{}", "--data", str(data)]
    up = [*command, "--base-port", str(_free_block()), "--population", "300"]
    up[1] = "up"
    done = subprocess.run(up, capture_output=True, text=True, timeout=170, check=False)
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield Sandbox(data)
    finally:
        command[1] = "down"
        subprocess.run(command, capture_output=True, timeout=60, check=False)


def _free_block() -> int:
    """Return the first of 100 ports that nobody listens on."""
    for base in range(30_000, 60_000, 100):
        if all(_is_free(base + offset) for offset in range(0, 100, 3)):
            return base
    raise AssertionError("no block of 100 free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
