"""Containers before tools that share no code with us: xmlsec1, signxml and plain openssl."""

import shutil
import subprocess
import zipfile
from base64 import b64decode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from signxml.exceptions import InvalidSignature
from signxml.xades import XAdESSignatureConfiguration, XAdESVerifier

from gateway.evidence.container import SIGNATURES

BODIES = [b'{"id":"QZ123"}', b""]


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs the command {name}")
    return found


@pytest.fixture(params=BODIES, ids=["body", "no-body"])
def unpacked(request, authorities, signer, tmp_path):
    """A container, unzipped by the standard library; beside it the certificates as files."""
    made = tmp_path / "evidence.asice"
    made.write_bytes(authorities.evidence(signer, body=request.param).container())
    with zipfile.ZipFile(made) as read:
        read.extractall(tmp_path)
    for file, der in (("ca.pem", authorities.ca), ("tsa.pem", authorities.tsa)):
        (tmp_path / file).write_bytes(der.public_bytes(Encoding.PEM))
    certificate = x509.load_der_x509_certificate(signer.certificate_der)
    (tmp_path / "signer.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    public = certificate.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key.pem").write_bytes(public)
    return tmp_path


def flip(file) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def run(folder, *command: str) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def xmlsec1(folder) -> subprocess.CompletedProcess:
    body = ["--url-map:/attachment1", "attachment1"] if (folder / "attachment1").exists() else []
    return run(
        folder, tool("xmlsec1"), "--verify", "--trusted-pem", "ca.pem",
        "--enabled-reference-uris", "empty,same-doc,local,remote", "--url-map:/message.xml", "message.xml", *body,
        "--id-attr:Id", "http://uri.etsi.org/01903/v1.3.2#:SignedProperties", SIGNATURES,
    )  # fmt: skip


def test_xmlsec1_verifies(unpacked):
    good = xmlsec1(unpacked)
    assert good.returncode == 0, good.stderr
    references = 3 if (unpacked / "attachment1").exists() else 2
    assert f"SignedInfo References (ok/all): {references}/{references}" in good.stderr
    flip(unpacked / "message.xml")
    assert xmlsec1(unpacked).returncode != 0


def signxml(folder) -> int:
    files = {f"/{name}": folder / name for name in ("message.xml", "attachment1") if (folder / name).exists()}
    expected = XAdESSignatureConfiguration(expect_references=len(files) + 1)
    verified = XAdESVerifier().verify(
        (folder / SIGNATURES).read_bytes(),
        x509_cert=(folder / "signer.pem").read_text(),
        uri_resolver=lambda uri: files[uri].read_bytes(),
        expect_config=expected,
    )
    return len(verified)


def test_signxml_verifies_it_as_xades(unpacked):
    assert signxml(unpacked) == (3 if (unpacked / "attachment1").exists() else 2)
    flip(unpacked / "message.xml")
    with pytest.raises(InvalidSignature):
        signxml(unpacked)


def test_openssl_verifies_the_time_stamp(unpacked):
    command = (
        tool("openssl"), "ts", "-verify", "-in", "META-INF/timestamp.tst", "-token_in", "-data",
        "ts-hashchainresult.xml", "-CAfile", "ca.pem", "-untrusted", "tsa.pem",
    )  # fmt: skip
    good = run(unpacked, *command)
    assert good.returncode == 0 and "Verification: OK" in good.stdout + good.stderr
    flip(unpacked / "ts-hashchainresult.xml")
    assert run(unpacked, *command).returncode != 0


def test_an_auditor_verifies_the_signature_by_hand(unpacked):
    """The signed bytes stand verbatim in signatures.xml: cut them out, and openssl dgst does the rest."""
    signatures = (unpacked / SIGNATURES).read_bytes()
    signed = (
        b"<ds:SignedInfo" + signatures.split(b"<ds:SignedInfo")[1].split(b"</ds:SignedInfo>")[0] + b"</ds:SignedInfo>"
    )
    value = b64decode(signatures.split(b'<ds:SignatureValue Id="sv">')[1].split(b"<")[0])
    (unpacked / "signed").write_bytes(signed)
    (unpacked / "value").write_bytes(as_openssl_wants(value))
    digest = "-sha256" if len(value) == 64 else "-sha512"
    command = (tool("openssl"), "dgst", digest, "-verify", "key.pem", "-signature", "value", "signed")
    assert run(unpacked, *command).stdout == "Verified OK\n"
    for part in ("message.xml", "attachment1"):
        if (unpacked / part).exists():
            said = run(unpacked, "openssl", "dgst", "-sha512", "-r", part).stdout.split()[0]
            assert bytes.fromhex(said) in b"".join(
                b64decode(text.split(b"<")[0]) for text in signed.split(b"<ds:DigestValue>")[1:]
            )
    flip(unpacked / "signed")
    assert run(unpacked, *command).returncode != 0


def as_openssl_wants(value: bytes) -> bytes:
    """XML signatures carry r‖s, openssl reads DER."""
    if len(value) != 64:
        return value
    integers = []
    for half in (value[:32], value[32:]):
        number = half.lstrip(b"\0")
        number = b"\0" + number if number[0] & 0x80 else number
        integers.append(bytes([2, len(number)]) + number)
    body = b"".join(integers)
    return bytes([0x30, len(body)]) + body
