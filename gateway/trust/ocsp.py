"""What an OCSP response (RFC 6960) says about one certificate, if its authority or a delegate signed it. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from gateway.trust.certificates import issuer_of
from gateway.trust.refusals import CertificateUntrusted, OcspRefused

CLOCK_TOLERANCE = timedelta(seconds=60)
STATUSES = {ocsp.OCSPCertStatus.GOOD: "good", ocsp.OCSPCertStatus.REVOKED: "revoked"}


@dataclass(frozen=True)
class OcspAnswer:
    """``status`` is ``good`` or ``revoked``; ``this_update`` is the moment that the response speaks of."""

    status: str
    produced_at: datetime
    this_update: datetime
    next_update: datetime
    revoked_at: datetime | None


def read_ocsp(
    der: bytes,
    certificate: x509.Certificate,
    issuer: x509.Certificate,
    now: datetime,
    freshness: timedelta,
    *,
    open_ended: bool = False,
) -> OcspAnswer:
    """Return what ``der`` says about ``certificate`` (issued by ``issuer``), if it may be believed at ``now``.

    Raises ``OcspRefused``. ``freshness`` bounds the age of thisUpdate, as X-Road's ocspFreshnessSeconds does.
    ``open_ended`` accepts an answer without nextUpdate, as X-Road's responders give them: freshness alone bounds it.
    """
    response = _parsed(der)
    _check_signature(response, issuer, now)
    _check_about(response, certificate, issuer)
    next_update = response.next_update_utc
    # Freshness prevents the replay of an answer from before the revocation; without nextUpdate its holder would have
    # to guess when to ask again.
    if next_update is None and not open_ended:
        raise OcspRefused("the OCSP response has no nextUpdate")
    this_update = response.this_update_utc
    next_update = next_update or this_update + freshness
    if this_update > now + CLOCK_TOLERANCE:
        raise OcspRefused(f"the OCSP response speaks of {this_update:%FT%TZ}, which is in the future: check the clocks")
    if this_update < now - freshness:
        raise OcspRefused(f"the OCSP response is of {this_update:%FT%TZ}, older than {freshness.total_seconds():.0f} s")
    if next_update < now:
        raise OcspRefused(f"the OCSP response was good until {next_update:%FT%TZ}: a newer one must exist")
    if response.certificate_status not in STATUSES:
        raise OcspRefused("the OCSP responder does not know the certificate: its authority has not issued it")
    status = STATUSES[response.certificate_status]
    return OcspAnswer(status, response.produced_at_utc, this_update, next_update, response.revocation_time_utc)


def _parsed(der: bytes) -> ocsp.OCSPResponse:
    try:
        response = ocsp.load_der_ocsp_response(der)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise OcspRefused(f"the OCSP responder answered {response.response_status.name} instead of a status")
        # X-Road reads the first SingleResponse only; a response about several certificates would be ambiguous.
        if len(list(response.responses)) != 1:
            raise OcspRefused("the OCSP response is about more than one certificate")
    except (ValueError, UnsupportedAlgorithm) as defect:
        raise OcspRefused("the OCSP response is not of the form of RFC 6960") from defect
    return response


def _check_about(response: ocsp.OCSPResponse, certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    """Compare the CertID: an answer "good" about another certificate must not cover this one."""
    try:
        algorithm = response.hash_algorithm
        expected = cert_id(certificate, issuer, algorithm)
    except (ValueError, UnsupportedAlgorithm) as defect:
        raise OcspRefused("the OCSP response's CertID uses a hash other than SHA-1 or SHA-256") from defect
    found = (response.issuer_name_hash, response.issuer_key_hash, response.serial_number)
    if found != expected:
        raise OcspRefused("the OCSP response is about another certificate")


def cert_id(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: HashAlgorithm
) -> tuple[bytes, bytes, int]:
    """Return issuerNameHash, issuerKeyHash and serialNumber (RFC 6960 §4.1.1)."""
    if not isinstance(algorithm, SHA1 | SHA256):
        raise ValueError(f"{algorithm.name} is not used in CertIDs here")
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm).build()
    return request.issuer_name_hash, request.issuer_key_hash, request.serial_number


def _check_signature(response: ocsp.OCSPResponse, issuer: x509.Certificate, now: datetime) -> None:
    """Check the signature with the issuer's key or that of a delegate it has certified for OCSP (RFC 6960 §4.2.2.2)."""
    try:
        signers = [issuer, *(one for one in response.certificates if _is_delegate(one, issuer, now))]
        algorithm = response.signature_hash_algorithm
        if not isinstance(algorithm, HashAlgorithm) or isinstance(algorithm, SHA1):
            raise OcspRefused("the OCSP response is signed with a hash that is no longer safe")
        if not any(_signed_by(response, signer, algorithm) for signer in signers):
            raise OcspRefused("the OCSP response is not signed by the certificate's authority or its delegate")
    except (ValueError, UnsupportedAlgorithm) as defect:
        raise OcspRefused("the OCSP response's signature cannot be read") from defect


def _is_delegate(certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> bool:
    """Without the OCSPSigning purpose any member's certificate could answer for all others."""
    try:
        issuer_of(certificate, [issuer], at, "the OCSP responder's certificate")
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (CertificateUntrusted, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in purposes


def _signed_by(response: ocsp.OCSPResponse, signer: x509.Certificate, algorithm: HashAlgorithm) -> bool:
    key = signer.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True
