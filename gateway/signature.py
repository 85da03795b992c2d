"""The compact signature: a XAdES signature of which only the variable part travels.

What is signed is the exclusive canonical form of a ``ds:SignedInfo``, made from a frozen template, the SHA-512 digests
of message and body, the signing time and the hash of the certificate. So signing costs one rendering and one key
operation, verifying parses no XML, and ``gateway.evidence`` unfolds the same values to a whole ``signatures.xml``. No
text from the wire enters a template: there is nothing to escape and nothing to inject. The templates are written down
in ``contracts/gateway/protocol.md``; changing one byte of them is a new version of the protocol.
"""

import hashlib
import time
from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512

ES256 = "ES256"
RS512 = "RS512"

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

LATEST_TIME_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z: the last that fits the template
DIGEST_BYTES = 64  # SHA-512
X5T_BYTES = 32  # SHA-256
RSA_BYTES = range(256, 1025)  # moduli of 2048 to 8192 bits

_ECDSA = ec.ECDSA(SHA256())
_PKCS1 = padding.PKCS1v15()
_SHA512 = SHA512()

_SIGNED_PROPERTIES = (
    b'<xades:SignedProperties xmlns:xades="http://uri.etsi.org/01903/v1.3.2#" Id="sp">'
    b"<xades:SignedSignatureProperties><xades:SigningTime>%b</xades:SigningTime>"
    b"<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>"
    b'<ds:DigestMethod xmlns:ds="http://www.w3.org/2000/09/xmldsig#"'
    b' Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"></ds:DigestMethod>'
    b'<ds:DigestValue xmlns:ds="http://www.w3.org/2000/09/xmldsig#">%b</ds:DigestValue>'
    b"</xades:CertDigest></xades:Cert></xades:SigningCertificateV2></xades:SignedSignatureProperties>"
    b'<xades:SignedDataObjectProperties><xades:DataObjectFormat ObjectReference="#r0">'
    b"<xades:MimeType>application/octet-stream</xades:MimeType></xades:DataObjectFormat>%b"
    b"</xades:SignedDataObjectProperties></xades:SignedProperties>"
)
_BODY_FORMAT = (
    b'<xades:DataObjectFormat ObjectReference="#r1">'
    b"<xades:MimeType>application/octet-stream</xades:MimeType></xades:DataObjectFormat>"
)
_SIGNED_INFO = (
    b'<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">'
    b'<ds:CanonicalizationMethod Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:CanonicalizationMethod>'
    b'<ds:SignatureMethod Algorithm="http://www.w3.org/2001/04/xmldsig-more#{alg}"></ds:SignatureMethod>'
    b'<ds:Reference Id="r0" URI="/message.xml">'
    b'<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"></ds:DigestMethod>'
    b"<ds:DigestValue>%b</ds:DigestValue></ds:Reference>%b"
    b'<ds:Reference Type="http://uri.etsi.org/01903#SignedProperties" URI="#sp"><ds:Transforms>'
    b'<ds:Transform Algorithm="http://www.w3.org/2001/10/xml-exc-c14n#"></ds:Transform></ds:Transforms>'
    b'<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"></ds:DigestMethod>'
    b"<ds:DigestValue>%b</ds:DigestValue></ds:Reference></ds:SignedInfo>"
)
_BODY_REFERENCE = (
    b'<ds:Reference Id="r1" URI="/attachment1">'
    b'<ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha512"></ds:DigestMethod>'
    b"<ds:DigestValue>%b</ds:DigestValue></ds:Reference>"
)
_SIGNED_INFO_OF = {
    ES256: _SIGNED_INFO.replace(b"{alg}", b"ecdsa-sha256"),
    RS512: _SIGNED_INFO.replace(b"{alg}", b"rsa-sha512"),
}


class SignatureInvalid(Exception):
    """The signature does not hold; the text says which of its parts gave it away."""


@dataclass(frozen=True, slots=True)
class Compact:
    """What travels of a signature.

    ``alg`` is ``ES256`` or ``RS512``; ``t`` the signing time in milliseconds since 1970; ``x5t`` the SHA-256 of the
    signer's certificate (DER); ``sig`` the value: r‖s in 64 bytes for ES256, as long as the modulus for RS512.
    """

    alg: str
    t: int
    x5t: bytes
    sig: bytes


def algorithm_of(key: object) -> str:
    """Return the one algorithm of a private or public key; ``ValueError`` for any other kind of key."""
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return ES256
    if (
        isinstance(key, rsa.RSAPublicKey | rsa.RSAPrivateKey)
        and key.key_size % 8 == 0
        and key.key_size // 8 in RSA_BYTES
    ):
        return RS512
    raise ValueError("a signing key is EC on P-256 (ES256) or RSA of 2048 to 8192 bits (RS512)")


@lru_cache(maxsize=1024)
def _second(seconds: int) -> bytes:
    return b"%04d-%02d-%02dT%02d:%02d:%02d." % time.gmtime(seconds)[:6]


def render_time(t: int) -> bytes:
    """Render a time in ms as ``YYYY-MM-DDTHH:MM:SS.mmmZ``."""
    if not 0 <= t <= LATEST_TIME_MS:
        raise ValueError(f"signing time {t} is not between 1970 and 9999")
    return b"%b%03dZ" % (_second(t // 1000), t % 1000)


def render_signed_properties(t: int, x5t: bytes, has_body: bool) -> bytes:
    """Render template T1: signing time, hash of the certificate, what the references are."""
    return _SIGNED_PROPERTIES % (render_time(t), b64encode(x5t), _BODY_FORMAT if has_body else b"")


def render_signed_info(alg: str, message_digest: bytes, body_digest: bytes | None, properties_digest: bytes) -> bytes:
    """Render template T2, the bytes that are signed, from three SHA-512 digests (no body: ``None``)."""
    body = b"" if body_digest is None else _BODY_REFERENCE % b64encode(body_digest)
    return _SIGNED_INFO_OF[alg] % (b64encode(message_digest), body, b64encode(properties_digest))


def to_be_signed(alg: str, t: int, x5t: bytes, message_digest: bytes, body_digest: bytes | None) -> bytes:
    """Render the bytes that a signature of these values covers."""
    properties = render_signed_properties(t, x5t, body_digest is not None)
    return render_signed_info(alg, message_digest, body_digest, hashlib.sha512(properties).digest())


def _check_digests(message_digest: bytes, body_digest: bytes | None) -> None:
    """Refuse anything but SHA-512: a shorter string would sign bytes that no container can show."""
    if len(message_digest) != DIGEST_BYTES or (body_digest is not None and len(body_digest) != DIGEST_BYTES):
        raise ValueError("message and body digests are SHA-512, 64 bytes each")


class Signer:
    """Signs for one member: a private key and the certificate (DER) that was issued for it."""

    def __init__(self, private_key: PrivateKey, certificate_der: bytes) -> None:
        self.alg = algorithm_of(private_key)
        self.certificate_der = certificate_der
        self.x5t = hashlib.sha256(certificate_der).digest()
        self._key = private_key
        if x509.load_der_x509_certificate(certificate_der).public_key() != private_key.public_key():
            raise ValueError("the certificate was issued for another key")

    def sign(self, message_digest: bytes, body_digest: bytes | None, t_ms: int) -> Compact:
        """Sign SHA-512 digests of message and body (``None`` if the body is empty) at the time ``t_ms``."""
        _check_digests(message_digest, body_digest)
        return Compact(
            self.alg, t_ms, self.x5t, self._value(to_be_signed(self.alg, t_ms, self.x5t, message_digest, body_digest))
        )

    def _value(self, signed: bytes) -> bytes:
        if isinstance(self._key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self._key.sign(signed, _ECDSA))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return self._key.sign(signed, _PKCS1, _SHA512)


def verify(compact: Compact, message_digest: bytes, body_digest: bytes | None, public_key: PublicKey) -> None:
    """Check a signature with the key of the certificate that ``compact.x5t`` names.

    Raises ``SignatureInvalid``. It proves which key signed which bytes; freshness, replay, the certificate's path and
    status, and whose certificate it is, are the caller's steps (``contracts/gateway/protocol.md`` §4).
    """
    _check_digests(message_digest, body_digest)
    if compact.alg != algorithm_of(public_key):
        raise SignatureInvalid(f"algorithm {compact.alg}, but the certificate's key signs {algorithm_of(public_key)}")
    if len(compact.x5t) != X5T_BYTES:
        raise SignatureInvalid("the certificate hash is not 32 bytes long")
    if not 0 <= compact.t <= LATEST_TIME_MS:
        raise SignatureInvalid(f"signing time {compact.t} is not between 1970 and 9999")
    signed = to_be_signed(compact.alg, compact.t, compact.x5t, message_digest, body_digest)
    try:
        _verify_value(compact.sig, signed, public_key)
    except InvalidSignature:
        raise SignatureInvalid("the signature value does not fit message, body, time and certificate") from None


def _verify_value(value: bytes, signed: bytes, key: PublicKey) -> None:
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(value, signed, _PKCS1, _SHA512)
        return
    if len(value) != 64:
        raise SignatureInvalid(f"an ES256 signature is r‖s in 64 bytes, this one has {len(value)}")
    r, s = int.from_bytes(value[:32], "big"), int.from_bytes(value[32:], "big")
    key.verify(encode_dss_signature(r, s), signed, _ECDSA)


def request_hash(message_digest: bytes, body_digest: bytes | None) -> str:
    """Return ``x-road-request-hash`` of a request from the digests that were signed (X-Road: SHA-512, base64)."""
    if body_digest is not None:
        message_digest = hashlib.sha512(message_digest + body_digest).digest()
    return b64encode(message_digest).decode()
