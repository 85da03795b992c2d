"""Central's own keys and certificates, and the certification of gateways by X-Road's basic signing profile.

Four keys, all made at the first start in central's own folder, mode 0600: the certification authority, the OCSP responder it
delegates to, the time-stamping authority, and the configuration key, which is certified by nobody because anchors pin it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import randbits

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.trust.certificates import NON_REPUDIATION_ONLY
from gateway.trust.keys import key_at, put_file
from sandroad.problems import Error

# A gateway whose clock runs a little behind must not find a new certificate "not yet valid".
BACKDATED = timedelta(minutes=5)
AUTHORITY_VALIDITY = timedelta(days=3650)
GATEWAY_VALIDITY = timedelta(days=730)

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


class AuthorityMismatch(Error):
    """The keys in the folder belong to another instance or country than the settings name."""


@dataclass(frozen=True)
class Signer:
    """A private key with the certificate of its public key."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate


@dataclass(frozen=True)
class Authority:
    """Central's four signers."""

    instance: str
    country: str
    ca: Signer
    ocsp: Signer
    tsa: Signer
    configuration: Signer

    def certify(
        self, key: PublicKey, *, member: str, name: str, serial: int, ocsp_url: str, now: datetime
    ) -> x509.Certificate:
        """Return the signing certificate of ``member`` (``GOV/CIVIL``) for ``key``; key usage nonRepudiation only."""
        member_class, _, code = member.partition("/")
        subject = _name(
            (NameOID.COUNTRY_NAME, self.country),
            (NameOID.ORGANIZATION_NAME, name),
            (NameOID.BUSINESS_CATEGORY, member_class),
            (NameOID.SERIAL_NUMBER, code),
            (NameOID.COMMON_NAME, name),
        )
        responder = x509.AccessDescription(x509.OID_OCSP, x509.UniformResourceIdentifier(ocsp_url))
        ca = self.ca.certificate
        last = min(now + GATEWAY_VALIDITY, ca.not_valid_after_utc)
        builder = _builder(subject, key, ca.subject, now, last, serial)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(NON_REPUDIATION_ONLY, critical=True)
        builder = builder.add_extension(x509.AuthorityInformationAccess([responder]), critical=False)
        builder = builder.add_extension(_issuer_key(ca), critical=False)
        return builder.sign(self.ca.key, SHA256())


def open_authority(folder: Path, instance: str, country: str) -> Authority:
    """Return the authority whose keys are in ``folder``; what is missing of it is made.

    A crash at any point is mended by the next call: each file appears whole, keys first, and a key whose certificate is
    missing is certified again. Raises ``AuthorityMismatch``.
    """
    now = datetime.now(UTC)
    ca = _signer(folder, "ca", lambda key: _ca_certificate(key, instance, country, now))
    _check_belongs(ca.certificate, instance, country)
    ocsp = _signer(folder, "ocsp", lambda key: _ocsp_certificate(key, ca, now))
    tsa = _signer(folder, "tsa", lambda key: _tsa_certificate(key, ca, now))
    configuration = _signer(folder, "configuration", lambda key: _configuration_certificate(key, ca, now))
    return Authority(instance, country, ca, ocsp, tsa, configuration)


def new_serial() -> int:
    """Return a random certificate serial of 159 bits: unguessable, positive, at most 20 octets (RFC 5280 §4.1.2.2)."""
    return randbits(158) | 1 << 158


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _signer(folder: Path, name: str, certify: Callable[[ec.EllipticCurvePrivateKey], x509.Certificate]) -> Signer:
    key = key_at(folder / f"{name}.key")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityMismatch(f"{name}.key is not an EC key")
    path = folder / f"{name}.pem"
    if not path.exists():
        put_file(path, certify(key).public_bytes(Encoding.PEM))
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    if certificate.public_key() != key.public_key():
        raise AuthorityMismatch(f"{name}.pem certifies another key than {name}.key")
    return Signer(key, certificate)


def _check_belongs(ca: x509.Certificate, instance: str, country: str) -> None:
    """All certificates carry the instance's and country's names: going on under others would break every one of them."""
    names = {attribute.oid: str(attribute.value) for attribute in ca.subject}
    found = names.get(NameOID.ORGANIZATION_NAME), names.get(NameOID.COUNTRY_NAME)
    if found != (instance, country):
        raise AuthorityMismatch(
            f"the keys in this folder are those of instance {found[0]}, country {found[1]}; "
            f"the settings name {instance}, {country}: use another data folder"
        )


def _ca_certificate(key: ec.EllipticCurvePrivateKey, instance: str, country: str, now: datetime) -> x509.Certificate:
    name = _authority_name(instance, country, "Certification Authority")
    builder = _builder(name, key.public_key(), name, now, now + AUTHORITY_VALIDITY, new_serial())
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    return builder.sign(key, SHA256())


def _ocsp_certificate(key: ec.EllipticCurvePrivateKey, ca: Signer, now: datetime) -> x509.Certificate:
    """Delegated responder (RFC 6960 §4.2.2.2); nocheck, or verifiers ask endlessly who vouches for the voucher."""
    builder = _issued(key, ca, "OCSP Responder", now)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False)
    builder = builder.add_extension(x509.OCSPNoCheck(), critical=False)
    return builder.sign(ca.key, SHA256())


def _tsa_certificate(key: ec.EllipticCurvePrivateKey, ca: Signer, now: datetime) -> x509.Certificate:
    """RFC 3161 §2.3: the one extended key usage timeStamping, critical."""
    builder = _issued(key, ca, "Time-Stamping Authority", now)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return builder.sign(ca.key, SHA256())


def _configuration_certificate(key: ec.EllipticCurvePrivateKey, ca: Signer, now: datetime) -> x509.Certificate:
    """Self-signed: it is trusted because the anchor pins it, and the authority's key must not be able to replace it."""
    name = _sibling(ca.certificate, "Configuration")
    builder = _builder(name, key.public_key(), name, now, ca.certificate.not_valid_after_utc, new_serial())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    return builder.sign(key, SHA256())


def _issued(key: ec.EllipticCurvePrivateKey, ca: Signer, what: str, now: datetime) -> x509.CertificateBuilder:
    issuer = ca.certificate
    name = _sibling(issuer, what)
    last = issuer.not_valid_after_utc
    builder = _builder(name, key.public_key(), issuer.subject, now, last, new_serial())
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return builder.add_extension(_issuer_key(issuer), critical=False)


def _builder(
    subject: x509.Name, key: PublicKey, issuer: x509.Name, now: datetime, last: datetime, serial: int
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(serial).not_valid_before(now - BACKDATED).not_valid_after(last)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_name(instance: str, country: str, what: str) -> x509.Name:
    return _name(
        (NameOID.COUNTRY_NAME, country),
        (NameOID.ORGANIZATION_NAME, instance),
        (NameOID.COMMON_NAME, f"{instance} {what}"),
    )


def _sibling(ca: x509.Certificate, what: str) -> x509.Name:
    names = {attribute.oid: str(attribute.value) for attribute in ca.subject}
    return _authority_name(names[NameOID.ORGANIZATION_NAME], names[NameOID.COUNTRY_NAME], what)


def _name(*attributes: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
