"""One promise on SQLite and PostgreSQL: what is withdrawn verifies for nobody, whoever writes at the same time."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from services.consent.domain import DraftOutdated, RecordExists
from services.consent.tests.conftest import AGREEMENT, AMINA, WELFARE
from services.consent.tests.parts import LOGGED_IN, Parts, parts_on


@pytest.fixture
def parts(database_url: str, made_keys: Path) -> Iterator[Parts]:
    made = parts_on(database_url, made_keys)
    yield made
    made.database.close()


def at_once(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Do ``work`` in ``count`` threads that start together; return what they raised."""
    barrier, raised = threading.Barrier(count), []

    def run(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_a_record_is_signed_withdrawn_and_given_again(parts: Parts) -> None:
    record = parts.post(parts.draft(AMINA))
    assert (record.state, parts.consents(AMINA)) == ("signed", {AMINA})
    assert record.signed_at is not None
    assert parts.withdraw(AMINA).state == "unsigned"
    assert parts.consents(AMINA) == set()
    assert parts.decide(AMINA, True).id == record.id
    assert parts.consents(AMINA) == {AMINA}
    stored = parts.records.current(AGREEMENT, AMINA)
    assert stored.signed_at is not None
    assert stored.signed_at.tzinfo is not None
    assert parts.verification.integrity()["defects"] == []


def test_eight_drafts_of_one_person_at_once_make_one_record(parts: Parts) -> None:
    drafts = [parts.draft(AMINA) for _ in range(8)]
    raised = at_once(8, lambda number: parts.post(drafts[number]))
    assert len(raised) == 7
    assert {type(error) for error in raised} <= {RecordExists, DraftOutdated}
    assert parts.consents(AMINA) == {AMINA}
    assert parts.verification.integrity() == {"revisions": 3, "signatures": 1, "defects": []}


def test_one_draft_posted_eight_times_at_once_has_one_effect(parts: Parts) -> None:
    draft, answers = parts.draft(AMINA), []
    assert at_once(8, lambda _: answers.append(parts.post(draft))) == []
    assert len({record.id for record in answers}) == 1
    assert parts.verification.integrity()["revisions"] == 3


def test_eight_withdrawals_at_once_make_one_revision(parts: Parts) -> None:
    parts.post(parts.draft(AMINA))
    assert at_once(8, lambda _: parts.withdraw(AMINA)) == []
    assert parts.consents(AMINA) == set()
    assert parts.verification.integrity()["revisions"] == 4


def test_signing_and_withdrawing_at_once_never_leaves_a_signed_yes_after_the_no(parts: Parts) -> None:
    record, _ = parts.records.create(WELFARE, AGREEMENT, AMINA)
    waiting = parts.records.prepare_signature(WELFARE, record.id, AMINA)
    form = {"verificationMethod": "officer-attestation", "verificationPayloadHash": waiting.verification_payload_hash}

    def work(number: int) -> None:
        if number % 2:
            parts.withdraw(AMINA)
        else:
            parts.records.add_signature(WELFARE, record.id, AMINA, form | {"verificationSignedBy": f"officer {number}"})

    at_once(8, work)
    assert parts.consents(AMINA) == set()
    assert parts.verification.integrity()["defects"] == []


def test_no_verification_that_begins_after_a_withdrawal_succeeds(parts: Parts) -> None:
    """Six people say yes and no while two providers keep asking; an epoch tells whether the no still stood after the answer."""
    people = [f"CT01-PERSON{number}" for number in range(6)]
    epochs = dict.fromkeys(people, 0)  # odd: the person has said no, and has not begun to say yes again
    writing = threading.Event()
    wrong: list[str] = []
    asked_after_no: list[str] = []
    writing.set()

    def write(person: str) -> None:
        for turn in range(6):
            if turn % 2:
                parts.post(parts.draft(person))
            else:
                parts.decide(person, True)
            parts.withdraw(person)
            epochs[person] += 1
            seen_by_provider = len(asked_after_no)
            while len(asked_after_no) == seen_by_provider and writing.is_set():
                pause.wait(0.001)
            epochs[person] += 1

    def ask() -> None:
        while writing.is_set():
            before = dict(epochs)
            found = parts.consents(*people)
            for person in people:
                if before[person] % 2 and epochs[person] == before[person]:
                    asked_after_no.append(person)
                    if person in found:
                        wrong.append(person)

    pause = threading.Event()
    providers = [threading.Thread(target=ask) for _ in range(2)]
    for provider in providers:
        provider.start()
    raised = at_once(6, lambda number: write(people[number]))
    writing.clear()
    for provider in providers:
        provider.join()
    assert (raised, wrong) == ([], [])
    assert len(asked_after_no) >= 6
    assert parts.verification.integrity()["defects"] == []


def test_eight_forms_of_one_page_have_one_effect(parts: Parts) -> None:
    form = parts.sessions.hand_out("cookie", "decide", {})
    agreement, _ = parts.configuration.read_agreement(AGREEMENT)

    def submit(_: int) -> None:
        parts.records.decide(
            AGREEMENT, agreement.revision_id, AMINA, True, LOGGED_IN,
            lambda connection, record: parts.sessions.use(connection, form, "/done"),
        )  # fmt: skip

    assert len(at_once(8, submit)) == 7
    assert parts.verification.integrity() == {"revisions": 3, "signatures": 1, "defects": []}


def test_an_auditor_sees_a_changed_snapshot_a_removed_row_and_a_forged_signature(parts: Parts) -> None:
    parts.post(parts.draft(AMINA))
    parts.withdraw(AMINA)
    revisions, signatures = parts.store.revisions.table, parts.store.signatures
    with parts.database.begin() as connection:
        position = parts.store.revisions.history(
            connection, "ConsentRecord", parts.records.current(AGREEMENT, AMINA).id
        )[0]
        changed = position.snapshot.replace('"optIn":true', '"optIn":false')
        connection.execute(update(revisions).where(revisions.c.id == position.id).values(snapshot=changed))
        connection.execute(update(signatures).values(payload=signatures.c.payload + " "))
    defects = parts.verification.integrity()["defects"]
    assert any("snapshot" in each for each in defects)
    assert any("signature" in each for each in defects)
    with parts.database.begin() as connection:
        connection.execute(revisions.delete().where(revisions.c.id == position.id))
    assert any("chain breaks" in each for each in parts.verification.integrity()["defects"])


@pytest.mark.parametrize("how", ["page", "programme"])
def test_a_no_that_is_repeated_outdates_the_drafts_before_it(parts: Parts, how: str) -> None:
    say_no = {"page": lambda: parts.decide(AMINA, False), "programme": lambda: parts.withdraw(AMINA)}[how]
    parts.decide(AMINA, True)
    say_no()
    draft = parts.draft(AMINA)
    say_no()
    parts.records.forget(WELFARE, AMINA)
    with pytest.raises(DraftOutdated):
        parts.post(draft)
    assert parts.consents(AMINA) == set()
    parts.post(parts.draft(AMINA))
    assert parts.consents(AMINA) == {AMINA}
