"""Callbacks come twice, late, in any order, from the wrong party or malformed; money states change once and rightly."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import requests

from sandroad.contracts import Contract
from sandroad.gateway_client import Reply
from sandroad.money import Money
from sandroad.outbox import Entry
from sandroad.testing import ROOT
from usecases.cash_transfer.domain import Beneficiary
from usecases.cash_transfer.operations.enrolment import Enrolment
from usecases.cash_transfer.operations.payment import Payment
from usecases.cash_transfer.operations.reconciliation import Reconciliation
from usecases.cash_transfer.refusals import CycleNotDue, FourEyes, NothingToPay, StepOutOfOrder

PREPARER, APPROVER = "payments@welfare.qz.example", "approver@welfare.qz.example"
PAYMENTS = Contract.load(ROOT / "contracts" / "payments" / "openapi.yaml")


def beneficiary(number: int, state: str = "active") -> Beneficiary:
    return Beneficiary(
        functional_id=f"CT01-{number:015}",
        source=f"LIST-{number}",
        state=state,
        household=f"H{number}",
        package="TPA",
        amount=Money.parse("900.10", "XTS"),
        modality="bank",
        address=f"DELTA:{number:010}",
        phone=f"+99970000{number:04}",
        lawful_basis="public_task",
    )


@pytest.fixture
def batch(app):
    """A validated batch of three instructions."""
    with app.office.store.begin() as rows:
        for number in range(3):
            rows.beneficiaries.add(beneficiary(number))
    payment = app.resources[Payment]
    batch = payment.open_cycle(PREPARER)[0].id
    payment.validate(batch, PREPARER)
    app.callback("validations", {"Source_BatchID": batch, "NumberFailedCases": 0, "FailedAccounts": []})
    return batch


def states(app, batch: str) -> dict[str, str]:
    with app.office.store.read() as rows:
        return {each.functional_id[-1]: each.state for each in rows.batches.content(batch)}


def detail(app, batch: str, statuses: dict[str, str], page: int = 0) -> None:
    """Deliver the answer to a question for transactions, as the outbox does."""
    with app.office.store.read() as rows:
        content = {each.functional_id[-1]: each.id for each in rows.batches.content(batch)}
    transactions = [
        {
            "transactionId": content[n],
            "status": status,
            "errorInformation": "account_closed" if status == "RJCT" else "",
        }
        for n, status in statuses.items()
    ]
    entry = Entry(f"batch-detail:{batch}:mark:{page}", "", "batch-detail", "GET", "", {"X-Road-Issue": batch}, b"")
    with app.office.store.database.begin() as connection:
        app.resources[Reconciliation].on_detail(connection, entry, Reply(200, {}, json.dumps(transactions).encode()))


def check_against_payments(operation: str, body: bytes) -> None:
    """Hold a request of ours to the contract of payments."""
    validator = PAYMENTS.operations[operation].body_types["application/json"]
    assert validator is not None
    assert [error.message for error in validator.iter_errors(json.loads(body))] == []


def test_only_payments_may_report_through_the_own_gateway(app, batch):
    body = {"batchId": batch, "ongoing": 0, "failed": 0, "completed": 3}
    assert requests.post(f"{app.url}/callbacks/batches", json=body, timeout=20).status_code == 401
    stranger = {"X-Road-Client": "SANDBOX/GOV/TREASURY/PAYMENTS"}
    assert requests.post(f"{app.url}/callbacks/batches", json=body, headers=stranger, timeout=20).status_code == 401
    assert app.callback("batches", body, client="SANDBOX/COM/DELTA-BANK/ACCOUNTS").status_code == 403
    assert app.callback("batches", body).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("batches", {"batchId": "X", "ongoing": -1, "failed": 0, "completed": 0}),
        ("batches", {"batchId": "X", "ongoing": "0", "failed": 0, "completed": 0}),
        ("batches", []),
        ("validations", {"Source_BatchID": "X", "NumberFailedCases": 0}),
        ("validations", {"Source_BatchID": "X", "NumberFailedCases": 1, "FailedAccounts": [{"InstructionID": 5}]}),
        ("payees", {"registerRequestID": "", "numberFailedCases": 0}),
        ("payees", {"registerRequestID": "R", "numberFailedCases": 0, "failedCases": "none"}),
    ],
)
def test_a_malformed_callback_is_refused_and_changes_nothing(app, batch, path, body):
    before = states(app, batch)
    assert app.callback(path, body).status_code == 400
    assert states(app, batch) == before


def test_a_callback_about_an_unknown_batch_is_a_404(app):
    assert (
        app.callback("batches", {"batchId": "NOBODYKNOWS1", "ongoing": 0, "failed": 0, "completed": 0}).status_code
        == 404
    )


def test_what_is_asked_of_payments_keeps_its_contract(app, batch):
    app.resources[Payment].approve(batch, APPROVER)
    [(_, _, validation)], [(_, _, order)] = app.waiting("validation"), app.waiting("bulk-payment")
    check_against_payments("prepaymentValidation", validation)
    check_against_payments("bulkPayment", order)
    assert [each["Amount"] for each in json.loads(order)["CreditInstructions"]] == [900.1] * 3


def test_releasing_twice_orders_once(app, batch):
    payment = app.resources[Payment]
    for _ in range(3):
        payment.approve(batch, APPROVER)
    assert len(app.waiting("bulk-payment")) == 1


def test_the_preparer_cannot_release_and_nobody_can_release_again(app, batch):
    payment = app.resources[Payment]
    with pytest.raises(FourEyes):
        payment.approve(batch, PREPARER.upper())
    assert app.waiting("bulk-payment") == []
    payment.approve(batch, APPROVER)
    with pytest.raises(StepOutOfOrder):
        payment.approve(batch, "third@welfare.qz.example")


def test_a_cycle_is_opened_once(app, batch):
    with pytest.raises(CycleNotDue) as refused:
        app.resources[Payment].open_cycle(APPROVER)
    assert datetime.fromisoformat(refused.value.extra["due"]).replace(tzinfo=UTC) > app.office.now()


def test_an_instruction_that_would_fail_is_never_ordered(app, batch):
    with app.office.store.begin() as rows:
        found = rows.batches.get(batch)
        rows.batches.put(replace(found, state="validating"))
        first = rows.batches.content(batch)[0]
    told = {
        "Source_BatchID": batch,
        "NumberFailedCases": 1,
        "FailedAccounts": [{"InstructionID": first.id, "FailureReason": "name_mismatch"}],
    }
    for _ in range(2):
        assert app.callback("validations", told).status_code == 200
    app.resources[Payment].approve(batch, APPROVER)
    [(_, _, order)] = app.waiting("bulk-payment")
    assert first.id not in [each["InstructionID"] for each in json.loads(order)["CreditInstructions"]]
    assert list(states(app, batch).values()).count("failed") == 1


def test_the_transactions_are_asked_for_once_per_piece_of_news(app, batch):
    app.resources[Payment].approve(batch, APPROVER)
    for counts in ((3, 0, 0), (0, 1, 2), (0, 1, 2)):
        body = dict(zip(("ongoing", "failed", "completed"), counts, strict=True))
        assert app.callback("batches", {"batchId": batch, **body}).status_code == 200
    assert len(app.waiting("batch-detail")) == 1


def test_transactions_are_booked_once_and_what_is_final_stays(app, batch):
    app.resources[Payment].approve(batch, APPROVER)
    detail(app, batch, {"0": "ACSC", "1": "RJCT", "2": "PDNG"})
    assert states(app, batch) == {"0": "paid", "1": "failed", "2": "paying"}
    detail(app, batch, {"0": "RJCT", "1": "ACSC", "2": "ACSC"})
    assert states(app, batch) == {"0": "paid", "1": "failed", "2": "paid"}
    letters = [json.loads(body)["smsContent"]["content"] for _, _, body in app.waiting("letter")]
    assert len([each for each in letters if "has been paid" in each]) == 2
    with app.office.store.read() as rows:
        assert rows.batches.get(batch).state == "reconciled"


def test_only_what_has_finally_failed_is_tried_again_under_a_new_id(app, batch):
    payment = app.resources[Payment]
    payment.approve(batch, APPROVER)
    with pytest.raises(NothingToPay):
        payment.retry("2026-01", PREPARER)
    detail(app, batch, {"0": "ACSC", "1": "RJCT", "2": "PDNG"})
    with app.office.store.read() as rows:
        cycle, known = rows.batches.get(batch).cycle, {each.id for each in rows.batches.content(batch)}
    again = payment.retry(cycle, PREPARER)[0]
    with app.office.store.read() as rows:
        content = rows.batches.content(again.id)
    assert [each.functional_id[-1] for each in content] == ["1"]
    assert content[0].id not in known
    assert content[0].attempt == 2
    with pytest.raises(NothingToPay):
        payment.retry(cycle, PREPARER)


def test_a_refused_order_frees_its_instructions_and_an_unanswered_one_does_not(app, batch):
    payment, reconciliation = app.resources[Payment], app.resources[Reconciliation]
    payment.approve(batch, APPROVER)
    entry = Entry(f"bulk-payment:{batch}", "", "bulk-payment", "POST", "", {"X-Road-Issue": batch}, b"")
    with app.office.store.database.begin() as connection:
        reconciliation.on_order_refused(
            connection, entry, Reply(504, {"X-Road-Error": "Server.ClientProxy.IOError"}, b"")
        )
    assert set(states(app, batch).values()) == {"paying"}
    with app.office.store.database.begin() as connection:
        said = json.dumps({"ResponseCode": "01", "ResponseDescription": "no funds"}).encode()
        reconciliation.on_order_refused(connection, entry, Reply(400, {}, said))
    assert set(states(app, batch).values()) == {"failed"}
    with app.office.store.read() as rows:
        assert "no funds" in rows.batches.get(batch).reason


def test_a_payees_answer_counts_once_and_names_the_failed(app):
    enrolment = app.resources[Enrolment]
    with app.office.store.begin() as rows:
        registering = [beneficiary(number, "registering") for number in range(3)]
        for each in registering:
            rows.beneficiaries.add(each)
        enrolment.send(rows, registering)
    [(entry, _, body)] = app.waiting("payee")
    check_against_payments("registerBeneficiary", body)
    failed = {"payeeIdentity": registering[1].functional_id, "failureReason": "payee exists"}
    told = {"registerRequestID": entry.removeprefix("payee:"), "numberFailedCases": 1, "failedCases": [failed]}
    for _ in range(2):
        assert app.callback("payees", told).status_code == 200
    assert app.callback("payees", told | {"failedCases": [], "numberFailedCases": 0}).status_code == 200
    with app.office.store.read() as rows:
        assert [each.state for each in rows.beneficiaries.listing()] == ["active", "failed", "active"]
    assert len(app.waiting("letter")) == 2


def test_an_old_answer_that_comes_again_does_not_answer_a_newer_question(app):
    enrolment = app.resources[Enrolment]
    with app.office.store.begin() as rows:
        rows.beneficiaries.add(first := beneficiary(1, "registering"))
        enrolment.send(rows, [first])
    told = {"registerRequestID": app.waiting("payee")[0][0].removeprefix("payee:"), "numberFailedCases": 0}
    app.callback("payees", told)
    enrolment.change_payee(first.functional_id, {"modality": "bank", "address": "DELTA:9999999999"}, PREPARER)
    assert app.callback("payees", told).status_code == 200
    with app.office.store.read() as rows:
        assert rows.beneficiaries.get(first.functional_id).state == "registering"


def test_a_changed_payee_is_asked_about_and_paid_elsewhere_only_after_the_answer(app, batch):
    app.resources[Enrolment].change_payee(
        "CT01-000000000000001", {"modality": "bank", "address": "DELTA:9999999999"}, PREPARER
    )
    [(entry, target, body)] = app.waiting("payee")
    assert target.endswith("/update-beneficiary-details")
    check_against_payments("updateBeneficiaryDetails", body)
    with app.office.store.read() as rows:
        assert rows.beneficiaries.get("CT01-000000000000001").state == "registering"
    app.callback("payees", {"registerRequestID": entry.removeprefix("payee:"), "numberFailedCases": 0})
    with app.office.store.read() as rows:
        assert rows.beneficiaries.get("CT01-000000000000001").state == "active"
