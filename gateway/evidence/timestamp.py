"""RFC 3161 time-stamp tokens: what one says, and whether a given authority said it. Verification only.

Nothing in a token is left unlooked at: what its signature does not cover (versions, algorithm lists, embedded
certificates) must have the one value that follows from what it covers. So no bit of a token changes unnoticed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

MAX_TOKEN = 64 * 1024
MAX_DEPTH = 32
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_NO_PARAMETERS = (b"", b"\x05\x00")  # absent or NULL


class TimestampInvalid(ValueError):
    """The token does not prove that these bytes existed at its time; the text says why."""


@dataclass(frozen=True)
class Timestamp:
    """What a token says: the bytes with this SHA-512 (``imprint``) existed ``at`` this moment (aware, UTC)."""

    at: datetime
    imprint: bytes
    serial: int


@dataclass(frozen=True)
class _Token:
    """The parts of a parsed token."""

    signed: cms.SignedData
    signer: cms.SignerInfo
    content: bytes
    said: Timestamp


def read_token(token: bytes) -> Timestamp:
    """Return what a token says, believing nothing yet; ``TimestampInvalid`` if it is no RFC 3161 token in DER."""
    return _parsed(token).said


def verify_token(
    token: bytes,
    data: bytes,
    authorities: Sequence[x509.Certificate],
    issuers: Sequence[x509.Certificate] = (),
) -> Timestamp:
    """Return when ``data`` existed according to one of the time-stamping ``authorities``, or raise ``TimestampInvalid``.

    A token may carry certificates, but only of the ``authorities`` and their ``issuers``.
    """
    parsed = _parsed(token)
    if parsed.said.imprint != hashlib.sha512(data).digest():
        raise TimestampInvalid("the token is about other bytes: its imprint differs from their SHA-512")
    try:
        authority = _authority(parsed.signer, authorities)
        _check_purpose(authority, parsed.said.at)
        _check_uncovered(parsed.signed, parsed.signer, [*authorities, *issuers])
        _check_attributes(parsed.signer, parsed.content, authority)
        _check_signature(parsed.signer, authority)
    except TimestampInvalid:
        raise
    except Exception as error:  # see _parsed
        raise TimestampInvalid(f"not a time-stamp token ({type(error).__name__})") from None
    return parsed.said


def _parsed(token: bytes) -> _Token:
    if len(token) > MAX_TOKEN:
        raise TimestampInvalid(f"{len(token)} bytes, more than the {MAX_TOKEN} of a token")
    _check_der(token)
    try:
        return _read(token)
    except TimestampInvalid:
        raise
    except Exception as error:  # asn1crypto parses lazily and answers hostile bytes with half a dozen kinds of error
        raise TimestampInvalid(f"not a time-stamp token ({type(error).__name__})") from None


def _read(token: bytes) -> _Token:
    envelope = cms.ContentInfo.load(token, strict=True)
    if envelope["content_type"].native != "signed_data":
        raise TimestampInvalid("a token is CMS SignedData (RFC 3161 §2.4.2)")
    signed = envelope["content"]
    if len(signed["signer_infos"]) != 1 or signed["encap_content_info"]["content_type"].native != "tst_info":
        raise TimestampInvalid("a token has one signer and a TSTInfo as its content (RFC 3161 §2.4.2)")
    content = bytes(signed["encap_content_info"]["content"])
    info = tsp.TSTInfo.load(content, strict=True)
    imprint = info["message_imprint"]
    if info["version"].native != "v1" or imprint["hash_algorithm"]["algorithm"].native != "sha512":
        raise TimestampInvalid("the TSTInfo is not version 1 with a SHA-512 imprint")
    said = Timestamp(info["gen_time"].native, imprint["hashed_message"].native, info["serial_number"].native)
    return _Token(signed, signed["signer_infos"][0], content, said)


def _check_der(data: bytes, depth: int = 0) -> None:
    """Raise unless every length is definite and minimal: else one token would have several encodings."""
    at = 0
    if depth > MAX_DEPTH:
        raise TimestampInvalid("not a time-stamp token: nested too deeply")
    while at < len(data):
        head = data[at : at + 2]
        if len(head) < 2 or head[0] & 0x1F == 0x1F or head[1] in (0x80, 0xFF):
            raise TimestampInvalid(f"not DER at depth {depth}, byte {at}")
        start, size = at + 2, head[1]
        if size > 0x80:
            start += size - 0x80
            size = int.from_bytes(data[at + 2 : start], "big")
            if size < 0x80 or data[at + 2] == 0:
                raise TimestampInvalid(f"not DER at depth {depth}, byte {at}: the length has a shorter form")
        at = start + size
        if at > len(data):
            raise TimestampInvalid(f"not DER at depth {depth}: cut off")
        if head[0] & 0x20:
            _check_der(data[start:at], depth + 1)


def _authority(signer: cms.SignerInfo, authorities: Sequence[x509.Certificate]) -> x509.Certificate:
    """Return the authority that the token names as its signer, by issuer and serial number."""
    named = signer["sid"]
    for authority in authorities:
        tbs = _asn1(authority)["tbs_certificate"]
        identity = cms.IssuerAndSerialNumber({"issuer": tbs["issuer"], "serial_number": tbs["serial_number"]})
        if named.name == "issuer_and_serial_number" and named.chosen.dump() == identity.dump():
            return authority
    raise TimestampInvalid("the token is signed by no time-stamping authority of the anchor")


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(Encoding.DER))


def _check_purpose(authority: x509.Certificate, at: datetime) -> None:
    """RFC 3161 §2.3: a key for time-stamps alone; and valid at the time it vouches for."""
    try:
        usage = authority.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        raise TimestampInvalid("the authority's certificate is not for time-stamping") from None
    if not usage.critical or list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING]:
        raise TimestampInvalid("the authority's certificate is not for time-stamping alone, marked critical")
    first, last = authority.not_valid_before_utc, authority.not_valid_after_utc
    if not first <= at <= last:
        raise TimestampInvalid(f"the authority's certificate is valid from {first:%FT%TZ} to {last:%FT%TZ}")


def _check_uncovered(signed: cms.SignedData, signer: cms.SignerInfo, known: Sequence[x509.Certificate]) -> None:
    """Compare all that the signature does not cover with what it must be."""
    versions = signed["version"].dump(), signer["version"].dump()
    if versions != (b"\x02\x01\x03", b"\x02\x01\x01"):
        raise TimestampInvalid("SignedData is version 3 and SignerInfo version 1 (RFC 5652 §5.1, §5.3)")
    algorithm = signer["digest_algorithm"]
    if [one.dump() for one in signed["digest_algorithms"]] != [algorithm.dump()]:
        raise TimestampInvalid("the list of digest algorithms is not the signer's one")
    if algorithm["algorithm"].native not in _HASHES or algorithm["parameters"].dump() not in _NO_PARAMETERS:
        raise TimestampInvalid("the digest algorithm is not SHA-256, SHA-384 or SHA-512")
    if signed["crls"].native is not None or signer["unsigned_attrs"].native is not None:
        raise TimestampInvalid("the token carries revocation lists or unsigned attributes")
    carried = [] if signed["certificates"].native is None else [one.dump() for one in signed["certificates"]]
    ders = {certificate.public_bytes(Encoding.DER) for certificate in known}
    if not ders.issuperset(carried) or len(set(carried)) != len(carried):
        raise TimestampInvalid("the token carries certificates other than the anchor's")


def _check_attributes(signer: cms.SignerInfo, content: bytes, authority: x509.Certificate) -> None:
    """Compare the signed attributes with content and certificate (RFC 5652 §11, RFC 5816 §2.2.1)."""
    attributes = {}
    for attribute in signer["signed_attrs"]:
        name = attribute["type"].native
        if name in attributes or len(attribute["values"]) != 1:
            raise TimestampInvalid(f"signed attribute {name} stands more than once")
        attributes[name] = attribute["values"][0]
    digest = hashlib.new(signer["digest_algorithm"]["algorithm"].native, content).digest()
    if "content_type" not in attributes or attributes["content_type"].native != "tst_info":
        raise TimestampInvalid("the signed content type is not TSTInfo")
    if "message_digest" not in attributes or attributes["message_digest"].native != digest:
        raise TimestampInvalid("the signed digest is not that of the TSTInfo")
    if not _names_certificate(attributes, authority.public_bytes(Encoding.DER)):
        raise TimestampInvalid("the signed attributes name another certificate than the authority's")


def _names_certificate(attributes: dict, der: bytes) -> bool:
    if "signing_certificate_v2" in attributes:
        named = attributes["signing_certificate_v2"]["certs"][0]
        algorithm = named["hash_algorithm"]["algorithm"].native
        return algorithm in _HASHES and named["cert_hash"].native == hashlib.new(algorithm, der).digest()
    if "signing_certificate" in attributes:
        return attributes["signing_certificate"]["certs"][0]["cert_hash"].native == hashlib.sha1(der).digest()
    return False


def _check_signature(signer: cms.SignerInfo, authority: x509.Certificate) -> None:
    covered = b"\x31" + signer["signed_attrs"].dump()[1:]  # signed as SET OF, carried as [0] (RFC 5652 §5.4)
    digest = signer["digest_algorithm"]["algorithm"].native
    algorithm = signer["signature_algorithm"]
    name, value, key = algorithm["algorithm"].native, signer["signature"].native, authority.public_key()
    if algorithm["parameters"].dump() not in _NO_PARAMETERS:
        raise TimestampInvalid("the signature algorithm has parameters")
    try:
        if isinstance(key, rsa.RSAPublicKey) and name in ("rsassa_pkcs1v15", f"{digest}_rsa"):
            key.verify(value, covered, padding.PKCS1v15(), _HASHES[digest])
        elif isinstance(key, ec.EllipticCurvePublicKey) and name == f"{digest}_ecdsa":
            key.verify(value, covered, ec.ECDSA(_HASHES[digest]))
        else:
            raise TimestampInvalid(f"signature algorithm {name} fits neither the authority's key nor the digest")
    except InvalidSignature:
        raise TimestampInvalid("the signature value is not the authority's") from None
