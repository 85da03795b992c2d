"""What makes a signing certificate believed: its issuer, its subject and its key. Pure: objects and a time in.

The profile is X-Road's *basic* one for signing certificates: CN and O are the member's name, businessCategory its
class, serialNumber its code, C the country; key usage is nonRepudiation and nothing else.
"""

from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.trust.refusals import CertificateMisused, CertificateOfOtherMember, CertificateUntrusted

SMALLEST_RSA_BITS = 2048

SigningKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def issuer_of(
    certificate: x509.Certificate, authorities: Sequence[x509.Certificate], at: datetime, whose: str
) -> x509.Certificate:
    """Return the authority that issued ``certificate``, both being valid at ``at``.

    ``whose`` names the certificate in the refusal. Raises ``CertificateUntrusted``. The path has exactly one step:
    central's authority issues directly, and without intermediates no member can act as an authority for others.
    """
    issuer = next((authority for authority in authorities if _issued(authority, certificate)), None)
    if issuer is None:
        raise CertificateUntrusted(f"{whose} is not issued by an authority of the anchor")
    for part, what in ((certificate, whose), (issuer, f"the authority of {whose}")):
        # The end of validity bounds how long a stolen key, forgotten by everybody, can be of use.
        if not part.not_valid_before_utc <= at <= part.not_valid_after_utc:
            first, last = part.not_valid_before_utc, part.not_valid_after_utc
            raise CertificateUntrusted(f"{what} is valid from {first:%FT%TZ} to {last:%FT%TZ}, not at {at:%FT%TZ}")
    return issuer


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may issue others at all (basicConstraints, keyCertSign)."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    return constraints.ca and usage.key_cert_sign


def check_subject(certificate: x509.Certificate, member: str, name: str, country: str) -> None:
    """Raise ``CertificateOfOtherMember`` unless the subject is ``member`` (``GOV/CIVIL``) by X-Road's basic profile.

    Prevents one member's certificate from being listed under another, which would let the first sign as the second.
    """
    member_class, _, code = member.partition("/")
    expected = {
        NameOID.BUSINESS_CATEGORY: member_class,
        NameOID.SERIAL_NUMBER: code,
        NameOID.ORGANIZATION_NAME: name,
        NameOID.COMMON_NAME: name,
        NameOID.COUNTRY_NAME: country,
    }
    found = [(attribute.oid, attribute.value) for attribute in certificate.subject]
    # Compared as a whole: a second serialNumber beside the right one is read differently by different verifiers.
    if sorted(found, key=_dotted) != sorted(expected.items(), key=_dotted):
        subject = certificate.subject.rfc4514_string()
        raise CertificateOfOtherMember(f"a certificate listed under {member} has the subject {subject}")


def signing_key(certificate: x509.Certificate, member: str) -> SigningKey:
    """Return the key of a signing certificate, or raise ``CertificateMisused``.

    nonRepudiation alone, so that a signature in evidence was meant as one: a key that also authenticates could be
    made to sign a stranger's challenge. And no end entity may issue certificates.
    """
    try:
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        key = certificate.public_key()
    except (x509.ExtensionNotFound, ValueError) as defect:
        raise CertificateMisused(f"a certificate of {member} has no readable key usage or key") from defect
    if usage != NON_REPUDIATION_ONLY or is_authority(certificate):
        raise CertificateMisused(f"a certificate of {member} has another key usage than nonRepudiation alone")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == ec.SECP256R1.name:
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA_BITS:
        return key
    raise CertificateMisused(
        f"a certificate of {member} has a key that is neither EC P-256 nor RSA of at least 2048 bits"
    )


NON_REPUDIATION_ONLY = x509.KeyUsage(
    digital_signature=False,
    content_commitment=True,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return is_authority(authority)


def _dotted(attribute: tuple[x509.ObjectIdentifier, str | bytes]) -> tuple[str, str]:
    return attribute[0].dotted_string, str(attribute[1])
