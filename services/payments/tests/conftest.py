"""Payments, institutions and a source, wired over real HTTP with a relay standing in for the gateways."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from sandroad.testing import (
    Relay,
    as_client,
    as_steward,
    config_for_tests,
    environment_url,
    fresh_postgresql_database,
    relay,
    served,
)
from services.fsp.app import create_app as create_fsp
from services.fsp.config import Config as FspConfig
from services.payments.app import create_app as create_payments
from services.payments.config import Config as PaymentsConfig

SOURCE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
OTHER_SOURCE = "SANDBOX/GOV/HEALTH/MATERNITY"
PAYMENTS = "SANDBOX/GOV/TREASURY/PAYMENTS/payments"
MEMBERS = {"HARBOUR": "HARBOUR-BANK", "DELTA": "DELTA-BANK", "KITE": "KITE-MOBILE"}
PROGRAMME_ACCOUNT = "0000000001"
OTHER_ACCOUNT = "0000000002"
CALLBACK = f"/r1/{SOURCE}/cash-transfer/callbacks/payments"


def payee_id(number: int) -> str:
    """Return a functional id of 20 characters."""
    return f"CT01-{number:015d}"


class Sink:
    """A source's callback endpoint: keeps what it is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.changed = threading.Condition()

    def wait_for(self, wanted: Callable[[list[tuple[str, dict[str, Any]]]], bool], seconds: float = 60) -> None:
        """Wait until what was told satisfies ``wanted``."""
        with self.changed:
            assert self.changed.wait_for(lambda: wanted(self.told), timeout=seconds), self.told[-1:]


class Network:
    """Everything that runs, and short ways to use it."""

    def __init__(
        self,
        folder: Path,
        passing: Relay,
        stack: ExitStack,
        database: Callable[[str], str] | None = None,
        **settings: Any,
    ) -> None:
        self.database = database or (lambda name: f"sqlite:///{folder}/{name}.db")
        self.folder, self.relay, self.sink, self._stack = folder, passing, Sink(), stack
        self._serve_sink()
        self.fsp_configs: dict[str, FspConfig] = {}
        self.urls: dict[str, str] = {}
        for code, member in MEMBERS.items():
            self.start_fsp(code, member)
        self.config = self.payments_config(**settings)
        self.app = create_payments(self.config)
        self.url = stack.enter_context(served(self.app))
        passing.services[PAYMENTS] = (self.url, self.config.gateway_secret)

    def payments_config(self, **settings: Any) -> PaymentsConfig:
        """Return payments' settings."""
        values: dict[str, Any] = {
            "member": "GOV/TREASURY",
            "subsystem": "PAYMENTS",
            "gateway_url": self.relay.url,
            "database": self.database("payments"),
            "institutions": {code: f"SANDBOX/COM/{member}/ACCOUNTS/accounts" for code, member in MEMBERS.items()},
            "programmes": {
                SOURCE: {"programme": "CT-01", "funding_account": f"HARBOUR:{PROGRAMME_ACCOUNT}"},
                OTHER_SOURCE: {"programme": "MC-03", "funding_account": f"HARBOUR:{OTHER_ACCOUNT}"},
            },
            "watch_every": 0.1,
            "poll_after": 0.5,
            "longest_call": 0.5,
        }
        return config_for_tests(PaymentsConfig, self.folder, **{**values, **settings})

    def fsp_config(self, code: str, member: str) -> FspConfig:
        """Return the settings of an institution."""
        values = {"member": f"COM/{member}", "subsystem": "ACCOUNTS", "gateway_url": self.relay.url, "code": code}
        return config_for_tests(FspConfig, self.folder, database=self.database(code), **values)

    def start_fsp(self, code: str, member: str) -> None:
        """Serve an institution."""
        config = self.fsp_configs[code] = self.fsp_config(code, member)
        self.urls[code] = self._stack.enter_context(served(create_fsp(config)))
        self.relay.services[f"SANDBOX/COM/{member}/ACCOUNTS/accounts"] = (self.urls[code], config.gateway_secret)

    def call(self, method: str, path: str, *, client: str = SOURCE, **arguments: Any) -> requests.Response:
        """Call payments as its gateway does on behalf of ``client``."""
        headers = as_client(self.config, client) | arguments.pop("headers", {})
        return requests.request(method, self.url + path, headers=headers, timeout=60, **arguments)

    def steward(self, method: str, path: str, **arguments: Any) -> Any:
        """Use payments' control."""
        answer = requests.request(method, self.url + path, headers=as_steward(self.config), timeout=60, **arguments)
        answer.raise_for_status()
        return answer.json() if "json" in answer.headers["Content-Type"] and "ndjson" not in answer.headers["Content-Type"] else [
            json.loads(line) for line in answer.text.splitlines()
        ]  # fmt: skip

    def fsp_steward(self, code: str, method: str, path: str, **arguments: Any) -> Any:
        """Use an institution's control or its administrator's operations."""
        headers = as_steward(self.fsp_configs[code])
        answer = requests.request(method, self.urls[code] + path, headers=headers, timeout=60, **arguments)
        answer.raise_for_status()
        return (
            [json.loads(line) for line in answer.text.splitlines()]
            if "ndjson" in answer.headers["Content-Type"]
            else answer.json()
        )

    def open_accounts(self, code: str, *accounts: dict[str, Any]) -> Any:
        """Open accounts at an institution."""
        return self.fsp_steward(code, "POST", "/accounts/batch", json={"accounts": list(accounts)})

    def fund(self, balance: str = "1000000.00", account: str = PROGRAMME_ACCOUNT) -> None:
        """Open a programme's account at the paying bank."""
        self.open_accounts("HARBOUR", {"account": account, "holderName": "Programme", "balance": balance})

    def register(self, *payees: tuple[int, str], names: dict[int, str] | None = None, client: str = SOURCE) -> None:
        """Register payees (number, financial address)."""
        entries = [
            {"PayeeFunctionalID": payee_id(number), "PaymentModality": "00", "FinancialAddress": address}
            | ({"PayeeName": names[number]} if names and number in names else {})
            for number, address in payees
        ]
        request_id = f"R{payees[0][0]:011d}"
        body = {"RequestID": request_id, "SourceBBID": "SOURCE000001", "Beneficiaries": entries}
        answer = self.call("POST", "/register-beneficiary", json=body, client=client)
        assert answer.status_code == 200, answer.text

    def people(self, count: int, *, codes: tuple[str, ...] = ("HARBOUR", "DELTA", "KITE")) -> None:
        """Open accounts for ``count`` payees spread over institutions, and register them."""
        addresses = [(number, codes[number % len(codes)], f"9{number:09d}") for number in range(1, count + 1)]
        for code in codes:
            own = [{"account": account, "holderName": f"Person {n}"} for n, c, account in addresses if c == code]
            for start in range(0, len(own), 1000):
                self.open_accounts(code, *own[start : start + 1000])
        self.register(*[(number, f"{code}:{account}") for number, code, account in addresses])

    def pay(
        self, batch: str, payees: list[int], *, amount: float = 10.0, client: str = SOURCE, **changed: Any
    ) -> requests.Response:
        """Hand over a batch in version 1.0; instruction ids follow from the batch and the position."""
        items = [
            {
                "InstructionID": f"{batch[:8]:0<8}{position:08d}",
                "PayeeFunctionalID": payee_id(number),
                "Amount": amount,
                "Currency": "XTS",
            }
            for position, number in enumerate(payees)
        ]
        named = f"{batch:0<12}"
        body = {
            "RequestID": named,
            "SourceBBID": "SOURCE000001",
            "BatchID": named,
            "CreditInstructions": items,
            **changed,
        }
        return self.call("POST", "/bulk-payment", json=body, headers={"X-Callback-URL": CALLBACK}, client=client)

    def settled(self, batch: str, seconds: float = 60) -> dict[str, Any]:
        """Wait for the callback that says that a batch has ended; return it."""
        name = f"{batch:0<12}"

        def ended(told: list[tuple[str, dict[str, Any]]]) -> bool:
            return any(self._is_end(body, name) for _, body in told)

        self.sink.wait_for(ended, seconds)
        return next(body for _, body in self.sink.told if self._is_end(body, name))

    def conserved(self) -> dict[str, Decimal]:
        """Check that paid out = credited + suspense, that every book is balanced; return the three sums."""
        own = self.steward("GET", "/-/ledger")
        books = [self.fsp_steward(code, "GET", "/-/ledger") for code in MEMBERS]
        assert own["balanced"] and all(each["balanced"] for each in books), (own, books)
        paid_out = sum((Decimal(x) for each in books for x in each["paid_out"].values()), Decimal(0))
        credited = sum((Decimal(each["credited"]) for each in books), Decimal(0))
        assert paid_out == credited + Decimal(own["suspense"]), (own, books)
        return {"paid_out": paid_out, "credited": credited, "suspense": Decimal(own["suspense"])}

    @staticmethod
    def _is_end(body: dict[str, Any], name: str) -> bool:
        return body.get("batchId") == name and body["note"].split(":")[0] in ("closed", "refused")

    def _serve_sink(self) -> None:
        sink = self.sink

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with sink.changed:
                    sink.told.append((self.path, body))
                    sink.changed.notify_all()
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        self.relay.services[f"{SOURCE}/cash-transfer"] = (f"http://127.0.0.1:{server.server_port}", "none")


@pytest.fixture
def make_network(tmp_path: Path) -> Iterator[Callable[..., Network]]:
    """Return a function that starts a network with the given settings of payments."""
    with ExitStack() as stack:
        passing = stack.enter_context(relay())
        yield lambda **settings: Network(tmp_path, passing, stack, **settings)


@pytest.fixture(params=["sqlite", "postgresql"])
def stored_network(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    """A running network on each kind of database."""
    admin = environment_url("SANDROAD_TEST_POSTGRESQL")
    if request.param == "postgresql" and not admin:
        pytest.skip("no PostgreSQL: SANDROAD_TEST_POSTGRESQL is not set (scripts/test starts one)")
    with ExitStack() as stack:
        fresh = (lambda _name: stack.enter_context(fresh_postgresql_database(admin or ""))) if admin else None
        database = fresh if request.param == "postgresql" else None
        yield Network(tmp_path, stack.enter_context(relay()), stack, database)


@pytest.fixture
def network(make_network: Callable[..., Network]) -> Network:
    """A running network."""
    return make_network()
