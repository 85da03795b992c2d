"""The compact signature against the profile's known answers, lxml's canonicalisation and every flipped bit."""

import datetime as dt
import hashlib
import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from lxml import etree

from gateway.signature import (
    ES256,
    RS512,
    Compact,
    SignatureInvalid,
    Signer,
    algorithm_of,
    render_signed_info,
    render_signed_properties,
    render_time,
    request_hash,
    to_be_signed,
    verify,
)

MESSAGE = b"GET\r\n/r1/DEV/COM/1234/TestService/mock1\r\nX-Road-Client:DEV/COM/4321/TestClient\r\n"
BODY = b'{"a":1}'
T = 1784711087123
X5T = hashlib.sha256(b"certificate").digest()


def sha512(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()


def certificate_for(key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a member")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@pytest.fixture(scope="module", params=["EC", "RSA"])
def signer(request) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1()) if request.param == "EC" else rsa.generate_private_key(65537, 2048)
    return Signer(key, certificate_for(key))


def public_key_of(signer: Signer):
    return x509.load_der_x509_certificate(signer.certificate_der).public_key()


@pytest.mark.parametrize(
    ("has_body", "properties", "es256", "rs512"),
    [
        (
            True,
            "6f3948561e203e6957f3b44f11d1cbef85aa54dda68e7dd077f56edf2ff53d28",
            "c9bd9d2fffa756399a1a42dc3fd9adb5506d51ed486851f49d069b07fdb330bd",
            "ede0ef8fb878600310cb0bdec4d0c5884c20e1c3c5120d9236b8882ce1253d34",
        ),
        (
            False,
            "daa22341412b9a9080343893615b13a736d0b5a105b88cc1a4c8af5996df76b9",
            "2720d0a197527914eb1b8db53da2d29a724c0c8889bc1982870f8b2e34213576",
            "f614063c657a6e31808c4eadead8bf60ed400a532ef29b797d3e30f08e07061f",
        ),
    ],
)
def test_the_templates_render_the_known_answers(has_body, properties, es256, rs512):
    body_digest = sha512(BODY) if has_body else None
    rendered = render_signed_properties(T, X5T, has_body)
    assert len(rendered) == (935 if has_body else 807)
    assert hashlib.sha256(rendered).hexdigest() == properties
    for alg, answer in ((ES256, es256), (RS512, rs512)):
        signed = render_signed_info(alg, sha512(MESSAGE), body_digest, sha512(rendered))
        assert hashlib.sha256(signed).hexdigest() == answer
        assert signed == to_be_signed(alg, T, X5T, sha512(MESSAGE), body_digest)


def test_time_has_three_decimals_always():
    assert render_time(T) == b"2026-07-22T09:04:47.123Z"
    assert render_time(0) == b"1970-01-01T00:00:00.000Z"
    assert render_time(253402300799999) == b"9999-12-31T23:59:59.999Z"
    for t in (-1, 253402300800000):
        with pytest.raises(ValueError, match="between 1970 and 9999"):
            render_time(t)


def test_random_renderings_are_their_own_exclusive_canonical_form():
    """The templates stand verbatim in signatures.xml only because a canonicaliser would not change a byte of them."""
    dice = random.Random(20260101)
    for _ in range(500):
        t, x5t, has_body = dice.randrange(253402300800000), dice.randbytes(32), dice.random() < 0.5
        properties = render_signed_properties(t, x5t, has_body)
        body_digest = dice.randbytes(64) if has_body else None
        signed = render_signed_info(dice.choice([ES256, RS512]), dice.randbytes(64), body_digest, sha512(properties))
        for fragment in (properties, signed):
            document = etree.fromstring(b'<a xmlns="urn:x" xmlns:y="urn:y"><y:b>' + fragment + b"</y:b></a>")
            assert etree.tostring(document[0][0], method="c14n", exclusive=True, with_comments=False) == fragment


def test_a_signature_verifies_with_its_key(signer):
    for body_digest in (None, sha512(BODY)):
        compact = signer.sign(sha512(MESSAGE), body_digest, T)
        assert compact.alg == algorithm_of(public_key_of(signer)) and compact.t == T
        assert compact.x5t == hashlib.sha256(signer.certificate_der).digest()
        assert len(compact.sig) == (64 if compact.alg == ES256 else 256)
        verify(compact, sha512(MESSAGE), body_digest, public_key_of(signer))


def flips(value: bytes):
    for bit in range(len(value) * 8):
        flipped = bytearray(value)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def test_every_flipped_bit_of_digests_time_certificate_hash_and_value_is_noticed(signer):
    key, digest, body = public_key_of(signer), sha512(MESSAGE), sha512(BODY)
    good = signer.sign(digest, body, T)
    changed: list[tuple[Compact, bytes, bytes]] = []
    changed += [(good, flipped, body) for flipped in flips(digest)]
    changed += [(good, digest, flipped) for flipped in flips(body)]
    changed += [(Compact(good.alg, T ^ 1 << bit, good.x5t, good.sig), digest, body) for bit in range(64)]
    changed += [(Compact(good.alg, T, flipped, good.sig), digest, body) for flipped in flips(good.x5t)]
    changed += [(Compact(good.alg, T, good.x5t, flipped), digest, body) for flipped in flips(good.sig)]
    for compact, message_digest, body_digest in changed:
        with pytest.raises(SignatureInvalid):
            verify(compact, message_digest, body_digest, key)


@pytest.mark.parametrize("value", [b"", b"\0" * 64, b"\xff" * 64, b"\1" * 63, b"\0" * 31 + b"\1" + b"\0" * 32])
def test_hostile_signature_values_are_refused_as_invalid(signer, value):
    with pytest.raises(SignatureInvalid):
        verify(Compact(signer.alg, T, signer.x5t, value), sha512(MESSAGE), None, public_key_of(signer))


def test_a_body_added_or_dropped_is_noticed(signer):
    key = public_key_of(signer)
    with pytest.raises(SignatureInvalid):
        verify(signer.sign(sha512(MESSAGE), None, T), sha512(MESSAGE), sha512(BODY), key)
    with pytest.raises(SignatureInvalid):
        verify(signer.sign(sha512(MESSAGE), sha512(BODY), T), sha512(MESSAGE), None, key)


def test_the_algorithm_is_the_one_that_the_key_dictates(signer):
    good = signer.sign(sha512(MESSAGE), None, T)
    other = RS512 if good.alg == ES256 else ES256
    for alg in (other, "none", ""):
        with pytest.raises(SignatureInvalid, match="but the certificate's key signs"):
            verify(Compact(alg, T, good.x5t, good.sig), sha512(MESSAGE), None, public_key_of(signer))


@pytest.mark.parametrize("key", [ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())])
def test_other_kinds_of_key_do_not_sign(key):
    with pytest.raises(ValueError, match="P-256"):
        Signer(key, b"")


def test_a_signer_refuses_a_certificate_of_another_key(signer):
    with pytest.raises(ValueError, match="another key"):
        Signer(ec.generate_private_key(ec.SECP256R1()), signer.certificate_der)


def test_a_digest_that_is_not_sha512_is_neither_signed_nor_verified(signer):
    with pytest.raises(ValueError, match="SHA-512"):
        signer.sign(hashlib.sha256(MESSAGE).digest(), None, T)
    with pytest.raises(ValueError, match="SHA-512"):
        verify(signer.sign(sha512(MESSAGE), None, T), sha512(MESSAGE), b"", public_key_of(signer))


def test_the_request_hash_is_that_of_x_road():
    message = (
        b"POST\r\n/r1/SANDBOX/GOV/1002/CIVIL/persons/v1/exists?page=1\r\nContent-Type:application/json\r\n"
        b"X-Road-Client:SANDBOX/GOV/1001/PROGRAMME\r\nx-road-request-id:78b890f3-b1eb-45b2-a512-beec5d7ead23\r\n"
        b"x-road-id:SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86\r\n"
    )
    assert len(message) == 244
    assert request_hash(sha512(message), sha512(b'{"id":"QZ123"}')) == (
        "pqnKMyT4HM6pHFpBv4umIp/5OayXp1jZ2TCa/RTjm/fHB8EmChfsoOnZNaazuTQf0CPjS6It9h/RWF9RYWzRKQ=="
    )
    assert request_hash(sha512(message), None) == (
        "kK8vEBLooUg5Zk9FEObbu+nDzDagUTRbKoHyL2c9L4NGyVuPhCnRGd4u1+Cy2L4LLRB01ZxkQ2x6ehqHct0UvQ=="
    )
