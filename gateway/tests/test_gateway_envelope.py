"""The envelope's encoding: one per envelope, and every deviation refused by name."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.envelope import HEAD_BYTES, MAX_BODY, MAX_MESSAGE, REQUEST, RESPONSE, Envelope, MalformedEnvelope
from gateway.signature import ES256, LATEST_TIME_MS, RS512, Compact

MESSAGE = b"GET\r\n/r1/DEV/COM/1234/TestService/mock1\r\nX-Road-Client:DEV/COM/4321/TestClient\r\n"
EC = Compact(ES256, 1784711087123, b"\x01" * 32, b"\x02" * 64)
GOOD = Envelope(REQUEST, EC, MESSAGE, b'{"a":1}', 1784711147123)

times = st.integers(0, LATEST_TIME_MS)
compacts = st.one_of(
    st.builds(Compact, st.just(ES256), times, st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64)),
    st.builds(
        Compact, st.just(RS512), times, st.binary(min_size=32, max_size=32), st.binary(min_size=256, max_size=300)
    ),
)
messages = st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])).map(str.encode)
envelopes = st.builds(Envelope, st.sampled_from([REQUEST, RESPONSE]), compacts, messages, st.binary(), times)


@given(envelopes)
def test_decoding_gives_back_what_was_encoded(envelope):
    assert Envelope.decode(envelope.encode()) == envelope


@settings(max_examples=500)
@given(envelopes, st.data())
def test_mutated_envelopes_are_refused_or_have_the_bytes_as_their_one_encoding(envelope, data):
    encoded = bytearray(envelope.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
            case "cut":
                del encoded[data.draw(st.integers(1, len(encoded))) :]
            case "insert":
                at = data.draw(st.integers(0, len(encoded)))
                encoded[at:at] = data.draw(st.binary(max_size=4))
    try:
        decoded = Envelope.decode(bytes(encoded))
    except MalformedEnvelope as error:
        assert error.defect and str(error)
    else:
        assert decoded.encode() == bytes(encoded)


@given(st.binary())
def test_any_bytes_are_refused_as_malformed(data):
    with pytest.raises(MalformedEnvelope):
        Envelope.decode(data)


def test_every_truncation_is_refused():
    encoded = GOOD.encode()
    for size in range(len(encoded)):
        with pytest.raises(MalformedEnvelope) as refused:
            Envelope.decode(encoded[:size])
        assert refused.value.defect == "truncated"


def patched(at: int, value: bytes) -> bytes:
    encoded = bytearray(GOOD.encode())
    encoded[at : at + len(value)] = value
    return bytes(encoded)


@pytest.mark.parametrize(
    ("encoded", "defect"),
    [
        (patched(0, b"POST"), "magic"),
        (b"HTTP", "magic"),
        (patched(4, b"\x00"), "version"),
        (patched(4, b"\x02"), "version"),
        (patched(5, b"\x03"), "kind"),
        (patched(6, b"\x00"), "algorithm"),
        (patched(7, b"\xff" * 8), "time"),
        (patched(15, b"\xff" * 8), "deadline"),
        (patched(6, b"\x02"), "signature-length"),
        (patched(55, b"\x00\x3f"), "signature-length"),
        (patched(57, bytes(4)), "message-length"),
        (patched(57, (MAX_MESSAGE + 1).to_bytes(4, "big")), "message-length"),
        (patched(61, (MAX_BODY + 1).to_bytes(4, "big")), "body-length"),
        (patched(61, (8).to_bytes(4, "big")), "truncated"),
        (GOOD.encode() + b"\0", "trailing"),
        (patched(HEAD_BYTES + 64 + 5, b"\xe9"), "utf-8"),
    ],
)
def test_a_defect_has_a_name(encoded, defect):
    with pytest.raises(MalformedEnvelope) as refused:
        Envelope.decode(encoded)
    assert refused.value.defect == defect


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ({"compact": dataclasses.replace(EC, alg="none")}, "algorithm"),
        ({"compact": dataclasses.replace(EC, t=-1)}, "time"),
        ({"compact": dataclasses.replace(EC, x5t=b"short")}, "x5t"),
        ({"compact": dataclasses.replace(EC, sig=b"short")}, "signature-length"),
        ({"message": b""}, "message-length"),
        ({"message": b"x" * (MAX_MESSAGE + 1)}, "message-length"),
        ({"message": b"X-Road-UserId:J\xfcrgen\r\n"}, "utf-8"),
        ({"body": bytes(MAX_BODY + 1)}, "body-length"),
        ({"deadline_ms": -1}, "deadline"),
    ],
)
def test_nothing_is_encoded_that_a_peer_would_refuse(change, defect):
    with pytest.raises(MalformedEnvelope) as refused:
        dataclasses.replace(GOOD, **change).encode()
    assert refused.value.defect == defect


def test_the_largest_envelope_passes():
    largest = Envelope(RESPONSE, EC, b"x" * MAX_MESSAGE, bytes(MAX_BODY))
    assert Envelope.decode(largest.encode()) == largest
