"""The OCSP responder (RFC 6960): what central says about one certificate, signed by the authority's delegate."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from gateway.central.authority import Authority
from gateway.central.domain import CertificateRecord
from gateway.trust.ocsp import cert_id

_DER = Encoding.DER
LARGEST_REQUEST = 8 * 1024
# RFC 5280 §4.1.2.2: serial numbers are positive and have at most 20 octets.
SERIAL_BITS = 159
Status = ocsp.OCSPResponseStatus


@dataclass(frozen=True)
class Question:
    """An OCSP request about one certificate of ours, as far as names and keys tell."""

    serial: int
    algorithm: HashAlgorithm
    nonce: bytes | None


class Responder:
    """Signs OCSP responses; ``validity`` is the time from thisUpdate to nextUpdate."""

    def __init__(self, authority: Authority, validity: timedelta) -> None:
        self._authority = authority
        self._validity = validity

    def read(self, der: bytes) -> Question | Status:
        """Return the question in a request, or the status that refuses it (RFC 6960 §2.3)."""
        if len(der) > LARGEST_REQUEST:
            return Status.MALFORMED_REQUEST
        try:
            request = ocsp.load_der_ocsp_request(der)
            question = Question(request.serial_number, request.hash_algorithm, _nonce(request))
            asked = (request.issuer_name_hash, request.issuer_key_hash, request.serial_number)
        except (ValueError, UnsupportedAlgorithm, NotImplementedError, x509.DuplicateExtension):
            return Status.MALFORMED_REQUEST
        if question.serial <= 0 or question.serial.bit_length() > SERIAL_BITS:
            return Status.MALFORMED_REQUEST
        if not isinstance(question.algorithm, SHA1 | SHA256) or asked != self._expected(question):
            # Not about a certificate of this authority: this responder may not speak (RFC 6960 §2.3).
            return Status.UNAUTHORIZED
        return question

    def refuse(self, status: Status) -> bytes:
        """Return an unsigned response that carries only an error status."""
        return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(_DER)

    def answer(self, question: Question, found: CertificateRecord | None, now: datetime) -> bytes:
        """Return the signed response; a certificate that was never issued is ``unknown``."""
        name_hash, key_hash, _ = self._expected(question)
        revoked_at = found.revoked_at if found else None
        status = ocsp.OCSPCertStatus.UNKNOWN
        if found is not None:
            status = ocsp.OCSPCertStatus.REVOKED if revoked_at else ocsp.OCSPCertStatus.GOOD
        builder = ocsp.OCSPResponseBuilder().add_response_by_hash(
            issuer_name_hash=name_hash,
            issuer_key_hash=key_hash,
            serial_number=question.serial,
            algorithm=question.algorithm,
            cert_status=status,
            this_update=now,
            next_update=now + self._validity,
            revocation_time=revoked_at,
            revocation_reason=x509.ReasonFlags(found.revocation_reason) if found and revoked_at else None,
        )
        signer = self._authority.ocsp
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, signer.certificate)
        builder = builder.certificates([signer.certificate])
        if question.nonce is not None:
            builder = builder.add_extension(x509.OCSPNonce(question.nonce), critical=False)
        return builder.sign(signer.key, SHA256()).public_bytes(_DER)

    def about(self, record: CertificateRecord, now: datetime) -> bytes:
        """Return a response for the global configuration: SHA-1 CertID, as X-Road's verifier wants it."""
        return self.answer(Question(record.serial, SHA1(), None), record, now)

    def _expected(self, question: Question) -> tuple[bytes, bytes, int]:
        name_hash, key_hash = self._issuer_hashes(question.algorithm)
        return name_hash, key_hash, question.serial

    def _issuer_hashes(self, algorithm: HashAlgorithm) -> tuple[bytes, bytes]:
        ca = self._authority.ca.certificate
        return cert_id(ca, ca, algorithm)[:2]


def _nonce(request: ocsp.OCSPRequest) -> bytes | None:
    try:
        return request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
    except x509.ExtensionNotFound:
        return None
