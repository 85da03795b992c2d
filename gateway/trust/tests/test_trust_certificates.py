"""Even the holder of the configuration key cannot give a member a certificate, or a certificate another life."""

import base64
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from gateway.central.authority import Authority, Signer, new_serial, open_authority
from gateway.central.ocsp import Responder
from gateway.central.testing import payload_of, signed_by
from gateway.trust.certificates import NON_REPUDIATION_ONLY
from gateway.trust.configuration import load
from gateway.trust.refusals import (
    CertificateMisused,
    CertificateOfOtherMember,
    CertificateUntrusted,
    ConfigurationMalformed,
    OcspRefused,
    TrustRefused,
)

HOUR = timedelta(hours=1)
NAME = "Civil Registration Authority"
SUBJECT = [
    (NameOID.COUNTRY_NAME, "QZ"),
    (NameOID.ORGANIZATION_NAME, NAME),
    (NameOID.BUSINESS_CATEGORY, "GOV"),
    (NameOID.SERIAL_NUMBER, "CIVIL"),
    (NameOID.COMMON_NAME, NAME),
]


def usage(**allowed: bool) -> x509.KeyUsage:
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: allowed.get(name, False) for name in names + rest})


def certificate(
    signer: Signer,
    *,
    key: Any = None,
    subject: list[tuple[x509.ObjectIdentifier, str]] = SUBJECT,
    key_usage: x509.KeyUsage | None = NON_REPUDIATION_ONLY,
    ca: bool = False,
    first: datetime | None = None,
    last: datetime | None = None,
) -> x509.Certificate:
    """Issue a certificate that is right but for what the test changes."""
    now = datetime.now(UTC)
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().issuer_name(signer.certificate.subject).public_key(key.public_key())
    builder = builder.subject_name(x509.Name([x509.NameAttribute(oid, value) for oid, value in subject]))
    builder = builder.not_valid_before(first or now - HOUR).not_valid_after(last or now + HOUR)
    builder = builder.serial_number(new_serial())
    builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    return builder.sign(signer.key, SHA256())


def response(authority: Authority, about: x509.Certificate, **changed: Any) -> bytes:
    """Return an OCSP response that is right but for what the test changes."""
    now = datetime.now(UTC)
    responder: Signer = changed.pop("responder", authority.ocsp)
    embedded: list[x509.Certificate] = changed.pop("embedded", [responder.certificate])
    values = {
        "cert": about,
        "issuer": authority.ca.certificate,
        "algorithm": SHA1(),
        "cert_status": ocsp.OCSPCertStatus.GOOD,
        "this_update": now,
        "next_update": now + HOUR,
        "revocation_time": None,
        "revocation_reason": None,
    }
    builder = ocsp.OCSPResponseBuilder().add_response(**{**values, **changed})
    builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder.certificate)
    if embedded:
        builder = builder.certificates(embedded)
    return builder.sign(responder.key, SHA256()).public_bytes(Encoding.DER)


def listing(published: Any, one: x509.Certificate, ocsp_der: bytes, member: str = "GOV/CIVIL") -> bytes:
    """Publish, with central's configuration key, a configuration whose only certificate is ``one``."""
    der = one.public_bytes(Encoding.DER)
    entry = {"certificate": base64.b64encode(der).decode(), "ocsp": base64.b64encode(ocsp_der).decode()}
    gateway = {"code": "g", "member": member, "address": "", "queue": "", "certificates": [entry]}
    return signed_by(published.authority, payload_of(published.signed) | {"gateways": [gateway]})


def refused(published: Any, one: x509.Certificate, ocsp_der: bytes | None = None) -> TrustRefused:
    signed = listing(published, one, ocsp_der if ocsp_der is not None else response(published.authority, one))
    with pytest.raises(TrustRefused) as refusal:
        load(signed, published.anchor, datetime.now(UTC))
    return refusal.value


def test_what_the_tests_below_change_is_accepted_unchanged(published: Any) -> None:
    one = certificate(published.authority.ca)
    assert load(listing(published, one, response(published.authority, one)), published.anchor, datetime.now(UTC))


def test_a_certificate_of_an_authority_of_the_same_name_is_refused(published: Any, tmp_path: Any) -> None:
    other = open_authority(tmp_path, "SANDBOX", "QZ")
    one = certificate(other.ca)
    assert isinstance(refused(published, one, response(other, one)), CertificateUntrusted)


def test_a_member_does_not_issue_certificates(published: Any) -> None:
    civil = Signer(published.civil.private_key, published.civil.certificate)
    assert isinstance(refused(published, certificate(civil)), CertificateUntrusted)


def test_a_member_in_the_anchor_by_mistake_still_issues_nothing(published: Any) -> None:
    one = certificate(Signer(published.civil.private_key, published.civil.certificate))
    anchor = replace(published.anchor, ca_certificates=(*published.anchor.ca_certificates, published.civil.certificate))
    with pytest.raises(CertificateUntrusted):
        load(listing(published, one, response(published.authority, one)), anchor, datetime.now(UTC))


def test_a_self_signed_certificate_is_refused(published: Any) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    root = Signer(key, certificate(Signer(key, published.authority.ca.certificate), key=key, ca=True))
    assert isinstance(refused(published, certificate(root)), CertificateUntrusted)


@pytest.mark.parametrize(("first", "last"), [(-2, -1), (1, 2)])
def test_a_certificate_outside_its_validity_is_refused(published: Any, first: int, last: int) -> None:
    now = datetime.now(UTC)
    one = certificate(published.authority.ca, first=now + first * HOUR, last=now + last * HOUR)
    assert isinstance(refused(published, one), CertificateUntrusted)


def changed_subject(oid: x509.ObjectIdentifier, value: str) -> list[tuple[x509.ObjectIdentifier, str]]:
    return [(name, value if name == oid else old) for name, old in SUBJECT]


SUBJECTS = {
    "another code": changed_subject(NameOID.SERIAL_NUMBER, "WELFARE"),
    "another class": changed_subject(NameOID.BUSINESS_CATEGORY, "COM"),
    "another name": changed_subject(NameOID.COMMON_NAME, "Ministry of Social Welfare"),
    "another organisation": changed_subject(NameOID.ORGANIZATION_NAME, "Ministry of Social Welfare"),
    "another country": changed_subject(NameOID.COUNTRY_NAME, "FI"),
    "another code before the right one": [(NameOID.SERIAL_NUMBER, "WELFARE"), *SUBJECT],
    "another code after the right one": [*SUBJECT, (NameOID.SERIAL_NUMBER, "WELFARE")],
    "no class": [one for one in SUBJECT if one[0] != NameOID.BUSINESS_CATEGORY],
    "the code in other letters": changed_subject(NameOID.SERIAL_NUMBER, "civil"),
}


@pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS.keys())
def test_a_subject_that_is_not_exactly_the_member_is_refused(published: Any, subject: Any) -> None:
    refusal = refused(published, certificate(published.authority.ca, subject=subject))
    assert isinstance(refusal, CertificateOfOtherMember)


def test_a_members_own_certificate_is_refused_under_another_member(published: Any) -> None:
    one = published.welfare.certificate
    assert isinstance(refused(published, one), CertificateOfOtherMember)


MISUSED: dict[str, Callable[[Any], x509.Certificate]] = {
    "authentication too": lambda ca: certificate(ca, key_usage=usage(content_commitment=True, digital_signature=True)),
    "authentication only": lambda ca: certificate(ca, key_usage=usage(digital_signature=True)),
    "issuing": lambda ca: certificate(ca, key_usage=usage(content_commitment=True, key_cert_sign=True), ca=True),
    "no key usage": lambda ca: certificate(ca, key_usage=None),
    "a key on another curve": lambda ca: certificate(ca, key=ec.generate_private_key(ec.SECP384R1())),
}


@pytest.mark.parametrize("make", MISUSED.values(), ids=MISUSED.keys())
def test_a_certificate_for_another_use_is_refused(published: Any, make: Callable[[Any], x509.Certificate]) -> None:
    assert isinstance(refused(published, make(published.authority.ca)), CertificateMisused)


def as_signer(enrolled: Any) -> Signer:
    return Signer(enrolled.private_key, enrolled.certificate)


OCSP: dict[str, Callable[[Any, x509.Certificate], bytes]] = {
    "nothing": lambda p, one: b"",
    "noise": lambda p, one: b"\x30\x03\x0a\x01\x00",
    "a refusal": lambda p, one: Responder(p.authority, HOUR).refuse(ocsp.OCSPResponseStatus.UNAUTHORIZED),
    "about another certificate": lambda p, one: response(p.authority, p.civil.certificate),
    "signed by a member": lambda p, one: response(p.authority, one, responder=as_signer(p.civil)),
    "signed by the time-stamping authority": lambda p, one: response(p.authority, one, responder=p.authority.tsa),
    "signed by the configuration key": lambda p, one: response(p.authority, one, responder=p.authority.configuration),
    "without the delegate's certificate": lambda p, one: response(p.authority, one, embedded=[]),
    "the delegate's certificate, another key": lambda p, one: response(
        p.authority, one, responder=as_signer(p.civil), embedded=[p.authority.ocsp.certificate]
    ),
    "too old": lambda p, one: response(p.authority, one, this_update=datetime.now(UTC) - 2 * HOUR),
    "superseded": lambda p, one: response(
        p.authority, one, this_update=datetime.now(UTC) - HOUR / 2, next_update=datetime.now(UTC) - HOUR / 4
    ),
    "from the future": lambda p, one: response(p.authority, one, this_update=datetime.now(UTC) + HOUR / 2),
    "without an end": lambda p, one: response(p.authority, one, next_update=None),
    "unknown": lambda p, one: response(p.authority, one, cert_status=ocsp.OCSPCertStatus.UNKNOWN),
}


@pytest.mark.parametrize("make", OCSP.values(), ids=OCSP.keys())
def test_an_ocsp_response_that_proves_nothing_is_refused(
    published: Any, make: Callable[[Any, x509.Certificate], bytes]
) -> None:
    one = certificate(published.authority.ca)
    assert isinstance(refused(published, one, make(published, one)), OcspRefused)


def test_a_responder_that_another_authority_certified_is_refused(published: Any, tmp_path: Any) -> None:
    one = certificate(published.authority.ca)
    stranger = open_authority(tmp_path, "SANDBOX", "QZ").ocsp
    assert isinstance(refused(published, one, response(published.authority, one, responder=stranger)), OcspRefused)


def test_every_byte_of_an_ocsp_response_counts(published: Any) -> None:
    """A changed byte is refused, unless it lies outside what is signed and says the same (the embedded certificate's)."""
    one = certificate(published.authority.ca)
    good = response(published.authority, one)
    now = datetime.now(UTC)
    signed_part = ocsp.load_der_ocsp_response(good).tbs_response_bytes
    start = good.index(signed_part)
    for at in range(start, start + len(signed_part)):
        bad = good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]
        with pytest.raises(TrustRefused):
            load(listing(published, one, bad), published.anchor, now)


def test_an_authority_may_answer_for_itself(published: Any) -> None:
    one = certificate(published.authority.ca)
    der = response(published.authority, one, responder=published.authority.ca, embedded=[])
    assert load(listing(published, one, der), published.anchor, datetime.now(UTC))


def test_a_revoked_certificate_stays_known_as_revoked(published: Any) -> None:
    one = certificate(published.authority.ca)
    now = datetime.now(UTC)
    der = response(published.authority, one, cert_status=ocsp.OCSPCertStatus.REVOKED, revocation_time=now - HOUR / 2)
    configuration = load(listing(published, one, der), published.anchor, now)
    (entry,) = configuration.certificates.values()
    assert entry.status == "revoked"
    assert not entry.is_good_at(now)
    assert configuration.gateways[0].certificates == frozenset()


def test_something_else_than_a_certificate_is_refused(published: Any) -> None:
    payload = payload_of(published.signed)
    payload["gateways"][0]["certificates"][0]["certificate"] = base64.b64encode(b"certificate").decode()
    with pytest.raises(CertificateMisused):
        load(signed_by(published.authority, payload), published.anchor, datetime.now(UTC))


def test_one_bad_entry_refuses_the_whole_configuration(published: Any) -> None:
    payload = payload_of(published.signed)
    assert len(payload["gateways"]) == 2
    payload["gateways"][1]["certificates"][0]["ocsp"] = payload["gateways"][0]["certificates"][0]["ocsp"]
    with pytest.raises(OcspRefused):
        load(signed_by(published.authority, payload), published.anchor, datetime.now(UTC))


def test_one_certificate_under_two_gateways_is_refused(published: Any) -> None:
    payload = payload_of(published.signed)
    payload["gateways"].append(payload["gateways"][0] | {"code": "second"})
    with pytest.raises(ConfigurationMalformed, match="twice"):
        load(signed_by(published.authority, payload), published.anchor, datetime.now(UTC))
