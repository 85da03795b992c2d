"""When institutions, gateways and replies fail: nothing is lost, nothing is doubled."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import requests
from sqlalchemy import func, select, update

from sandroad.storage import Database
from sandroad.web import running
from services.fsp.tables import credits
from services.payments.tables import sub_batches
from services.payments.watch import Watch


def eventually(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Return when ``condition`` holds; other threads are still at work on it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def test_a_late_success_is_paid_once_though_it_is_told_twice(network: Any) -> None:
    network.fund()
    network.open_accounts(
        "KITE", {"account": "late", "holderName": "L", "behaviour": "late-success", "behaviourSeconds": 3600}
    )
    network.register((1, "KITE:late"))
    network.pay("BATCH1", [1])
    network.sink.wait_for(lambda told: any(body["ongoing"] == 1 for _, body in told))
    assert network.conserved() == {"paid_out": Decimal(10), "credited": Decimal(0), "suspense": Decimal(10)}
    network.fsp_steward("KITE", "PUT", "/-/clock", json={"offset_seconds": 3700})
    assert network.settled("BATCH1")["completed"] == 1
    told_twice = threading.Event()
    while network.fsp_steward("KITE", "GET", "/-/outbox")["waiting"]:
        told_twice.wait(0.02)
    assert network.fsp_steward("KITE", "GET", "/-/outbox")["dead"] == 0
    assert network.conserved() == {"paid_out": Decimal(10), "credited": Decimal(10), "suspense": Decimal(0)}


def test_an_institution_that_is_down_holds_up_nobody_else(network: Any) -> None:
    network.fund()
    network.people(9)
    network.fsp_steward("KITE", "PUT", "/-/faults/down", json={})
    network.pay("BATCH1", list(range(1, 10)))
    network.sink.wait_for(lambda told: any(body["completed"] == 6 for _, body in told))
    assert network.conserved()["suspense"] == Decimal(30)
    network.fsp_steward("KITE", "DELETE", "/-/faults/down")
    assert network.settled("BATCH1")["completed"] == 9
    assert network.conserved()["credited"] == Decimal(90)


def test_lost_replies_of_every_kind_repeat_harmlessly(network: Any) -> None:
    network.fund()
    network.people(12)
    network.open_accounts("DELTA", {"account": "closed", "holderName": "C", "behaviour": "closed"})
    network.register((99, "DELTA:closed"))
    calls: Counter[str] = Counter()
    lock = threading.Lock()

    def first_two_replies_are_lost(method: str, path: str) -> str | None:
        with lock:
            calls[method + path] += 1
            return "lost" if calls[method + path] <= 2 else None

    network.relay.trouble = first_two_replies_are_lost
    network.pay("BATCH1", [*range(1, 13), 99])
    end = network.settled("BATCH1")
    assert (end["completed"], end["failed"]) == (12, 1)
    # A lost reply's call was executed: the batch may end before every sender has had its answer.
    eventually(lambda: all(count >= 3 for target, count in calls.copy().items() if "cash-transfer" not in target))
    assert network.conserved() == {"paid_out": Decimal(120), "credited": Decimal(120), "suspense": Decimal(0)}


def test_results_that_were_never_told_are_asked_for(network: Any) -> None:
    network.fund()
    network.people(3, codes=("KITE",))
    network.relay.trouble = lambda method, path: "unreachable" if "/callbacks/sub-batches/" in path else None
    network.pay("BATCH1", [1, 2, 3])
    assert network.settled("BATCH1")["completed"] == 3
    assert network.conserved()["credited"] == Decimal(30)


def test_a_sub_batch_that_is_refused_fails_only_after_the_institution_says_it_never_came(network: Any) -> None:
    """The contract of the institution refuses what payments would never send; here another institution's code."""
    network.fund()
    network.people(3, codes=("KITE",))
    services = network.steward("GET", "/-/institutions")
    network.steward("PUT", "/-/institutions", json=services | {"KITE": services["DELTA"]})
    network.pay("BATCH1", [1, 2, 3])
    end = network.settled("BATCH1")
    assert (end["failed"], end["note"]) == (3, "closed: 30.00 XTS returned")
    assert network.conserved() == {"paid_out": Decimal(0), "credited": Decimal(0), "suspense": Decimal(0)}


def test_a_sub_batch_that_arrived_before_it_was_refused_is_still_paid(network: Any) -> None:
    """The first attempt arrives and its reply is lost; the second is refused. Failing it now would pay it and return it."""
    network.fund()
    network.people(3, codes=("KITE",))
    seen: Counter[str] = Counter()
    kite = "SANDBOX/COM/KITE-MOBILE/ACCOUNTS/accounts"
    right = network.relay.services[kite]

    def trouble(method: str, path: str) -> str | None:
        if "/callbacks/sub-batches/" in path:
            return "unreachable"
        if method == "POST" and "/sub-batches/" in path:
            seen[path] += 1
            network.relay.services[kite] = right if seen[path] == 1 else (right[0], "wrong-secret")
            return "lost" if seen[path] == 1 else None
        network.relay.services[kite] = right
        return None

    network.relay.trouble = trouble
    network.pay("BATCH1", [1, 2, 3])
    assert network.settled("BATCH1")["completed"] == 3
    assert network.conserved()["credited"] == Decimal(30)


def test_a_question_that_the_bank_refused_is_decided_by_what_it_knows(network: Any) -> None:
    """Authorised, reply lost, then refused: the money was moved, and the batch must go on."""
    network.fund()
    network.people(2, codes=("DELTA",))
    seen: Counter[str] = Counter()
    harbour = "SANDBOX/COM/HARBOUR-BANK/ACCOUNTS/accounts"
    right = network.relay.services[harbour]

    def trouble(method: str, path: str) -> str | None:
        if "HARBOUR-BANK" in path and "/batches/" in path:
            seen[method] += 1
            network.relay.services[harbour] = (
                (right[0], "wrong-secret") if method == "POST" and seen[method] == 2 else right
            )
            return "lost" if method == "POST" and seen[method] == 1 else None
        return None

    network.relay.trouble = trouble
    network.pay("BATCH1", [1, 2])
    assert network.settled("BATCH1")["completed"] == 2
    assert seen["GET"] >= 1
    assert network.conserved()["credited"] == Decimal(20)


def test_a_closed_account_fails_is_mended_and_is_paid_in_a_new_batch(network: Any) -> None:
    network.fund()
    network.people(1, codes=("DELTA",))
    network.fsp_steward("DELTA", "PUT", "/-/faults/close-account", json={"account": "9000000001"})
    network.pay("BATCH1", [1])
    assert network.settled("BATCH1")["failed"] == 1
    network.open_accounts("KITE", {"account": "new", "holderName": "Person 1"})
    body = {
        "RequestID": "MENDED000001",
        "SourceBBID": "S" * 12,
        "Beneficiaries": [{"PayeeFunctionalID": "CT01-000000000000001", "FinancialAddress": "KITE:new"}],
    }
    assert network.call("POST", "/update-beneficiary-details", json=body).status_code == 200
    network.pay("BATCH2", [1])
    assert network.settled("BATCH2")["completed"] == 1
    assert network.conserved()["credited"] == Decimal(10)


def test_an_institution_that_is_down_for_long_has_one_question_waiting(network: Any) -> None:
    """Asking again and again while nothing gets through would fill the outbox for as long as the institution is away."""
    network.fund()
    network.people(3, codes=("KITE",))
    deaf = threading.Event()
    deaf.set()
    network.relay.trouble = lambda method, path: (
        "unreachable" if deaf.is_set() and ("/callbacks/sub-batches/" in path or method == "GET") else None
    )
    network.pay("BATCH1", [1, 2, 3])
    outbox = running(network.app).outbox
    assert outbox is not None
    polls = select(func.count()).select_from(outbox.table).where(outbox.table.c.kind == "poll")
    watch, database = running(network.app).resources[Watch], running(network.app).resources[Database]
    looked = threading.Event()
    for _ in range(200):
        with database.begin() as connection:
            connection.execute(update(sub_batches).values(heard=0.0))
        watch.look()
        looked.wait(0.01)
    with database.read() as connection:
        assert connection.execute(polls).scalar_one() == 1
    deaf.clear()
    assert network.settled("BATCH1")["completed"] == 3


def test_a_repeated_order_has_its_first_answer_though_the_programme_has_moved(network: Any) -> None:
    """A refusal here would make the source believe that nothing is paid, and pay again under other ids."""
    network.fund()
    network.people(1)
    assert network.pay("BATCH1", [1]).json()["ResponseCode"] == "00"
    network.steward("PUT", "/-/programmes", json={})
    assert network.pay("BATCH1", [1]).json()["ResponseCode"] == "00"
    assert network.pay("BATCH2", [1]).status_code == 400
    assert network.settled("BATCH1")["completed"] == 1


def test_a_contradiction_about_one_payment_does_not_hold_up_the_others(network: Any) -> None:
    """An institution that takes back one final result is a matter for people; its other payees are paid meanwhile."""
    network.fund()
    network.open_accounts(
        "KITE",
        {"account": "prompt", "holderName": "P"},
        {"account": "late", "holderName": "L", "behaviour": "late-success", "behaviourSeconds": 3600},
    )
    network.register((1, "KITE:prompt"), (2, "KITE:late"))
    network.pay("BATCH1", [1, 2])
    network.sink.wait_for(lambda told: any(body["completed"] == 1 for _, body in told))
    with Database(network.database("KITE")).begin() as connection:
        connection.execute(update(credits).where(credits.c.account == "prompt").values(state="failed"))
    network.fsp_steward("KITE", "PUT", "/-/clock", json={"offset_seconds": 3700})
    assert network.settled("BATCH1")["completed"] == 2


def test_a_refused_call_that_is_still_on_its_way_is_waited_for(make_network: Any) -> None:
    """The institution knows nothing yet, because the first attempt lies in a queue: failing it now would pay twice."""
    network = make_network(longest_call=3.0)
    network.fund()
    network.people(3, codes=("KITE",))
    kite = "SANDBOX/COM/KITE-MOBILE/ACCOUNTS/accounts"
    right = network.relay.services[kite]
    attempts: list[str] = []
    delayed: list[Any] = []

    def arrive(path: str) -> None:
        outbox = running(network.app).outbox
        assert outbox is not None
        with running(network.app).resources[Database].read() as connection:
            sent = connection.execute(select(outbox.table).where(outbox.table.c.kind == "sub-batch")).one()
        headers = {**json.loads(sent.headers), "X-Road-Client": network.config.client, "X-Sandroad-Gateway": right[1]}
        delayed.append(requests.post(right[0] + path, data=sent.body, headers=headers, timeout=20))

    def trouble(method: str, path: str) -> str | None:
        if method == "POST" and "/sub-batches/" in path and "callbacks" not in path:
            attempts.append(path)
            network.relay.services[kite] = (right[0], "wrong-secret")
            if len(attempts) == 1:
                threading.Timer(1.5, arrive, ["/sub-batches/" + path.rpartition("/")[2]]).start()
                return "unreachable"
            return None
        network.relay.services[kite] = right
        return "unreachable" if "/callbacks/sub-batches/" in path else None

    network.relay.trouble = trouble
    network.pay("BATCH1", [1, 2, 3])
    assert network.settled("BATCH1")["completed"] == 3
    assert [each.status_code for each in delayed] == [202]
    assert network.conserved()["credited"] == Decimal(30)


def test_a_batch_larger_than_a_bank_can_write_is_refused(network: Any) -> None:
    network.fund()
    network.people(1)
    answer = network.pay("BATCH1", [1] * 20, amount=1_000_000_000_000.0)
    assert answer.status_code == 400
    assert "9999999999999.99" in answer.json()["ResponseDescription"]
