"""An attacker between the gateways, or at one of them: whatever he alters, copies or makes up is refused unread."""

import secrets
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from sqlalchemy import create_engine, text

from gateway.envelope import REQUEST, RESPONSE, Envelope
from gateway.message import parse_response
from gateway.signature import Signer, to_be_signed
from gateway.testing import CLIENT, SERVICE, GatewayUnderTest
from gateway.transports.direct import CONTENT_TYPE, DELIVERY, PATH
from gateway.trust.enrolment import stored
from gateway.verification import digests

PROVIDER = "Server.ServerProxy."


def signer_of(gateway: GatewayUnderTest) -> Signer:
    """Return a gateway's own signer: what its owner, or a thief of its key, can sign with."""
    enrolled = stored(Path(gateway.settings["SANDROAD_DATA"]))
    assert enrolled is not None
    return Signer(enrolled.private_key, enrolled.certificate_der)


def message_of(
    client: str = CLIENT, *, request_id: str = "", more: str = "", target: str = f"/r1/{SERVICE}/data/x"
) -> bytes:
    request_id = request_id or str(uuid.uuid4())
    lines = ["POST", target, f"X-Road-Client:{client}", f"x-road-request-id:{request_id}", "x-road-id:attack"]
    return ("\r\n".join(lines) + "\r\n" + more).encode()


def signed(signer: Signer, message: bytes, body: bytes = b"pay", *, kind=REQUEST, ago: float = 0.0) -> Envelope:
    return Envelope(kind, signer.sign(*digests(message, body), int((time.time() - ago) * 1000)), message, body)


def deliver(gateway: GatewayUnderTest, data: bytes, key: str = "") -> Envelope:
    """Deliver bytes to a gateway's peer side as another gateway would; return its answer."""
    headers = {"Content-Type": CONTENT_TYPE, DELIVERY: key or secrets.token_urlsafe(24)}
    answer = requests.post(gateway.peer_address + PATH, data=data, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    return Envelope.decode(answer.content)


def error_of(envelope: Envelope) -> str:
    """Return the error type in a gateway's answer, empty if the service answered."""
    assert envelope.kind == RESPONSE
    return parse_response(envelope.message).value("x-road-error") or ""


@pytest.fixture
def attacker(network):
    """The provider's gateway with what it must not do afterwards: call the service, or log the message as accepted."""
    before = network.civil.logged()
    yield network
    assert network.service.seen == []
    assert network.civil.logged() == before


def test_the_envelope_that_the_attacks_start_from_is_accepted(network):
    assert error_of(deliver(network.civil, signed(signer_of(network.welfare), message_of()).encode())) == ""
    assert network.service.seen[-1].body == b"pay"


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize("part", ["message", "body", "time", "signature"])
def test_one_flipped_bit_anywhere_is_refused(attacker, part):
    envelope = signed(signer_of(attacker.welfare), message_of())
    compact = envelope.compact
    altered = {
        "message": replace(envelope, message=envelope.message.replace(b"data/x", b"data/y")),
        "body": replace(envelope, body=flipped(envelope.body, 0)),
        "time": replace(envelope, compact=replace(compact, t=compact.t + 1)),
        "signature": replace(envelope, compact=replace(compact, sig=flipped(compact.sig, 40))),
    }[part]
    assert error_of(deliver(attacker.civil, altered.encode())) == PROVIDER + "InvalidSignatureValue"


MALFORMED = {
    "nothing": lambda _good: b"",
    "something else": lambda _good: b"<xml/>",
    "cut off": lambda good: good[:-1],
    "with a tail": lambda good: good + b"x",
}


@pytest.mark.parametrize("damage", MALFORMED.values(), ids=MALFORMED.keys())
def test_bytes_that_are_no_envelope_are_refused(attacker, damage):
    data = damage(signed(signer_of(attacker.welfare), message_of()).encode())
    assert error_of(deliver(attacker.civil, data)) == PROVIDER + "InvalidMessage"


def test_a_key_that_central_never_certified_is_refused(attacker):
    envelope = signed(signer_of(attacker.welfare), message_of())
    unknown = replace(envelope, compact=replace(envelope.compact, x5t=secrets.token_bytes(32)))
    assert error_of(deliver(attacker.civil, unknown.encode())) == PROVIDER + "SignatureVerification.CertNotFound"


def test_a_certificate_without_its_key_is_of_no_use(attacker):
    compact = signed(signer_of(attacker.welfare), message_of()).compact
    made_up = to_be_signed(compact.alg, compact.t, compact.x5t, *digests(message_of(), b"pay"))
    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(made_up, ec.ECDSA(SHA256())))
    forged = replace(compact, sig=r.to_bytes(32, "big") + s.to_bytes(32, "big"))
    envelope = Envelope(REQUEST, forged, message_of(), b"pay")
    assert error_of(deliver(attacker.civil, envelope.encode())) == PROVIDER + "InvalidSignatureValue"


@pytest.mark.parametrize("ago", [301, -301])
def test_an_envelope_that_is_not_fresh_is_refused(attacker, ago):
    old = signed(signer_of(attacker.welfare), message_of(), ago=ago)
    assert error_of(deliver(attacker.civil, old.encode())) == PROVIDER + "SignatureVerification.NotFresh"


def test_a_response_is_no_request(attacker):
    turned = signed(signer_of(attacker.welfare), message_of(), kind=RESPONSE)
    assert error_of(deliver(attacker.civil, turned.encode())) == PROVIDER + "InvalidMessage"


def test_a_member_cannot_sign_for_another(attacker):
    as_civil = signed(signer_of(attacker.welfare), message_of("SANDBOX/GOV/CIVIL/REGISTRY"))
    error = error_of(deliver(attacker.civil, as_civil.encode()))
    assert error == PROVIDER + "SignatureVerification.IncorrectCertificate"


HEADER_DEFECTS = {
    "a second client": "X-Road-Client:SANDBOX/GOV/CIVIL/REGISTRY\r\n",
    "an alias of the client": "Information-Mediator-Client:SANDBOX/GOV/CIVIL/REGISTRY\r\n",
    "a second request id": "X-Road-Request-Id:00000000-0000-0000-0000-000000000000\r\n",
    "a connection header": "Host:elsewhere.example\r\n",
    "a length of its own": "Content-Length:0\r\n",
    "a line within a line": "X-A:1\nX-Sandroad-Gateway:forged\r\n",
    "no colon": "X-A\r\n",
    "a blank line": "\r\n",
    "no end": "X-A:1",
}


@pytest.mark.parametrize("more", HEADER_DEFECTS.values(), ids=HEADER_DEFECTS.keys())
def test_a_signed_message_that_breaks_the_header_rules_is_refused(attacker, more):
    envelope = signed(signer_of(attacker.welfare), message_of(more=more))
    assert error_of(deliver(attacker.civil, envelope.encode())) == PROVIDER + "InvalidRest"


def test_a_gateways_secret_in_a_signed_message_does_not_reach_the_service(network):
    envelope = signed(signer_of(network.welfare), message_of(more="X-Sandroad-Gateway:forged\r\n"))
    assert error_of(deliver(network.civil, envelope.encode())) == ""
    assert "forged" not in network.service.seen[-1].values("X-Sandroad-Gateway")


def test_a_replayed_envelope_is_executed_once_and_refused_the_second_time(network):
    data = signed(signer_of(network.welfare), message_of()).encode()
    assert error_of(deliver(network.civil, data)) == ""
    assert error_of(deliver(network.civil, data)) == PROVIDER + "InvalidRequest.Replayed"
    assert network.executed() == 1


def test_a_request_id_cannot_be_used_for_another_message(network):
    request_id, key = str(uuid.uuid4()), secrets.token_urlsafe(24)
    welfare = signer_of(network.welfare)
    first = signed(welfare, message_of(request_id=request_id), b"pay 1")
    second = signed(welfare, message_of(request_id=request_id), b"pay 1000000")
    assert error_of(deliver(network.civil, first.encode(), key)) == ""
    assert error_of(deliver(network.civil, second.encode(), key)) == PROVIDER + "InvalidRequest.Replayed"
    assert network.executed() == 1


def test_a_redelivery_gets_the_stored_answer_and_nothing_runs_again(network):
    data, key = signed(signer_of(network.welfare), message_of()).encode(), secrets.token_urlsafe(24)
    first, second = deliver(network.civil, data, key), deliver(network.civil, data, key)
    assert first == second
    assert network.executed() == 1


def test_a_refused_request_cannot_be_replayed_once_the_right_is_given(network):
    forbidden = f"/r1/{SERVICE.replace('REGISTRY/registry', 'IDENTITY/forbidden')}/data"
    data = signed(signer_of(network.welfare), message_of(target=forbidden)).encode()
    assert error_of(deliver(network.civil, data)) == PROVIDER + "AccessDenied"
    right = {"memberClass": "GOV", "memberCode": "CIVIL", "applicationId": "IDENTITY", "serviceId": "forbidden"}
    consumer = {"memberClass": "GOV", "memberCode": "WELFARE", "applicationId": "CASH-TRANSFER"}
    network.civil.steward("PATCH", "/api/v1/rights/allow", [{**right, "rights": [consumer]}]).raise_for_status()
    try:
        assert error_of(deliver(network.civil, data)) == PROVIDER + "InvalidRequest.Replayed"
        assert network.service.seen == []
    finally:
        network.civil.steward("PATCH", "/api/v1/rights/deny", [{**right, "rights": [consumer]}]).raise_for_status()


def test_a_deadline_that_has_passed_is_not_executed(network):
    late = replace(signed(signer_of(network.welfare), message_of()), deadline_ms=int(time.time() * 1000) - 1)
    answer = deliver(network.civil, late.encode())
    assert error_of(answer) == PROVIDER + "IOError"
    assert b"was not executed" in answer.body
    assert network.service.seen == []


@pytest.mark.parametrize("body", [b"pay", b""], ids=["in the body", "in the message"])
def test_a_bit_flipped_after_signing_is_noticed_by_the_provider(network, body):
    before = network.civil.logged()
    network.welfare.steward("PUT", "/-/faults/flip-bit", {"times": 1}).raise_for_status()
    answer = network.welfare.call(body=body)
    assert answer.error == PROVIDER + "InvalidSignatureValue"
    assert answer.document["message"] == "Signature is not valid: the bytes are not those that were signed"
    assert network.service.seen == []
    assert network.civil.logged() == before
    assert network.welfare.call(body=body).status == 200


def test_an_envelope_sent_twice_is_executed_once(network):
    network.welfare.steward("PUT", "/-/faults/replay", {"times": 1}).raise_for_status()
    assert network.welfare.call().error == PROVIDER + "InvalidRequest.Replayed"
    assert network.executed() == 1


def test_contents_of_a_service_logged_as_metadata_are_nowhere_on_disk(network):
    quiet, secret = SERVICE.replace("registry", "quiet"), secrets.token_hex(16).encode()
    answer = network.welfare.call(path=f"/data/{secret.decode()}", service=quiet, body=secret)
    assert answer.status == 200
    network.civil.records()
    for database in Path(network.civil.settings["SANDROAD_DATA"]).glob("gateway.db*"):
        assert secret not in database.read_bytes()
    assert secret.decode() not in network.civil.output
    engine = create_engine(network.civil.settings["SANDROAD_DATABASE"])
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM records WHERE request_id = :id")
        assert connection.execute(query, {"id": answer.values("x-road-request-id")[0]}).scalar() == 2
    engine.dispose()
