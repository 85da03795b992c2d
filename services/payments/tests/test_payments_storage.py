"""The same journeys on SQLite and on PostgreSQL: what is written once stays once, whoever else writes."""

import threading
from collections import Counter
from decimal import Decimal
from typing import Any


def test_a_batch_with_failures_is_paid_returned_and_listed(stored_network: Any) -> None:
    network = stored_network
    network.fund("100.00")
    network.people(3, codes=("DELTA",))
    network.open_accounts("DELTA", {"account": "soon", "holderName": "Ömer", "behaviour": "closed"})
    network.register((50, "DELTA:soon"), (51, "DELTA:nowhere"))
    network.pay("BATCH1", [1, 2, 3, 50, 51, 99], amount=0.1)
    end = network.settled("BATCH1")
    assert (end["completed"], end["failed"], end["note"]) == (3, 3, "closed: 0.20 XTS returned")
    assert network.conserved() == {"paid_out": Decimal("0.30"), "credited": Decimal("0.30"), "suspense": Decimal(0)}
    rows = network.call("GET", "/api/v1/batch/detail?batchId=BATCH1000000&pageSize=4").json()
    assert [row["statusDetail"] for row in rows] == ["completed", "completed", "completed", "failed"]
    assert len(network.steward("GET", "/-/export/payees")) == 5


def test_eight_identical_batches_and_updates_at_once_are_one(stored_network: Any) -> None:
    network = stored_network
    network.fund()
    network.people(30)
    answers: list[Any] = []
    start = threading.Barrier(8)

    def send() -> None:
        start.wait()
        answers.append(network.pay("BATCH1", list(range(1, 31))).json())

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [answers[0]] * 8
    network.settled("BATCH1")
    assert network.conserved()["credited"] == Decimal(300)


def test_a_thousand_are_validated_and_paid_though_first_replies_are_lost(stored_network: Any) -> None:
    network = stored_network
    network.fund("10000.00")
    network.people(1000)
    items = [
        {"InstructionID": f"V{n:015d}", "PayeeFunctionalID": f"CT01-{n:015d}", "Amount": 10, "Currency": "XTS"}
        for n in range(1, 1001)
    ]
    body = {"RequestID": "V" * 12, "SourceBBID": "S" * 12, "BatchID": "B" * 12, "CreditInstructions": items}
    callback = {"X-Callback-URL": "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/cash-transfer/callbacks/validation"}
    network.call("POST", "/prepayment-validation", json=body, headers=callback)
    network.sink.wait_for(lambda told: any(b.get("NumberFailedCases") == 0 for _, b in told))
    calls: Counter[str] = Counter()
    lock = threading.Lock()

    def first_reply_is_lost(method: str, path: str) -> str | None:
        with lock:
            calls[method + path] += 1
            return "lost" if calls[method + path] == 1 else None

    network.relay.trouble = first_reply_is_lost
    network.pay("BATCH1", list(range(1, 1001)))
    assert network.settled("BATCH1")["completed"] == 1000
    assert network.conserved()["credited"] == Decimal(10000)
