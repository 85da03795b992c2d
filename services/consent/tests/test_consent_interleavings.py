"""Any order of drafts, signatures, withdrawals, replays and changes of terms: consent verifies exactly when it exists."""

import itertools
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sandroad.problems import Refusal
from services.consent.tests.conftest import AGREEMENT, WELFARE
from services.consent.tests.parts import Parts, parts_on

examples = itertools.count()
people = st.sampled_from(("one", "two"))


class Interleavings(RuleBasedStateMachine):
    """The model: what each person last said, at which step, to which terms. Every example has persons and terms of its own."""

    parts: ClassVar[Parts]
    drafts = Bundle("drafts")
    waiting = Bundle("waiting")

    @initialize()
    def start(self) -> None:
        self.example, self.step, self.terms, self.active = next(examples), 0, 0, True
        self.said_yes: dict[str, int | None] = {"one": None, "two": None}
        self.said_no = {"one": -1, "two": -1}
        self._set()

    def id_of(self, person: str) -> str:
        return f"CT01-{self.example}-{person}"

    def attempt(self, work: Any) -> bool:
        self.step += 1
        try:
            work()
        except Refusal:
            return False
        return True

    @rule(target=drafts, person=people)
    def draft(self, person: str) -> Any:
        self.step += 1
        try:
            return person, self.step, self.parts.draft(self.id_of(person)), []
        except Refusal:
            return None

    @rule(draft=drafts)
    def post(self, draft: Any) -> None:
        if draft is None:
            return
        person, begun, sent, used = draft
        if self.attempt(lambda: self.parts.post(sent)):
            if not used:
                assert begun > self.said_no[person], "a draft from before the person's no was taken"
                self.said_yes[person] = self.terms
            used.append(True)

    @rule(person=people, opt_in=st.booleans())
    def decide(self, person: str, opt_in: bool) -> None:
        if self.attempt(lambda: self.parts.decide(self.id_of(person), opt_in)):
            self.said_yes[person] = self.terms if opt_in else None
            self.said_no[person] = self.said_no[person] if opt_in else self.step

    @rule(person=people)
    def withdraw(self, person: str) -> None:
        if self.attempt(lambda: self.parts.withdraw(self.id_of(person))):
            self.said_yes[person], self.said_no[person] = None, self.step

    @rule(person=people)
    def say_yes_and_then_no(self, person: str) -> None:
        self.decide(person, True)
        self.withdraw(person)

    @rule(person=people)
    def opt_in_again_without_signature(self, person: str) -> None:
        def work() -> None:
            record = self.parts.records.current(AGREEMENT, self.id_of(person))
            self.parts.records.update(WELFARE, record.id, self.id_of(person), True)

        self.attempt(work)

    @rule(target=waiting, person=people)
    def prepare(self, person: str) -> Any:
        try:
            record = self.parts.records.current(AGREEMENT, self.id_of(person))
            return person, record, self.parts.records.prepare_signature(WELFARE, record.id, self.id_of(person))
        except Refusal:
            return None

    @rule(prepared=waiting)
    def sign(self, prepared: Any) -> None:
        if prepared is None:
            return
        person, record, signature = prepared
        given = {
            "verificationMethod": "officer-attestation",
            "verificationSignedBy": "officer",
            "verificationPayloadHash": signature.verification_payload_hash,
        }
        if self.attempt(lambda: self.parts.records.add_signature(WELFARE, record.id, self.id_of(person), given)):
            current = self.parts.records.current(AGREEMENT, self.id_of(person))
            if current.opt_in and current.terms == self.parts.configuration.read_agreement(AGREEMENT)[0].terms:
                assert signature.revision_id == current.revision_id
                self.said_yes[person] = self.terms

    @rule(person=people)
    def forget(self, person: str) -> None:
        self.step += 1
        if self.parts.records.forget(WELFARE, self.id_of(person)) and not self.has_record(person):
            self.said_yes[person], self.said_no[person] = None, self.step

    def has_record(self, person: str) -> bool:
        try:
            self.parts.records.current(AGREEMENT, self.id_of(person))
        except Refusal:
            return False
        return True

    @rule()
    @precondition(lambda self: self.terms < 3)
    def change_terms(self) -> None:
        self.terms += 1
        self._set()

    @rule()
    def close_and_perhaps_open_again_later(self) -> None:
        self.active = not self.active
        self._set()

    def _set(self) -> None:
        self.parts.set_agreement(purpose=f"purpose {self.example}.{self.terms}", active=self.active)

    @invariant()
    def consent_verifies_exactly_when_it_exists(self) -> None:
        if hasattr(self, "example"):
            expected = {self.id_of(p) for p, terms in self.said_yes.items() if self.active and terms == self.terms}
            assert self.parts.consents(*map(self.id_of, self.said_yes)) == expected


def test_consent_verifies_exactly_when_it_exists_in_any_order_of_events(tmp_path: Path, made_keys: Path) -> None:
    Interleavings.parts = parts_on(f"sqlite:///{tmp_path}/app.db", made_keys)
    effort = settings(
        max_examples=100,
        stateful_step_count=30,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # shrinking a counterexample takes minutes: do it by hand when there is one
    )
    run_state_machine_as_test(Interleavings, settings=effort)
    assert Interleavings.parts.verification.integrity()["defects"] == []
    Interleavings.parts.database.close()
