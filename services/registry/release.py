"""The decision to release a person's data: who is meant, has the person consented, and what is written down of it.

Identity and consent are asked before any transaction begins, once for a whole list. A consent that is withdrawn between its answer
and ours was valid when it was asked for; the next request asks again, because nothing positive is remembered.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from sandroad.problems import AccessDenied, Refusal
from services.registry.clients import Consent, Identity
from services.registry.domain import (
    ConsentRequired,
    FunctionalIdForeign,
    PersonNotNamed,
    Persons,
    Reader,
    Record,
    Usage,
    programme_of,
)
from services.registry.rights import Access
from services.registry.store import Published, Store
from services.registry.usage import record_usage


@dataclass
class Inquiry:
    """One request for data: what is asked, by whom, about whom. ``persons`` is filled in as they become known."""

    access: Access
    published: Published
    operation: str
    fields: tuple[str, ...]
    functional_ids: tuple[str, ...] = ()
    persons: Persons = field(default_factory=Persons)

    @property
    def subject(self) -> str | None:
        """The person named, as this registry knows it."""
        return next((self.persons.subjects.get(each) for each in self.functional_ids), None)

    def usage(self, now: datetime) -> Usage:
        """Return what every entry of the usage log says of this inquiry; a field's name has at most 100 characters."""
        caller = self.access.caller
        return Usage(
            at=now,
            registry=self.published.code,
            operation=self.operation,
            reader=Reader(caller.client, caller.user_id, caller.request_id, caller.message_id),
            fields=tuple(name[:100] for name in self.fields),
            agreement=self.access.agreement,
        )


class Release:
    """Names persons, asks for consent and writes the usage log."""

    def __init__(self, store: Store, identity: Identity, consent: Consent) -> None:
        self._store = store
        self._identity = identity
        self._consent = consent

    @contextmanager
    def inquiry(self, inquiry: Inquiry) -> Iterator[None]:
        """Whatever is refused inside is written down for the persons that were named."""
        try:
            yield
        except Refusal as refusal:
            self._refused(inquiry, inquiry.functional_ids, refusal.code)
            raise

    def name_persons(self, inquiry: Inquiry, *, leave_out: bool = False) -> Persons:
        """Resolve the functional ids of the inquiry and, under an agreement, ask for consent.

        With ``leave_out`` persons without consent are merely without a proof; else they are refused.
        """
        access, ids = inquiry.access, inquiry.functional_ids
        if must_name_persons(access, inquiry.published) and not ids:
            raise PersonNotNamed(
                f"under {access.agreement or access.programme} a record is asked for by its person: "
                "put functionalId into the query"
            )
        if access.programme:
            own = access.programme.replace("-", "")
            if any(programme_of(each) != own for each in ids):
                raise FunctionalIdForeign(
                    f"this right is for programme {access.programme}: functional ids begin {own}-"
                )
        subjects = self.subjects(inquiry.published, ids)
        inquiry.persons = Persons(subjects)
        if access.agreement:
            inquiry.persons = replace(inquiry.persons, proofs=self._consent.proofs(access.agreement, ids))
            missing = [each for each in ids if each not in inquiry.persons.proofs]
            if missing and not leave_out:
                raise ConsentRequired(
                    f"no valid signed consent to {access.agreement}: the person can give it at the consent service"
                )
        return inquiry.persons

    def subjects(self, published: Published, functional_ids: Sequence[str]) -> dict[str, str | None]:
        """Return functional id → the id under which this registry knows the person, None if identity knows nobody."""
        if not functional_ids:
            return {}
        if published.schema.keeps_functional_ids:
            return {each: each for each in functional_ids}
        return self._identity.resolve(functional_ids)

    def found(self, inquiry: Inquiry, records: Iterable[Record]) -> None:
        """Write down which records the answer rests on, before the answer leaves. Records of no person are nobody's data."""
        self._keep(list(_looks(inquiry, records)))

    def found_for_change(self, connection: Connection, inquiry: Inquiry, records: Iterable[Record]) -> None:
        """As ``found``, in the transaction of the change: a condition that finds a person tells something of them."""
        record_usage(connection, list(_looks(inquiry, records)))

    def not_found(self, inquiry: Inquiry, functional_ids: Sequence[str]) -> None:
        """Write down that persons were looked up who have no record here: the answer no is an answer about them."""
        self._keep([*self._about(inquiry, functional_ids, "answered")])

    def refused(self, inquiry: Inquiry, functional_ids: Sequence[str], code: str) -> None:
        """Write down that persons were left out of a list."""
        self._refused(inquiry, functional_ids, code)

    def _refused(self, inquiry: Inquiry, functional_ids: Sequence[str], code: str) -> None:
        self._keep([*self._about(inquiry, functional_ids, code)])

    def _about(self, inquiry: Inquiry, functional_ids: Sequence[str], outcome: str) -> Iterator[Usage]:
        entry = inquiry.usage(datetime.now(UTC))
        for each in functional_ids:
            proof = inquiry.persons.proofs.get(each)
            yield replace(
                entry,
                functional_id=each,
                subject=inquiry.persons.subjects.get(each),
                consent_record_id=proof.consent_record_id if proof else None,
                outcome=outcome,
            )

    def _keep(self, entries: Sequence[Usage]) -> None:
        if entries:
            with self._store.begin() as connection:
                record_usage(connection, entries)


def _looks(inquiry: Inquiry, records: Iterable[Record]) -> Iterator[Usage]:
    entry = inquiry.usage(datetime.now(UTC))
    for record in records:
        if record.subject is not None:
            known_as = inquiry.persons.functional_id_of(record.subject)
            proof = inquiry.persons.proofs.get(known_as or "")
            yield replace(
                entry,
                subject=record.subject,
                functional_id=known_as,
                record_uuid=record.uuid,
                consent_record_id=proof.consent_record_id if proof else None,
            )


def must_name_persons(access: Access, published: Published) -> bool:
    """Tell whether this right reaches only persons who are named: under an agreement always, for a programme where there are any."""
    return bool(access.agreement or (access.programme and published.schema.subject))


def shown_fields(access: Access, published: Published) -> tuple[str, ...]:
    """Return the names of the fields that an answer may show under this right."""
    schema = published.schema
    names = tuple(schema.fields) if access.is_own else schema.open_fields()
    return names if access.fields is None else tuple(name for name in names if name in access.fields)


def must_read_only_under_agreement(access: Access) -> None:
    """A data agreement is consent to be read: a right that names one changes nothing."""
    if access.agreement:
        raise AccessDenied(f"a right under a data agreement ({access.agreement}) reads only")
