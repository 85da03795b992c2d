"""When answers are lost, late or unreadable: nothing is paid twice, and no case or batch waits for ever."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from sandroad.gateway_client import Reply
from sandroad.money import Money
from sandroad.outbox import Entry
from usecases.cash_transfer.domain import Beneficiary
from usecases.cash_transfer.operations.enrolment import Enrolment
from usecases.cash_transfer.operations.payment import Payment
from usecases.cash_transfer.operations.reconciliation import Reconciliation
from usecases.cash_transfer.refusals import DuplicateHousehold, ProviderUnavailable

PREPARER, APPROVER = "payments@welfare.qz.example", "approver@welfare.qz.example"
NOBODY = Reply(504, {"X-Road-Error": "Server.ClientProxy.IOError"}, b"")


def beneficiary(number: int, state: str = "active", basis: str = "public_task") -> Beneficiary:
    return Beneficiary(
        functional_id=f"CT01-{number:015}",
        source=f"LIST-{number}",
        state=state,
        household=f"H{number}",
        package="TPA",
        amount=Money.parse("900.10", "XTS"),
        modality="bank",
        address=f"DELTA:{number:010}",
        lawful_basis=basis,
    )


@pytest.fixture
def prepared(app: Any) -> str:
    """A batch of three instructions that was sent for validation."""
    with app.office.store.begin() as rows:
        for number in range(3):
            rows.beneficiaries.add(beneficiary(number))
    batch: str = app.resources[Payment].open_cycle(PREPARER)[0].id
    app.resources[Payment].validate(batch, PREPARER)
    return batch


@pytest.fixture
def paying(app: Any, prepared: str) -> str:
    """The same batch, validated and released."""
    app.callback("validations", {"Source_BatchID": prepared, "NumberFailedCases": 0, "FailedAccounts": []})
    app.resources[Payment].approve(prepared, APPROVER)
    return prepared


def answered(app: Any, kind: str, status: int, said: Any, *, attempts: int = 0, arrived: bool | None = None) -> None:
    """Let the newest call of a kind be answered, as the outbox does."""
    table = app.office.outbox.table
    with app.office.store.begin() as rows:
        query = select(table).where(table.c.kind == kind).order_by(table.c.position.desc()).limit(1)
        entry = app.office.outbox._still_waiting(rows.connection.execute(query).mappings().one())
    entry = replace(entry, attempts=attempts)
    reply = said if isinstance(said, Reply) else Reply(status, {}, json.dumps(said).encode())
    handlers = app.office.outbox._done if (reply.ok if arrived is None else arrived) else app.office.outbox._died
    with app.office.store.database.begin() as connection:
        handlers[kind](connection, entry, reply)


def batch_of(app: Any, batch: str) -> tuple[str, set[str]]:
    with app.office.store.read() as rows:
        return rows.batches.get(batch).state, {each.state for each in rows.batches.content(batch)}


def detail(app: Any, batch: str, statuses: dict[str, str]) -> None:
    with app.office.store.read() as rows:
        content = {each.functional_id[-1]: each.id for each in rows.batches.content(batch)}
    told = [{"transactionId": content[n], "status": status} for n, status in statuses.items() if n in content]
    entry = Entry(f"batch-detail:{batch}:mark:0", "", "batch-detail", "GET", "", {}, b"")
    with app.office.store.database.begin() as connection:
        app.resources[Reconciliation].on_detail(connection, entry, Reply(200, {}, json.dumps(told).encode()))


def test_what_fails_later_is_tried_again_beside_an_earlier_second_attempt(app: Any, paying: str) -> None:
    payment = app.resources[Payment]
    with app.office.store.read() as rows:
        cycle = rows.batches.get(paying).cycle
    detail(app, paying, {"0": "ACSC", "1": "RJCT"})
    first = payment.retry(cycle, PREPARER)[0]
    detail(app, paying, {"2": "RJCT"})
    second = payment.retry(cycle, PREPARER)[0]
    assert (first.attempt, second.attempt) == (2, 2)
    assert first.id != second.id
    with app.office.store.read() as rows:
        assert [each.functional_id[-1] for each in rows.batches.content(second.id)] == ["2"]


def test_a_retry_looks_again_at_those_who_are_paid_by_consent(app: Any, paying: str) -> None:
    """Nobody answers here, and no answer is no consent: nothing is prepared."""
    with app.office.store.begin() as rows:
        cycle = rows.batches.get(paying).cycle
        rows.beneficiaries.put(replace(rows.beneficiaries.get("CT01-000000000000001"), lawful_basis="consent"))
    detail(app, paying, {"0": "ACSC", "1": "RJCT", "2": "ACSC"})
    with pytest.raises(ProviderUnavailable):
        app.resources[Payment].retry(cycle, PREPARER)
    with app.office.store.read() as rows:
        assert len(rows.batches.listing(cycle)) == 1


@pytest.mark.parametrize("said", [{}, [], {"ResponseCode": "02"}, None])
def test_an_acknowledgement_that_says_nothing_frees_nothing(app: Any, paying: str, said: Any) -> None:
    with pytest.raises(ProviderUnavailable):
        answered(app, "bulk-payment", 200, said)
    assert batch_of(app, paying) == ("paying", {"paying"})


def test_a_refusal_after_a_lost_answer_frees_nothing_until_payments_knows_nothing(app: Any, paying: str) -> None:
    """The first attempt may have been executed; freeing its instructions would pay them again under other ids."""
    answered(app, "bulk-payment", 401, {"code": "caller_unknown"}, attempts=1)
    assert batch_of(app, paying) == ("paying", {"paying"})
    [(_, target, _)] = app.waiting("batch-detail")
    assert f"batchId={paying}&" in target
    answered(app, "batch-detail", 404, {"code": "unknown_batch"})
    assert batch_of(app, paying) == ("rejected", {"failed"})


def test_the_question_about_a_lost_order_leaves_time_for_the_order_to_arrive(app: Any, paying: str) -> None:
    answered(app, "bulk-payment", 504, NOBODY)
    table = app.office.outbox.table
    with app.office.store.read() as rows:
        asked = rows.connection.execute(select(table).where(table.c.kind == "batch-detail")).one()
    assert asked.due - asked.written > 65


def test_a_lost_order_that_had_arrived_goes_on(app: Any, paying: str) -> None:
    answered(app, "bulk-payment", 504, NOBODY)
    detail(app, paying, {"0": "ACSC", "1": "ACSC", "2": "ACSC"})
    assert batch_of(app, paying) == ("reconciled", {"paid"})
    with app.office.store.read() as rows:
        assert rows.batches.get(paying).reason == ""


def test_an_order_that_payments_took_is_not_freed_by_a_refused_question(app: Any, paying: str) -> None:
    answered(app, "bulk-payment", 200, {"ResponseCode": "00"})
    app.resources[Reconciliation].ask_again(paying, "now")
    answered(app, "batch-detail", 404, {"code": "unknown_batch"})
    assert batch_of(app, paying) == ("paying", {"paying"})


def test_a_validation_whose_outcome_was_never_told_is_asked_for(app: Any, prepared: str) -> None:
    reconciliation = app.resources[Reconciliation]
    reconciliation.ask_again(prepared, "1")
    [(_, target, body)] = app.waiting("validation-outcome")
    order = json.loads(app.waiting("validation")[0][2])
    assert target.endswith("/prepayment-validation-response")
    assert json.loads(body) == {"RequestID": order["RequestID"], "Source_BatchID": prepared}
    answered(app, "validation-outcome", 202, json.loads(body))
    assert batch_of(app, prepared) == ("validating", {"planned"})
    failed = [{"InstructionID": order["CreditInstructions"][0]["InstructionID"], "FailureReason": "name_mismatch"}]
    answered(app, "validation-outcome", 200, {"NumberFailedCases": 1, "FailedAccounts": failed})
    assert batch_of(app, prepared) == ("validated", {"planned", "failed"})


def test_a_validation_that_never_arrived_can_be_sent_again(app: Any, prepared: str) -> None:
    answered(app, "validation", 504, NOBODY)
    assert batch_of(app, prepared) == ("validating", {"planned"})
    answered(app, "validation-outcome", 400, {"ResponseCode": "01", "ResponseDescription": "no such validation"})
    assert batch_of(app, prepared)[0] == "prepared"
    app.resources[Payment].validate(prepared, PREPARER)
    orders = [json.loads(body)["RequestID"] for _, _, body in app.waiting("validation")]
    assert len(orders) == 2
    assert len(set(orders)) == 1


def test_a_payee_that_payments_knows_already_is_changed_instead_of_registered(app: Any) -> None:
    """Else one refused change would leave the beneficiary unpayable for ever."""
    enrolment = app.resources[Enrolment]
    with app.office.store.begin() as rows:
        rows.beneficiaries.add(beneficiary(1))
    payee = {"modality": "bank", "address": "NOWHERE:1"}
    enrolment.change_payee("CT01-000000000000001", payee, PREPARER)
    answered(
        app, "payee", 400, {"ResponseCode": "01", "ResponseDescription": "0 taken, 1 failed: … unknown_institution"}
    )
    enrolment.change_payee("CT01-000000000000001", payee | {"address": "DELTA:2"}, PREPARER)
    assert app.waiting("payee")[-1][1].endswith("/register-beneficiary")
    answered(
        app, "payee", 400, {"ResponseCode": "01", "ResponseDescription": "0 taken, 1 failed: … already_registered"}
    )
    _, target, body = app.waiting("payee")[-1]
    assert target.endswith("/update-beneficiary-details")
    assert json.loads(body)["Beneficiaries"][0]["FinancialAddress"] == "DELTA:2"
    app.callback("payees", {"registerRequestID": json.loads(body)["RequestID"], "numberFailedCases": 0})
    with app.office.store.read() as rows:
        assert rows.beneficiaries.get("CT01-000000000000001").state == "active"


def test_who_is_refused_for_their_household_holds_no_place_of_their_own(app: Any) -> None:
    with app.office.store.begin() as rows:
        rows.applications.hold_place("H1", "first", "CASE-1")
        with pytest.raises(DuplicateHousehold):
            rows.applications.hold_place("H1", "second", "CASE-2")
    with app.office.store.begin() as rows:
        rows.applications.hold_place("H2", "second", "CASE-3")
