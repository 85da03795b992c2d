"""The keys that sign tokens: RSA, made at the first start, kept in the app's data folder (0600), renewed before they expire."""

import base64
import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc.jwk import RSAKey

from sandroad.problems import Error

LIFETIME = timedelta(days=730)
RENEW_BEFORE = timedelta(days=60)


class KeyUnusable(Error):
    """The key file in the data folder cannot be used."""


@dataclass(frozen=True)
class SigningKey:
    """One key with its self-signed certificate; ``kid`` is the JWK thumbprint (RFC 7638)."""

    key: RSAKey
    certificate: x509.Certificate

    @property
    def kid(self) -> str:
        """The key's id."""
        return self.key.thumbprint()

    @property
    def expires_at(self) -> datetime:
        """When the certificate ends."""
        return self.certificate.not_valid_after_utc

    def as_jwk(self) -> dict[str, Any]:
        """Return the public key as GovStack's jwks.json has it: with x5c, x5t#S256 and an ``exp`` in ISO 8601."""
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        thumbprint = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
        public = self.key.as_dict(private=False)
        return {
            "kid": self.kid, "kty": "RSA", "use": "sig", "alg": "RS256", "n": public["n"], "e": public["e"],
            "x5t#S256": thumbprint, "x5c": [base64.b64encode(der).decode()], "exp": f"{self.expires_at:%FT%TZ}",
        }  # fmt: skip


class KeyRing:
    """All keys that are valid; the newest signs. Read once: a key that is due is renewed at the next start."""

    def __init__(self, folder: Path, issuer: str, now: datetime) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        found = [_read(path) for path in sorted(folder.glob("oidc-*.pem"))]
        self.keys = sorted((key for key in found if key.expires_at > now), key=lambda key: key.expires_at)
        if not self.keys or self.keys[-1].expires_at - now < RENEW_BEFORE:
            _make(folder / f"oidc-{now:%Y%m%d}.pem", issuer, now)
            self.keys.append(_read(folder / f"oidc-{now:%Y%m%d}.pem"))

    @property
    def signing(self) -> SigningKey:
        """The key that signs."""
        return self.keys[-1]

    def find(self, kid: Any) -> RSAKey | None:
        """Return the key of that id."""
        return next((each.key for each in self.keys if each.kid == kid), None)

    def check(self, now: datetime) -> None:
        """Raise ``KeyUnusable`` if the signing key has expired."""
        if self.signing.expires_at <= now:
            raise KeyUnusable("the signing key has expired: restart identity, and it makes a new one")


def _read(path: Path) -> SigningKey:
    content = path.read_bytes()
    try:
        return SigningKey(RSAKey.import_key(content.split(b"-----BEGIN CERTIFICATE")[0]),
                          x509.load_pem_x509_certificate(content))  # fmt: skip
    except ValueError as defect:
        raise KeyUnusable(f"{path.name} is not a key with its certificate") from defect


def _make(path: Path, issuer: str, now: datetime) -> None:
    """Write a new key whole or not at all; if another process was first, its key stays."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.split("://")[-1][:64])])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - timedelta(minutes=5))
        .not_valid_after(now.astimezone(UTC) + LIFETIME)
        .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
