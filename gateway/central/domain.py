"""What central knows: members, gateways, enrolments and certificates, and the rules among them. Pure."""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateway.central.authority import PublicKey
from gateway.trust.certificates import SMALLEST_RSA_BITS
from gateway.trust.fields import CODE, MEMBER
from sandroad.problems import Refusal
from sandroad.settings import SettingsError

LARGEST_RSA_BITS = 4096
# X.520's upper bound of organizationName and commonName, which carry the name.
LONGEST_NAME = 64
RENEWED_BEFORE_END = timedelta(days=30)
REASONS = tuple(reason.value for reason in x509.ReasonFlags if reason.value not in ("removeFromCRL", "certificateHold"))


class EnrolmentTokenRefused(Refusal):
    """The gateway is not expected, or its token is wrong: the answer is the same, so that names cannot be probed."""

    code = "enrolment_token_refused"


class EnrolmentTokenUsed(Refusal):
    """The token has certified another key already."""

    code = "enrolment_token_used"


class CertificateRequestUnusable(Refusal):
    """The PKCS#10 request is unreadable, not signed by its own key, or its key is of the wrong kind."""

    code = "certificate_request_unusable"


class KeyRevoked(Refusal):
    """The certificate of this key was revoked; the gateway needs a new key and a new token."""

    code = "key_revoked"


class KeyBelongsToOther(Refusal):
    """Another gateway has enrolled with this key."""

    code = "key_belongs_to_other"


class MemberUnknown(Refusal):
    """No such member is registered."""

    code = "member_unknown"


class MemberConflict(Refusal):
    """The member is registered under another name."""

    code = "member_conflict"


class NotACode(Refusal):
    """An identifier or name is not of the form that certificates and message paths can carry."""

    code = "not_a_code"


class CertificateUnknown(Refusal):
    """No such certificate was issued."""

    code = "certificate_unknown"


class EnrolmentUnknown(Refusal):
    """No gateway of this name waits for approval."""

    code = "enrolment_unknown"


@dataclass(frozen=True)
class Member:
    """An organisation: ``id`` is ``GOV/CIVIL``, ``subsystems`` are codes."""

    id: str
    name: str
    subsystems: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not MEMBER.fullmatch(self.id):
            raise NotACode(f"member {self.id[:130]!r} is not CLASS/CODE of letters, digits, dot, hyphen and underscore")
        if not self.name.strip() or len(self.name) > LONGEST_NAME or not self.name.isprintable():
            raise NotACode(f"the name of {self.id} has 1 to {LONGEST_NAME} printable characters: certificates carry it")
        for subsystem in self.subsystems:
            if not CODE.fullmatch(subsystem):
                raise NotACode(f"subsystem {subsystem[:130]!r} of {self.id} is not 1 to 64 letters, digits, . - _")


@dataclass(frozen=True)
class Grant:
    """The right of a gateway to enrol for a member, once: ``token_sha256`` in hex; ``key`` is the SPKI hash that used it."""

    gateway: str
    member: str
    token_sha256: str
    key: str | None = None

    def __post_init__(self) -> None:
        if not CODE.fullmatch(self.gateway):
            raise NotACode(f"gateway {self.gateway[:130]!r} is not 1 to 64 letters, digits, dot, hyphen, underscore")
        if not re.fullmatch("[0-9a-f]{64}", self.token_sha256):
            raise NotACode(f"the token hash of {self.gateway} is not a SHA-256 in hex")

    def check_token(self, token: str) -> None:
        """Raise ``EnrolmentTokenRefused`` unless ``token`` is the one that was handed out."""
        if not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), self.token_sha256):
            raise token_refused(self.gateway)

    def check_key(self, key: str) -> None:
        """Raise ``EnrolmentTokenUsed`` if another key has used the token: a thief who comes second gets nothing."""
        if self.key is not None and self.key != key:
            raise EnrolmentTokenUsed(
                f"the token of {self.gateway} has certified another key; if that key is lost, "
                "central's steward hands out a new token"
            )


def token_refused(gateway: str) -> EnrolmentTokenRefused:
    """Return the one answer for an unknown gateway and for a wrong token."""
    return EnrolmentTokenRefused(f"gateway {gateway[:64]!r} with this token is not expected here")


@dataclass(frozen=True)
class Enrolment:
    """A gateway's request as it came; ``approved`` when it may be certified. ``key`` is the SHA-256 of the public key info."""

    gateway: str
    member: str
    key: str
    csr: str
    address: str
    queue: str
    approved: bool


@dataclass(frozen=True)
class CertificateRecord:
    """An issued certificate."""

    serial: int
    gateway: str
    member: str
    key: str
    der: bytes
    not_before: datetime
    not_after: datetime
    revoked_at: datetime | None = None
    revocation_reason: str = x509.ReasonFlags.unspecified.value

    @property
    def x5t(self) -> str:
        """SHA-256 of the DER, in hex."""
        return hashlib.sha256(self.der).hexdigest()

    def is_current(self, now: datetime) -> bool:
        """Tell whether the certificate is neither revoked nor near its end."""
        return self.revoked_at is None and now < self.not_after - RENEWED_BEFORE_END


def read_csr(pem: str) -> tuple[PublicKey, str]:
    """Return the key of a PKCS#10 request in PEM and the SHA-256 of its public key info, in hex.

    Its signature proves that the sender has the private key. Its subject is not looked at: the token says which member
    this is, and a gateway does not choose its name. Raises ``CertificateRequestUnusable``.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key = request.public_key()
        proven = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, x509.InvalidVersion) as defect:
        raise CertificateRequestUnusable("csr is not a PKCS#10 request in PEM") from defect
    if not proven:
        raise CertificateRequestUnusable("csr is not signed by the key that it asks a certificate for")
    if not _is_usable(key):
        raise CertificateRequestUnusable("csr has a key that is neither EC P-256 nor RSA of 2048 to 4096 bits")
    assert isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return key, hashlib.sha256(spki).hexdigest()


def _is_usable(key: object) -> bool:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name == ec.SECP256R1.name
    return isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS


def members_of(setting: tuple[dict[str, Any], ...]) -> list[Member]:
    """Read SANDROAD_MEMBERS: ``[{"id", "name", "subsystems"}]``. Raises ``SettingsError``."""
    try:
        return [Member(str(one["id"]), str(one["name"]), tuple(map(str, one["subsystems"]))) for one in setting]
    except (KeyError, TypeError) as defect:
        raise SettingsError("SANDROAD_MEMBERS: each entry is an object with id, name and subsystems") from defect
    except NotACode as refusal:
        raise SettingsError(f"SANDROAD_MEMBERS: {refusal.detail}") from refusal


def grants_of(setting: dict[str, Any], members: list[Member]) -> list[Grant]:
    """Read SANDROAD_ENROLMENT_TOKENS: ``{gateway: {"member", "sha256"}}``. Raises ``SettingsError``."""
    known = {member.id for member in members}
    try:
        grants = [Grant(name, str(one["member"]), str(one["sha256"])) for name, one in setting.items()]
    except (KeyError, TypeError) as defect:
        raise SettingsError("SANDROAD_ENROLMENT_TOKENS: each gateway has an object with member and sha256") from defect
    except NotACode as refusal:
        raise SettingsError(f"SANDROAD_ENROLMENT_TOKENS: {refusal.detail}") from refusal
    for grant in grants:
        if grant.member not in known:
            raise SettingsError(f"SANDROAD_ENROLMENT_TOKENS: {grant.gateway} is for {grant.member}, not a member")
    return grants
