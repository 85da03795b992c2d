"""Registering and changing payees in both generations, and validating them before a payment."""

from typing import Any

import pytest

SOURCE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
CALLBACK = f"/r1/{SOURCE}/cash-transfer/callbacks/payees"


def payee_id(number: int) -> str:
    return f"CT01-{number:015d}"


def register_v3(network: Any, request_id: str, *payees: dict[str, Any], method: str = "POST", **more: Any) -> Any:
    headers = {"X-Callback-URL": CALLBACK, "X-Registering-Institution-ID": "WELFARE"}
    body = {"RequestID": request_id, "Beneficiaries": list(payees), **more}
    return network.call(method, "/identityAccountMapper/beneficiary", json=body, headers=headers)


def told(network: Any, request_id: str) -> dict[str, Any]:
    network.sink.wait_for(lambda all: any(body.get("registerRequestID") == request_id for _, body in all))
    return next(body for _, body in network.sink.told if body.get("registerRequestID") == request_id)


def payees(network: Any) -> dict[str, str]:
    return {row["payee"]: row["address"] for row in network.steward("GET", "/-/export/payees")}


def validate(network: Any, request_id: str, items: list[tuple[int, dict[str, Any]]], **headers: str) -> Any:
    instructions = [
        {"InstructionID": f"{n:016d}", "PayeeFunctionalID": payee_id(n), "Amount": 5, "Currency": "XTS", **more}
        for n, more in items
    ]
    body = {"RequestID": request_id, "SourceBBID": "S" * 12, "BatchID": "B" * 12, "CreditInstructions": instructions}
    return network.call("POST", "/prepayment-validation", json=body, headers=headers)


def test_version_3_registers_with_the_callback_naming_what_failed(network: Any) -> None:
    acknowledged = register_v3(
        network,
        "req-1",
        {"payeeIdentity": payee_id(1), "PaymentModality": "01", "FinancialAddress": "KITE:+999700000001"},
        {
            "payeeIdentity": payee_id(2),
            "PaymentModality": "00",
            "FinancialAddress": "12",
            "bankingInstitutionCode": "DELTA",
        },
        {"payeeIdentity": payee_id(3), "PaymentModality": "00", "FinancialAddress": "NOWHERE:1"},
        {"payeeIdentity": payee_id(4), "PaymentModality": "02", "FinancialAddress": "KITE:1"},
        {"payeeIdentity": payee_id(5), "PaymentModality": "00", "FinancialAddress": "just-text"},
        {"payeeIdentity": payee_id(6)},
        {"payeeIdentity": payee_id(7), "FinancialAddress": "KITE:7"},
        {"payeeIdentity": payee_id(7), "FinancialAddress": "KITE:8"},
    )
    assert acknowledged.json() == {
        "responseCode": "00",
        "responseDescription": "the result is sent to X-Callback-URL",
        "requestID": "req-1",
    }
    result = told(network, "req-1")
    reasons = {case["payeeIdentity"]: case["failureReason"] for case in result["failedCases"]}
    assert reasons == {
        payee_id(3): "unknown_institution",
        payee_id(4): "modality_not_served",
        payee_id(5): "malformed_address",
        payee_id(6): "missing_address",
        payee_id(7): "repeated_in_request",
    }
    assert result["numberFailedCases"] == 6
    assert payees(network) == {payee_id(1): "KITE:+999700000001", payee_id(2): "DELTA:12"}


def test_registering_again_is_a_failed_case_and_repeating_a_request_is_not(network: Any) -> None:
    one = {"payeeIdentity": payee_id(1), "FinancialAddress": "KITE:1"}
    first = register_v3(network, "req-1", one)
    assert register_v3(network, "req-1", one).json() == first.json()
    other = register_v3(network, "req-1", {**one, "FinancialAddress": "KITE:2"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    register_v3(network, "req-2", {**one, "FinancialAddress": "KITE:2"})
    assert told(network, "req-2")["failedCases"][0]["failureReason"] == "already_registered"
    assert payees(network) == {payee_id(1): "KITE:1"}
    network.sink.wait_for(lambda all: len(all) >= 2)
    assert sum(body.get("registerRequestID") == "req-1" for _, body in network.sink.told) == 1


def test_an_update_changes_address_and_a_suspended_payee_is_not_paid(network: Any) -> None:
    network.fund()
    network.people(2, codes=("KITE",))
    changed = {"payeeIdentity": payee_id(1), "FinancialAddress": "KITE:9000000002"}
    register_v3(network, "up-1", changed, method="PUT", sourceBBID="WELFARE")
    suspended = {"payeeIdentity": payee_id(2), "STATUS": "0"}
    register_v3(network, "up-2", suspended, {"payeeIdentity": payee_id(9)}, method="PUT", sourceBBID="WELFARE")
    case = told(network, "up-2")["failedCases"][0]
    assert (case["payeeFunctionalID"], case["failureReason"]) == (payee_id(9), "unknown_payee")
    assert payees(network) == {payee_id(1): "KITE:9000000002", payee_id(2): "KITE:9000000002"}
    network.pay("BATCH1", [1, 2])
    assert network.settled("BATCH1")["failed"] == 1
    credited = network.fsp_steward("KITE", "GET", "/-/export/credits")
    assert [(row["account"], row["status"]) for row in credited] == [("9000000002", "completed")]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"RequestID": "r", "beneficiaries": []}, "/beneficiaries"),
        ({"RequestID": "r", "Beneficiaries": [{"payeeIdentity": "x", "adress": "y"}]}, "/beneficiaries/0"),
        ({"RequestID": "r", "Beneficiaries": [{"payeeIdentity": 7}]}, "/beneficiaries/0/payeeIdentity"),
        ({"RequestID": "r", "Beneficiaries": [{"payeeIdentity": "x" * 21}]}, "/beneficiaries/0/payeeIdentity"),
        ({"Beneficiaries": [{"payeeIdentity": "x"}]}, ""),
        ({"RequestID": "r", "requestid": "s", "Beneficiaries": [{"payeeIdentity": "x"}]}, None),
    ],
)
def test_a_bad_version_3_request_is_refused_where_it_is_wrong(network: Any, body: dict[str, Any], at: str) -> None:
    headers = {"X-Callback-URL": CALLBACK, "X-Registering-Institution-ID": "WELFARE"}
    refused = network.call("POST", "/identityAccountMapper/beneficiary", json=body, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert at is None or refused.json()["errors"][0]["at"] == at
    assert payees(network) == {}


def test_version_1_tells_failures_in_the_acknowledgement(network: Any) -> None:
    def send(request_id: str, *addresses: str) -> Any:
        entries = [
            {"PayeeFunctionalID": payee_id(n), "PaymentModality": "00", "FinancialAddress": address}
            for n, address in enumerate(addresses)
        ]
        body = {"RequestID": request_id, "SourceBBID": "S" * 12, "Beneficiaries": entries}
        return network.call("POST", "/register-beneficiary", json=body)

    partly = send("REQUEST00001", "KITE:1", "bad")
    assert (partly.status_code, partly.json()["ResponseCode"]) == (200, "00")
    assert "malformed_address" in partly.json()["ResponseDescription"]
    wholly = send("REQUEST00002", "bad")
    assert (wholly.status_code, wholly.json()["ResponseCode"]) == (400, "01")
    assert send("REQUEST00002", "bad").json() == wholly.json()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/register-beneficiary", 400),
        ("/update-beneficiary-details", 400),
        ("/bulk-payment", 400),
        ("/prepayment-validation", 200),
    ],
)
@pytest.mark.parametrize("request_id", ["SHORT", "TOO-LONG-BY-A-LOT", None])
def test_a_wrong_length_is_response_code_01(network: Any, path: str, status: int, request_id: str | None) -> None:
    payee, instruction = {"PayeeFunctionalID": payee_id(1)}, {"InstructionID": "I" * 16, "Amount": 1, "Currency": "XTS"}
    body: dict[str, Any] = {"SourceBBID": "S" * 12, "BatchID": "B" * 12, "CreditInstructions": [payee | instruction]}
    if "beneficiary" in path:
        body = {"SourceBBID": "S" * 12, "Beneficiaries": [payee]}
    if request_id:
        body["RequestID"] = request_id
    answer = network.call("POST", path, json=body)
    assert answer.status_code == status
    assert answer.json()["ResponseCode"] == "01"
    assert "RequestID" in answer.json()["ResponseDescription"]


def test_an_unknown_caller_is_told_so_in_version_1_form(network: Any) -> None:
    import requests

    answer = requests.post(network.url + "/bulk-payment", json={}, headers={"X-Road-Client": SOURCE}, timeout=10)
    assert (answer.status_code, answer.json()["ResponseCode"]) == (401, "01")


def test_validation_names_every_failing_payee_by_callback_and_on_request(network: Any) -> None:
    network.open_accounts(
        "DELTA",
        {"account": "1", "holderName": "Amélie Ndiaye-Ba"},
        {"account": "2", "holderName": "Joe", "status": "closed"},
        {"account": "3", "holderName": "Joe", "status": "blocked"},
        {"account": "4", "holderName": "Joe Kasongo"},
    )
    addresses = [(n, f"DELTA:{n}") for n in range(1, 6)]
    network.register(*addresses, names={1: "AMELIE NDIAYE BA", 4: "Jane Kasongo"})
    asked: list[tuple[int, dict[str, Any]]] = [(n, {}) for n in range(1, 7)]
    answer = validate(network, "VALIDATION01", asked, **{"X-Callback-URL": CALLBACK})
    assert answer.json() == {
        "ResponseCode": "00",
        "ResponseDescription": "validation has begun",
        "RequestID": "VALIDATION01",
    }
    network.sink.wait_for(lambda all: len(all) == 1)
    expected = {
        2: "account_closed",
        3: "account_blocked",
        4: "name_mismatch",
        5: "no_such_account",
        6: "unknown_payee",
    }
    result = network.sink.told[0][1]
    assert {int(each["InstructionID"]): each["FailureReason"] for each in result["FailedAccounts"]} == expected
    asked_for = {"RequestID": "VALIDATION01", "Source_BatchID": "B" * 12}
    assert network.call("POST", "/prepayment-validation-response", json=asked_for).json() == result
    unknown = network.call("POST", "/prepayment-validation-response", json={**asked_for, "RequestID": "X" * 12})
    assert (unknown.status_code, unknown.json()["ResponseCode"]) == (400, "01")


def test_validation_of_an_institution_that_is_down_ends_with_unreachable(make_network: Any) -> None:
    network = make_network(validation_patience=0.5)
    network.people(4, codes=("KITE", "DELTA"))
    network.fsp_steward("KITE", "PUT", "/-/faults/down", json={})
    validate(network, "VALIDATION01", [(n, {}) for n in range(1, 5)], **{"X-Callback-URL": CALLBACK})
    still_open = {"RequestID": "VALIDATION01", "Source_BatchID": "B" * 12}
    assert network.call("POST", "/prepayment-validation-response", json=still_open).status_code == 202
    network.sink.wait_for(lambda all: len(all) == 1)
    failed = network.sink.told[0][1]["FailedAccounts"]
    assert [(int(each["InstructionID"]), each["FailureReason"]) for each in failed] == [
        (2, "institution_unreachable"),
        (4, "institution_unreachable"),
    ]
