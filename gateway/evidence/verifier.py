"""Verifies the evidence of one message offline: container and trust anchor in, one line per check out.

Nothing in the container is believed because it stands there. Every check compares something in it with something else and
says both; a check that cannot be made has failed. The last one renders the whole container again from the values that the
others have checked, so that no bit is left that none of them looked at. Hostile bytes give failed checks, never errors.
"""

import hashlib
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.x509 import ocsp

from gateway.evidence import archive, hashchain, xroad
from gateway.evidence.checks import Check, Checks, Defect, needed
from gateway.evidence.container import BODY, CHAIN_RESULT, MESSAGE, SIGNATURES, entry_names
from gateway.evidence.parts import Parts, take_apart
from gateway.evidence.subject import check_member
from gateway.evidence.timestamp import Timestamp, read_token, verify_token
from gateway.signature import render_time, verify
from gateway.trust.anchor import Anchor
from gateway.trust.certificates import issuer_of, signing_key
from gateway.trust.ocsp import read_ocsp

STAMPED_BEFORE_SIGNED = timedelta(seconds=60)  # how much the authority's clock may lag the signer's


def verify_container(container: bytes, anchor: Anchor) -> list[Check]:
    """Return all checks of an ASiC-E container against ``anchor``; it is valid if every one is ok.

    What is in none of X-Road's own forms is held to ours, byte by byte.
    """
    if xroad.is_foreign(container):
        return xroad.verify_foreign(container, anchor)
    examination = _Examination(anchor)
    examination.examine(container)
    return examination.checks.made


class _Examination:
    def __init__(self, anchor: Anchor) -> None:
        self.anchor = anchor
        self.checks = Checks()

    def examine(self, container: bytes) -> None:
        entries = self.checks.make("zip", lambda: _zip(container))
        if entries is None:
            return
        self.checks.make("entries", lambda: _names(entries))
        parts = self.checks.make("form", lambda: _form(entries))
        if parts is None:
            return
        self.checks.make("message digest", lambda: _message_digest(parts))
        self.checks.make("body digest", lambda: _body_digest(parts))
        certificate = self.checks.make("certificate digest", lambda: _certificate_digest(parts))
        stamp = self._timestamp(parts, entries)
        self.checks.make("time order", lambda: _time_order(parts, needed(stamp, "time-stamp")))
        self._signer(parts, certificate, stamp)
        self.checks.make("rendering", lambda: _rendering(parts, entries))

    def _timestamp(self, parts: Parts, entries: dict[str, bytes]) -> Timestamp | None:
        self.checks.make("hash chain", lambda: _hash_chain(parts, entries))
        imprint = self.checks.make("time-stamp imprint", lambda: _imprint(parts, entries))
        signed = self.checks.make("time-stamp signature", lambda: _token_signature(parts, entries, self.anchor))
        return signed if imprint else None

    def _signer(self, parts: Parts, certificate: x509.Certificate | None, stamp: Timestamp | None) -> None:
        """Check who signed: the value with the certificate's key, and the certificate at the time of the token."""
        compact = parts.evidence.compact

        def known() -> x509.Certificate:
            return needed(certificate, "certificate")

        def at() -> datetime:
            return needed(stamp, "time-stamp").at

        self.checks.make("signature value", lambda: _signature_value(parts, known()))
        self.checks.make("signing time", lambda: _signing_time(compact.t, known()))
        issuer = self.checks.make("certificate path", lambda: _path(known(), self.anchor, at()))
        self.checks.make("key usage", lambda: _key_usage(known()))
        self.checks.make("member", lambda: (True, check_member(parts.evidence.message, known(), self.anchor.instance)))
        self.checks.make(
            "revocation", lambda: _revocation(parts, known(), needed(issuer, "certificate path"), self.anchor, at())
        )


def _zip(container: bytes) -> tuple[dict[str, bytes], str]:
    entries = archive.read(container)
    if entries.get("mimetype") != archive.MIMETYPE:
        raise Defect(f"the entry mimetype does not say {archive.MIMETYPE.decode()}")
    return entries, f"{len(entries)} entries, mimetype first and in the comment, nothing between or beside them"


def _names(entries: dict[str, bytes]) -> tuple[bool, str]:
    expected = entry_names(f'URI="/{BODY}"'.encode() in entries.get(SIGNATURES, b""))
    found = list(entries)
    if found != expected:
        added, missing = sorted({*found} - {*expected}), sorted({*expected} - {*found})
        raise Defect(f"added: {', '.join(added) or 'none'}; missing: {', '.join(missing) or 'none'}; or another order")
    return True, f"exactly the signed references and the parts of the form batch: {', '.join(found)}"


def _form(entries: dict[str, bytes]) -> tuple[Parts, str]:
    parts = take_apart(entries)
    return parts, f"XAdES signature {parts.evidence.compact.alg} in the form of the profile"


def _message_digest(parts: Parts) -> tuple[bool, str]:
    if hashlib.sha512(parts.evidence.message).digest() != parts.message_digest:
        raise Defect(f"SHA-512 of {MESSAGE} differs from the signed reference")
    return True, f"SHA-512 of {MESSAGE} is the signed one"


def _body_digest(parts: Parts) -> tuple[bool, str]:
    body = parts.evidence.body
    if (hashlib.sha512(body).digest() if body else None) != parts.body_digest:
        raise Defect(f"SHA-512 of {BODY} differs from the signed reference, or one of the two is missing")
    return True, f"SHA-512 of {BODY} is the signed one" if body else "no body, and none was signed"


def _certificate_digest(parts: Parts) -> tuple[x509.Certificate, str]:
    der = parts.evidence.certificate_der
    if hashlib.sha256(der).digest() != parts.evidence.compact.x5t:
        raise Defect("the certificate in KeyInfo is not the one whose SHA-256 was signed")
    certificate = x509.load_der_x509_certificate(der)
    return certificate, f"SHA-256 of the certificate in KeyInfo is the signed one: {parts.evidence.compact.x5t.hex()}"


def _signature_value(parts: Parts, certificate: x509.Certificate) -> tuple[bool, str]:
    evidence = parts.evidence
    key = signing_key(certificate, "the signer")
    body_digest = hashlib.sha512(evidence.body).digest() if evidence.body else None
    verify(evidence.compact, hashlib.sha512(evidence.message).digest(), body_digest, key)
    return True, f"{evidence.compact.alg} over message, body, time and certificate, by the certificate's key"


def _signing_time(t: int, certificate: x509.Certificate) -> tuple[bool, str]:
    at = datetime.fromtimestamp(t / 1000, UTC)
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= at <= last:
        raise Defect(f"signed at {at:%FT%TZ}, the certificate is valid from {first:%FT%TZ} to {last:%FT%TZ}")
    return True, f"signed at {render_time(t).decode()}, while the certificate was valid"


def _path(certificate: x509.Certificate, anchor: Anchor, at: datetime) -> tuple[x509.Certificate, str]:
    issuer = issuer_of(certificate, anchor.ca_certificates, at, "the signer's certificate")
    return issuer, f"issued by {issuer.subject.rfc4514_string()} of the anchor, both valid at {at:%FT%TZ}"


def _key_usage(certificate: x509.Certificate) -> tuple[bool, str]:
    signing_key(certificate, "the signer")
    return True, "nonRepudiation: a key that signs on behalf of its member and does nothing else"


def _revocation(
    parts: Parts, certificate: x509.Certificate, issuer: x509.Certificate, anchor: Anchor, at: datetime
) -> tuple[bool, str]:
    if len(parts.evidence.ocsp_ders) != 1:
        raise Defect(f"{len(parts.evidence.ocsp_ders)} OCSP responses, the form has one, for the signer's certificate")
    der = parts.evidence.ocsp_ders[0]
    answer = read_ocsp(der, certificate, issuer, at, timedelta(seconds=anchor.ocsp_freshness_seconds))
    if not isinstance(ocsp.load_der_ocsp_response(der).hash_algorithm, SHA1):
        raise Defect("the OCSP response names the certificate by another hash than SHA-1, X-Road reads SHA-1 only")
    if answer.status != "good":
        raise Defect(f"the OCSP response says {answer.status}")
    return True, f"OCSP response of the authority: good at {answer.this_update:%FT%TZ}, fresh at {at:%FT%TZ}"


def _hash_chain(parts: Parts, entries: dict[str, bytes]) -> tuple[bool, str]:
    leaf = hashlib.sha512(entries[SIGNATURES]).digest()
    if leaf != parts.leaf:
        raise Defect(f"SHA-512 of {SIGNATURES} is not the leaf of the chain")
    root = hashchain.root_of(leaf, parts.evidence.path)
    if hashchain.render_result(root) != entries.get(CHAIN_RESULT):
        raise Defect(f"the chain from {SIGNATURES} does not lead to the root in {CHAIN_RESULT}")
    return True, f"{len(parts.evidence.path)} steps from {SIGNATURES} to the root in {CHAIN_RESULT}"


def _imprint(parts: Parts, entries: dict[str, bytes]) -> tuple[bool, str]:
    if read_token(parts.evidence.token).imprint != hashlib.sha512(entries[CHAIN_RESULT]).digest():
        raise Defect(f"the token's imprint is not the SHA-512 of {CHAIN_RESULT}")
    return True, f"the token is about the SHA-512 of {CHAIN_RESULT}"


def _token_signature(parts: Parts, entries: dict[str, bytes], anchor: Anchor) -> tuple[Timestamp, str]:
    token = parts.evidence.token
    stamp = verify_token(token, entries[CHAIN_RESULT], anchor.tsa_certificates, anchor.ca_certificates)
    return stamp, f"a time-stamping authority of the anchor signed {stamp.at:%FT%TZ}, serial number {stamp.serial}"


def _time_order(parts: Parts, stamp: Timestamp) -> tuple[bool, str]:
    signed_at = datetime.fromtimestamp(parts.evidence.compact.t / 1000, UTC)
    if stamp.at < signed_at - STAMPED_BEFORE_SIGNED:
        raise Defect(f"stamped at {stamp.at:%FT%TZ}, before it claims to be signed, {signed_at:%FT%TZ}")
    return True, f"stamped at {stamp.at:%FT%TZ}, signed at {signed_at:%FT%TZ}"


def _rendering(parts: Parts, entries: dict[str, bytes]) -> tuple[bool, str]:
    rendered = parts.evidence.entries()
    names = {*rendered, *entries}
    differing = sorted(name for name in names if rendered.get(name) != entries.get(name))
    if differing:
        raise Defect(f"rendered again from its values, these entries differ: {', '.join(differing)}")
    return True, f"rendered again from its values, all {len(entries)} entries are the same, byte by byte"
