"""What callers hand in to be signed: read strictly, compared byte for byte. Pure: no store, no clock."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sandroad.problems import InvalidRequest
from services.consent.domain import OFFICER_METHOD, OWN_METHOD, MethodNotTaken, PayloadDiffers
from services.consent.revisions import Revision
from services.consent.signatures import Signer


def signer_given(client: str, given: Mapping[str, Any]) -> Signer:
    """Return the signer whom a caller names: an officer who attests a paper form; others sign on this block's own page."""
    method, name = given.get("verificationMethod", ""), str(given.get("verificationSignedBy", "")).strip()
    if method != OFFICER_METHOD:
        raise MethodNotTaken(
            f"verificationMethod is {OFFICER_METHOD!r} here (a paper form, attested by an officer); "
            f"{OWN_METHOD!r} is signed by the person on this service's own page"
        )
    if not name:
        raise InvalidRequest("signature.verificationSignedBy names the officer who attests")
    return Signer(OFFICER_METHOD, f"{name} ({client})", "delegate", str(given.get("verificationArtifact", "")))


def tomb_of(individual_id: str) -> str:
    """Return what stands for a person whose records were forgotten: it shows nothing, and the same person is recognised."""
    return "forgotten-" + hashlib.sha256(individual_id.encode()).hexdigest()[:40]


def snapshot_given(signature: Mapping[str, Any]) -> tuple[str, str]:
    """Return the snapshot that was signed and its timestamp."""
    snapshot = str(signature.get("verificationPayload", ""))
    try:
        timestamp = json.loads(snapshot)["timestamp"]
        moment_of(timestamp)
    except (ValueError, KeyError, TypeError, RecursionError) as defect:
        raise PayloadDiffers(
            "signature.verificationPayload is no snapshot; send it as the draft operation gave it"
        ) from defect
    return snapshot, timestamp


def data_of(snapshot: str) -> dict[str, Any]:
    """Return the members of the object that a snapshot serialises."""
    return dict(json.loads(snapshot)["objectData"])


def require_payload(given: Mapping[str, Any], revision: Revision) -> None:
    """Raise unless a caller's signature names the snapshot, or its hash, of the current revision."""
    payload, digest = given.get("verificationPayload", ""), given.get("verificationPayloadHash", "")
    if not payload and not digest:
        raise InvalidRequest("signature.verificationPayload or verificationPayloadHash says what was signed")
    if (payload and payload != revision.snapshot) or (digest and digest != revision.hash):
        raise PayloadDiffers("what was signed is not the record's current revision; read it again before signing")


def moment_of(text: str) -> datetime:
    """Return the time that a snapshot's timestamp spells; raise ``ValueError``."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return moment.astimezone(UTC)
