"""The contract's spelling of what the block holds: domain objects to GovStack's schemas, nested as they prescribe."""

from typing import Any

from sqlalchemy import Connection

from services.consent.domain import Agreement, Record
from services.consent.revisions import Revision
from services.consent.signatures import as_contract as signature_shape
from services.consent.store import ConsentStore


def revision_shape(revision: Revision) -> dict[str, Any]:
    """Return schema Revision; ``successor`` and the individual are references by id, to keep the nesting finite."""
    shape: dict[str, Any] = {
        "id": revision.id,
        "schemaName": revision.schema_name,
        "objectId": revision.object_id,
        "signedWithoutObjectId": revision.without_object_id,
        "serializedSnapshot": revision.snapshot,
        "serializedHash": revision.hash,
        "serializedHashAlgorithm": "SHA-256",
        "timestamp": revision.timestamp,
        "authorizedByOther": revision.other,
        "predecessorHash": revision.predecessor_hash,
        "predecessorSignature": revision.predecessor_signature,
    }
    if revision.individual:
        shape["authorizedByIndividual"] = {"id": revision.individual}
    if revision.successor:
        shape["successor"] = {"id": revision.successor}
    return shape


class Shapes:
    """Shapes that need the store for what they nest."""

    def __init__(self, store: ConsentStore) -> None:
        self._store = store

    def policy(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return schema Policy."""
        return {name: value for name, value in body.items() if not name.startswith("_")}

    def agreement(self, connection: Connection, agreement: Agreement) -> dict[str, Any]:
        """Return schema DataAgreement with its policy."""
        shape = {"id": agreement.id, **agreement.body, "active": agreement.active and not agreement.deleted}
        if "policy" in shape:
            policy = self._store.policy(connection, shape["policy"]["id"])
            shape["policy"] = self.policy(policy) if policy else shape["policy"]
        return shape

    def record(self, connection: Connection, record: Record) -> dict[str, Any]:
        """Return schema ConsentRecord with agreement, revision, individual and, if there is one, signature."""
        agreement = self._store.agreement(connection, record.agreement_id)
        revision = self._store.revisions.get(connection, record.agreement_revision_id)
        shape: dict[str, Any] = {
            "id": record.id,
            "dataAgreementRevisionHash": record.agreement_revision_hash,
            "individual": self._store.individual(connection, record.individual_id) or {"id": record.individual_id},
            "optIn": record.opt_in,
            "state": record.state,
        }
        if agreement:
            shape["dataAgreement"] = self.agreement(connection, agreement)
        if revision:
            shape["dataAgreementRevision"] = revision_shape(revision)
        signature = self._store.signature(connection, record.signature_id) if record.signature_id else None
        if signature:
            shape["signature"] = signature_shape(signature)
        return shape
