"""Batches: what is paid once, what is refused, what is told."""

import threading
from decimal import Decimal
from typing import Any

import pytest

SOURCE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
OTHER_SOURCE = "SANDBOX/GOV/HEALTH/MATERNITY"
KITE = "SANDBOX/COM/KITE-MOBILE/ACCOUNTS"
CALLBACK = f"/r1/{SOURCE}/cash-transfer/callbacks/payments"


def payee_id(number: int) -> str:
    return f"CT01-{number:015d}"


def v3_item(id: str, payee: int, amount: Any = 10, **changed: Any) -> dict[str, Any]:
    return {
        "requestId": id,
        "creditParty": [{"key": "payeeIdentity", "value": payee_id(payee)}],
        "debitParty": [],
        "paymentMode": "closedLoop",
        "amount": amount,
        "currency": "XTS",
        **changed,
    }


def hand_over(network: Any, name: str, items: list[dict[str, Any]], **headers: str) -> Any:
    named = {"X-CorrelationID": name, "Platform-TenantId": "welfare", "X-Callback-URL": CALLBACK, **headers}
    return network.call("POST", "/batchtransactions?type=raw", json=items, headers=named)


def test_a_batch_sent_twice_pays_once_and_has_the_first_answer(network: Any) -> None:
    network.fund()
    network.people(3)
    first = network.pay("BATCH1", [1, 2, 3])
    again = network.pay("BATCH1", [1, 2, 3])
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    network.settled("BATCH1")
    assert network.pay("BATCH1", [1, 2, 3]).json() == first.json()
    named_otherwise = network.pay("BATCH1", [1, 2, 3], RequestID="OTHERREQUEST")
    assert named_otherwise.json()["ResponseCode"] == "00"
    assert network.conserved()["credited"] == Decimal(30)


def test_the_same_batch_id_with_other_content_is_refused(network: Any) -> None:
    network.fund()
    network.people(3)
    network.pay("BATCH1", [1, 2])
    refused = network.pay("BATCH1", [1, 2], amount=11)
    assert (refused.status_code, refused.json()["ResponseCode"]) == (400, "01")
    under_another_request = network.pay("BATCH1", [1, 3], RequestID="OTHERREQUEST")
    assert under_another_request.status_code == 400
    assert "another content" in under_another_request.json()["ResponseDescription"]
    network.settled("BATCH1")
    assert network.conserved()["credited"] == Decimal(20)


def test_eight_identical_batches_at_once_are_one(network: Any) -> None:
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
    assert len(network.steward("GET", "/-/export/batches")) == 1
    assert network.conserved()["credited"] == Decimal(300)


def test_an_instruction_id_in_a_second_batch_of_its_source_refuses_the_whole_batch(network: Any) -> None:
    network.fund()
    network.people(3)
    assert hand_over(network, "first", [v3_item("I1", 1)]).status_code == 202
    refused = hand_over(network, "second", [v3_item("I2", 2), v3_item("I1", 3)])
    assert (refused.status_code, refused.json()["code"]) == (409, "instruction_paid_before")
    assert refused.json()["responseCode"] == "01"
    assert [row["instruction"] for row in network.steward("GET", "/-/export/instructions")] == ["I1"]


def test_two_sources_may_use_the_same_ids_and_see_only_their_own(network: Any) -> None:
    network.fund()
    network.fund(account="0000000002")
    network.people(2)
    network.register((1, "KITE:9000000002"), client=OTHER_SOURCE)
    network.pay("BATCH1", [1])
    network.settled("BATCH1")
    answer = network.call(
        "POST",
        "/batchtransactions?type=raw",
        client=OTHER_SOURCE,
        json=[v3_item("BATCH10000000000", 1)],
        headers={
            "X-CorrelationID": "BATCH1000000",
            "Platform-TenantId": "t",
            "X-Callback-URL": f"/r1/{OTHER_SOURCE}/maternity/callbacks",
        },
    )
    assert answer.status_code == 202
    detail = network.call("GET", f"/api/v1/batch/detail?batchId={answer.json()['batchId']}")
    assert (detail.status_code, detail.json()["code"]) == (404, "unknown_batch")


def test_version_3_hands_over_polls_and_is_told(network: Any) -> None:
    network.fund()
    network.people(5)
    items = [v3_item(f"I{n}", n, 0.1, descriptionText="grant") for n in range(1, 6)]
    accepted = hand_over(network, "cycle-2026-03", items, **{"X-Program-Id": "CT-01"})
    batch = accepted.json()["batchId"]
    assert hand_over(network, "cycle-2026-03", items).json() == {"batchId": batch}
    network.sink.wait_for(lambda told: any(b.get("batchId") == batch and b["note"] == "closed" for _, b in told))
    path, end = network.sink.told[-1]
    assert f"batchId={batch}" in path and "X-CorrelationID=cycle-2026-03" in path
    assert (end["completed"], end["completed_amount"], end["totalAmount"]) == (5, 0.5, 0.5)
    pages = [
        network.call("GET", f"/api/v1/batch/detail?batchId={batch}&pageNo={n}&pageSize=2").json() for n in range(4)
    ]
    assert [row["transactionId"] for page in pages for row in page] == ["I1", "I2", "I3", "I4", "I5"]
    assert {row["status"] for page in pages for row in page} == {"ACSC"}
    assert network.call("GET", f"/api/v1/batch?batchId={batch}").json()["completed"] == 5


def test_status_callbacks_arrive_in_order(network: Any) -> None:
    network.fund()
    network.people(20)
    network.pay("BATCH1", list(range(1, 21)))
    network.settled("BATCH1")
    done = [body["completed"] for _, body in network.sink.told]
    assert done == sorted(done) and done[-1] == 20


BAD_BATCHES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "an instruction twice": ([v3_item("I1", 1), v3_item("I1", 2)], "duplicate_instruction"),
    "another currency": ([v3_item("I1", 1, currency="USD")], "wrong_currency"),
    "a third decimal": ([v3_item("I1", 1, 0.125)], "not_an_amount"),
    "a negative amount": ([v3_item("I1", 1, -5)], "invalid_request"),
    "nothing": ([], "invalid_request"),
    "zero": ([v3_item("I1", 1, 0)], "invalid_request"),
    "an amount as text": ([v3_item("I1", 1, "10.00")], "invalid_request"),
    "an unknown member": ([v3_item("I1", 1, amonut=3)], "invalid_request"),
    "a payee without identity": ([v3_item("I1", 1, creditParty=[{"key": "msisdn", "value": "1"}])], "invalid_request"),
    "an amount beyond any": ([v3_item("I1", 1, 1e300)], "invalid_request"),
    "a name with a line break": ([v3_item("I1", 1, descriptionText="a\nb")], "invalid_request"),
    "a NUL in the instruction's id": ([v3_item("I\x001", 1)], "invalid_request"),
}


@pytest.mark.parametrize("defect", BAD_BATCHES)
def test_a_bad_batch_is_refused_and_nothing_is_kept(network: Any, defect: str) -> None:
    items, code = BAD_BATCHES[defect]
    network.fund()
    network.people(2)
    refused = hand_over(network, "bad", items)
    assert (refused.status_code // 100, refused.json()["code"]) == (4, code)
    assert network.steward("GET", "/-/export/batches") == []
    assert network.steward("GET", "/-/outbox")["waiting"] == 0


@pytest.mark.parametrize(
    "address",
    [
        "https://example.org/hook",
        "/r1/SANDBOX/COM/HARBOUR-BANK/ACCOUNTS/accounts/batches/x",
        f"/r1/{SOURCE}/../PAYMENTS/payments/bulk-payment",
        f"/r1/{SOURCE}",
        f"/r1/{SOURCE}-EVIL/x/y",
        f"/r1/{SOURCE}/cash-transfer/%2e%2e/x",
        "//example.org/x",
    ],
)
def test_payments_calls_nobody_but_the_source_back(network: Any, address: str) -> None:
    network.fund()
    network.people(1)
    refused = hand_over(network, "b", [v3_item("I1", 1)], **{"X-Callback-URL": address})
    assert (refused.status_code, refused.json()["code"]) == (400, "callback_refused")


def test_a_source_without_a_programme_and_a_wrong_programme_are_refused(network: Any) -> None:
    network.fund()
    network.people(1)
    refused = hand_over(network, "b", [v3_item("I1", 1)], **{"X-Program-Id": "XX-99"})
    assert (refused.status_code, refused.json()["code"]) == (403, "no_programme")
    stranger = network.pay("BATCH1", [1], client=KITE)
    assert stranger.json()["ResponseCode"] == "01"


def test_only_the_institution_itself_tells_results_and_never_against_a_final_one(network: Any) -> None:
    network.fund()
    network.people(1, codes=("DELTA",))
    network.open_accounts(
        "DELTA", {"account": "late", "holderName": "L", "behaviour": "late-success", "behaviourSeconds": 600}
    )
    network.register((9, "DELTA:late"))
    network.pay("BATCH1", [1, 9])
    network.sink.wait_for(lambda told: any(body["completed"] == 1 for _, body in told))
    batch = network.steward("GET", "/-/export/batches")[0]["batchId"]
    name = f"{batch}-DELTA-0"

    def tell(client: str, results: list[dict[str, str]], batch: str = batch) -> Any:
        body = {"subBatchId": name, "batchId": batch, "results": results}
        return network.call("POST", f"/callbacks/sub-batches/{name}", json=body, client=client)

    delta = "SANDBOX/COM/DELTA-BANK/ACCOUNTS"
    late, paid = "BATCH10000000001", "BATCH10000000000"
    assert tell(KITE, [{"instructionID": late, "status": "completed"}]).json()["code"] == "access_denied"
    assert tell(delta, [{"instructionID": "other", "status": "completed"}]).json()["code"] == "unknown_instruction"
    mixed = [{"instructionID": late, "status": "completed"}, {"instructionID": paid, "status": "failed"}]
    assert tell(delta, mixed).json()["code"] == "result_contradicts"
    assert tell(delta, [{"instructionID": late, "status": "done"}]).json()["code"] == "invalid_request"
    assert tell(delta, [], batch="0" * 32).json()["code"] == "unknown_sub_batch"
    assert tell(delta, [{"instructionID": late, "status": "pending"}]).status_code == 200
    assert network.conserved()["suspense"] == Decimal(10)


def test_programmes_and_institutions_are_set_by_control_and_kept(network: Any) -> None:
    whole = {SOURCE: {"programme": "CT-02", "funding_account": "HARBOUR:0000000003"}}
    assert network.steward("PUT", "/-/programmes", json=whole) == whole
    assert network.steward("GET", "/-/programmes") == whole
    services = network.steward("GET", "/-/institutions") | {"SAND": "SANDBOX/COM/SAND-MOBILE/ACCOUNTS/accounts"}
    assert network.steward("PUT", "/-/institutions", json=services)["SAND"].endswith("accounts")
    from services.payments.wiring import Wiring

    kept = Wiring(network.config, network.app.extensions["sandroad"].resources[Wiring]._database)
    assert kept.programmes[SOURCE].code == "CT-02" and "SAND" in kept.institutions


def test_every_operation_of_the_contract_is_bound_and_every_refusal_catalogued(network: Any) -> None:
    from sandroad.contracts import Contract
    from sandroad.problems import Catalogue, Refusal
    from services.fsp import domain as fsp_domain
    from services.payments import domain
    from services.payments.routes_v1 import make_routes_v1
    from services.payments.routes_v3 import make_routes_v3

    contract = Contract.load(network.config.contracts / "payments" / "openapi.yaml")
    both = [make_routes_v1(contract, network.config), make_routes_v3(contract, network.config)]
    assert set(both[0].unbound()) & set(both[1].unbound()) == set()
    catalogue = set(Catalogue.load(network.config.contracts / "problems.yaml"))
    for module in (domain, fsp_domain):
        kinds = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Refusal)]
        assert {each.code for each in kinds} <= catalogue
