"""The steps of verification, one after the other, without a network: which one fails for which defect."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.envelope import REQUEST, RESPONSE, Envelope
from gateway.message import render, response_headers
from gateway.signature import Signer
from gateway.trust.configuration import CertificateEntry
from gateway.verification import (
    ALGORITHM,
    DECODED,
    FRESH,
    GOOD,
    HEADERS,
    KNOWN,
    MATCHES,
    MEMBER,
    SIGNATURE,
    Expected,
    Refused,
    digests,
    envelope_name,
    verify_request,
    verify_response,
    verify_signed,
)

NOW = datetime.now(UTC)
T = int(NOW.timestamp() * 1000)
REQUEST_ID = "78b890f3-b1eb-45b2-a512-beec5d7ead23"
SENT = b"the envelope that was sent"
EXPECTED = Expected("I/GOV/A/S", "m", "I/GOV/B/S/x", REQUEST_ID, "hash", "GOV/B", hashlib.sha512(SENT).digest())
OWN = {
    "message_id": "m",
    "client": "I/GOV/A/S",
    "service": "I/GOV/B/S/x",
    "request_id": REQUEST_ID,
    "request_hash": "hash",
}


def party(member: str, key) -> tuple[Signer, CertificateEntry]:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, member)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - timedelta(days=1), NOW + timedelta(days=1))
    der = builder.sign(key, SHA256()).public_bytes(Encoding.DER)
    signer = Signer(key, der)
    start, end = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
    return signer, CertificateEntry(
        signer.x5t, der, key.public_key(), member, "gateway", start, end, b"ocsp", NOW, end, "good", None
    )


A, ENTRY_A = party("GOV/A", ec.generate_private_key(ec.SECP256R1()))
B, ENTRY_B = party("GOV/B", ec.generate_private_key(ec.SECP256R1()))
R, ENTRY_R = party("GOV/A", rsa.generate_private_key(65537, 2048))
KNOWN_ONES = {entry.x5t: entry for entry in (ENTRY_A, ENTRY_B, ENTRY_R)}
REQUEST_LINES = [("X-Road-Client", "I/GOV/A/S"), ("x-road-request-id", REQUEST_ID), ("x-road-id", "m")]


def request(**changed) -> bytes:
    headers = [(name, changed.get(name.lower().replace("-", "_"), value)) for name, value in REQUEST_LINES]
    return render("POST", "/r1/I/GOV/B/S/x/path", headers)


def envelope(message: bytes, body: bytes = b"body", *, signer: Signer = A, kind=REQUEST, t: int = T) -> Envelope:
    return Envelope(kind, signer.sign(*digests(message, body), t), message, body)


def check(sent: Envelope | bytes, kind=REQUEST, known=None):
    data = sent if isinstance(sent, bytes) else sent.encode()
    return verify_signed(data, kind, (KNOWN_ONES if known is None else known).get, NOW, 300.0)


def changed_entry(**changes) -> dict[bytes, CertificateEntry]:
    return {ENTRY_A.x5t: replace(ENTRY_A, **changes)}


GOOD_ONE = envelope(request())
STEPS = {
    "nothing": (lambda: check(b""), DECODED),
    "a tail": (lambda: check(GOOD_ONE.encode() + b"x"), DECODED),
    "the other kind": (lambda: check(envelope(request(), kind=RESPONSE)), DECODED),
    "a stranger's certificate": (lambda: check(GOOD_ONE, known={}), KNOWN),
    "a revoked certificate": (lambda: check(GOOD_ONE, known=changed_entry(status="revoked")), GOOD),
    "a certificate that ended": (lambda: check(GOOD_ONE, known=changed_entry(not_after=NOW - timedelta(1))), GOOD),
    "a certificate of tomorrow": (lambda: check(GOOD_ONE, known=changed_entry(not_before=NOW + timedelta(1))), GOOD),
    "a status that is too old": (lambda: check(GOOD_ONE, known=changed_entry(next_update=NOW - timedelta(1))), GOOD),
    "another algorithm": (
        lambda: check(GOOD_ONE, known={ENTRY_A.x5t: replace(ENTRY_R, x5t=ENTRY_A.x5t)}),
        ALGORITHM,
    ),
    "an altered message": (lambda: check(replace(GOOD_ONE, message=GOOD_ONE.message + b"A:b\r\n")), SIGNATURE),
    "an altered body": (lambda: check(replace(GOOD_ONE, body=b"Body")), SIGNATURE),
    "a body taken away": (lambda: check(replace(GOOD_ONE, body=b"")), SIGNATURE),
    "a body added": (lambda: check(replace(envelope(request(), b""), body=b"x")), SIGNATURE),
    "another key": (lambda: check(GOOD_ONE, known=changed_entry(public_key=ENTRY_B.public_key)), SIGNATURE),
    "signed long ago": (lambda: check(envelope(request(), t=T - 301_000)), FRESH),
    "signed in the future": (lambda: check(envelope(request(), t=T + 301_000)), FRESH),
    "no request line": (lambda: verify_request(check(envelope(b"POST\r\n")), "I"), HEADERS),
    "a request id that is none": (
        lambda: verify_request(check(envelope(request(x_road_request_id="1"))), "I"),
        HEADERS,
    ),
    "a client of another member": (
        lambda: verify_request(check(envelope(request(x_road_client="I/GOV/B/S"))), "I"),
        MEMBER,
    ),
    "a client of another instance": (lambda: verify_request(check(GOOD_ONE), "J"), MEMBER),
}


@pytest.mark.parametrize(("attempt", "step"), STEPS.values(), ids=STEPS.keys())
def test_a_request_fails_at_the_step_that_its_defect_concerns(attempt, step):
    with pytest.raises(Refused) as refused:
        attempt()
    assert refused.value.step == step


@pytest.mark.parametrize("signer", [A, R], ids=["ES256", "RS512"])
@pytest.mark.parametrize("body", [b"", b"body"])
@pytest.mark.parametrize("age", [0, 299_000, -299_000])
def test_a_good_request_passes_all_steps(signer, body, age):
    signed = check(envelope(request(), body, signer=signer, t=T - age))
    assert verify_request(signed, "I").message_id == "m"
    assert signed.envelope.body == body


def answer(signer: Signer = B, more=(), drop: str = "", changed=()):
    own = response_headers([("A", "b")], **(OWN | dict(changed)))
    headers = [pair for pair in own if pair[0] != drop] + list(more)
    return check(envelope(render("200", "OK", headers), signer=signer, kind=RESPONSE), RESPONSE)


def test_the_answer_to_the_request_passes():
    assert verify_response(answer(), EXPECTED).status == 200


@pytest.mark.parametrize(
    ("field", "header", "text"),
    [
        ("client", "x-road-client", "Response client id does not match request message"),
        ("message_id", "x-road-id", "Response message id does not match request message"),
        ("service", "x-road-service", "Response service id does not match request message"),
        ("request_id", "x-road-request-id", "Response message request id does not match request message"),
        ("request_hash", "x-road-request-hash", "Response message hash does not match request message"),
    ],
)
def test_an_answer_to_another_request_is_inconsistent(field, header, text):
    for signed in (answer(changed={field: "other"}), answer(drop=header), answer(more=[(header, "other")])):
        with pytest.raises(Refused) as refused:
            verify_response(signed, EXPECTED)
        assert (refused.value.step, refused.value.code, refused.value.message) == (
            MATCHES,
            "InconsistentResponse",
            text,
        )


def test_an_answer_of_another_member_is_not_believed():
    with pytest.raises(Refused) as refused:
        verify_response(answer(signer=A), EXPECTED)
    assert refused.value.step == MEMBER


def refusal(name: str, *headers: tuple[str, str]):
    message = render("500", "Internal Server Error", [*headers, ("x-sandroad-refused", name)])
    return check(envelope(message, signer=B, kind=RESPONSE), RESPONSE)


def test_a_refusal_counts_for_the_very_bytes_that_were_sent():
    error = ("x-road-error", "Server.ServerProxy.InvalidSignatureValue")
    name = envelope_name(hashlib.sha512(SENT).digest())
    assert verify_response(refusal(name, error), EXPECTED).status == 500
    with pytest.raises(Refused, match=r"refused .*InvalidSignatureValue.* other bytes than were sent"):
        verify_response(refusal(envelope_name(hashlib.sha512(b"altered").digest()), error), EXPECTED)
    with pytest.raises(Refused) as refused:
        verify_response(refusal(name), EXPECTED)
    assert refused.value.step == HEADERS
