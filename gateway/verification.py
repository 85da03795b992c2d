"""What must hold before an envelope is believed: numbered steps, each naming the attack that it prevents. Pure.

The order is that of ``contracts/gateway/protocol.md``: nothing of a message is parsed before its signature holds, and
nothing is asked of access rights before all of this holds. ``Refused`` says which step failed. The one thing that a
step may ask of its surroundings is the global configuration that it is given.
"""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gateway import message as rules
from gateway.envelope import Envelope, Kind, MalformedEnvelope
from gateway.message import MessageDefect, Request, Response
from gateway.signature import SignatureInvalid, request_hash, verify
from gateway.trust.configuration import CertificateEntry

DECODED = "1 the envelope decodes"
KNOWN = "2 the certificate is known"
GOOD = "3 the certificate is good"
ALGORITHM = "4 the algorithm is that of the key"
SIGNATURE = "5 the signature holds"
FRESH = "6 the signature is fresh"
HEADERS = "7 the message keeps the header rules"
MEMBER = "8 the signer speaks for the sender"
MATCHES = "9 the response belongs to the request"

Lookup = Callable[[bytes], CertificateEntry | None]


class Refused(Exception):
    """A step failed: which one, as which of X-Road's codes, and in which words."""

    def __init__(self, step: str, code: str, message: str) -> None:
        super().__init__(f"step {step}: {message}")
        self.step = step
        self.code = code
        self.message = message


class UnknownCertificate(Refused):
    """Step 2 failed; a newer global configuration may know the certificate with hash ``x5t``."""

    def __init__(self, x5t: bytes) -> None:
        super().__init__(
            KNOWN, "SignatureVerification.CertNotFound", "The signing certificate is not in the global configuration"
        )
        self.x5t = x5t


@dataclass(frozen=True, slots=True)
class Signed:
    """An envelope whose signature holds, with the digests that it covers and the certificate that made it."""

    envelope: Envelope
    message_digest: bytes
    body_digest: bytes | None
    certificate: CertificateEntry

    @property
    def hash(self) -> str:
        """The hash by which a response names this request."""
        return request_hash(self.message_digest, self.body_digest)


def digests(message: bytes, body: bytes) -> tuple[bytes, bytes | None]:
    """Return the SHA-512 of message and body; an empty body is none (X-Road)."""
    return hashlib.sha512(message).digest(), hashlib.sha512(body).digest() if body else None


def verify_signed(data: bytes, kind: Kind, lookup: Lookup, now: datetime, freshness: float) -> Signed:
    """Steps 1 to 6: whose bytes these are, without reading what they say. ``freshness`` is in seconds."""
    try:
        envelope = Envelope.decode(data)
    except MalformedEnvelope as defect:
        raise Refused(DECODED, "InvalidMessage", f"Malformed envelope: {defect}") from None
    if envelope.kind != kind:
        # A response that is passed off as a request would make a member ask for what it once answered.
        raise Refused(DECODED, "InvalidMessage", f"Malformed envelope: expected a {kind.name.lower()}")
    compact = envelope.compact
    certificate = lookup(compact.x5t)
    if certificate is None:
        raise UnknownCertificate(compact.x5t)
    if not certificate.is_good_at(now):
        # A stolen key is worthless from the moment that central publishes its revocation.
        raise Refused(
            GOOD, "SignatureVerification.CertValidation", "The signing certificate is revoked or out of its time"
        )
    message_digest, body_digest = digests(envelope.message, envelope.body)
    try:
        verify(compact, message_digest, body_digest, certificate.public_key)
    except SignatureInvalid as defect:
        if str(defect).startswith("algorithm"):
            raise Refused(ALGORITHM, "UnsupportedAlgorithm", str(defect)) from None
        raise Refused(
            SIGNATURE, "InvalidSignatureValue", "Signature is not valid: the bytes are not those that were signed"
        ) from None
    age = now.timestamp() - compact.t / 1000
    if abs(age) > freshness:
        # Bounds how long the replay store has to remember, and how long a captured envelope is of use.
        raise Refused(
            FRESH,
            "SignatureVerification.NotFresh",
            f"The message was signed {age:.0f} s ago, allowed are {freshness:.0f} s either way",
        )
    return Signed(envelope, message_digest, body_digest, certificate)


def verify_request(signed: Signed, instance: str) -> Request:
    """Steps 7 and 8 for a request: what it says, and that its signer may say it in the client's name."""
    try:
        request = rules.parse_request(signed.envelope.message)
    except MessageDefect as defect:
        raise Refused(HEADERS, "InvalidRest", str(defect)) from None
    client = request.client
    if client.instance != instance or client.member != signed.certificate.member:
        # Otherwise any member could call with another's access rights.
        raise Refused(
            MEMBER,
            "SignatureVerification.IncorrectCertificate",
            f"The signing certificate belongs to {signed.certificate.member}, not to client '{client.label}'",
        )
    return request


@dataclass(frozen=True, slots=True)
class Expected:
    """What a request says about its response; ``envelope_hash`` is the SHA-512 of the envelope as it was sent."""

    client: str
    message_id: str
    service: str
    request_id: str
    request_hash: str
    provider_member: str
    envelope_hash: bytes


def verify_response(signed: Signed, expected: Expected) -> Response:
    """Steps 7 to 9 for a response: from the provider's member, and to this very request."""
    try:
        response = rules.parse_response(signed.envelope.message)
    except MessageDefect as defect:
        raise Refused(HEADERS, "InvalidRest", str(defect)) from None
    if signed.certificate.member != expected.provider_member:
        # Otherwise any member could answer in the provider's place.
        raise Refused(
            MEMBER,
            "SignatureVerification.IncorrectCertificate",
            f"The signing certificate belongs to {signed.certificate.member}, not to {expected.provider_member}",
        )
    refused = response.value(rules.REFUSED)
    if refused is not None:
        _check_refusal(response, refused, expected)
        return response
    found = rules.by_name(response.headers)
    for header, wanted, what in (
        (rules.CLIENT, expected.client, "client id"),
        (rules.MESSAGE_ID, expected.message_id, "message id"),
        (rules.SERVICE, expected.service, "service id"),
        (rules.REQUEST_ID, expected.request_id, "message request id"),
        (rules.REQUEST_HASH, expected.request_hash, "message hash"),
    ):
        # An answer to another request, or to altered bytes, is not passed off as the answer to this one.
        if found.get(header) != [wanted]:
            raise Refused(MATCHES, "InconsistentResponse", f"Response {what} does not match request message")
    return response


def _check_refusal(response: Response, refused: str, expected: Expected) -> None:
    """A refusal of what could not be verified names no ids, since nothing was read: it names the envelope's bytes."""
    if response.value(rules.ERROR) is None:
        raise Refused(HEADERS, "InvalidRest", "a refusal without x-road-error")
    if refused != envelope_name(expected.envelope_hash):
        raise Refused(
            MATCHES,
            "InconsistentResponse",
            "Response message hash does not match request message: the provider's gateway refused "
            f"({response.value(rules.ERROR)}) other bytes than were sent",
        )


def envelope_name(envelope_hash: bytes) -> str:
    """Return how a refusal names the envelope that it refuses."""
    return base64.b64encode(envelope_hash).decode()
