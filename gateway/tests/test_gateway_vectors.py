"""The published vectors: they follow from the code, and the code obeys them as another implementation would."""

import hashlib
import json
from base64 import b64decode, b64encode
from typing import Any

import pytest
from cryptography import x509

from gateway.envelope import Envelope, MalformedEnvelope
from gateway.signature import SignatureInvalid, algorithm_of, request_hash, to_be_signed, verify
from gateway.tests import contract_vectors


def load(name: str) -> list[dict]:
    return json.loads((contract_vectors.FOLDER / name).read_text())


def test_the_vectors_are_those_that_the_code_makes():
    made = contract_vectors.files()
    assert sorted(made) == sorted(file.name for file in contract_vectors.FOLDER.glob("*.json"))
    for name, content in made.items():
        assert (contract_vectors.FOLDER / name).read_text() == content, f"{name}: the protocol has changed"


def named(name: str) -> list:
    return [pytest.param(case, id=case["name"]) for case in load(name)]


def key_of(certificate: bytes) -> Any:
    """The vectors' certificates have keys of the two kinds that sign; types know of more."""
    return x509.load_der_x509_certificate(certificate).public_key()


@pytest.mark.parametrize("case", named("envelopes.json"))
def test_a_good_envelope_decodes_and_verifies(case):
    envelope = Envelope.decode(b64decode(case["envelope"]))
    assert envelope.encode() == b64decode(case["envelope"])
    assert envelope.kind.name.lower() == case["kind"] and envelope.deadline_ms == case["deadline_ms"]
    assert (envelope.message, envelope.body) == (b64decode(case["message"]), b64decode(case["body"]))
    compact = envelope.compact
    assert (compact.alg, compact.t, compact.x5t.hex()) == (case["alg"], case["t"], case["x5t"])
    message_digest = hashlib.sha512(envelope.message).digest()
    body_digest = hashlib.sha512(envelope.body).digest() if envelope.body else None
    signed = to_be_signed(compact.alg, compact.t, compact.x5t, message_digest, body_digest)
    assert signed == b64decode(case["signed_info"])
    assert request_hash(message_digest, body_digest) == case["request_hash"]
    certificate = b64decode(case["certificate"])
    assert hashlib.sha256(certificate).hexdigest() == case["x5t"]
    verify(compact, message_digest, body_digest, key_of(certificate))


@pytest.mark.parametrize("case", named("malformed.json"))
def test_a_malformed_envelope_is_refused_for_its_defect(case):
    with pytest.raises(MalformedEnvelope) as refused:
        Envelope.decode(b64decode(case["envelope"]))
    assert refused.value.defect == case["defect"]


@pytest.mark.parametrize("case", named("invalid.json"))
def test_an_invalid_envelope_decodes_and_fails_its_step(case):
    envelope = Envelope.decode(b64decode(case["envelope"]))
    certificate = b64decode(case["certificate"])
    key = key_of(certificate)
    body_digest = hashlib.sha512(envelope.body).digest() if envelope.body else None
    known = envelope.compact.x5t == hashlib.sha256(certificate).digest()
    assert known == (case["step"] != 2)
    assert (envelope.compact.alg == algorithm_of(key)) == (case["step"] != 4)
    with pytest.raises(SignatureInvalid):
        verify(envelope.compact, hashlib.sha512(envelope.message).digest(), body_digest, key)


def test_the_protocol_document_has_the_templates_byte_for_byte():
    """The document is what others implement: a template in it that differs would make signatures that nobody accepts."""
    document = (contract_vectors.FOLDER.parent / "protocol.md").read_text()
    blocks = [line.strip("\n") for line in document.split("```")[1::2]]
    case = next(case for case in load("envelopes.json") if case["name"] == "request with body, ES256")
    digests = [b64encode(bytes.fromhex(case[name])).decode() for name in ("message_sha512", "body_sha512")]
    properties = blocks[0].replace("{time}", "2026-07-22T09:04:47.123Z")
    properties = properties.replace("{b64 x5t}", b64encode(bytes.fromhex(case["x5t"])).decode())
    properties = properties.replace("[", "").replace("]", "")
    assert hashlib.sha256(properties.encode()).hexdigest() == case["signed_properties_sha256"]
    signed = blocks[1].replace("[", "").replace("]", "").replace("{method}", "ecdsa-sha256")
    signed = signed.replace("{b64 SHA512(message)}", digests[0]).replace("{b64 SHA512(body)}", digests[1])
    signed = signed.replace("{b64 SHA512(T1)}", b64encode(hashlib.sha512(properties.encode()).digest()).decode())
    assert signed.encode() == b64decode(case["signed_info"])
