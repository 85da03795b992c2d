"""An institution's promises: accounts, funds of batches, credits, and books that agree after each."""

import threading
from typing import Any

import pytest

PAYMENTS = "SANDBOX/GOV/TREASURY/PAYMENTS"
CALLBACK = f"/r1/{PAYMENTS}/payments/callbacks/sub-batches/s1"


def authorise(institution: Any, batch: str = "b1", amount: str = "40.00", account: str = "prog", **more: Any) -> Any:
    body = {"batchID": batch, "payerIdentifier": account, "currency": "XTS", "amount": amount, **more}
    return institution.call("POST", f"/batches/{batch}", json=body)


def credit(institution: Any, sub_batch: str, *items: tuple[str, str, str], batch: str = "b1", **headers: str) -> Any:
    instructions = [
        {"instructionID": id, "financialAddress": account, "amount": amount, "currency": "XTS"}
        for id, account, amount in items
    ]
    body = {"batchId": batch, "destinationDFSPID": "KITE", "creditInstructions": instructions}
    return institution.call(
        "POST", f"/sub-batches/{sub_batch}", json=body, headers={"X-Callback-URL": CALLBACK, **headers}
    )


def test_accounts_are_opened_once_and_never_otherwise(institution: Any) -> None:
    one = {"account": "a1", "holderName": "Ana", "balance": "5.00"}
    assert institution.open(one, {"account": "a2"}).json() == {"created": 2, "unchanged": 0}
    assert institution.open(one, {"account": "a3"}).json() == {"created": 1, "unchanged": 1}
    refused = institution.open({**one, "balance": "6.00"}, {"account": "a4"})
    assert (refused.status_code, refused.json()["code"]) == (409, "account_differs")
    assert institution.steward("GET", "/accounts/a4").status_code == 404
    assert institution.ledger()["accounts"] == 3 and institution.ledger()["balanced"]


def test_validation_says_what_is_wrong_with_each_account(institution: Any) -> None:
    institution.open(
        {"account": "1", "holderName": "Zoë O'Brien-Smith"},
        {"account": "2", "status": "closed"},
        {"account": "3", "behaviour": "closed"},
    )
    asked = [
        ("i1", "1", "ZOE OBRIEN SMITH"),
        ("i2", "1", "Zoe Smith"),
        ("i3", "2", None),
        ("i4", "3", None),
        ("i5", "9", None),
    ]
    items = [
        {"instructionID": id, "financialAddress": account} | ({"payeeName": name} if name else {})
        for id, account, name in asked
    ]
    body = {"batchId": "b1", "destinationDFSPID": "KITE", "creditInstructions": items}
    answer = institution.call("POST", "/beneficiaries?command=validate", json=body).json()
    assert answer["failedAccountLookups"] == [
        {"instructionID": "i2", "failureReason": "name_mismatch"},
        {"instructionID": "i3", "failureReason": "account_closed"},
        {"instructionID": "i5", "failureReason": "no_such_account"},
    ]
    elsewhere = institution.call("POST", "/beneficiaries?command=validate", json={**body, "destinationDFSPID": "DELTA"})
    assert elsewhere.json()["code"] == "wrong_institution"


def test_funds_move_once_and_a_no_stays_a_no(institution: Any) -> None:
    institution.open({"account": "prog", "balance": "100.00"})
    assert authorise(institution).json()["status"] == "Y"
    assert authorise(institution).json()["status"] == "Y"
    assert institution.balance("prog") == "60.00"
    too_much = authorise(institution, "b2", "60.01").json()
    assert (too_much["status"], too_much["reason"]) == ("N", "insufficient funds")
    institution.call("PUT", "/batches/b1/refunds/r1", json={"currency": "XTS", "amount": "40.00"})
    assert authorise(institution, "b2", "60.01").json()["status"] == "N"
    other = authorise(institution, "b1", "41.00")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    assert authorise(institution, "b3", account="nobody").json()["reason"] == "no such account"
    assert institution.call("GET", "/batches/b2").json()["status"] == "N"
    assert institution.call("GET", "/batches/b9").json()["code"] == "unknown_batch"
    assert institution.ledger() == {
        "institution": "KITE",
        "currency": "XTS",
        "paid_out": {"prog": "0.00"},
        "credited": "0.00",
        "accounts": 1,
        "balanced": True,
    }


def test_a_refund_is_made_once_and_never_more_than_was_moved(institution: Any) -> None:
    institution.open({"account": "prog", "balance": "100.00"})
    authorise(institution)

    def refund(id: str, amount: str) -> Any:
        return institution.call("PUT", f"/batches/b1/refunds/{id}", json={"currency": "XTS", "amount": amount})

    assert refund("r1", "15.00").status_code == refund("r1", "15.00").status_code == 200
    assert institution.balance("prog") == "75.00"
    assert refund("r1", "16.00").json()["code"] == "idempotency_conflict"
    assert refund("r2", "25.01").json()["code"] == "refund_too_large"
    assert refund("r2", "25.00").status_code == 200
    assert institution.balance("prog") == "100.00" and institution.ledger()["paid_out"] == {"prog": "0.00"}


def test_a_sub_batch_credits_each_instruction_once(institution: Any) -> None:
    institution.open({"account": "a1"}, {"account": "a2"}, {"account": "a3", "status": "closed"})
    items = [
        ("i1", "a1", "10.00"),
        ("i2", "a1", "2.50"),
        ("i3", "a2", "1.00"),
        ("i4", "a3", "1.00"),
        ("i5", "zz", "1.00"),
    ]
    assert credit(institution, "s1", *items).status_code == 202
    assert credit(institution, "s1", *items).status_code == 202
    assert institution.wait_for(1)[0]["results"] == [
        {"instructionID": "i1", "status": "completed"},
        {"instructionID": "i2", "status": "completed"},
        {"instructionID": "i3", "status": "completed"},
        {"instructionID": "i4", "status": "failed", "failureReason": "account_closed"},
        {"instructionID": "i5", "status": "failed", "failureReason": "no_such_account"},
    ]
    assert institution.balance("a1") == "12.50"
    assert credit(institution, "s1", *items[:2]).json()["code"] == "idempotency_conflict"
    assert credit(institution, "s2", items[0]).json()["code"] == "instruction_seen_before"
    assert credit(institution, "s2", items[0], batch="b2").status_code == 202
    assert institution.ledger()["credited"] == "23.50" and institution.ledger()["balanced"]
    assert institution.call("GET", "/sub-batches/s1").json() == institution.told[0]
    assert institution.call("GET", "/sub-batches/s9").json()["code"] == "unknown_sub_batch"


def test_the_same_sub_batch_eight_times_at_once_credits_once(institution: Any) -> None:
    institution.open({"account": "a1"})
    start, statuses = threading.Barrier(8), []

    def send() -> None:
        start.wait()
        statuses.append(credit(institution, "s1", ("i1", "a1", "10.00")).status_code)

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [202] * 8
    assert institution.balance("a1") == "10.00"


def test_a_late_account_is_credited_in_its_time_and_told_twice(institution: Any) -> None:
    institution.open({"account": "late", "behaviour": "late-success", "behaviourSeconds": 3600}, {"account": "a1"})
    credit(institution, "s1", ("i1", "late", "10.00"), ("i2", "a1", "1.00"))
    first = institution.wait_for(1)[0]
    assert [each["status"] for each in first["results"]] == ["pending", "completed"]
    assert (institution.balance("late"), institution.ledger()["credited"]) == ("0.00", "1.00")
    institution.steward("PUT", "/-/clock", json={"offset_seconds": 3601})
    told = institution.wait_for(3)
    assert told[1] == told[2]
    assert [each["status"] for each in told[1]["results"]] == ["completed", "completed"]
    assert (institution.balance("late"), institution.ledger()["credited"]) == ("10.00", "11.00")


def test_lab_faults_take_the_institution_down_and_close_and_open_accounts(institution: Any) -> None:
    institution.open({"account": "a1"}, {"account": "a2", "status": "closed"})
    institution.steward("PUT", "/-/faults/down", json={"times": 1})
    down = credit(institution, "s1", ("i1", "a1", "1.00"))
    assert (down.status_code, down.json()["code"]) == (503, "institution_down")
    institution.steward("PUT", "/-/faults/close-account", json={"account": "a1"})
    institution.steward("PUT", "/-/faults/open-account", json={"account": "a2"})
    credit(institution, "s1", ("i1", "a1", "1.00"), ("i2", "a2", "1.00"))
    assert [each["status"] for each in institution.wait_for(1)[0]["results"]] == ["failed", "completed"]


def test_only_payments_moves_money_and_only_the_administrator_opens_accounts(institution: Any) -> None:
    institution.open({"account": "prog", "balance": "100.00"})
    stranger = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
    body = {"batchID": "b1", "payerIdentifier": "prog", "currency": "XTS", "amount": "1.00"}
    assert institution.call("POST", "/batches/b1", json=body, client=stranger).json()["code"] == "only_payments"
    assert institution.steward("GET", "/batches/b1").json()["code"] == "only_payments"
    opened = institution.call("POST", "/accounts/batch", json={"accounts": [{"account": "x", "holderName": "X"}]})
    assert opened.json()["code"] == "only_administrator"
    assert institution.call("GET", "/accounts/prog").json()["code"] == "only_administrator"


BAD_CREDITS: dict[str, tuple[tuple[str, str, str], dict[str, str], str]] = {
    "zero": (("i1", "a1", "0.00"), {}, "invalid_request"),
    "a negative amount": (("i1", "a1", "-1.00"), {}, "invalid_request"),
    "a third decimal": (("i1", "a1", "1.001"), {}, "invalid_request"),
    "a trailing line break": (("i1", "a1", "1.00\n"), {}, "invalid_request"),
    "a callback to a third party": (
        ("i1", "a1", "1.00"),
        {"X-Callback-URL": "/r1/SANDBOX/GOV/X/Y/z/hook"},
        "callback_refused",
    ),
    "a callback out of its service": (
        ("i1", "a1", "1.00"),
        {"X-Callback-URL": f"/r1/{PAYMENTS}/../x"},
        "callback_refused",
    ),
}


@pytest.mark.parametrize("defect", BAD_CREDITS)
def test_a_bad_credit_changes_nothing(institution: Any, defect: str) -> None:
    item, headers, code = BAD_CREDITS[defect]
    institution.open({"account": "a1"})
    refused = credit(institution, "s1", item, **headers)
    assert (refused.status_code, refused.json()["code"]) == (400, code)
    assert institution.call("GET", "/sub-batches/s1").status_code == 404
    assert institution.ledger()["credited"] == "0.00"


def test_every_operation_of_the_contract_is_bound(institution: Any) -> None:
    from sandroad.contracts import Contract
    from services.fsp.routes import make_routes

    contract = Contract.load(institution.config.contracts / "fsp" / "openapi.yaml")
    assert make_routes(contract, institution.config).unbound() == []
