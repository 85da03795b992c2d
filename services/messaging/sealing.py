"""Keeps what waits in the queue unreadable at rest (GovStack Messaging 5.1.8): a key of the block's own, made at first start."""

import contextlib
import os
from pathlib import Path

from cryptography.fernet import Fernet


class Seal:
    """Encrypts the queue's contents with the key in ``path`` (mode 0600, made if it is missing)."""

    def __init__(self, path: Path) -> None:
        self._fernet = Fernet(_key(path))

    def close(self, plain: bytes) -> bytes:
        """Return ``plain`` encrypted and authenticated."""
        return self._fernet.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """Return the plain bytes of what ``close`` gave."""
        return self._fernet.decrypt(sealed)


def _key(path: Path) -> bytes:
    """Return the key, made whole before it gets its name, so that a crash leaves no half a key."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
