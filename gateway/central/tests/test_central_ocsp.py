"""The OCSP responder answers openssl as RFC 6960 says, and malformed questions with a status instead of a fault."""

import base64
import subprocess
import urllib.parse
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.central.authority import open_authority, pem
from gateway.central.testing import CentralUnderTest
from gateway.trust.enrolment import Enrolled

HEADERS = {"Content-Type": "application/ocsp-request"}


def openssl_ocsp(central: CentralUnderTest, enrolled: Enrolled, folder: Path, *options: str) -> str:
    """Ask central with openssl, which checks the response, its signer and its nonce; return what it printed."""
    (folder / "ca.pem").write_text(pem(central.authority.ca.certificate))
    (folder / "one.pem").write_text(pem(enrolled.certificate))
    command = ["openssl", "ocsp", *options, "-issuer", "ca.pem", "-cert", "one.pem", "-CAfile", "ca.pem"]
    done = subprocess.run(
        [*command, "-url", f"{central.url}/ocsp", "-respout", "response.der"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = done.stdout + done.stderr
    assert "Response verify OK" in printed, printed
    assert "nonce" not in printed.lower(), printed
    return printed


def ask(central: CentralUnderTest, request: bytes) -> ocsp.OCSPResponse:
    answer = requests.post(f"{central.url}/ocsp", data=request, headers=HEADERS, timeout=10)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/ocsp-response")
    return ocsp.load_der_ocsp_response(answer.content)


def question(
    certificate: x509.Certificate, issuer: x509.Certificate, algorithm: HashAlgorithm, nonce: bytes | None = None
) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, algorithm)
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


@pytest.mark.parametrize("hashed", ["-sha1", "-sha256"])
def test_openssl_finds_a_certificate_good_and_then_revoked(
    central: CentralUnderTest, tmp_path: Path, hashed: str
) -> None:
    enrolled = central.enrol("civil-gateway")
    assert "one.pem: good" in openssl_ocsp(central, enrolled, tmp_path, hashed)
    assert central.revoke(enrolled).status_code == 200
    printed = openssl_ocsp(central, enrolled, tmp_path, hashed)
    assert "one.pem: revoked" in printed
    assert "keyCompromise" in printed


def test_openssl_verifies_the_response_in_the_published_configuration(
    central: CentralUnderTest, tmp_path: Path
) -> None:
    enrolled = central.enrol("civil-gateway")
    entry = central.load().certificate(enrolled.x5t)
    assert entry is not None
    (tmp_path / "ca.pem").write_text(pem(central.authority.ca.certificate))
    (tmp_path / "one.pem").write_text(pem(enrolled.certificate))
    (tmp_path / "published.der").write_bytes(entry.ocsp_der)
    command = "openssl ocsp -respin published.der -issuer ca.pem -cert one.pem -CAfile ca.pem -no_nonce"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "Response verify OK" in done.stdout + done.stderr
    assert "one.pem: good" in done.stdout
    response = ocsp.load_der_ocsp_response(entry.ocsp_der)
    assert isinstance(response.hash_algorithm, SHA1)
    assert response.certificates[0].extensions.get_extension_for_class(x509.OCSPNoCheck)


def test_openssl_finds_the_path_of_a_gateways_certificate(central: CentralUnderTest, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(pem(central.authority.ca.certificate))
    (tmp_path / "one.pem").write_text(pem(central.enrol("civil-gateway").certificate))
    command = "openssl verify -x509_strict -CAfile ca.pem one.pem"
    assert subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 0


def test_a_certificate_never_issued_is_unknown(central: CentralUnderTest) -> None:
    ca = central.authority.ca.certificate
    answer = ask(central, question(ca, ca, SHA1()))
    assert answer.certificate_status is ocsp.OCSPCertStatus.UNKNOWN


def test_a_nonce_comes_back(central: CentralUnderTest) -> None:
    ca = central.authority.ca.certificate
    answer = ask(central, question(ca, ca, SHA256(), b"0123456789abcdef"))
    assert answer.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == b"0123456789abcdef"


def test_another_authority_is_not_spoken_for(central: CentralUnderTest, tmp_path: Path) -> None:
    other = open_authority(tmp_path / "other", "SANDBOX", "QZ").ca.certificate
    answer = ask(central, question(other, other, SHA1()))
    assert answer.response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


def test_another_hash_in_the_cert_id_is_not_spoken_for(central: CentralUnderTest) -> None:
    ca = central.authority.ca.certificate
    assert ask(central, question(ca, ca, SHA512())).response_status is ocsp.OCSPResponseStatus.UNAUTHORIZED


@pytest.mark.parametrize("request_bytes", [b"", b"x", b"\x30\x00", b"\x30\x80" * 100, b"\0" * 20_000])
def test_a_malformed_question_gets_a_status(central: CentralUnderTest, request_bytes: bytes) -> None:
    assert ask(central, request_bytes).response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@pytest.mark.parametrize("serial", ["-1", "0", "0x" + "7f" * 21, "0x" + "ff" * 20])
def test_a_number_that_is_no_serial_gets_a_status(central: CentralUnderTest, tmp_path: Path, serial: str) -> None:
    (tmp_path / "ca.pem").write_text(pem(central.authority.ca.certificate))
    command = f"openssl ocsp -issuer ca.pem -serial {serial} -reqout odd.der"
    subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=True)
    answer = ask(central, (tmp_path / "odd.der").read_bytes())
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_a_question_about_two_certificates_gets_a_status(central: CentralUnderTest, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text(pem(central.authority.ca.certificate))
    command = "openssl ocsp -issuer ca.pem -serial 1 -serial 2 -reqout two.der"
    subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=True)
    answer = ask(central, (tmp_path / "two.der").read_bytes())
    assert answer.response_status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_question_is_a_fault(central: CentralUnderTest, data: st.DataObject) -> None:
    ca = central.authority.ca.certificate
    good = question(ca, ca, SHA1(), b"nonce of the test")
    at = data.draw(st.integers(0, len(good) - 1))
    ask(central, good[:at] + data.draw(st.binary(max_size=3)) + good[at + 1 :])


@pytest.mark.parametrize("safe", ["", "/"], ids=["slashes escaped", "slashes as they are"])
@pytest.mark.parametrize("nonce", [b"\xff" * 24, b"\xfb\xef\xbe" * 8, b"\0" * 16], ids=["slashes", "pluses", "letters"])
def test_get_carries_the_question_in_the_path(central: CentralUnderTest, safe: str, nonce: bytes) -> None:
    ca = central.authority.ca.certificate
    encoded = base64.b64encode(question(ca, ca, SHA1(), nonce)).decode()
    assert "//" in encoded or nonce[0] != 0xFF
    path = urllib.parse.quote(encoded, safe=safe)
    answer = requests.get(f"{central.url}/ocsp/{path}", timeout=10, allow_redirects=False)
    assert answer.status_code == 200
    response = ocsp.load_der_ocsp_response(answer.content)
    assert response.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce == nonce


@pytest.mark.parametrize("path", ["x", "%%%", "AAAA/AAAA", "-/health"])
def test_a_malformed_question_in_the_path_gets_a_status(central: CentralUnderTest, path: str) -> None:
    answer = requests.get(f"{central.url}/ocsp/{path}", timeout=10)
    assert answer.status_code == 200
    status = ocsp.load_der_ocsp_response(answer.content).response_status
    assert status is ocsp.OCSPResponseStatus.MALFORMED_REQUEST


def test_another_media_type_is_told_what_is_taken(central: CentralUnderTest) -> None:
    answer = requests.post(f"{central.url}/ocsp", data=b"x", headers={"Content-Type": "text/plain"}, timeout=10)
    assert answer.status_code == 415
    assert "application/ocsp-request" in answer.json()["detail"]
