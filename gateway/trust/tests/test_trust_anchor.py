"""The anchor file: what central writes is read back, and a broken file is named with its defect."""

import datetime as dt
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.trust.anchor import MAX_ANCHOR, Anchor, AnchorUnreadable


@pytest.fixture(scope="module")
def anchor() -> Anchor:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "an authority")])
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    certificate = builder.sign(key, hashes.SHA256())
    return Anchor("SANDBOX", "http://127.0.0.1:9999/configuration", certificate, (certificate,), (certificate,), 3600)


def test_an_anchor_is_read_as_it_was_written(anchor, tmp_path):
    path = tmp_path / "anchor.json"
    path.write_bytes(anchor.render())
    assert Anchor.read(path) == anchor


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("instance", None, "instance must be a text"),
        ("instance", " ", "instance must be a text"),
        ("configuration_url", 7, "configuration_url must be a text"),
        ("configuration_certificate", "x", "configuration_certificate must be one certificate in PEM"),
        ("configuration_certificate", None, "configuration_certificate must be one certificate in PEM"),
        ("ca_certificates", [], "ca_certificates must be a list of at least one"),
        ("ca_certificates", ["x"], r"ca_certificates\[0\] must be one certificate"),
        ("tsa_certificates", "x", "tsa_certificates must be a list"),
        ("ocsp_freshness_seconds", "3600", "ocsp_freshness_seconds must be a whole number"),
        ("ocsp_freshness_seconds", True, "ocsp_freshness_seconds must be a whole number"),
        ("ocsp_freshness_seconds", 0, "ocsp_freshness_seconds must be a whole number"),
        ("ocsp_freshness_seconds", 10**30, "ocsp_freshness_seconds must be a whole number"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(anchor, tmp_path, field, value, said):
    path = tmp_path / "anchor.json"
    path.write_text(json.dumps({**json.loads(anchor.render()), field: value}))
    with pytest.raises(AnchorUnreadable, match=said) as refused:
        Anchor.read(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b"{", b"[" * 100_000, b" " * (MAX_ANCHOR + 1)])
def test_what_is_no_anchor_is_refused(tmp_path, text):
    path = tmp_path / "anchor.json"
    path.write_bytes(text)
    with pytest.raises(AnchorUnreadable, match=r"trust anchor .*anchor\.json"):
        Anchor.read(path)


def test_a_missing_anchor_is_said_to_be_missing(tmp_path):
    with pytest.raises(AnchorUnreadable, match="no trust anchor at"):
        Anchor.read(tmp_path / "anchor.json")
    with pytest.raises(AnchorUnreadable, match="cannot be read"):
        Anchor.read(tmp_path)
