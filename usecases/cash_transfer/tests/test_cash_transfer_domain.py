"""Ids have the contract's lengths and depend on the work alone; cycles follow business time; four eyes are two people."""

from datetime import UTC, datetime

import pytest

from sandroad.problems import InvalidRequest
from usecases.cash_transfer.domain import (
    Application,
    Batch,
    batch_id,
    cycle_at,
    instruction_id,
    next_payday,
    request_id,
)
from usecases.cash_transfer.operations.registration import checked_visit
from usecases.cash_transfer.payee import read_payee
from usecases.cash_transfer.refusals import FourEyes, StepOutOfOrder


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_ids_have_the_lengths_that_payments_demands():
    assert len(batch_id("CT-01", "2026-03", 1, 1)) == 12
    assert len(request_id("register", "CT01-AAAAAAAAAAAAAAX")) == 12
    assert len(instruction_id("CT-01", "2026-03", "CT01-AAAAAAAAAAAAAAX", 1)) == 16


def test_the_same_payment_has_the_same_id_and_every_other_another():
    same = {instruction_id("CT-01", "2026-03", "CT01-A", 1) for _ in range(3)}
    others = {
        instruction_id("CT-01", "2026-05", "CT01-A", 1),
        instruction_id("CT-01", "2026-03", "CT01-B", 1),
        instruction_id("CT-01", "2026-03", "CT01-A", 2),
        instruction_id("CT-02", "2026-03", "CT01-A", 1),
    }
    assert len(same) == 1
    assert len(same | others) == 5


@pytest.mark.parametrize(
    ("now", "due", "then"),
    [
        ("2026-01-04", "2025-11", "2026-01-05"),
        ("2026-01-05", "2026-01", "2026-03-05"),
        ("2026-02-28", "2026-01", "2026-03-05"),
        ("2026-03-04", "2026-01", "2026-03-05"),
        ("2026-03-05", "2026-03", "2026-05-05"),
        ("2026-12-31", "2026-11", "2027-01-05"),
    ],
)
def test_cycles_follow_the_payday_of_every_second_month(now, due, then):
    assert cycle_at(at(now), 2, 5) == due
    assert next_payday(at(now), 2, 5) == at(then)


@pytest.mark.parametrize("every", range(1, 13))
def test_the_next_payday_opens_another_cycle_and_the_moment_before_does_not(every):
    now = at("2026-08-19")
    due, then = cycle_at(now, every, 5), next_payday(now, every, 5)
    assert cycle_at(then, every, 5) > due
    assert cycle_at(then.replace(day=4), every, 5) == due


def test_who_prepared_a_batch_may_not_release_it():
    batch = Batch("B", "2026-03", 1, 1, "validated", "payments@welfare.qz.example", at("2026-03-05"))
    with pytest.raises(FourEyes):
        batch.approve("Payments@welfare.qz.example")
    assert batch.approve("approver@welfare.qz.example").state == "paying"


def test_a_batch_is_released_only_when_validated():
    batch = Batch("B", "2026-03", 1, 1, "prepared", "payments@welfare.qz.example", at("2026-03-05"))
    with pytest.raises(StepOutOfOrder):
        batch.approve("approver@welfare.qz.example")


def test_an_application_never_goes_back():
    application = Application("A", "verified", "registrar", at("2026-03-05"))
    assert application.advance("registered").state == "verified"
    assert application.refuse("no").advance("granted").state == "refused"


@pytest.mark.parametrize(
    "seen",
    [{}, {"roof": True}, {"roof": "yes", "animals": 1}, {"roof": True, "animals": -1}, {"roof": True, "animals": True},
     {"roof": True, "animals": 1, "boats": 2}, {"roof": True, "animals": 1.5}],
)  # fmt: skip
def test_a_visit_answers_exactly_what_is_asked(seen):
    with pytest.raises(InvalidRequest) as refused:
        checked_visit({"roof": "yes-no", "animals": "number"}, seen)
    assert refused.value.errors[0]["at"].startswith("/visit/")


@pytest.mark.parametrize(
    "address", ["", "0012345678", "HARBOUR:", "harbour:1", "HARBOUR:" + "1" * 30, None, 5, "KITE:+99 9"]
)
def test_an_address_names_institution_and_account(programme, address):
    with pytest.raises(InvalidRequest, match="HARBOUR:0012345678"):
        read_payee(programme, {"modality": "bank", "address": address})
