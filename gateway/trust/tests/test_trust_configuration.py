"""A global configuration is believed only whole, fresh, newest, of this instance, and under the anchor's keys."""

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey

from gateway.central.authority import open_authority
from gateway.central.testing import payload_of, signed_by
from gateway.trust.configuration import load
from gateway.trust.refusals import (
    AuthorityUnknown,
    ConfigurationExpired,
    ConfigurationForeign,
    ConfigurationForged,
    ConfigurationMalformed,
    ConfigurationNotYetValid,
    ConfigurationRefused,
    ConfigurationRolledBack,
)
from gateway.trust.signed import sign


def test_what_central_publishes_is_looked_up_by_identifier_and_by_hash(published: Any) -> None:
    configuration = load(published.signed, published.anchor, published.now)
    assert configuration.knows_client("SANDBOX/GOV/WELFARE/CASH-TRANSFER")
    assert not configuration.knows_client("SANDBOX/GOV/WELFARE")
    assert not configuration.knows_client("OTHER/GOV/WELFARE/CASH-TRANSFER")
    assert [one.code for one in configuration.gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")] == ["civil-gateway"]
    assert configuration.gateways_of("SANDBOX/GOV/CIVIL/PAYMENTS") == ()
    entry = configuration.certificate(published.civil.x5t)
    assert entry is not None
    assert entry.der == published.civil.certificate_der
    assert entry.is_good_at(published.now)
    assert not entry.is_good_at(published.now + timedelta(hours=2))
    assert configuration.certificate(b"\0" * 32) is None
    assert configuration.members["GOV/CIVIL"].name == "Civil Registration Authority"
    assert configuration.settings["refresh_seconds"] == 60


def test_a_configuration_cannot_be_changed_by_its_holder(published: Any) -> None:
    configuration = load(published.signed, published.anchor, published.now)
    with pytest.raises(AttributeError):
        configuration.version = 0  # type: ignore[misc]
    with pytest.raises(TypeError):
        configuration.certificates[b""] = None  # type: ignore[index]


def test_a_stock_jose_library_verifies_the_same_bytes(published: Any) -> None:
    line, payload = published.signed.split(b"\n", 1)
    key = ECKey.import_key(published.anchor.configuration_certificate.public_key())
    header, _, signature = line.partition(b"..")
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    compact = b".".join([header, b"", signature]).decode()
    verified = jws.deserialize_compact(compact, key, registry=registry, payload=payload)
    assert verified.payload == payload


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_edit_of_the_signed_bytes_loads(published: Any, data: st.DataObject) -> None:
    signed = published.signed
    at = data.draw(st.integers(0, len(signed) - 1) | st.integers(0, 300))
    kind = data.draw(st.sampled_from(["flip", "insert", "delete", "cut", "append"]))
    edited = {
        "flip": lambda: signed[:at] + bytes([signed[at] ^ data.draw(st.integers(1, 255))]) + signed[at + 1 :],
        "insert": lambda: signed[:at] + data.draw(st.binary(min_size=1, max_size=4)) + signed[at:],
        "delete": lambda: signed[:at] + signed[at + data.draw(st.integers(1, 4)) :],
        "cut": lambda: signed[:at],
        "append": lambda: signed + data.draw(st.binary(min_size=1, max_size=4)),
    }[kind]()
    if edited != signed:
        with pytest.raises(ConfigurationForged):
            load(edited, published.anchor, published.now)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=2000))
def test_noise_is_refused_by_name(published: Any, noise: bytes) -> None:
    with pytest.raises(ConfigurationForged):
        load(noise, published.anchor, published.now)


def test_every_spelling_of_the_signature_but_one_is_refused(published: Any) -> None:
    header, _, rest = published.signed.partition(b"..")
    signature, _, payload = rest.partition(b"\n")
    raw = base64.urlsafe_b64decode(signature + b"==")
    spellings = [signature + b"==", signature + b" ", b"=" + signature, signature[:-1] + bytes([signature[-1] + 1])]
    assert any(base64.urlsafe_b64decode(one + b"==") == raw for one in spellings)
    for spelling in spellings:
        with pytest.raises(ConfigurationForged):
            load(header + b".." + spelling + b"\n" + payload, published.anchor, published.now)


def test_another_key_or_algorithm_in_the_header_is_refused(published: Any, tmp_path: Any) -> None:
    other = open_authority(tmp_path, "SANDBOX", "QZ").configuration
    payload = published.signed.split(b"\n", 1)[1]
    own = published.authority.configuration.certificate
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=") + b"..\n" + payload
    for forged in (
        sign(payload, other.key, other.certificate),
        sign(payload, other.key, own),
        sign(payload, ec.generate_private_key(ec.SECP256R1()), own),
        unsigned,
        payload,
        b"\n" + payload,
    ):
        with pytest.raises(ConfigurationForged):
            load(forged, published.anchor, published.now)


def test_what_the_right_key_signed_for_another_purpose_is_refused(published: Any) -> None:
    key, payload = published.authority.configuration.key, published.signed.split(b"\n", 1)[1]
    header = base64.urlsafe_b64encode(b'{"alg":"ES256","b64":false,"crit":["b64"],"typ":"other"}').rstrip(b"=")
    r, s = decode_dss_signature(key.sign(header + b"." + payload, ec.ECDSA(SHA256())))
    signature = base64.urlsafe_b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).rstrip(b"=")
    with pytest.raises(ConfigurationForged, match="another key or algorithm"):
        load(header + b".." + signature + b"\n" + payload, published.anchor, published.now)


def test_an_expired_configuration_is_refused_to_the_second(published: Any) -> None:
    expiry = load(published.signed, published.anchor, published.now).expires_at
    assert not load(published.signed, published.anchor, expiry - timedelta(seconds=1)).is_expired(published.now)
    with pytest.raises(ConfigurationExpired, match="expired at"):
        load(published.signed, published.anchor, expiry)


def test_a_configuration_from_the_future_is_refused(published: Any) -> None:
    with pytest.raises(ConfigurationNotYetValid, match="check both clocks"):
        load(published.signed, published.anchor, published.now - timedelta(minutes=3))
    assert load(published.signed, published.anchor, published.now - timedelta(seconds=30))


def test_an_older_version_than_seen_is_refused(published: Any) -> None:
    version = load(published.signed, published.anchor, published.now).version
    assert load(published.signed, published.anchor, published.now, minimum_version=version)
    with pytest.raises(ConfigurationRolledBack, match=str(version)):
        load(published.signed, published.anchor, published.now, minimum_version=version + 1)


def test_a_configuration_of_another_instance_is_refused(published: Any) -> None:
    with pytest.raises(ConfigurationForeign, match="SANDBOX"):
        load(published.signed, replace(published.anchor, instance="TEST"), published.now)


@pytest.mark.parametrize("name", ["ca_certificates", "tsa_certificates"])
def test_the_configuration_key_alone_makes_no_authority(published: Any, tmp_path: Any, name: str) -> None:
    other = open_authority(tmp_path, "SANDBOX", "QZ").ca.certificate
    stranger = base64.b64encode(other.public_bytes(Encoding.DER))
    for listed in ([stranger.decode()], [*payload_of(published.signed)[name], stranger.decode()], []):
        payload = payload_of(published.signed) | {name: listed}
        with pytest.raises(AuthorityUnknown, match=name):
            load(signed_by(published.authority, payload), published.anchor, published.now)


def test_the_configuration_cannot_loosen_the_anchors_freshness(published: Any) -> None:
    payload = payload_of(published.signed) | {"ocsp_freshness_seconds": 10**6}
    configuration = load(signed_by(published.authority, payload), published.anchor, published.now)
    assert configuration.ocsp_freshness_seconds == 3600


MALFORMED = {
    "version is text": {"version": "1"},
    "version is true": {"version": True},
    "version is zero": {"version": 0},
    "expiry before issue": {"expires_at": "2000-01-01T00:00:00Z"},
    "a time without zone": {"issued_at": "2026-01-01T00:00:00"},
    "a thirteenth month": {"issued_at": "2026-13-01T00:00:00Z"},
    "no members": {"members": None},
    "a member that is text": {"members": ["GOV/CIVIL"]},
    "a member with a slash too many": {"members": [{"id": "A/B/C", "name": "x", "subsystems": []}]},
    "a subsystem that is a number": {"members": [{"id": "A/B", "name": "x", "subsystems": [1]}]},
    "a member twice": {"members": [{"id": "A/B", "name": "x", "subsystems": []}] * 2},
    "a gateway of nobody": {
        "gateways": [{"code": "g", "member": "GOV/NOBODY", "address": "", "queue": "", "certificates": []}]
    },
    "a certificate that is not base64": {"ca_certificates": ["%%%"]},
    "settings are a list": {"settings": []},
    "no freshness": {"ocsp_freshness_seconds": 0},
}


@pytest.mark.parametrize("values", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_signed_but_malformed_configuration_is_refused_by_name(published: Any, values: dict[str, Any]) -> None:
    payload = payload_of(published.signed) | values
    with pytest.raises(ConfigurationMalformed):
        load(signed_by(published.authority, payload), published.anchor, published.now)


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"instance": 1}'])
def test_a_signed_payload_of_another_kind_is_refused_by_name(published: Any, payload: bytes) -> None:
    signer = published.authority.configuration
    with pytest.raises(ConfigurationMalformed):
        load(sign(payload, signer.key, signer.certificate), published.anchor, published.now)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), junk=JUNK)
def test_any_value_in_any_place_loads_or_is_refused_by_name(published: Any, data: st.DataObject, junk: Any) -> None:
    payload = payload_of(published.signed)
    places = list(_places(payload))
    holder, key = places[data.draw(st.integers(0, len(places) - 1))]
    holder[key] = junk
    try:
        load(signed_by(published.authority, payload), published.anchor, published.now)
    except ConfigurationRefused as refusal:
        assert str(refusal)


def _places(value: Any) -> Any:
    """Yield every (container, key) in a JSON value."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])
