"""The block's own keys, made at first start and never sent anywhere: one signs consent, one proves who this relying party is."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey, RSAKey


class OwnKeys:
    """``signing`` (EC P-256) signs consent records; ``client`` (RSA 2048) authenticates this block at identity."""

    def __init__(self, folder: Path) -> None:
        self.signing = ECKey.import_key(_kept(folder / "consent-key.json", lambda: ECKey.generate_key("P-256")))
        self.client = RSAKey.import_key(_kept(folder / "oidc-client-key.json", lambda: RSAKey.generate_key(2048)))
        self.signing_id = self.signing.thumbprint()
        self.client_id = self.client.thumbprint()

    def signing_jwk(self) -> dict[str, Any]:
        """Return the public key that verifies consent signatures."""
        return {**self.signing.as_dict(private=False), "kid": self.signing_id, "use": "sig", "alg": "ES256"}

    def client_jwk(self) -> dict[str, Any]:
        """Return the public key that identity is given."""
        return {**self.client.as_dict(private=False), "kid": self.client_id, "use": "sig", "alg": "RS256"}


def _kept(path: Path, make: Any) -> dict[str, Any]:
    """Return the key in ``path``; make it (mode 0600, whole before it gets its name) if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(make().as_dict(private=True), file)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return dict(json.loads(path.read_text(encoding="utf-8")))
