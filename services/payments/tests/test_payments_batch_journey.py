"""A batch from hand-over to its end, through payments and institutions over HTTP."""

from decimal import Decimal
from typing import Any

CALLBACK = "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/cash-transfer/callbacks/payments"


def test_a_batch_pays_every_payee_and_the_books_agree(network: Any) -> None:
    network.fund()
    network.people(6)
    assert network.pay("BATCH1", [1, 2, 3, 4, 5, 6], amount=12.5).json()["ResponseCode"] == "00"
    end = network.settled("BATCH1")
    assert (end["completed"], end["failed"], end["ongoing"]) == (6, 0, 0)
    assert network.conserved() == {"paid_out": Decimal("75.00"), "credited": Decimal("75.00"), "suspense": Decimal(0)}
    credited = network.fsp_steward("KITE", "GET", "/-/export/credits")
    assert [row["amount"] for row in credited] == ["12.50", "12.50"]


def test_what_could_not_be_paid_returns_to_the_programme_in_one_sum(network: Any) -> None:
    network.fund("100.00")
    network.people(3, codes=("DELTA",))
    network.open_accounts("DELTA", {"account": "closed-soon", "holderName": "X", "behaviour": "closed"})
    network.register((50, "DELTA:closed-soon"), (51, "DELTA:nowhere"))
    network.pay("BATCH1", [1, 2, 3, 50, 51, 99])
    end = network.settled("BATCH1")
    assert (end["completed"], end["failed"]) == (3, 3)
    assert end["note"] == "closed: 20.00 XTS returned"
    assert network.conserved() == {"paid_out": Decimal("30.00"), "credited": Decimal("30.00"), "suspense": Decimal(0)}
    rows = network.call("GET", "/api/v1/batch/detail?batchId=BATCH1000000&status=RJCT").json()
    assert [row["errorInformation"] for row in rows] == ["account_closed", "no_such_account", "unknown_payee"]


def test_without_funds_the_paying_bank_says_no_and_nothing_moves(network: Any) -> None:
    network.fund("19.99")
    network.people(2)
    network.pay("BATCH1", [1, 2])
    end = network.settled("BATCH1")
    assert end["note"] == "refused: insufficient funds"
    assert (end["completed"], end["failed"]) == (0, 2)
    assert network.conserved() == {"paid_out": Decimal(0), "credited": Decimal(0), "suspense": Decimal(0)}
