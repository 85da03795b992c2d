"""Signatures over revisions: who agreed, and how that is known, sealed with the block's key as a detached JWS (RFC 7515 F)."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.jwk import ECKey

from services.consent.domain import canonical
from services.consent.keys import OwnKeys
from services.consent.revisions import Revision


@dataclass(frozen=True)
class Signature:
    """A signature object. ``signature`` is empty until somebody has signed."""

    id: str
    record_id: str
    revision_id: str
    payload: str
    signature: str
    method: str
    verification_payload: str
    verification_payload_hash: str
    artifact: str
    signed_by: str
    signed_as: str
    jws_header: str
    timestamp: str
    without_object_reference: bool


@dataclass(frozen=True)
class Signer:
    """Who signs, and what shows it: ``method`` ES256 for a person logged in here, ``officer-attestation`` for paper.

    ``signed_by`` is text that is kept as it was at that time: issuer, subject, acr and auth_time of the login, or the officer.
    """

    method: str
    signed_by: str
    signed_as: str
    artifact: str = ""

    @property
    def key(self) -> str:
        """What makes two signers different: a person who logs in twice is one signer, two officers are two."""
        return self.signed_as if self.signed_as == "individual" else f"{self.method} {self.signed_by}"


def ready(signature_id: str, record_id: str, revision: Revision, timestamp: str) -> Signature:
    """Return a signature object that waits for its signer."""
    unsigned = Signature(
        signature_id, record_id, revision.id, "", "", "", revision.snapshot, revision.hash, "", "", "", "", timestamp,
        revision.without_object_id,
    )  # fmt: skip
    return _with_payload(unsigned, Signer("", "", ""), "")


def signed(waiting: Signature, signer: Signer, timestamp: str, keys: OwnKeys) -> Signature:
    """Return the signature object, signed: the payload names signer and method, the JWS covers the payload's bytes."""
    header = canonical({"alg": "ES256", "kid": keys.signing_id, "typ": "consent+jws"})
    stamped = Signature(**{**vars(waiting), "timestamp": timestamp})
    complete = _with_payload(stamped, signer, header)
    signing_input = f"{_encoded(header.encode())}.{_encoded(complete.payload.encode())}".encode()
    private = keys.signing.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    r, s = decode_dss_signature(private.sign(signing_input, ec.ECDSA(SHA256())))
    value = _encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    return Signature(**{**vars(complete), "signature": f"{_encoded(header.encode())}..{value}"})


def verify(payload: str, signature: str, key: ECKey) -> bool:
    """Tell whether a detached JWS by ``key`` covers exactly ``payload``."""
    try:
        header, detached, value = signature.split(".")
        if detached or json.loads(_decoded(header)).get("alg") != "ES256":
            return False
        raw = _decoded(value)
        if len(raw) != 64:
            return False
        dss = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        public = key.public_key
        assert isinstance(public, ec.EllipticCurvePublicKey)
        public.verify(dss, f"{header}.{_encoded(payload.encode())}".encode(), ec.ECDSA(SHA256()))
    except (ValueError, InvalidSignature, binascii.Error):
        return False
    return True


def as_contract(signature: Signature) -> dict[str, Any]:
    """Return a signature in the contract's spelling."""
    return {
        "id": signature.id,
        "payload": signature.payload,
        "signature": signature.signature,
        "verificationMethod": signature.method,
        "verificationPayload": signature.verification_payload,
        "verificationPayloadHash": signature.verification_payload_hash,
        "verificationArtifact": signature.artifact,
        "verificationSignedBy": signature.signed_by,
        "verificationSignedAs": signature.signed_as,
        "verificationJwsHeader": signature.jws_header,
        "timestamp": signature.timestamp,
        "signedWithoutObjectReference": signature.without_object_reference,
        "objectType": "revision",
        "objectReference": signature.revision_id,
    }


def _with_payload(signature: Signature, signer: Signer, header: str) -> Signature:
    payload: Mapping[str, Any] = {
        "verificationPayload": signature.verification_payload,
        "verificationPayloadHash": signature.verification_payload_hash,
        "verificationMethod": signer.method,
        "verificationArtifact": signer.artifact,
        "verificationSignedBy": signer.signed_by,
        "verificationSignedAs": signer.signed_as,
        "verificationJwsHeader": header,
        "timestamp": signature.timestamp,
        "signedWithoutObjectReference": signature.without_object_reference,
        "objectType": "revision",
        **({} if signature.without_object_reference else {"objectReference": signature.revision_id}),
    }
    return Signature(
        **{
            **vars(signature),
            "payload": canonical(payload),
            "method": signer.method,
            "artifact": signer.artifact,
            "signed_by": signer.signed_by,
            "signed_as": signer.signed_as,
            "jws_header": header,
        }
    )


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
