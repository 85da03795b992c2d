"""Throw-away authorities for the evidence tests: a CA, its OCSP responder, a time-stamping authority, members' keys.

The token is built here by hand, without the code that a sandbox uses: what verifies it must not share its mistakes.
"""

import datetime as dt
import hashlib
from dataclasses import dataclass, field

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.evidence import hashchain
from gateway.evidence.container import Evidence
from gateway.signature import Signer
from gateway.trust.anchor import Anchor
from gateway.trust.certificates import NON_REPUDIATION_ONLY

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
CA_USAGE = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
REQUEST = (
    b"POST\r\n/r1/SANDBOX/GOV/CIVIL/REGISTRY/registry/data?x=1\r\nContent-Type:application/json\r\n"
    b"X-Road-Client:SANDBOX/GOV/WELFARE/CASH-TRANSFER\r\nx-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\n"
    b"x-road-id:SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86\r\n"
)
RESPONSE = (
    b"200\r\nOK\r\nContent-Type:application/json\r\nx-road-id:SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86\r\n"
    b"x-road-client:SANDBOX/GOV/WELFARE/CASH-TRANSFER\r\nx-road-service:SANDBOX/GOV/CIVIL/REGISTRY/registry\r\n"
)
BODY = b'{"id":"QZ123"}'


def name(**attributes: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(getattr(NameOID, key), value) for key, value in attributes.items()])


def milliseconds(at: dt.datetime) -> int:
    return int(at.timestamp() * 1000)


@dataclass
class Authorities:
    """One instance's trust: keys are made anew, nothing is stored."""

    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    tsa_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(65537, 2048)
    )
    begin: dt.datetime = NOW - dt.timedelta(days=10)
    end: dt.datetime = NOW + dt.timedelta(days=365)

    def __post_init__(self) -> None:
        self.ca = self.issue(name(COMMON_NAME="Test CA"), self.ca_key.public_key(), None, CA_USAGE, ca=True)
        self.tsa = self.issue(
            name(COMMON_NAME="Test TSA"), self.tsa_key.public_key(), self.ca, None, purpose="TIME_STAMPING"
        )
        self.anchor = Anchor("SANDBOX", "http://127.0.0.1:1/", self.ca, (self.ca,), (self.tsa,), 3600)

    def issue(self, subject, public_key, issuer, usage, *, ca=False, purpose=None, begin=None, end=None):
        builder = x509.CertificateBuilder(
            issuer.subject if issuer else subject,
            subject,
            public_key,
            x509.random_serial_number(),
            begin or self.begin,
            end or self.end,
        ).add_extension(x509.BasicConstraints(ca, None), critical=True)
        if usage:
            builder = builder.add_extension(usage, critical=True)
        if purpose:
            purposes = x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, purpose)])
            builder = builder.add_extension(purposes, critical=True)
        return builder.sign(self.ca_key, hashes.SHA256())

    def certify(self, key, code="WELFARE", member_class="GOV", usage=NON_REPUDIATION_ONLY, **validity):
        subject = name(COUNTRY_NAME="QZ", BUSINESS_CATEGORY=member_class, SERIAL_NUMBER=code, COMMON_NAME=code)
        return self.issue(subject, key.public_key(), self.ca, usage, **validity)

    def ocsp(self, certificate, *, at=NOW, status="GOOD", algorithm=None, responder=None) -> bytes:
        revoked = at if status == "REVOKED" else None
        responder_certificate, key = responder or (self.ca, self.ca_key)
        builder = ocsp.OCSPResponseBuilder().add_response(
            certificate, self.ca, algorithm or hashes.SHA1(), ocsp.OCSPCertStatus[status], at, at + dt.timedelta(hours=2),
            revoked, None,
        )  # fmt: skip
        builder = builder.responder_id(ocsp.OCSPResponderEncoding.HASH, responder_certificate)
        if responder:
            builder = builder.certificates([responder_certificate])
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

    def stamp(self, data: bytes, *, at=NOW, digest="sha512", certificate=None, carry=True, **changes) -> bytes:
        """Make a token; ``changes`` replace parts of it before it is signed."""
        tsa = asn1_x509.Certificate.load((certificate or self.tsa).public_bytes(Encoding.DER))
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4",
                "message_imprint": {
                    "hash_algorithm": {"algorithm": "sha512"},
                    "hashed_message": hashlib.sha512(data).digest(),
                },
                "serial_number": 4711,
                "gen_time": at,
            }
        ).dump()
        named = tsp.ESSCertIDv2({"cert_hash": hashlib.sha256(tsa.dump()).digest()})
        attributes = cms.CMSAttributes([
            {"type": "content_type", "values": [changes.get("content_type", "tst_info")]},
            {"type": "message_digest", "values": [hashlib.new(digest, changes.get("content", info)).digest()]},
            {"type": "signing_certificate_v2", "values": [tsp.SigningCertificateV2({"certs": [named]})]},
        ])  # fmt: skip
        family = "ecdsa" if isinstance(self.tsa_key, ec.EllipticCurvePrivateKey) else "rsa"
        digest_algorithm = algos.DigestAlgorithm({"algorithm": digest})
        signer = cms.SignerInfo({
            "version": "v1",
            "sid": cms.SignerIdentifier("issuer_and_serial_number", {
                "issuer": tsa["tbs_certificate"]["issuer"], "serial_number": tsa["tbs_certificate"]["serial_number"],
            }),
            "digest_algorithm": digest_algorithm,
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": f"{digest}_{family}"},
            "signature": self._value(attributes.dump(), digest),
        })  # fmt: skip
        signed = {
            "version": "v3",
            "digest_algorithms": [digest_algorithm],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info)},
            "signer_infos": [signer],
        }
        if carry:
            signed["certificates"] = [cms.CertificateChoices("certificate", tsa)]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)}).dump()

    def _value(self, data: bytes, digest: str) -> bytes:
        algorithm = getattr(hashes, digest.upper())()
        if isinstance(self.tsa_key, ec.EllipticCurvePrivateKey):
            return self.tsa_key.sign(data, ec.ECDSA(algorithm))
        return self.tsa_key.sign(data, padding.PKCS1v15(), algorithm)

    def evidence(self, signer, *, message=REQUEST, body=BODY, at=NOW, ocsp_der=None, neighbours=6, stamped_at=None):
        """Sign a message and stamp it in a batch with ``neighbours`` others."""
        digests = hashlib.sha512(message).digest(), hashlib.sha512(body).digest() if body else None
        certificate = x509.load_der_x509_certificate(signer.certificate_der)
        evidence = Evidence(
            compact=signer.sign(*digests, milliseconds(at)),
            message=message,
            body=body,
            certificate_der=signer.certificate_der,
            ca_ders=(self.ca.public_bytes(Encoding.DER),),
            ocsp_ders=(self.ocsp(certificate, at=at) if ocsp_der is None else ocsp_der,),
            path=(),
            token=b"",
        )
        leaf = hashlib.sha512(evidence.signatures()).digest()
        others = [hashlib.sha512(bytes([at])).digest() for at in range(neighbours)]
        root, paths = hashchain.build([*others[: neighbours // 2], leaf, *others[neighbours // 2 :]])
        token = self.stamp(hashchain.render_result(root), at=stamped_at or at)
        return Evidence(
            evidence.compact, message, body, evidence.certificate_der, evidence.ca_ders, evidence.ocsp_ders,
            paths[neighbours // 2], token,
        )  # fmt: skip


def signer_of(authorities: Authorities, code: str = "WELFARE", kind: str = "EC", **certified) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "EC" else rsa.generate_private_key(65537, 2048)
    return Signer(key, authorities.certify(key, code, **certified).public_bytes(Encoding.DER))
