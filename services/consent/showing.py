"""What the person's pages show, in plain words: the question, the answers with their history, and who asked."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from services.consent.agreements import Configuration
from services.consent.domain import SIGNED, Agreement, IndividualUnknown, Record
from services.consent.sessions import Person
from services.consent.store import ConsentStore
from services.consent.verification import Question, VerificationLog

LAWFUL_BASES = {
    "consent": "Your consent. It is your free choice: you may say no, and you may change your mind later.",
    "legal_obligation": "A law obliges the organisation to do this.",
    "contract": "It is needed for a contract with you.",
    "vital_interest": "It protects somebody's life.",
    "public_task": "It is part of a task that the law gives to the organisation.",
    "legitimate_interest": "The organisation has a legitimate interest in it.",
}


@dataclass(frozen=True)
class Shown:
    """An agreement as the page asks it. ``answered`` is the person's present answer, None if there is none."""

    agreement_id: str
    revision_id: str
    individual_id: str
    who: str
    who_url: str
    why: str
    basis: str
    data: tuple[dict[str, str], ...]
    policy_name: str
    policy_url: str
    kept_days: int | None
    where: str
    answered: bool | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True)
class Step:
    """One entry of an answer's history."""

    at: str
    what: str
    how: str


@dataclass(frozen=True)
class Answer:
    """What the person answered to an agreement, and how it came about."""

    record_id: str
    individual_id: str
    why: str
    who: str
    agreed: bool
    in_force: bool
    can_withdraw: bool
    history: tuple[Step, ...] = field(default=())


class Showing:
    """Reads only."""

    def __init__(self, store: ConsentStore, configuration: Configuration, log: VerificationLog) -> None:
        self._store = store
        self._configuration = configuration
        self._log = log

    def question(self, agreement_id: str, person: Person | None = None) -> Shown:
        """Return an open agreement as it is asked; with ``person``, who is asked and what they answered before."""
        with self._store.database.read() as connection:
            agreement = self._configuration.existing(connection, agreement_id)
            agreement.require_open()
            individual_id = individual_of(person, agreement.programme) if person else ""
            record = self._store.current_record(connection, agreement_id, individual_id) if person else None
            return self._shown(connection, agreement, individual_id, record)

    def answers(self, person: Person) -> list[Answer]:
        """Return all present answers of a person, with their history, the newest first."""
        columns = self._store.records.c
        with self._store.database.read() as connection:
            found = self._store.list_records(
                connection,
                columns.individual_id.in_(sorted(person.functional_ids.values())),
                columns.is_current.is_(True),
            )
            return [self._answer(connection, record) for record in reversed(found)]

    def questions_about(self, person: Person) -> list[Question]:
        """Return who asked about this person's consent lately."""
        with self._store.database.read() as connection:
            return self._log.about(connection, sorted(person.functional_ids.values()))

    def _shown(self, connection: Connection, agreement: Agreement, individual_id: str, record: Record | None) -> Shown:
        body, policy = agreement.body, self._seen_policy(connection, agreement)
        answered = record if record and record.terms == agreement.terms and record.state == SIGNED else None
        return Shown(
            agreement_id=agreement.id,
            revision_id=agreement.revision_id,
            individual_id=individual_id,
            who=body.get("controller", {}).get("name", "The organisation"),
            who_url=_web(body.get("controller", {}).get("url", "")),
            why=body["purpose"],
            basis=LAWFUL_BASES[body["lawfulBasis"]],
            data=tuple(
                {
                    "title": each.get("title") or each["name"],
                    "source": each.get("source", ""),
                    "sensitivity": each["sensitivity"],
                }
                for each in body.get("attributes", [])
            ),
            policy_name=policy.get("name", ""),
            policy_url=_web(policy.get("url", "")),
            kept_days=policy.get("dataRetentionPeriodDays"),
            where=policy.get("storageLocation", ""),
            answered=answered.opt_in if answered else None,
            answered_at=answered.signed_at if answered else None,
        )

    def _seen_policy(self, connection: Connection, agreement: Agreement) -> dict[str, Any]:
        """Return the policy as the agreement's revision holds it: that is what people agree to."""
        revision = self._store.revisions.get(connection, agreement.revision_id)
        return dict(json.loads(revision.snapshot)["objectData"].get("policy", {})) if revision else {}

    def _answer(self, connection: Connection, record: Record) -> Answer:
        agreement = self._store.agreement(connection, record.agreement_id)
        assert agreement is not None
        return Answer(
            record_id=record.id,
            individual_id=record.individual_id,
            why=agreement.body["purpose"],
            who=agreement.body.get("controller", {}).get("name", ""),
            agreed=record.opt_in,
            in_force=record.is_consent(agreement),
            can_withdraw=record.opt_in,
            history=tuple(self._history(connection, record)),
        )

    def _history(self, connection: Connection, record: Record) -> list[Step]:
        steps = []
        for revision in self._store.revisions.history(connection, "ConsentRecord", record.id):
            agreed = json.loads(revision.snapshot)["objectData"]["optIn"]
            signed = [each for each in self._store.signatures_of(connection, revision.id) if each.signature]
            how = "; ".join(_signed_how(each.signed_as, each.signed_by, each.artifact) for each in signed)
            by = f"entered by {revision.other}" if revision.other and not how else ""
            steps.append(Step(revision.timestamp, "Yes" if agreed else "No", how or by or "not signed"))
        return steps


def individual_of(person: Person, programme: str) -> str:
    """Return the person's number in a programme."""
    try:
        return person.functional_ids[programme]
    except KeyError:
        raise IndividualUnknown(f"identity told no number of yours for programme {programme or '(none)'}") from None


def _signed_how(signed_as: str, signed_by: str, artifact: str) -> str:
    if signed_as == "individual":
        return "signed by you, logged in"
    return f"on paper, attested by {signed_by}" + (f" ({artifact})" if artifact else "")


def _web(address: str) -> str:
    """Return an address only if it is one of the web: a link must not run anything."""
    return address if address.startswith(("https://", "http://")) else ""
