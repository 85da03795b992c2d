"""How a gateway comes to its certificate and to the global configuration: the client side of central, over HTTP.

A crash between any two steps is mended by starting again: the key is made once, the request proves its possession, and
central answers the same key with the same certificate.
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from gateway.trust.keys import PrivateKey, key_at, put_file
from gateway.trust.refusals import CentralUnavailable, EnrolmentPending, EnrolmentRefused

KEY_FILE = "signing.key"
CERTIFICATE_FILE = "signing.pem"
LARGEST_CONFIGURATION = 16 * 1024 * 1024
LARGEST_ANSWER = 256 * 1024
TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Enrolled:
    """A gateway's signing key with the certificate that names its member."""

    private_key: PrivateKey = field(repr=False)
    certificate: x509.Certificate

    @property
    def certificate_der(self) -> bytes:
        """The certificate in DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def x5t(self) -> bytes:
        """The SHA-256 of the certificate, by which others find it in the global configuration."""
        return hashlib.sha256(self.certificate_der).digest()


def make_keys(folder: Path, algorithm: str = "ES256") -> PrivateKey:
    """Return the signing key in ``folder``, made at the first call; mode 0600, never overwritten."""
    return key_at(folder / KEY_FILE, algorithm)


def certificate_request(private_key: PrivateKey, gateway: str) -> bytes:
    """Return a PKCS#10 request in PEM. Its subject is the gateway's name: central decides what a member is called."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, gateway)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(private_key, SHA256())
        .public_bytes(Encoding.PEM)
    )


def enrol(central_url: str, folder: Path, *, gateway: str, token: str, address: str, queue: str) -> Enrolled:
    """Enrol ``gateway`` with its one-time ``token``, store the certificate in ``folder`` and return it with its key.

    To be called at every start: it also tells central the current ``address`` (peer URL) and ``queue``. Raises
    ``EnrolmentPending`` (a person must approve; call again), ``EnrolmentRefused`` or ``CentralUnavailable``; after the
    last, ``stored`` may still have what an earlier start was given.
    """
    private_key = make_keys(folder)
    body = {
        "gateway": gateway,
        "token": token,
        "csr": certificate_request(private_key, gateway).decode("ascii"),
        "address": address,
        "queue": queue,
    }
    answer = _post(f"{central_url.rstrip('/')}/enrolment", body)
    if answer.get("status") == "pending":
        raise EnrolmentPending(f"{gateway} waits for approval by central's steward")
    certificate = _certificate(answer.get("certificate"), private_key)
    put_file(folder / CERTIFICATE_FILE, certificate.public_bytes(Encoding.PEM))
    return Enrolled(private_key, certificate)


def stored(folder: Path) -> Enrolled | None:
    """Return what an earlier ``enrol`` stored; None if there is nothing that fits the key."""
    if not (folder / KEY_FILE).exists() or not (folder / CERTIFICATE_FILE).exists():
        return None
    private_key = make_keys(folder)
    try:
        certificate = _certificate((folder / CERTIFICATE_FILE).read_text(encoding="ascii"), private_key)
    except (EnrolmentRefused, UnicodeDecodeError):
        return None
    return Enrolled(private_key, certificate)


def fetch_configuration(url: str) -> bytes:
    """Return the signed configuration, unchecked: give it to ``load``. Raises ``CentralUnavailable``."""
    try:
        with requests.get(url, timeout=TIMEOUT_SECONDS, stream=True, allow_redirects=False) as response:
            if response.status_code != 200:
                raise CentralUnavailable(f"central answered {response.status_code} to a request for the configuration")
            return _limited(response, LARGEST_CONFIGURATION)
    except requests.RequestException as failure:
        raise CentralUnavailable(f"central cannot be reached at {url}: {type(failure).__name__}") from failure


def _post(url: str, body: dict[str, str]) -> dict[str, Any]:
    """Post to central; a redirect is not followed, since it would carry the token elsewhere."""
    try:
        with requests.post(url, json=body, timeout=TIMEOUT_SECONDS, stream=True, allow_redirects=False) as response:
            status, content = response.status_code, _limited(response, LARGEST_ANSWER)
    except requests.RequestException as failure:
        raise CentralUnavailable(f"central cannot be reached at {url}: {type(failure).__name__}") from failure
    try:
        answer = json.loads(content)
    except ValueError as defect:
        raise CentralUnavailable(f"central answered {status} with something that is not JSON") from defect
    if not isinstance(answer, dict):
        raise CentralUnavailable(f"central answered {status} with something that is not a JSON object")
    if 400 <= status < 500:
        raise EnrolmentRefused(str(answer.get("detail") or answer.get("title") or f"central answered {status}"))
    if status not in (200, 202):
        raise CentralUnavailable(f"central answered {status} to an enrolment")
    return answer


def _limited(response: requests.Response, most: int) -> bytes:
    """Read a body of at most ``most`` bytes: whoever answers in central's place must not fill this gateway's memory."""
    content = bytearray()
    for chunk in response.iter_content(64 * 1024):
        content += chunk
        if len(content) > most:
            raise CentralUnavailable(f"central's answer is longer than {most} bytes")
    return bytes(content)


def _certificate(pem: object, private_key: PrivateKey) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(str(pem).encode("ascii"))
        same = _spki(certificate) == _spki(private_key)
    except ValueError as defect:
        raise EnrolmentRefused("central answered without a readable certificate") from defect
    if not same:
        raise EnrolmentRefused("central answered with a certificate for another key than this gateway's")
    return certificate


def _spki(holder: x509.Certificate | PrivateKey) -> bytes:
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
