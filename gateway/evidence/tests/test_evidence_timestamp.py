"""Time-stamp tokens: what they prove, and every way in which they do not."""

import datetime as dt
import shutil
import subprocess

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.evidence.tests.authorities import NOW, Authorities, name
from gateway.evidence.timestamp import TimestampInvalid, read_token, verify_token

DATA = b"the bytes of a hash chain's root"


@pytest.fixture(scope="module", params=["RSA", "EC"])
def tsa(request) -> Authorities:
    return Authorities() if request.param == "RSA" else Authorities(tsa_key=ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize("digest", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("carry", [True, False])
def test_a_token_says_when_the_bytes_existed(tsa, digest, carry):
    token = tsa.stamp(DATA, digest=digest, carry=carry)
    said = verify_token(token, DATA, [tsa.tsa])
    assert said == read_token(token)
    assert (said.at, said.serial) == (NOW, 4711)


def test_flipped_bits_all_over_a_token_are_noticed(tsa):
    token = tsa.stamp(DATA)
    step = 3 if isinstance(tsa.tsa_key, ec.EllipticCurvePrivateKey) else 7  # neither divides 8: all positions in a byte
    for bit in range(0, len(token) * 8, step):
        flipped = bytearray(token)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TimestampInvalid):
            verify_token(bytes(flipped), DATA, [tsa.tsa])


def refused(tsa, token, said, data=DATA, authorities=None):
    with pytest.raises(TimestampInvalid, match=said):
        verify_token(token, data, [tsa.tsa] if authorities is None else authorities)


def test_a_token_about_other_bytes_is_refused(tsa):
    refused(tsa, tsa.stamp(DATA), "other bytes", data=DATA + b".")


def test_a_token_of_another_authority_is_refused(tsa):
    stranger = Authorities()
    refused(tsa, stranger.stamp(DATA), "no time-stamping authority of the anchor")
    refused(tsa, tsa.stamp(DATA), "no time-stamping authority", authorities=[])


def test_an_authority_with_the_same_name_and_serial_number_but_another_key_is_refused(tsa):
    builder = x509.CertificateBuilder(
        tsa.tsa.issuer, tsa.tsa.subject, tsa.ca_key.public_key(), tsa.tsa.serial_number, tsa.begin, tsa.end,
        list(tsa.tsa.extensions),
    )  # fmt: skip
    twin = builder.sign(tsa.ca_key, tsa.tsa.signature_hash_algorithm)
    refused(tsa, tsa.stamp(DATA, certificate=twin), "certificates other than the anchor's")
    refused(tsa, tsa.stamp(DATA, certificate=twin, carry=False), "another certificate than the authority's")


@pytest.mark.parametrize("purpose", [None, "CODE_SIGNING"])
def test_a_certificate_that_is_not_for_time_stamps_is_refused(tsa, purpose):
    other = tsa.issue(name(COMMON_NAME="x"), tsa.tsa_key.public_key(), tsa.ca, None, purpose=purpose)
    refused(tsa, tsa.stamp(DATA, certificate=other), "not for time-stamping", authorities=[other])


def test_a_token_after_the_end_of_its_certificate_is_refused(tsa):
    refused(tsa, tsa.stamp(DATA, at=tsa.end + dt.timedelta(seconds=1)), "valid from")


def test_signed_attributes_that_do_not_fit_the_content_are_refused(tsa):
    refused(tsa, tsa.stamp(DATA, content=b"other"), "signed digest is not that of the TSTInfo")
    refused(tsa, tsa.stamp(DATA, content_type="data"), "signed content type")


def changed(token: bytes, change) -> bytes:
    content = cms.ContentInfo.load(token)
    change(content["content"])
    return content.dump(force=True)


def two_signers(signed):
    signed["signer_infos"].append(signed["signer_infos"][0].copy())


def unsigned_attribute(signed):
    attribute = {"type": "content_type", "values": ["data"]}
    signed["signer_infos"][0]["unsigned_attrs"] = [attribute]


def more_digests(signed):
    signed["digest_algorithms"].append({"algorithm": "sha1"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (two_signers, "one signer"),
        (unsigned_attribute, "unsigned attributes"),
        (more_digests, "list of digest algorithms"),
    ],
)
def test_what_the_signature_does_not_cover_must_be_what_follows_from_it(tsa, change, said):
    refused(tsa, changed(tsa.stamp(DATA), change), said)


def test_another_encoding_of_the_same_token_is_refused(tsa):
    token = tsa.stamp(DATA)
    assert token[:2] == b"\x30\x82"
    refused(tsa, b"\x30\x83\x00" + token[2:], "shorter form")
    refused(tsa, b"\x30\x80" + token[4:] + b"\0\0", "not DER")
    refused(tsa, token + b"\0", "DER")


@settings(max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 600))
def test_hostile_bytes_are_refused_as_a_token(data, depth):
    for hostile in (data, b"\x30\x80" * depth + data, b"\x30\x84\xff\xff\xff\xff" + data):
        with pytest.raises(TimestampInvalid):
            verify_token(hostile, DATA, [])


def test_a_token_of_openssl_verifies(authorities, tmp_path):
    """Somebody else's authority, which spells some parts otherwise."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command")
    key = authorities.tsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "tsa.pem").write_bytes(authorities.tsa.public_bytes(Encoding.PEM))
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "tsa.cnf").write_text(
        f"[tsa]\ndefault_tsa = t\n[t]\nserial = {tmp_path}/serial\ncrypto_device = builtin\n"
        f"signer_cert = {tmp_path}/tsa.pem\nsigner_key = {tmp_path}/key.pem\nsigner_digest = sha512\n"
        "default_policy = 1.2.3.4\ndigests = sha512\n"
    )

    def openssl(*arguments):
        subprocess.run(["openssl", "ts", *arguments], cwd=tmp_path, check=True, capture_output=True)

    openssl("-query", "-data", "data", "-sha512", "-cert", "-out", "query.tsq")
    openssl("-reply", "-config", "tsa.cnf", "-queryfile", "query.tsq", "-token_out", "-out", "token.tst")
    token = (tmp_path / "token.tst").read_bytes()
    said = verify_token(token, DATA, [authorities.tsa])
    assert abs(said.at - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=60)
