"""Verifies containers that X-Road itself wrote, or others in its forms: a signature over the message, over direct references
or over a hash chain; stamped singly or in a batch.

They cannot be rendered again and compared, so this is stricter than X-Road's verifier where that leaves something open: every
part of the message must be signed, and the certificate's digest must be that of the certificate.
"""

import hashlib
from base64 import b64decode
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from gateway.evidence import xroad_archive
from gateway.evidence.canonical import Element, canonical, parse
from gateway.evidence.checks import Check, Checks, Defect, needed
from gateway.evidence.container import CHAIN, CHAIN_RESULT, MESSAGE, SIGNATURES, TOKEN
from gateway.evidence.timestamp import Timestamp, verify_token
from gateway.evidence.xroad_chain import chain_inputs
from gateway.evidence.xroad_member import check_foreign_member
from gateway.trust.anchor import Anchor
from gateway.trust.certificates import issuer_of, signing_key
from gateway.trust.ocsp import read_ocsp

DS, XADES, ASIC = (
    "http://www.w3.org/2000/09/xmldsig#",
    "http://uri.etsi.org/01903/v1.3.2#",
    "http://uri.etsi.org/02918/v1.2.1#",
)
INCLUSIVE, EXCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315", "http://www.w3.org/2001/10/xml-exc-c14n#"
DIGESTS = {
    "http://www.w3.org/2001/04/xmlenc#sha256": "sha256",
    "http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
    "http://www.w3.org/2001/04/xmlenc#sha512": "sha512",
}
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
SIGNED_CHAIN, SIGNED_RESULT = "sig-hashchain.xml", "sig-hashchainresult.xml"
PARTS = {"mimetype", MESSAGE, SIGNATURES, SIGNED_CHAIN, SIGNED_RESULT, CHAIN, CHAIN_RESULT, TOKEN}
PARTS |= {"META-INF/manifest.xml", "META-INF/ASiCManifest.xml"}
STAMPED_BEFORE_SIGNED = timedelta(seconds=60)


def is_foreign(container: bytes) -> bool:
    """Tell whether the signature has a mark of X-Road's forms that ours cannot have, however its bits are flipped."""
    try:
        signatures = xroad_archive.read(container, only=SIGNATURES)[SIGNATURES]
        root = parse(signatures)
        if root.tag == (DS, "Signature"):
            return True
        method = root.one((DS, "Signature"), (DS, "SignedInfo"), (DS, "CanonicalizationMethod"))
        return method.attributes.get("Algorithm") == INCLUSIVE
    except Exception:  # whatever it is, it is held to our own form
        return False


def verify_foreign(container: bytes, anchor: Anchor) -> list[Check]:
    """Return all checks of a container in X-Road's forms against ``anchor``."""
    checks = Checks()
    entries = checks.make("zip", lambda: _zip(container))
    signature = checks.make("form", lambda: _form(needed(entries, "zip")))
    if entries is None or signature is None:
        return checks.made
    covered = checks.make("references", lambda: _references(signature, entries))
    checks.make("entries", lambda: _entries(entries, needed(covered, "references")))
    certificate = checks.make("certificate digest", lambda: _certificate(signature))
    checks.make("signature value", lambda: _value(signature, needed(certificate, "certificate digest")))
    stamp = checks.make("time-stamp", lambda: _time_stamp(signature, entries, anchor))
    checks.make("time order", lambda: _time_order(signature, needed(stamp, "time-stamp")))

    def at() -> datetime:
        return needed(stamp, "time-stamp").at

    def known() -> x509.Certificate:
        return needed(certificate, "certificate digest")

    issuer = checks.make("certificate path", lambda: _path(known(), anchor, at()))
    checks.make("key usage", lambda: (signing_key(known(), "the signer"), "nonRepudiation alone"))
    checks.make("member", lambda: (True, check_foreign_member(entries[MESSAGE], known(), anchor.instance)))
    checks.make("revocation", lambda: _revocation(signature, known(), needed(issuer, "certificate path"), anchor, at()))
    return checks.made


def _zip(container: bytes) -> tuple[dict[str, bytes], str]:
    entries = xroad_archive.read(container)
    return entries, f"{len(entries)} entries"


def _form(entries: dict[str, bytes]) -> tuple[Element, str]:
    root = parse(entries[SIGNATURES])
    signature = root if root.tag == (DS, "Signature") else root.one((DS, "Signature"))
    method = signature.one((DS, "SignedInfo"), (DS, "SignatureMethod")).attributes.get("Algorithm", "")
    return signature, f"XAdES signature in X-Road's form, {method.rpartition('#')[2]}"


def _references(signature: Element, entries: dict[str, bytes]) -> tuple[set[str], str]:
    """Check every reference; return the entries that are covered, directly or through the signed hash chain."""
    covered: set[str] = set()
    properties = signature.one((DS, "Object"), (XADES, "QualifyingProperties"), (XADES, "SignedProperties"))
    to_properties = False
    for reference in signature.one((DS, "SignedInfo")).children(DS, "Reference"):
        uri = reference.attributes.get("URI", "")
        if uri.startswith("#"):
            data = _same_document(signature, uri[1:], properties, reference)
            to_properties = True
        elif uri.startswith("/") and uri[1:] in entries and not reference.children(DS, "Transforms"):
            data = entries[uri[1:]]
            covered.add(uri[1:])
        else:
            raise Defect(f"reference {uri!r} names no entry of the container")
        if _digest(reference, data) != _base64(reference.one((DS, "DigestValue"))):
            raise Defect(f"the digest of {uri} differs from the signed one")
    if not to_properties:
        raise Defect("the signed properties are not among the references")
    if SIGNED_RESULT in covered:
        inputs = chain_inputs(entries, SIGNED_CHAIN, SIGNED_RESULT)
        if f"/{MESSAGE}" not in inputs:
            raise Defect(f"the signed hash chain does not contain {MESSAGE}")
        covered |= {uri[1:] for uri in inputs}
    return covered, f"signed: {', '.join(sorted(covered))} and the signed properties"


def _same_document(signature: Element, identifier: str, properties: Element, reference: Element) -> bytes:
    """Prevent signature wrapping: the Id is unique, and it is that of this signature's own properties."""
    found = [element for element in signature.walk() if element.attributes.get("Id") == identifier]
    if len(found) != 1 or found[0] is not properties:
        raise Defect(f"reference #{identifier} is not to the signed properties of this signature alone")
    transforms = [one for part in reference.children(DS, "Transforms") for one in part.children()]
    names = [one.attributes.get("Algorithm") for one in transforms]
    if names not in ([], [INCLUSIVE], [EXCLUSIVE]) or any(one.children() for one in transforms):
        raise Defect(f"reference #{identifier} has transforms that no form of X-Road has")
    return canonical(properties, exclusive=names == [EXCLUSIVE])


def _digest(holder: Element, data: bytes) -> bytes:
    algorithm = holder.one((DS, "DigestMethod")).attributes.get("Algorithm", "")
    if algorithm not in DIGESTS:
        raise Defect(f"digest algorithm {algorithm!r} is not accepted")
    return hashlib.new(DIGESTS[algorithm], data).digest()


def _base64(element: Element) -> bytes:
    return b64decode("".join(element.text.split()), validate=True)


def _entries(entries: dict[str, bytes], covered: set[str]) -> tuple[bool, str]:
    unsigned = sorted({name for name in entries if name not in PARTS or name == MESSAGE} - covered)
    if unsigned:
        raise Defect(f"entries that nobody signed: {', '.join(unsigned)}")
    return True, "every part of the message is signed, and there is nothing beside the parts of a container"


def _certificate(signature: Element) -> tuple[x509.Certificate, str]:
    der = _base64(signature.one((DS, "KeyInfo"), (DS, "X509Data"), (DS, "X509Certificate")))
    signed = _properties(signature)
    named = [one for name in ("SigningCertificate", "SigningCertificateV2") for one in signed.children(XADES, name)]
    digest = named[0].one((XADES, "Cert"), (XADES, "CertDigest")) if len(named) == 1 else None
    if digest is None or _digest(digest, der) != _base64(digest.one((DS, "DigestValue"))):
        raise Defect("the certificate in KeyInfo is not the one whose digest was signed")
    certificate = x509.load_der_x509_certificate(der)
    return certificate, f"the signed digest is that of {certificate.subject.rfc4514_string()}"


def _properties(signature: Element) -> Element:
    path = (
        (DS, "Object"),
        (XADES, "QualifyingProperties"),
        (XADES, "SignedProperties"),
        (XADES, "SignedSignatureProperties"),
    )
    return signature.one(*path)


def _unsigned(signature: Element, *names: str) -> Element:
    path = "UnsignedProperties", "UnsignedSignatureProperties", *names
    return signature.one((DS, "Object"), (XADES, "QualifyingProperties"), *((XADES, name) for name in path))


def _value(signature: Element, certificate: x509.Certificate) -> tuple[bool, str]:
    signed_info = signature.one((DS, "SignedInfo"))
    c14n = signed_info.one((DS, "CanonicalizationMethod"))
    if c14n.attributes.get("Algorithm") not in (INCLUSIVE, EXCLUSIVE) or c14n.children():
        raise Defect("the canonicalisation of SignedInfo is none that X-Road uses")
    signed = canonical(signed_info, exclusive=c14n.attributes["Algorithm"] == EXCLUSIVE)
    family, _, digest = (
        signed_info.one((DS, "SignatureMethod")).attributes.get("Algorithm", "").rpartition("#")[2].partition("-")
    )
    key, value = certificate.public_key(), _base64(signature.one((DS, "SignatureValue")))
    if isinstance(key, rsa.RSAPublicKey) and family == "rsa":
        key.verify(value, signed, padding.PKCS1v15(), HASHES[digest])
    elif (
        isinstance(key, ec.EllipticCurvePublicKey) and family == "ecdsa" and len(value) == 2 * ((key.key_size + 7) // 8)
    ):
        half = len(value) // 2
        r, s = int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big")
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(HASHES[digest]))
    else:
        raise Defect("the signature method does not fit the certificate's key")
    return True, f"{family}-{digest} over the references, by the certificate's key"


def _time_stamp(signature: Element, entries: dict[str, bytes], anchor: Anchor) -> tuple[Timestamp, str]:
    """A batch token is over the chain's result, a single one over the raw signature value."""
    if CHAIN_RESULT in entries:
        if f"/{SIGNATURES}" not in chain_inputs(entries, CHAIN, CHAIN_RESULT):
            raise Defect(f"the time-stamped hash chain does not contain {SIGNATURES}")
        data, what = entries[CHAIN_RESULT], f"{CHAIN_RESULT}, which leads to {SIGNATURES}"
    else:
        data, what = _base64(signature.one((DS, "SignatureValue"))), "the signature value"
    token = entries.get(TOKEN)
    if token is None:
        token = _base64(_unsigned(signature, "SignatureTimeStamp", "EncapsulatedTimeStamp"))
    stamp = verify_token(token, data, anchor.tsa_certificates, anchor.ca_certificates)
    return stamp, f"an authority of the anchor stamped {what} at {stamp.at:%FT%TZ}"


def _time_order(signature: Element, stamp: Timestamp) -> tuple[bool, str]:
    text = _properties(signature).one((XADES, "SigningTime")).text
    signed_at = datetime.fromisoformat(text)
    if stamp.at < signed_at.astimezone(UTC) - STAMPED_BEFORE_SIGNED:
        raise Defect(f"stamped at {stamp.at:%FT%TZ}, before it claims to be signed, {text}")
    return True, f"stamped at {stamp.at:%FT%TZ}, signed at {text}"


def _path(certificate: x509.Certificate, anchor: Anchor, at: datetime) -> tuple[x509.Certificate, str]:
    issuer = issuer_of(certificate, anchor.ca_certificates, at, "the signer's certificate")
    return issuer, f"issued by {issuer.subject.rfc4514_string()} of the anchor, both valid at {at:%FT%TZ}"


def _revocation(
    signature: Element, certificate: x509.Certificate, issuer: x509.Certificate, anchor: Anchor, at: datetime
) -> tuple[bool, str]:
    der = _base64(_unsigned(signature, "RevocationValues", "OCSPValues", "EncapsulatedOCSPValue"))
    freshness = timedelta(seconds=anchor.ocsp_freshness_seconds)
    answer = read_ocsp(der, certificate, issuer, at, freshness, open_ended=True)
    if answer.status != "good":
        raise Defect(f"the OCSP response says {answer.status}")
    return True, f"OCSP response of the authority: good at {answer.this_update:%FT%TZ}, fresh at {at:%FT%TZ}"
