"""Compact signature and verification against bare ECDSA P-256, interleaved."""

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.signature import Signer, verify


def measure(say: Callable[[str], None], *, rounds: int) -> None:
    """Print medians in microseconds of sign + verify, and the ratio."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = Signer(key, certificate(key))
    message, body, algorithm = os.urandom(300), os.urandom(1000), ec.ECDSA(hashes.SHA256())

    def ours() -> None:
        digests = hashlib.sha512(message).digest(), hashlib.sha512(body).digest()
        verify(signer.sign(*digests, 1784711087123), *digests, key.public_key())

    def bare() -> None:
        key.public_key().verify(key.sign(message + body, algorithm), message + body, algorithm)

    taken: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(rounds):
        for name, work in (("bare", bare), ("ours", ours)):
            began = time.perf_counter()
            for _ in range(20):
                work()
            taken[name].append((time.perf_counter() - began) / 20 * 1e6)
    mine, base = statistics.median(taken["ours"]), statistics.median(taken["bare"])
    say(f"compact sign + verify {mine:.0f} µs, bare ECDSA P-256 {base:.0f} µs: {mine / base:.2f} of its time")


def certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate for the key, self-signed: only its hash enters the signature."""
    name, now = x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
