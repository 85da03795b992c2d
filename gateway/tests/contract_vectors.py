"""Makes the test vectors in ``contracts/gateway/vectors/``: ``python -m gateway.tests.contract_vectors`` writes them.

Everything follows from the seed, signatures included (RFC 6979), so the files never change unless the protocol does. The
keys are therefore known to everybody and good for nothing else.
"""

import datetime as dt
import hashlib
import json
import random
from base64 import b64encode
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.envelope import HEAD_BYTES, MAX_BODY, MAX_MESSAGE, REQUEST, RESPONSE, Envelope
from gateway.evidence import hashchain
from gateway.signature import ES256, Compact, Signer, render_signed_properties, request_hash, to_be_signed

FOLDER = Path(__file__).parents[2] / "contracts" / "gateway" / "vectors"
SEED = b"sandroad gateway protocol 1"
T = 1784711087123
DEADLINE = T + 60_000
REQUEST_MESSAGE = (
    b"POST\r\n/r1/SANDBOX/GOV/CIVIL/REGISTRY/registry/data/population/1/read?page=1\r\n"
    b"Content-Type:application/json\r\nX-Road-UserId:QZ-J\xc3\xbcrgen\r\n"
    b"X-Road-Client:SANDBOX/GOV/WELFARE/CASH-TRANSFER\r\n"
    b"x-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\n"
    b"x-road-id:SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86\r\n"
)
REQUEST_BODY = b'{"id":"QZ123"}'


def response_message(hash_of_request: str) -> bytes:
    return (
        b"200\r\nOK\r\nContent-Type:application/json\r\nx-road-id:SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86\r\n"
        b"x-road-client:SANDBOX/GOV/WELFARE/CASH-TRANSFER\r\nx-road-service:SANDBOX/GOV/CIVIL/REGISTRY/registry\r\n"
        b"x-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\nx-road-request-hash:%b\r\n"
    ) % hash_of_request.encode()


class DeterministicSigner(Signer):
    """Signs ECDSA with RFC 6979, so that vectors do not change from run to run."""

    def _value(self, signed: bytes) -> bytes:
        if not isinstance(self._key, ec.EllipticCurvePrivateKey):
            return super()._value(signed)
        r, s = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def ec_key(label: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(SEED + label).digest(), "big") >> 1, ec.SECP256R1())


def rsa_key() -> rsa.RSAPrivateKey:
    dice = random.Random(SEED)
    p, q = prime(dice), prime(dice)
    e = 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    numbers = rsa.RSAPublicNumbers(e, p * q)
    exponents = rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q)
    return rsa.RSAPrivateNumbers(p, q, d, *exponents, numbers).private_key()


def prime(dice: random.Random) -> int:
    """Return a 1,024-bit prime; good enough for a key that everybody may know."""
    while True:
        candidate = dice.getrandbits(1024) | 3 << 1022 | 1
        if all(candidate % small for small in range(3, 2000, 2)) and pow(2, candidate - 1, candidate) == 1:
            return candidate


def signer(key, code: str) -> DeterministicSigner:
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "QZ"),
            x509.NameAttribute(x509.NameOID.BUSINESS_CATEGORY, "GOV"),
            x509.NameAttribute(x509.NameOID.SERIAL_NUMBER, code),
        ]
    )
    begin = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin.replace(year=2036))
    deterministic = True if isinstance(key, ec.EllipticCurvePrivateKey) else None
    made = builder.sign(key, hashes.SHA256(), ecdsa_deterministic=deterministic)
    return DeterministicSigner(key, made.public_bytes(Encoding.DER))


def text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def digests(message: bytes, body: bytes) -> tuple[bytes, bytes | None]:
    return hashlib.sha512(message).digest(), hashlib.sha512(body).digest() if body else None


def described(name: str, one: DeterministicSigner, kind, message: bytes, body: bytes, deadline: int) -> dict[str, Any]:
    """One good envelope with every intermediate value."""
    message_digest, body_digest = digests(message, body)
    compact = one.sign(message_digest, body_digest, T)
    properties = render_signed_properties(T, compact.x5t, body_digest is not None)
    return {
        "name": name,
        "kind": kind.name.lower(),
        "message": text(message),
        "body": text(body),
        "alg": compact.alg,
        "t": T,
        "deadline_ms": deadline,
        "certificate": text(one.certificate_der),
        "x5t": compact.x5t.hex(),
        "message_sha512": message_digest.hex(),
        "body_sha512": body_digest.hex() if body_digest else None,
        "signed_properties_sha256": hashlib.sha256(properties).hexdigest(),
        "signed_info": text(to_be_signed(compact.alg, T, compact.x5t, message_digest, body_digest)),
        "signature": text(compact.sig),
        "request_hash": request_hash(message_digest, body_digest),
        "envelope": text(Envelope(kind, compact, message, body, deadline).encode()),
    }


def envelopes() -> list[dict[str, Any]]:
    welfare, civil = signer(ec_key(b"welfare"), "WELFARE"), signer(ec_key(b"civil"), "CIVIL")
    slow = signer(rsa_key(), "WELFARE")
    response = response_message(request_hash(*digests(REQUEST_MESSAGE, REQUEST_BODY)))
    return [
        described("request with body, ES256", welfare, REQUEST, REQUEST_MESSAGE, REQUEST_BODY, DEADLINE),
        described("request without body, ES256", welfare, REQUEST, REQUEST_MESSAGE, b"", DEADLINE),
        described("request with body, RS512", slow, REQUEST, REQUEST_MESSAGE, REQUEST_BODY, DEADLINE),
        described("request without body, RS512, no deadline", slow, REQUEST, REQUEST_MESSAGE, b"", 0),
        described("response with a body of every byte", civil, RESPONSE, response, bytes(range(256)), 0),
        described("response without body", civil, RESPONSE, response, b"", 0),
    ]


def invalid() -> list[dict[str, Any]]:
    """Envelopes that decode and must fail a later step."""
    welfare, civil = signer(ec_key(b"welfare"), "WELFARE"), signer(ec_key(b"civil"), "CIVIL")
    good = welfare.sign(*digests(REQUEST_MESSAGE, REQUEST_BODY), T)
    theirs = civil.sign(*digests(REQUEST_MESSAGE, REQUEST_BODY), T)
    bodiless = welfare.sign(*digests(REQUEST_MESSAGE, b""), T)
    flipped = bytes([good.sig[0] ^ 1]) + good.sig[1:]

    def case(name: str, step: int, compact: Compact, message=REQUEST_MESSAGE, body=REQUEST_BODY) -> dict[str, Any]:
        envelope = Envelope(REQUEST, compact, message, body, DEADLINE).encode()
        return {"name": name, "step": step, "certificate": text(welfare.certificate_der), "envelope": text(envelope)}

    return [
        case("unknown certificate hash", 2, Compact(ES256, T, bytes(32), good.sig)),
        case("algorithm other than the key's", 4, Compact("RS512", T, welfare.x5t, good.sig * 4)),
        case("message changed", 5, good, message=REQUEST_MESSAGE.replace(b"page=1", b"page=2")),
        case("body changed", 5, good, body=b'{"id":"QZ124"}'),
        case("body added", 5, bodiless),
        case("body dropped", 5, good, body=b""),
        case("body moved into the message", 5, good, message=REQUEST_MESSAGE + REQUEST_BODY, body=b""),
        case("signing time changed", 5, Compact(ES256, T + 1, welfare.x5t, good.sig)),
        case("signature value changed", 5, Compact(ES256, T, welfare.x5t, flipped)),
        case("signature value of zeros", 5, Compact(ES256, T, welfare.x5t, bytes(64))),
        case("signed by another key, claiming this certificate", 5, Compact(ES256, T, welfare.x5t, theirs.sig)),
    ]


def malformed() -> list[dict[str, Any]]:
    """Bytes that are no envelope, each named for its defect; a message or body too long is announced, not sent."""
    welfare = signer(ec_key(b"welfare"), "WELFARE")
    compact = welfare.sign(*digests(REQUEST_MESSAGE, REQUEST_BODY), T)
    good = Envelope(REQUEST, compact, REQUEST_MESSAGE, REQUEST_BODY, DEADLINE).encode()
    at_message = HEAD_BYTES + 64

    def patch(at: int, value: bytes) -> bytes:
        return good[:at] + value + good[at + len(value) :]

    cases = [
        ("empty", "truncated", b""),
        ("another protocol", "magic", b"POST /envelope HTTP/1.1\r\n\r\n"),
        ("magic in lower case", "magic", patch(0, b"srge")),
        ("version 0", "version", patch(4, b"\0")),
        ("version 2", "version", patch(4, b"\2")),
        ("kind 0", "kind", patch(5, b"\0")),
        ("kind 3", "kind", patch(5, b"\3")),
        ("algorithm 0", "algorithm", patch(6, b"\0")),
        ("algorithm 3", "algorithm", patch(6, b"\3")),
        ("signing time in the year 10000", "time", patch(7, (253402300800000).to_bytes(8, "big"))),
        ("signing time with the highest bit", "time", patch(7, b"\x80" + bytes(7))),
        ("deadline in the year 10000", "deadline", patch(15, (253402300800000).to_bytes(8, "big"))),
        ("ES256 signature of 63 bytes", "signature-length", patch(55, (63).to_bytes(2, "big"))),
        ("ES256 signature in DER, 71 bytes", "signature-length", patch(55, (71).to_bytes(2, "big"))),
        ("RS512 signature of 64 bytes", "signature-length", patch(6, b"\2")),
        ("no message", "message-length", patch(57, bytes(4))),
        ("message longer than allowed", "message-length", patch(57, (MAX_MESSAGE + 1).to_bytes(4, "big"))),
        ("body longer than allowed", "body-length", patch(61, (MAX_BODY + 1).to_bytes(4, "big"))),
        ("body of 4 GiB", "body-length", patch(61, b"\xff" * 4)),
        ("head cut off", "truncated", good[: HEAD_BYTES - 1]),
        ("signature cut off", "truncated", good[: HEAD_BYTES + 10]),
        ("last byte missing", "truncated", good[:-1]),
        ("one byte too many", "trailing", good + b"\0"),
        ("two envelopes", "trailing", good + good),
        ("message in Latin-1", "utf-8", patch(at_message + 10, b"\xfc")),
        ("message with an overlong slash", "utf-8", patch(at_message + 10, b"\xc0\xaf")),
        ("message with a surrogate", "utf-8", patch(at_message + 10, b"\xed\xa0\x80")),
    ]
    return [{"name": name, "defect": defect, "envelope": text(envelope)} for name, defect, envelope in cases]


def chains() -> list[dict[str, Any]]:
    made = []
    for count in (1, 2, 3, 5, 8):
        leaves = [hashlib.sha512(SEED + bytes([at])).digest() for at in range(count)]
        root, paths = hashchain.build(leaves)
        rendered = [hashchain.render_chain(leaf, path) for leaf, path in zip(leaves, paths, strict=True)]
        made.append(
            {
                "leaves": [leaf.hex() for leaf in leaves],
                "root": root.hex(),
                "paths": [[{"digest": s.digest.hex(), "before": s.before} for s in path] for path in paths],
                "ts-hashchainresult.xml": hashchain.render_result(root).decode(),
                "ts-hashchain.xml": [chain.decode() for chain in rendered],
            }
        )
    return made


def files() -> dict[str, str]:
    """Return every vector file's text by its name."""
    made = {
        "envelopes.json": envelopes(),
        "invalid.json": invalid(),
        "malformed.json": malformed(),
        "hashchains.json": chains(),
    }
    return {name: json.dumps(value, indent=1, ensure_ascii=False) + "\n" for name, value in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, content in files().items():
        (FOLDER / file).write_text(content)
