"""No money is made or lost, in whatever order calls arrive, get lost, come twice or are replayed after a crash.

The real apps, without their threads: hypothesis decides which waiting call is delivered next and what becomes of it.
"""

import shutil
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select, update

from sandroad.gateway_client import GatewayClient, GatewayUnreachable, Reply
from sandroad.outbox import Entry
from sandroad.testing import as_client, as_steward, config_for_tests
from sandroad.web import running
from services.fsp.app import create_app as create_fsp
from services.fsp.config import Config as FspConfig
from services.fsp.credits import Credits
from services.payments.app import create_app as create_payments
from services.payments.config import Config as PaymentsConfig
from services.payments.watch import Watch

SOURCE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
MEMBERS = {"HARBOUR": "HARBOUR-BANK", "DELTA": "DELTA-BANK", "KITE": "KITE-MOBILE"}
ACCOUNTS = ["HARBOUR:h1", "DELTA:d1", "DELTA:soon-closed", "DELTA:nowhere", "KITE:k1", "KITE:late", "KITE:later"]
BALANCE = Decimal("900.00")
Choice = st.integers(min_value=0, max_value=10_000)
OUTCOMES = st.sampled_from(["ok", "ok", "ok", "lost", "unreachable"])


def part(app: Any, name: str) -> Any:
    """Return a running app's outbox or clock."""
    return getattr(running(app), name)


class Through(GatewayClient):
    """Calls the other app in this process; ``lost`` lets the call arrive and its reply get lost."""

    def __init__(self, machine: Any, client: str) -> None:
        super().__init__("http://unused", client)
        self.machine = machine

    def send(self, method: str, target: str, *, content: bytes | None = None, **arguments: Any) -> Reply:
        outcome = self.machine.outcome
        if outcome == "unreachable":
            raise GatewayUnreachable("not passed on")
        service = "/".join(target.split("/")[2:7])
        if service.startswith(SOURCE):
            return Reply(200, {}, b"")
        app, config = self.machine.services[service]
        headers = {**as_client(config, self.client), **(arguments.get("headers") or {})}
        path = target.removeprefix(f"/r1/{service}")
        answer = app.test_client().open(path, method=method, data=content, headers=headers)
        if outcome == "lost":
            raise GatewayUnreachable("the reply was lost")
        return Reply(answer.status_code, dict(answer.headers), answer.data)


class Money(RuleBasedStateMachine):
    """Sources, payments, three institutions, and a network that does what it likes."""

    @initialize()
    def open_everything(self) -> None:
        in_memory = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(dir=in_memory if in_memory.is_dir() else None))
        self.services: dict[str, tuple[Any, Any]] = {}
        self.outcome = "ok"
        self.batches = 0
        self.sent: list[dict[str, Any]] = []
        self.fsps = {code: self._fsp(code, member) for code, member in MEMBERS.items()}
        values: dict[str, Any] = {
            "member": "GOV/TREASURY",
            "subsystem": "PAYMENTS",
            "database": f"sqlite:///{self.folder}/payments.db",
            "institutions": {code: f"SANDBOX/COM/{member}/ACCOUNTS/accounts" for code, member in MEMBERS.items()},
            "programmes": {SOURCE: {"programme": "CT-01", "funding_account": "HARBOUR:0000000001"}},
            "poll_after": 0.0,
            "longest_call": 0.0,
            "largest_sub_batch": 2,
        }
        self.config = config_for_tests(PaymentsConfig, self.folder, **values)
        self.payments = create_payments(self.config)
        self._add(self.payments, self.config, "payments")
        self._open("HARBOUR", {"account": "0000000001", "balance": str(BALANCE)}, {"account": "h1"})
        self._open("DELTA", {"account": "d1"}, {"account": "soon-closed", "behaviour": "closed"})
        late = {"behaviour": "late-success", "behaviourSeconds": 100}
        self._open("KITE", {"account": "k1"}, {"account": "late", **late}, {"account": "later", **late})
        for number, address in enumerate(ACCOUNTS):
            self._change("/register-beneficiary", number, address)

    @rule(payee=st.integers(0, 8), address=st.sampled_from(ACCOUNTS))
    def update_payee(self, payee: int, address: str) -> None:
        self._change("/update-beneficiary-details", payee, address)

    @rule(payees=st.lists(st.integers(0, 8), min_size=1, max_size=6), cents=st.integers(1, 20_000))
    def pay(self, payees: list[int], cents: int) -> None:
        self.batches += 1
        items = [
            {
                "InstructionID": f"{self.batches:08d}{position:08d}",
                "PayeeFunctionalID": f"{payee:020d}",
                "Amount": cents / 100,
                "Currency": "XTS",
            }
            for position, payee in enumerate(payees)
        ]
        name = f"{self.batches:012d}"
        self.sent.append({"RequestID": name, "SourceBBID": "S" * 12, "BatchID": name, "CreditInstructions": items})
        assert self._post("/bulk-payment", self.sent[-1])["ResponseCode"] == "00"

    @precondition(lambda self: self.sent)
    @rule(which=Choice, renamed=st.booleans())
    def pay_again(self, which: int, renamed: bool) -> None:
        body = self.sent[which % len(self.sent)]
        again = {**body, "RequestID": f"AGAIN{which:07d}"} if renamed else body
        self._post("/bulk-payment", again)

    @precondition(lambda self: self.sent)
    @rule(which=Choice)
    def validate(self, which: int) -> None:
        self._post("/prepayment-validation", self.sent[which % len(self.sent)])

    @rule(steps=st.lists(st.tuples(Choice, OUTCOMES), min_size=1, max_size=8))
    def deliver(self, steps: list[tuple[int, str]]) -> None:
        for which, outcome in steps:
            waiting = self._entries("waiting")
            if waiting:
                app, entry = waiting[which % len(waiting)]
                self._deliver(app, entry, outcome)

    @rule(which=Choice)
    def replay_after_a_crash(self, which: int) -> None:
        done = self._entries("done")
        if done:
            app, entry = done[which % len(done)]
            outbox = part(app, "outbox")
            with outbox._database.begin() as connection:
                connection.execute(update(outbox.table).where(outbox.table.c.id == entry.id).values(state="waiting"))
            self._deliver(app, entry, "ok")

    @rule()
    def look_around(self) -> None:
        running(self.payments).resources[Watch].look()

    @rule(seconds=st.sampled_from([40, 200]))
    def time_passes(self, seconds: int) -> None:
        app = self.fsps["KITE"]
        clock = part(app, "clock")
        headers = as_steward(self.services["SANDBOX/COM/KITE-MOBILE/ACCOUNTS/accounts"][1])
        offset = int(clock.offset.total_seconds()) + seconds
        app.test_client().put("/-/clock", json={"offset_seconds": offset}, headers=headers)
        running(app).resources[Credits].credit_due()

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "payments"):
            return
        own, books = self._ledgers()
        assert own["balanced"] and all(each["balanced"] for each in books), (own, books)
        paid_out, credited = self._sums(books)
        assert 0 <= credited <= paid_out <= BALANCE
        posted = {each["account"]: Decimal(each["balance"]) for each in own["accounts"]}
        for each in books:
            assert posted.get(f"institution:{each['institution']}", 0) <= Decimal(each["credited"])

    def teardown(self) -> None:
        if not hasattr(self, "payments"):
            return
        try:
            self._settle()
            before = self._conserved()
            self._replay_everything()
            self._settle()
            assert self._conserved() == before
        finally:
            for app, _ in self.services.values():
                running(app).stopping[0]()
            shutil.rmtree(self.folder)

    def _conserved(self) -> Decimal:
        own, books = self._ledgers()
        paid_out, credited = self._sums(books)
        assert own["balanced"] and all(each["balanced"] for each in books), (own, books)
        assert Decimal(own["suspense"]) == 0
        assert paid_out == credited
        self._each_instruction_has_one_fate()
        return paid_out

    def _replay_everything(self) -> None:
        """As if every process had died just before it noted that its calls had arrived."""
        for app, _ in self.services.values():
            outbox = part(app, "outbox")
            with outbox._database.begin() as connection:
                connection.execute(update(outbox.table).where(outbox.table.c.state == "done").values(state="waiting"))

    def _settle(self) -> None:
        """Let everything arrive, late credits too, until every batch has ended and nobody has anything left to say."""
        for _ in range(20):
            self._deliver_all()
            self.time_passes(200)
            self._deliver_all()
            states = {row["state"] for row in self._export(self.payments, self.config, "batches")}
            if states <= {"closed", "refused"}:
                return
            self.look_around()
        raise AssertionError(f"batches never end: {states}")

    def _deliver_all(self) -> None:
        for _ in range(1000):
            waiting = self._entries("waiting")
            if not waiting:
                return
            self._deliver(*waiting[0], "ok")
        raise AssertionError(f"calls wait for ever: {waiting[0][1].kind}")

    def _each_instruction_has_one_fate(self) -> None:
        credits: Counter[str] = Counter()
        for code, app in self.fsps.items():
            config = self.services[f"SANDBOX/COM/{MEMBERS[code]}/ACCOUNTS/accounts"][1]
            for row in self._export(app, config, "credits"):
                credits[row["instructionID"]] += row["status"] == "completed"
        for row in self._export(self.payments, self.config, "instructions"):
            assert row["state"] in ("completed", "failed")
            assert credits[row["instruction"]] == (row["state"] == "completed"), row

    def _deliver(self, app: Any, entry: Entry, outcome: str) -> None:
        self.outcome = outcome
        part(app, "outbox")._deliver(entry)
        self.outcome = "ok"

    def _entries(self, state: str) -> list[tuple[Any, Entry]]:
        found = []
        for app, _ in self.services.values():
            outbox = part(app, "outbox")
            with outbox._database.read() as connection:
                rows = connection.execute(select(outbox.table).where(outbox.table.c.state == state)).mappings().all()
            found += [(app, outbox._still_waiting(row)) for row in rows]
        return found

    def _ledgers(self) -> tuple[Any, list[Any]]:
        found = {
            app: app.test_client().get("/-/ledger", headers=as_steward(config)).json
            for app, config in self.services.values()
        }
        return found[self.payments], [found[app] for app in self.fsps.values()]

    @staticmethod
    def _sums(books: list[Any]) -> tuple[Decimal, Decimal]:
        paid_out = sum((Decimal(x) for each in books for x in each["paid_out"].values()), Decimal(0))
        return paid_out, sum((Decimal(each["credited"]) for each in books), Decimal(0))

    def _export(self, app: Any, config: Any, dataset: str) -> list[Any]:
        import json

        text = app.test_client().get(f"/-/export/{dataset}", headers=as_steward(config)).text
        return [json.loads(line) for line in text.splitlines()]

    def _fsp(self, code: str, member: str) -> Any:
        values = {"member": f"COM/{member}", "subsystem": "ACCOUNTS", "code": code}
        config = config_for_tests(FspConfig, self.folder, database=f"sqlite:///{self.folder}/{code}.db", **values)
        app = create_fsp(config)
        self._add(app, config, "accounts")
        return app

    def _add(self, app: Any, config: Any, service: str) -> None:
        part(app, "outbox")._client = Through(self, config.client)
        self.services[f"{config.client}/{service}"] = (app, config)

    def _open(self, code: str, *accounts: dict[str, Any]) -> None:
        config = self.services[f"SANDBOX/COM/{MEMBERS[code]}/ACCOUNTS/accounts"][1]
        body = {"accounts": [{"holderName": "Somebody", **each} for each in accounts]}
        answer = self.fsps[code].test_client().post("/accounts/batch", json=body, headers=as_steward(config))
        assert answer.status_code == 200, answer.text

    def _change(self, path: str, payee: int, address: str) -> None:
        self.changes = getattr(self, "changes", 0) + 1
        entry = {"PayeeFunctionalID": f"{payee:020d}", "FinancialAddress": address}
        self._post(path, {"RequestID": f"C{self.changes:011d}", "SourceBBID": "S" * 12, "Beneficiaries": [entry]})

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self.payments.test_client().post(path, json=body, headers=as_client(self.config, SOURCE)).json


Money.TestCase.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestMoneyIsConserved = pytest.mark.timeout(400)(Money.TestCase)
