"""The secrets of a sandbox: made at first start, kept in two files of the steward (0600), never in the repository or an image."""

import json
import os
import secrets
from pathlib import Path
from typing import Any


def private_folder(path: Path) -> Path:
    """Make a folder, and those above it that are missing, each for its owner only (``mkdir`` would do so for the last one alone)."""
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=0o700, exist_ok=True)
    return path


def write_private(path: Path, content: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    private_folder(path.parent)
    aside = path.with_name(path.name + ".new")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    os.fchmod(handle, 0o600)  # one that a killed writer left may be of any mode
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


class Secrets:
    """Management token per process, gateway secret per app, enrolment token per gateway.

    ``tokens.json`` holds the management tokens (what the command line needs), ``secrets.json`` the rest (what settings are made from).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokens: dict[str, str] = _read(folder / "tokens.json")
        self._others: dict[str, str] = _read(folder / "secrets.json")

    def management(self, name: str) -> str:
        """Return the management token of a process."""
        return self._tokens.setdefault(name, secrets.token_urlsafe(24))

    def gateway(self, app: str) -> str:
        """Return what an app's own gateway presents when it calls."""
        return self._others.setdefault(f"gateway/{app}", secrets.token_urlsafe(24))

    def enrolment(self, gateway: str) -> str:
        """Return the one-time token with which a gateway asks central for its first certificate."""
        return self._others.setdefault(f"enrolment/{gateway}", secrets.token_urlsafe(24))

    def password(self, of: str) -> str:
        """Return a password for a user of the broker or the database."""
        return self._others.setdefault(f"password/{of}", secrets.token_hex(16))

    def save(self) -> None:
        """Write both files."""
        write_private(self._folder / "tokens.json", json.dumps(self._tokens, indent=1))
        write_private(self._folder / "secrets.json", json.dumps(self._others, indent=1))


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
