"""Takes a container of the form *batch* apart: the inverse of ``gateway.evidence.container``.

The templates leave one place for every value, so values are cut out where they must stand. What was cut out is worth
nothing by itself: the verifier renders the container again from it and compares every byte.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.evidence import hashchain
from gateway.evidence.container import BODY, CHAIN, MESSAGE, SIGNATURES, TOKEN, Evidence
from gateway.signature import ES256, RS512, Compact

MAX_SIGNATURES = 1024 * 1024
MAX_MESSAGE = 4 * 1024 * 1024
_ALGORITHMS = {b"ecdsa-sha256": ES256, b"rsa-sha512": RS512}
_BASE64 = rb"([A-Za-z0-9+/]*={0,2})"
_ONE = {
    "algorithm": rb"<ds:SignatureMethod Algorithm=\"http://www\.w3\.org/2001/04/xmldsig-more#([a-z0-9-]+)\">",
    "message digest": rb'<ds:Reference Id="r0".{0,200}?<ds:DigestValue>' + _BASE64,
    "signature value": rb'<ds:SignatureValue Id="sv">' + _BASE64,
    "certificate": rb"<ds:X509Certificate>" + _BASE64,
    "signing time": rb"<xades:SigningTime>(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)</xades:SigningTime>",
    "certificate digest": rb"<xades:CertDigest>.{0,200}?<ds:DigestValue[^>]*>" + _BASE64,
}
_BODY_DIGEST = re.compile(rb'<ds:Reference Id="r1".{0,200}?<ds:DigestValue>' + _BASE64)
_CA = re.compile(rb"<xades:EncapsulatedX509Certificate>" + _BASE64)
_OCSP = re.compile(rb"<xades:EncapsulatedOCSPValue>" + _BASE64)
_PATTERNS = {name: re.compile(pattern) for name, pattern in _ONE.items()}


class PartsUnreadable(ValueError):
    """An entry is not in the form of the profile; the text says which and where."""


@dataclass(frozen=True)
class Parts:
    """The values of a container: ``evidence``, and the digests that were signed or chained as they stand in it."""

    evidence: Evidence
    message_digest: bytes
    body_digest: bytes | None
    leaf: bytes


def take_apart(entries: dict[str, bytes]) -> Parts:
    """Return the values of a container's entries; ``PartsUnreadable`` if one has no place to be found at."""
    missing = [name for name in (MESSAGE, SIGNATURES, CHAIN, TOKEN) if name not in entries]
    if missing:
        raise PartsUnreadable(f"no entry {', '.join(missing)}")
    if len(entries[MESSAGE]) > MAX_MESSAGE or max(len(entries[SIGNATURES]), len(entries[CHAIN])) > MAX_SIGNATURES:
        raise PartsUnreadable(f"{MESSAGE}, {SIGNATURES} or {CHAIN} is larger than any message makes it")
    signatures = entries[SIGNATURES]
    values = {name: _found(name, pattern, signatures) for name, pattern in _PATTERNS.items()}
    if values["algorithm"] not in _ALGORITHMS:
        raise PartsUnreadable(f"{SIGNATURES}: signature algorithm {values['algorithm'].decode()} is not in the profile")
    body_digest = _BODY_DIGEST.search(signatures)
    try:
        leaf, path = hashchain.parse_chain(entries[CHAIN])
    except ValueError as error:
        raise PartsUnreadable(f"{CHAIN}: {error}") from None
    compact = Compact(
        alg=_ALGORITHMS[values["algorithm"]],
        t=_milliseconds(values["signing time"]),
        x5t=_binary("certificate digest", values["certificate digest"]),
        sig=_binary("signature value", values["signature value"]),
    )
    evidence = Evidence(
        compact=compact,
        message=entries[MESSAGE],
        body=entries.get(BODY, b""),
        certificate_der=_binary("certificate", values["certificate"]),
        ca_ders=tuple(_binary("CA certificate", value) for value in _CA.findall(signatures)),
        ocsp_ders=tuple(_binary("OCSP response", value) for value in _OCSP.findall(signatures)),
        path=path,
        token=entries[TOKEN],
    )
    message_digest = _binary("message digest", values["message digest"])
    body = _binary("body digest", body_digest[1]) if body_digest else None
    return Parts(evidence, message_digest, body, leaf)


def _found(name: str, pattern: re.Pattern[bytes], signatures: bytes) -> bytes:
    found = pattern.search(signatures)
    if found is None:
        raise PartsUnreadable(f"{SIGNATURES}: no {name} where the profile has it")
    return found[1]


def _binary(name: str, text: bytes) -> bytes:
    try:
        return b64decode(text, validate=True)
    except Base64Error:
        raise PartsUnreadable(f"{SIGNATURES}: the {name} is not base64") from None


def _milliseconds(text: bytes) -> int:
    try:
        moment = datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        raise PartsUnreadable(f"{SIGNATURES}: signing time {text.decode()} does not exist") from None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    if since.days < 0:
        raise PartsUnreadable(f"{SIGNATURES}: signing time {text.decode()} is before 1970")
    return (since.days * 86400 + since.seconds) * 1000 + since.microseconds // 1000
