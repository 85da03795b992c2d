"""The time-stamping authority (RFC 3161): a signed statement that a digest existed at a moment of the real clock."""

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime

from asn1crypto import cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.central.authority import Signer, new_serial

# A policy of our own, in the arc that needs no registration (2.25 and a UUID): a sandbox's time, no audited practice.
POLICY = "2.25.170729616655534057638519320585252484912"
IMPRINTS = {"sha256": 32, "sha384": 48, "sha512": 64}
LARGEST_QUERY = 64 * 1024
LONGEST_NONCE_BITS = 512


class QueryRefused(Exception):
    """The query is answered with status *rejection*; ``failure`` is a PKIFailureInfo name (RFC 3161 §2.4.2)."""

    def __init__(self, failure: str, text: str) -> None:
        super().__init__(text)
        self.failure = failure
        self.text = text


class TimeStampingAuthority:
    """Answers RFC 3161 queries with tokens of one signer."""

    def __init__(self, signer: Signer, clock: Callable[[], datetime]) -> None:
        self._signer = signer
        self._clock = clock
        self._certificate = asn1_x509.Certificate.load(signer.certificate.public_bytes(Encoding.DER))
        self._signing_certificate = _signing_certificate(signer.certificate)

    def answer(self, query: bytes) -> bytes:
        """Return the DER TimeStampResp to a DER TimeStampReq; whatever is wrong with the query becomes a rejection."""
        try:
            asked = _read(query)
        except QueryRefused as refused:
            return _rejection(refused)
        token = self._token(asked)
        return tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump()

    def _token(self, asked: tsp.TimeStampReq) -> cms.ContentInfo:
        info = self._info(asked)
        content = info.dump()
        attributes = self._attributes(content)
        # RFC 5652 §5.4: what is signed is the SET OF attributes in DER, not with the [0] tag it travels under.
        signature = self._signer.key.sign(attributes.dump(), ec.ECDSA(SHA256()))
        signer_info = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                {
                    "issuer_and_serial_number": cms.IssuerAndSerialNumber(
                        {"issuer": self._certificate.issuer, "serial_number": self._certificate.serial_number}
                    )
                }
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": attributes,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": signature,
        }
        signed = {
            "version": "v3",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(content)},
            "signer_infos": [signer_info],
        }
        if asked["cert_req"].native:
            signed["certificates"] = [cms.CertificateChoices("certificate", self._certificate)]
        return cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(signed)})

    def _info(self, asked: tsp.TimeStampReq) -> tsp.TSTInfo:
        now = self._clock().astimezone(UTC)
        values = {
            "version": "v1",
            "policy": POLICY,
            "message_imprint": asked["message_imprint"],
            "serial_number": new_serial(),
            "gen_time": now.replace(microsecond=now.microsecond // 1000 * 1000),
            "accuracy": {"seconds": 1},
        }
        if asked["nonce"].native is not None:
            values["nonce"] = asked["nonce"].native
        return tsp.TSTInfo(values)

    def _attributes(self, content: bytes) -> cms.CMSAttributes:
        return cms.CMSAttributes(
            [
                {"type": "content_type", "values": ["tst_info"]},
                {"type": "message_digest", "values": [hashlib.sha256(content).digest()]},
                {"type": "signing_certificate_v2", "values": [self._signing_certificate]},
            ]
        )


def _signing_certificate(certificate: x509.Certificate) -> tsp.SigningCertificateV2:
    """RFC 5816: names the certificate by its SHA-256, so that another one for the same key cannot take its place."""
    digest = hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()
    return tsp.SigningCertificateV2({"certs": [tsp.ESSCertIDv2({"cert_hash": digest})]})


def _read(query: bytes) -> tsp.TimeStampReq:
    """Return a query that can be granted, or raise ``QueryRefused``."""
    if not 0 < len(query) <= LARGEST_QUERY:
        raise QueryRefused("bad_data_format", f"a time-stamp query has 1 to {LARGEST_QUERY} bytes")
    try:
        asked = tsp.TimeStampReq.load(query, strict=True)
        version, policy = asked["version"].native, asked["req_policy"].native
        algorithm, digest = asked["message_imprint"]["hash_algorithm"]["algorithm"].native, _digest(asked)
        nonce, extensions = asked["nonce"].native, asked["extensions"].native
        asked["cert_req"].native  # noqa: B018 (parsed here, so that a defect shows here)
    except (ValueError, TypeError, KeyError, OverflowError) as defect:
        raise QueryRefused("bad_data_format", "the query is not a TimeStampReq in DER") from defect
    if version != "v1":
        raise QueryRefused("bad_request", "only version 1 of TimeStampReq exists")
    if algorithm not in IMPRINTS:
        raise QueryRefused("bad_alg", "digests are SHA-256, SHA-384 or SHA-512")
    if len(digest) != IMPRINTS[algorithm]:
        raise QueryRefused("bad_data_format", f"a digest of {algorithm} has {IMPRINTS[algorithm]} bytes")
    if policy is not None and policy != POLICY:
        raise QueryRefused("unaccepted_policy", f"the only policy here is {POLICY}")
    if extensions:
        raise QueryRefused("unaccepted_extensions", "no extensions are known here")
    if nonce is not None and nonce.bit_length() > LONGEST_NONCE_BITS:
        raise QueryRefused("bad_request", f"a nonce has at most {LONGEST_NONCE_BITS} bits")
    return asked


def _digest(asked: tsp.TimeStampReq) -> bytes:
    digest = asked["message_imprint"]["hashed_message"].native
    if not isinstance(digest, bytes):
        raise TypeError("the digest is not an OCTET STRING")
    return digest


def _rejection(refused: QueryRefused) -> bytes:
    status = {"status": "rejection", "status_string": [refused.text], "fail_info": {refused.failure}}
    return _WithoutToken({"status": status}).dump()


class _WithoutToken(core.Sequence):
    """A TimeStampResp as a refusal carries it; asn1crypto's own insists on a token (RFC 3161 §2.4.2 makes it optional)."""

    _fields = [("status", tsp.PKIStatusInfo)]  # noqa: RUF012
