"""Private keys in files: made once, mode 0600, never overwritten, whole or not there."""

import contextlib
import os
import secrets
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class KeyUnusable(Exception):
    """A key file is there but holds no key of ours; it is left as it is, for a person to look at."""


def key_at(path: Path, algorithm: str = "ES256") -> PrivateKey:
    """Return the private key in ``path``; make one at the first call (EC P-256, or RSA-2048 for ``RS512``).

    Two processes that call at once get the same key. Raises ``KeyUnusable``.
    """
    if not path.exists():
        _put(path, _new(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (ValueError, TypeError) as defect:
        raise KeyUnusable(f"{path.name} holds no unencrypted private key in PEM") from defect
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise KeyUnusable(f"{path.name} holds a key that is neither EC nor RSA")
    return key


def put_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that a crash leaves the old file or the new one, mode 0600."""
    draft = _draft(path, content)
    draft.replace(path)
    _sync_folder(path.parent)


def _put(path: Path, content: bytes) -> None:
    """Write a file that never replaces another: of two writers the first wins; a crash leaves no half file."""
    draft = _draft(path, content)
    try:
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.parent / f".{path.name}.{secrets.token_hex(6)}"
    # The mode is given at creation: a file that is narrowed afterwards was readable for a moment.
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new(algorithm: str) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    if algorithm == "RS512":
        return rsa.generate_private_key(65537, 2048)
    raise KeyUnusable(f"{algorithm} is not a signature algorithm here; ES256 and RS512 are")
