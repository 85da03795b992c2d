"""Agreements, consent records and their states; what may happen to them and what is refused. Pure: no HTTP, no SQL, no clock."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sandroad.problems import Refusal

UNSIGNED, PENDING, SIGNED = "unsigned", "pending more signatures", "signed"
OFFICER_METHOD = "officer-attestation"
OWN_METHOD = "ES256"
NOT_TERMS = ("active", "lifecycle", "signature")


class PolicyUnknown(Refusal):
    """There is no policy of that id."""

    code = "consent_policy_unknown"


class PolicyInUse(Refusal):
    """An active data agreement is governed by this policy (GovStack Consent 6.5)."""

    code = "consent_policy_in_use"


class DataAgreementUnknown(Refusal):
    """There is no data agreement of that id."""

    code = "consent_agreement_unknown"


class DataAgreementInactive(Refusal):
    """The agreement takes no new consent."""

    code = "consent_agreement_inactive"


class IdTaken(Refusal):
    """The id that was chosen belongs to something else already."""

    code = "consent_id_taken"


class IndividualUnknown(Refusal):
    """There is no individual of that id."""

    code = "consent_individual_unknown"


class IndividualAmbiguous(Refusal):
    """Header and query name different individuals, or nobody."""

    code = "consent_individual_ambiguous"


class RecordUnknown(Refusal):
    """There is no such consent record, or not of this individual."""

    code = "consent_record_unknown"


class RecordExists(Refusal):
    """The individual has answered this agreement already; the record is changed, not made again."""

    code = "consent_record_exists"


class RecordSuperseded(Refusal):
    """A newer record answers this agreement."""

    code = "consent_record_superseded"


class PayloadDiffers(Refusal):
    """What is signed is not exactly the revision's serialised snapshot (GovStack Consent 9.2)."""

    code = "consent_payload_differs"


class DraftOutdated(Refusal):
    """The agreement or the record changed after the draft was made."""

    code = "consent_draft_outdated"


class MethodNotTaken(Refusal):
    """The signature's verificationMethod is none that this block can stand for."""

    code = "consent_method_not_taken"


class NotManagedByCaller(Refusal):
    """Another subsystem manages this agreement's records."""

    code = "consent_not_managed_by_caller"


@dataclass(frozen=True)
class Agreement:
    """A data agreement with its current revision; ``body`` has the contract's members (``policy`` as ``{"id"}``)."""

    id: str
    body: dict[str, Any]
    revision_id: str
    revision_hash: str
    terms: str
    active: bool
    programme: str
    deleted: bool = False

    @property
    def signatures_required(self) -> int:
        """How many different signers a record needs (extension; a guardian and a child, for example)."""
        return int(self.body.get("signaturesRequired", 1))

    def require_open(self) -> None:
        """Raise ``DataAgreementInactive`` unless new consent may be given."""
        if self.deleted or not self.active:
            raise DataAgreementInactive(f"data agreement {self.id} takes no consent at present")

    def require_managed_by(self, client: str) -> None:
        """Raise ``NotManagedByCaller`` if the agreement names who may record consent to it and ``client`` is not among them."""
        if not self.is_managed_by(client):
            raise NotManagedByCaller(f"consent to {self.id} is recorded by {', '.join(self.body['managedBy'])}")

    def is_managed_by(self, client: str) -> bool:
        """Tell whether ``client`` may record consent to this agreement; one that names nobody is anybody's."""
        allowed = self.body.get("managedBy", [])
        return not allowed or client.split("/", 1)[-1] in allowed or client in allowed


@dataclass(frozen=True)
class Record:
    """A consent record. It counts as consent if ``is_consent``; the store keeps one current record a person and agreement."""

    id: str
    agreement_id: str
    agreement_revision_id: str
    agreement_revision_hash: str
    terms: str
    individual_id: str
    opt_in: bool
    state: str
    revision_id: str
    is_current: bool
    signature_id: str = ""
    signed_at: datetime | None = None

    def object_data(self) -> dict[str, Any]:
        """Return what a snapshot serialises. State and signature come after the fact and are not part of it."""
        return record_data(
            self.agreement_id, self.agreement_revision_id, self.agreement_revision_hash, self.individual_id, self.opt_in
        )

    def is_consent(self, agreement: Agreement) -> bool:
        """Tell whether this is a signed opt-in to the terms that the agreement has now."""
        return (
            self.is_current
            and self.opt_in
            and self.state == SIGNED
            and self.terms == agreement.terms
            and agreement.active
            and not agreement.deleted
        )


def record_data(
    agreement_id: str, revision_id: str, revision_hash: str, individual_id: str, opt_in: bool
) -> dict[str, Any]:
    """Return the members of a consent record that its snapshots hold."""
    return {
        "dataAgreement": agreement_id,
        "dataAgreementRevision": revision_id,
        "dataAgreementRevisionHash": revision_hash,
        "individual": individual_id,
        "optIn": opt_in,
    }


def new_record(record_id: str, agreement: Agreement, individual_id: str) -> Record:
    """Return an unsigned yes to an agreement's current revision."""
    return Record(
        record_id, agreement.id, agreement.revision_id, agreement.revision_hash, agreement.terms, individual_id,
        True, UNSIGNED, "", True,
    )  # fmt: skip


def on_current_revision(record: Record, agreement: Agreement) -> Record:
    """Return the record bound to the agreement's current revision; raise ``DraftOutdated`` if that has other terms."""
    if record.terms != agreement.terms:
        raise DraftOutdated(f"{agreement.id} has other terms now; they need a record of their own")
    return replace(record, agreement_revision_id=agreement.revision_id, agreement_revision_hash=agreement.revision_hash)


def terms_of(body: Mapping[str, Any]) -> str:
    """Return the hash of what a person agrees to: everything but whether the agreement is open at present.

    Closing an agreement and opening it again must not make everybody be asked anew; changing its purpose must.
    """
    terms = {name: value for name, value in body.items() if name not in NOT_TERMS}
    return hashlib.sha256(canonical(terms).encode()).hexdigest()


def state_after(signers: set[str], required: int) -> str:
    """Return a record's state when ``signers`` have signed its current revision."""
    if not signers:
        return UNSIGNED
    return SIGNED if len(signers) >= required else PENDING


def canonical(value: Any) -> str:
    """Return JSON with sorted members, no spaces, UTF-8 characters as they are: one text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
