"""The signed form of the global configuration: a detached JWS on the first line, then the payload's exact bytes.

    base64url(header) ".." base64url(r||s) LF payload

The header is RFC 7515's with an unencoded payload (RFC 7797):
``{"alg":"ES256","b64":false,"crit":["b64"],"x5t#S256":"…"}``. A stock JOSE library can check the same bytes. Ours
compares the header with the only one that it would accept, and so negotiates nothing.
"""

import base64
import hashlib
import json

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.trust.refusals import ConfigurationForged

COORDINATE_BYTES = 32
FIRST_LINE_LIMIT = 1024


def sign(payload: bytes, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> bytes:
    """Return ``payload`` under a first line that signs it."""
    header = header_for(certificate)
    r, s = decode_dss_signature(key.sign(header + b"." + payload, ec.ECDSA(SHA256())))
    raw = r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")
    return header + b".." + _base64url(raw) + b"\n" + payload


def open_signed(signed: bytes, certificate: x509.Certificate) -> bytes:
    """Return the payload, if ``certificate``'s key signed exactly these bytes.

    Raises ``ConfigurationForged``. Nothing of the payload is looked at before: an attacker who writes on the wire meets
    no parser of ours but this split.
    """
    line_end = signed.find(b"\n", 0, FIRST_LINE_LIMIT)
    header, dots, signature = signed[: max(line_end, 0)].partition(b"..")
    if not dots:
        raise ConfigurationForged("the configuration does not begin with a detached signature line")
    # The one acceptable header, byte for byte: a forger may choose neither another algorithm ("none", HS256 with the
    # public key as secret) nor another key.
    if header != header_for(certificate):
        raise ConfigurationForged("the configuration is signed with another key or algorithm than the anchor's")
    payload = signed[line_end + 1 :]
    public_key = certificate.public_key()
    if not isinstance(public_key, ec.EllipticCurvePublicKey) or public_key.curve.name != ec.SECP256R1.name:
        raise ConfigurationForged("the anchor's configuration certificate has no P-256 key")
    try:
        public_key.verify(_dss(signature), header + b"." + payload, ec.ECDSA(SHA256()))
    except InvalidSignature:
        raise ConfigurationForged("the configuration was changed after central signed it") from None
    return payload


def header_for(certificate: x509.Certificate) -> bytes:
    """Return the encoded protected header of what ``certificate``'s key signs."""
    x5t = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    header = {"alg": "ES256", "b64": False, "crit": ["b64"], "x5t#S256": _base64url(x5t).decode("ascii")}
    return _base64url(json.dumps(header, separators=(",", ":")).encode("ascii"))


def _dss(signature: bytes) -> bytes:
    """Return the DER form of a base64url ``r||s``, which must be in its one canonical spelling."""
    try:
        raw = base64.urlsafe_b64decode(signature + b"==")
    except ValueError:
        raw = b""
    # Unused bits of the last character would give one signature, and so one configuration, several spellings.
    if len(raw) != 2 * COORDINATE_BYTES or _base64url(raw) != signature:
        raise ConfigurationForged("the configuration's signature is not 64 bytes in base64url")
    r, s = raw[:COORDINATE_BYTES], raw[COORDINATE_BYTES:]
    return encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
