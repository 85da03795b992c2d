"""Payments, an institution and a gateway are killed in the middle of a batch of 2,000: each instruction is paid exactly once."""

import os
import signal
import threading
import time
from decimal import Decimal
from pathlib import Path

import pytest

from sandroad.gateway_client import GatewayClient, GatewayUnreachable
from tests.bench import payments
from tests.journeys.conftest import Journey, start

VICTIMS = ["treasury-payments", "kite-mobile", "treasury-gateway", "delta-gateway", "harbour-bank", "treasury-payments"]
SIZE = 2000


@pytest.mark.timeout(400)
def test_each_of_2000_instructions_is_paid_exactly_once(tmp_path: Path) -> None:
    for journey in start(tmp_path / "sandbox"):
        treasury = GatewayClient(journey.sandbox.gateway_of("GOV/WELFARE").url, payments.CLIENT)
        payees = list(payments.payees_with_accounts(SIZE))
        payments.open_accounts(journey.sandbox, payees)
        payments.register(treasury, payees)
        killing = threading.Thread(target=kill_in_turn, args=(journey,))
        killing.start()
        status = pay(treasury, payees)
        killing.join()
        journey.run("up")  # returns when all are healthy again
        assert (status["completed"], status["failed"], status["ongoing"]) == (SIZE, 0, 0)
        received = {}
        for app in payments.INSTITUTIONS.values():
            received |= {
                row["account"]: Decimal(row["balance"])
                for row in journey.sandbox.steward(app).lines("/-/export/accounts")
            }
        assert [received[payee["account"]] for payee in payees] == [Decimal("12.50")] * SIZE
        books = [journey.sandbox.steward(app).get("/-/ledger") for app in payments.INSTITUTIONS.values()]
        assert all(book["balanced"] for book in books)
        paid_out = sum(Decimal(amount) for book in books for amount in book["paid_out"].values())
        credited = sum(Decimal(book["credited"]) for book in books)
        suspense = Decimal(journey.sandbox.steward("treasury-payments").get("/-/ledger")["suspense"])
        assert paid_out == credited + suspense == Decimal("12.50") * SIZE
        assert suspense == 0


def kill_in_turn(journey: Journey) -> None:
    """SIGKILL one after the other; the supervisor starts each again."""
    for victim in VICTIMS:
        time.sleep(0.4)  # let some of the batch be done: where exactly it hits is chance, and is meant to be
        process = next(p for p in journey.json("status")["processes"] if p["name"] == victim)
        if process["pid"]:
            os.kill(process["pid"], signal.SIGKILL)


def pay(treasury: GatewayClient, payees: list[dict[str, str]]) -> dict[str, int]:
    """Hand the batch in, again and again with the same ids, as a caller does who got no answer; return its final status."""
    instructions = [
        {"InstructionID": f"K{n:015d}", "PayeeFunctionalID": payee["id"], "Amount": 12.5, "Currency": "XTS"}
        for n, payee in enumerate(payees)
    ]
    body = {
        "RequestID": "KILL00000001",
        "SourceBBID": "CASHTRANSFER",
        "BatchID": "KILL00000001",
        "CreditInstructions": instructions,
    }
    deadline = time.monotonic() + 300
    accepted = False
    while time.monotonic() < deadline:
        try:
            if not accepted:
                accepted = treasury.call(payments.PAYMENTS, "POST", "/bulk-payment", json=body).ok
            status = treasury.call(payments.PAYMENTS, "GET", "/api/v1/batch", params={"batchId": "KILL00000001"})
            if status.ok and status.json()["ongoing"] == 0:
                return status.json()
        except GatewayUnreachable:
            pass
        time.sleep(0.3)
    raise AssertionError("the batch did not end")
