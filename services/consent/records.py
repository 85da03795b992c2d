"""Consent records: draft, record, signature, withdrawal. Each operation is one transaction, decided on what is committed."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, select

from sandroad.clock import Clock
from services.consent.agreements import Configuration
from services.consent.domain import (
    SIGNED,
    UNSIGNED,
    Agreement,
    DraftOutdated,
    PayloadDiffers,
    Record,
    RecordExists,
    RecordSuperseded,
    RecordUnknown,
    new_record,
    on_current_revision,
    record_data,
    state_after,
)
from services.consent.keys import OwnKeys
from services.consent.payloads import data_of, moment_of, require_payload, signer_given, snapshot_given, tomb_of
from services.consent.revisions import Revision, hash_of, snapshot_of, stamp
from services.consent.signatures import Signature, Signer, ready, signed
from services.consent.store import ConsentStore

DRAFT_LIVES = timedelta(days=30)
SKEW = timedelta(minutes=5)
RECORD = "ConsentRecord"
Then = Callable[[Connection, Record], None]


class Records:
    """``client`` is the subsystem that acts; on this block's own pages it is the block itself and ``person`` the individual."""

    def __init__(self, store: ConsentStore, configuration: Configuration, keys: OwnKeys, clock: Clock) -> None:
        self._store = store
        self._configuration = configuration
        self._keys = keys
        self._clock = clock

    def draft(
        self, client: str, agreement_id: str, individual_id: str, revision_id: str = ""
    ) -> tuple[Record, Signature]:
        """Return a record and a signature object that are stored nowhere, ready to be signed."""
        with self._store.database.read() as connection:
            agreement = self._open_agreement(connection, client, agreement_id, revision_id)
        timestamp = stamp(self._clock())
        record = new_record("", agreement, individual_id)
        snapshot = snapshot_of(RECORD, "", record.object_data(), timestamp, other=client, without_object_id=True)
        revision = Revision(
            "", RECORD, "", snapshot, hash_of(snapshot), timestamp, "", client, True, "", "", ""
        )  # fmt: skip
        return record, ready("", "", revision, timestamp)

    def create_from_draft(
        self, client: str, record: Mapping[str, Any], signature: Mapping[str, Any]
    ) -> tuple[Record, Revision, Signature]:
        """Store a drafted record with revision and signature in one transaction (GovStack Consent 9.2).

        The same again gives the first revision and signature. Refused: a payload that is not exactly the snapshot, a draft
        that is older than what the person said since, consent that is there already.
        """
        snapshot, timestamp = snapshot_given(signature)
        with self._store.database.begin() as connection:
            if known := self._store.revisions.by_hash(connection, hash_of(snapshot)):
                return self._created_before(connection, client, known)
            agreement_id = str(record["dataAgreement"]["id"])
            individual_id = str(record["individual"]["id"])
            agreement = self._open_agreement(connection, client, agreement_id)
            self._require_exact(agreement, record, snapshot, timestamp, client)
            previous = self._store.current_record(connection, agreement_id, individual_id)
            self._require_newer(connection, agreement, individual_id, previous, timestamp)
            if previous and previous.is_consent(agreement):
                raise RecordExists(f"consent is given already by record {previous.id}", consentRecordId=previous.id)
            self._configuration.bind(connection, client, individual_id)
            reused = previous if previous and previous.terms == agreement.terms else None
            stored = reused or new_record(secrets.token_hex(16), agreement, individual_id)
            stored = replace(on_current_revision(stored, agreement), opt_in=bool(record.get("optIn", True)))
            revision = self._store.revisions.add(
                connection, RECORD, stored.id, data_of(snapshot), timestamp,
                other=client, without_object_id=True, predecessor_signature=self._signature_text(connection, reused),
            )  # fmt: skip
            stored = replace(stored, revision_id=revision.id, state=UNSIGNED, signature_id="", signed_at=None)
            (self._store.put_record if reused else self._store.add_record)(connection, stored)
            waiting = ready(secrets.token_hex(16), stored.id, revision, stamp(self._clock()))
            self._store.put_signature(connection, waiting)
            if signature.get("verificationMethod"):
                stored, waiting = self._sign(connection, agreement, stored, waiting, signer_given(client, signature))
        return stored, revision, waiting

    def create(
        self, client: str, agreement_id: str, individual_id: str, revision_id: str = ""
    ) -> tuple[Record, Revision]:
        """Make an unsigned record for an agreement's current revision; one that is there and waits is returned."""
        with self._store.database.begin() as connection:
            agreement = self._open_agreement(connection, client, agreement_id, revision_id)
            known = self._store.current_record(connection, agreement_id, individual_id)
            if known and known.terms == agreement.terms:
                if not known.opt_in or known.state != UNSIGNED:
                    raise RecordExists(
                        f"record {known.id} answers this agreement; change it by PUT", consentRecordId=known.id
                    )
                return known, self.revision(connection, known)
            self._configuration.bind(connection, client, individual_id)
            record = new_record(secrets.token_hex(16), agreement, individual_id)
            revision = self._revise(connection, record, other=client)
            record = replace(record, revision_id=revision.id)
            self._store.add_record(connection, record)
        return record, revision

    def current(self, agreement_id: str, individual_id: str) -> Record:
        """Return what a person answered to an agreement; raise ``RecordUnknown`` if nothing yet."""
        with self._store.database.read() as connection:
            self._configuration.existing(connection, agreement_id)
            record = self._store.current_record(connection, agreement_id, individual_id)
        if record is None:
            raise RecordUnknown(f"this individual has not been asked for {agreement_id}")
        return record

    def update(self, client: str, record_id: str, individual_id: str, opt_in: bool) -> tuple[Record, Revision]:
        """Say yes or no anew; a new revision invalidates the signature (6.5). No change makes no revision."""
        with self._store.database.begin() as connection:
            record, agreement = self._changeable(connection, client, record_id, individual_id)
            if record.opt_in == opt_in:
                self._note_repeated(connection, record)
                return record, self.revision(connection, record)
            if opt_in:
                agreement.require_open()
                record = on_current_revision(record, agreement)
            return self._answer(connection, record, opt_in, other=client)

    def prepare_signature(self, client: str, record_id: str, individual_id: str) -> Signature:
        """Return the signature object of the record's current revision that waits for a signer, made if there is none."""
        with self._store.database.begin() as connection:
            record, _ = self._changeable(connection, client, record_id, individual_id)
            return self._waiting(connection, record)

    def add_signature(
        self, client: str, record_id: str, individual_id: str, given: Mapping[str, Any]
    ) -> tuple[Record, Signature]:
        """Sign the record's current revision; the same signer again gives the first signature.

        The caller names the snapshot (or its hash) that was signed: a signature must never fall on something newer.
        """
        with self._store.database.begin() as connection:
            record, agreement = self._changeable(connection, client, record_id, individual_id)
            revision = self.revision(connection, record)
            require_payload(given, revision)
            signer = signer_given(client, given)
            for known in self._store.signatures_of(connection, revision.id):
                if known.signature and (known.method, known.signed_by) == (signer.method, signer.signed_by):
                    return record, known
            return self._sign(connection, agreement, record, self._waiting(connection, record), signer)

    def decide(
        self, agreement_id: str, revision_id: str, individual_id: str, opt_in: bool, signer: Signer, then: Then
    ) -> Record:
        """Record and sign, in one transaction, what a logged-in person decided on the page of an agreement's revision.

        ``then`` is done in the same transaction; what it raises undoes everything.
        Raises ``DraftOutdated`` if the agreement's terms are no longer those that the page showed.
        """
        with self._store.database.begin() as connection:
            agreement = self._configuration.existing(connection, agreement_id)
            agreement.require_open()
            if agreement.revision_id != revision_id:
                raise DraftOutdated("the agreement has changed since it was shown; read it again")
            record = self._store.current_record(connection, agreement_id, individual_id)
            if record and record.terms == agreement.terms:
                record = self._decide_anew(connection, agreement, record, opt_in, signer)
            else:
                record = self._decide_first(connection, agreement, individual_id, opt_in, signer)
            then(connection, record)
        return record

    def withdraw(self, record_id: str, individual_id: str, signer: Signer, then: Then) -> Record:
        """Withdraw on the person's own page: a signed refusal, possible for closed agreements too."""
        with self._store.database.begin() as connection:
            record = self._own(connection, record_id, individual_id)
            agreement = self._store.agreement(connection, record.agreement_id)
            assert agreement is not None
            record = self._decide_anew(connection, agreement, record, False, signer)
            then(connection, record)
        return record

    def forget(self, client: str, individual_id: str) -> int:
        """Delete a person's records that need not be kept: of forgettable agreements, and those that nobody ever signed.

        What is left shows neither who it was nor what was said; return how many were deleted.
        """
        forgotten = 0
        with self._store.database.begin() as connection:
            columns = self._store.records.c
            for record in self._store.list_records(connection, columns.individual_id == individual_id):
                agreement = self._store.agreement(connection, record.agreement_id)
                assert agreement is not None
                agreement.require_managed_by(client)
                if not agreement.body.get("forgettable") and self._store.was_signed(connection, record.id):
                    continue
                record, _ = self._answer(connection, record, False, other=client)
                self._store.forget_record(connection, record, f"{tomb_of(individual_id)}-{record.id}")
                self._store.revisions.forget(connection, RECORD, record.id)
                forgotten += 1
        return forgotten

    def revision(self, connection: Connection, record: Record) -> Revision:
        """Return a record's current revision."""
        revision = self._store.revisions.get(connection, record.revision_id)
        assert revision is not None
        return revision

    def _decide_first(
        self, connection: Connection, agreement: Agreement, individual_id: str, opt_in: bool, signer: Signer
    ) -> Record:
        self._configuration.bind(connection, "", individual_id)
        record = replace(new_record(secrets.token_hex(16), agreement, individual_id), opt_in=opt_in)
        revision = self._revise(connection, record, individual=individual_id)
        record = replace(record, revision_id=revision.id)
        self._store.add_record(connection, record)
        return self._sign(connection, agreement, record, self._waiting(connection, record), signer)[0]

    def _decide_anew(
        self, connection: Connection, agreement: Agreement, record: Record, opt_in: bool, signer: Signer
    ) -> Record:
        if record.opt_in != opt_in:
            record = on_current_revision(record, agreement) if opt_in else record
            record, _ = self._answer(connection, record, opt_in, individual=record.individual_id)
        else:
            self._note_repeated(connection, record)
            if signer.key in self._signers(connection, record):
                return record
        return self._sign(connection, agreement, record, self._waiting(connection, record), signer)[0]

    def _note_repeated(self, connection: Connection, record: Record) -> None:
        """Note a no that was said before: it makes no revision, but drafts from before it are not what the person wants."""
        if not record.opt_in:
            person, now = tomb_of(record.individual_id), stamp(self._clock())
            self._store.refused_again(connection, record.agreement_id, person, now)

    def _answer(
        self, connection: Connection, record: Record, opt_in: bool, *, individual: str = "", other: str = ""
    ) -> tuple[Record, Revision]:
        signature = self._signature_text(connection, record)
        record = replace(record, opt_in=opt_in, state=UNSIGNED, signature_id="", signed_at=None)
        revision = self._revise(connection, record, individual=individual, other=other, signature=signature)
        record = replace(record, revision_id=revision.id)
        self._store.put_record(connection, record)
        return record, revision

    def _revise(
        self, connection: Connection, record: Record, *, individual: str = "", other: str = "", signature: str = ""
    ) -> Revision:
        return self._store.revisions.add(
            connection, RECORD, record.id, record.object_data(), stamp(self._clock()),
            individual=individual, other=other, predecessor_signature=signature,
        )  # fmt: skip

    def _waiting(self, connection: Connection, record: Record) -> Signature:
        for known in self._store.signatures_of(connection, record.revision_id):
            if not known.signature:
                return known
        waiting = ready(secrets.token_hex(16), record.id, self.revision(connection, record), stamp(self._clock()))
        self._store.put_signature(connection, waiting)
        return waiting

    def _sign(
        self, connection: Connection, agreement: Agreement, record: Record, waiting: Signature, signer: Signer
    ) -> tuple[Record, Signature]:
        now = self._clock()
        done = signed(waiting, signer, stamp(now), self._keys)
        self._store.put_signature(connection, done)
        state = state_after(self._signers(connection, record), agreement.signatures_required)
        record = replace(
            record, state=state, signature_id=done.id, signed_at=now if state == SIGNED else record.signed_at
        )
        self._store.put_record(connection, record)
        return record, done

    def _signers(self, connection: Connection, record: Record) -> set[str]:
        found = self._store.signatures_of(connection, record.revision_id)
        return {Signer(each.method, each.signed_by, each.signed_as).key for each in found if each.signature}

    def _open_agreement(
        self, connection: Connection, client: str, agreement_id: str, revision_id: str = ""
    ) -> Agreement:
        agreement = self._configuration.existing(connection, agreement_id)
        agreement.require_open()
        agreement.require_managed_by(client)
        if revision_id and revision_id != agreement.revision_id:
            raise DraftOutdated(f"revision {revision_id[:60]} is not the current one of {agreement_id}")
        return agreement

    def _own(self, connection: Connection, record_id: str, individual_id: str) -> Record:
        record = self._store.record(connection, record_id)
        if record is None or record.individual_id != individual_id:
            raise RecordUnknown(f"this individual has no consent record {record_id[:60]}")
        if not record.is_current:
            current = self._store.current_record(connection, record.agreement_id, individual_id)
            raise RecordSuperseded(
                "a newer record answers this agreement", consentRecordId=current.id if current else ""
            )
        return record

    def _changeable(
        self, connection: Connection, client: str, record_id: str, individual_id: str
    ) -> tuple[Record, Agreement]:
        record = self._own(connection, record_id, individual_id)
        agreement = self._store.agreement(connection, record.agreement_id)
        assert agreement is not None
        agreement.require_managed_by(client)
        return record, agreement

    def _created_before(
        self, connection: Connection, client: str, known: Revision
    ) -> tuple[Record, Revision, Signature]:
        record = self._store.record(connection, known.object_id)
        signatures = self._store.signatures_of(connection, known.id)
        if known.other != client or record is None or not signatures:
            raise DraftOutdated("this draft was used before")
        return record, known, signatures[0]

    def _require_exact(
        self, agreement: Agreement, record: Mapping[str, Any], snapshot: str, timestamp: str, client: str
    ) -> None:
        if record.get("dataAgreementRevisionHash") != agreement.revision_hash:
            raise DraftOutdated("the agreement has another revision now than the draft names; make a new draft")
        data = record_data(
            agreement.id, agreement.revision_id, agreement.revision_hash, str(record["individual"]["id"]),
            bool(record.get("optIn", True)),
        )  # fmt: skip
        if snapshot != snapshot_of(RECORD, "", data, timestamp, other=client, without_object_id=True):
            raise PayloadDiffers(
                "signature.verificationPayload is not the snapshot of this record as the draft operation gave it"
            )

    def _require_newer(
        self, connection: Connection, agreement: Agreement, individual_id: str, previous: Record | None, timestamp: str
    ) -> None:
        """Refuse a draft that was made before the person's last word: it must not undo a withdrawal."""
        made, now = moment_of(timestamp), self._clock()
        if made > now + SKEW or made < now - DRAFT_LIVES:
            raise DraftOutdated(f"a draft lives {DRAFT_LIVES.days} days; make a new one")
        last = [self.revision(connection, previous).timestamp] if previous else []
        if repeated := self._store.last_repeated_refusal(connection, agreement.id, tomb_of(individual_id)):
            last.append(repeated)
        columns = self._store.records.c
        tombs = select(columns.revision_id).where(
            columns.agreement_id == agreement.id, columns.individual_id.startswith(tomb_of(individual_id))
        )
        for revision_id in connection.execute(tombs).scalars():
            revision = self._store.revisions.get(connection, revision_id)
            last += [revision.timestamp] if revision else []
        if any(moment_of(each) >= made for each in last):
            raise DraftOutdated("the person has answered since this draft was made; make a new one")

    def _signature_text(self, connection: Connection, record: Record | None) -> str:
        if record is None or not record.signature_id:
            return ""
        signature = self._store.signature(connection, record.signature_id)
        return signature.signature if signature else ""
