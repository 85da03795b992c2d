"""Login at identity as a relying party: code flow with PKCE, ``private_key_jwt``, signed userinfo (govstack.md 2.4).

The key is made at the first start and never leaves its file. Nothing here knows what a login is used for.
"""

import base64
import hashlib
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from usecases.cash_transfer.refusals import LoginFailed, LoginNotSetUp

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY = 60
TIMEOUT = 20


@dataclass(frozen=True)
class Registration:
    """What identity knows this app by."""

    client_id: str
    issuer: str


@dataclass(frozen=True)
class Pending:
    """A login that was begun; the browser keeps it in its signed cookie until it comes back."""

    state: str
    nonce: str
    verifier: str


class RelyingParty:
    """Speaks to identity. ``back_channel`` is where this process reaches the issuer, if browsers use another address."""

    def __init__(self, key: RSAKey, redirect_uri: str, back_channel: str = "") -> None:
        self._key = key
        self.redirect_uri = redirect_uri
        self._back_channel = back_channel.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False
        self._discovered: dict[str, dict[str, Any]] = {}
        self._keys: KeySet | None = None

    @property
    def public_key(self) -> dict[str, Any]:
        """The JWK with which identity verifies our assertions."""
        return dict(self._key.as_dict(private=False))

    def begin(self, registration: Registration, scope: str, prompt: str = "") -> tuple[str, Pending]:
        """Return (the address to send the browser to, what has to be remembered)."""
        pending = Pending(secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": registration.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": pending.state,
            "nonce": pending.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if prompt:
            query["prompt"] = prompt
        return f"{self._endpoint(registration, 'authorization_endpoint')}?{urlencode(query)}", pending

    def finish(self, registration: Registration, pending: Pending, answer: Mapping[str, str]) -> dict[str, Any]:
        """Return userinfo's claims for the code that the browser brought back; raise ``LoginFailed``."""
        if not secrets.compare_digest(answer.get("state", "").encode(), pending.state.encode()):
            raise LoginFailed("this login was not begun in this browser; please begin again")
        # RFC 9207: without this check an answer of another provider could be mixed in.
        if answer.get("iss") not in (None, registration.issuer):
            raise LoginFailed("the answer comes from another identity provider")
        if answer.get("error"):
            raise LoginFailed(f"identity answered {answer['error'][:60]}: {answer.get('error_description', '')[:200]}")
        tokens = self._token(registration, pending, answer.get("code", ""))
        identity = self._verified(registration, tokens.get("id_token", ""), "ID token")
        if identity.get("nonce") != pending.nonce or identity.get("exp", 0) < time.time() - LEEWAY:
            raise LoginFailed("the ID token does not belong to this login")
        claims = self._userinfo(registration, tokens.get("access_token", ""))
        # OpenID Connect Core 5.3.2: otherwise another person's userinfo could be slipped in.
        if not identity.get("sub") or claims.get("sub") != identity["sub"]:
            raise LoginFailed("userinfo is about somebody else than the ID token")
        return claims

    def _token(self, registration: Registration, pending: Pending, code: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": registration.client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(registration),
            "redirect_uri": self.redirect_uri,
            "code_verifier": pending.verifier,
        }
        response = self._send(
            "POST", self._back(registration, self._endpoint(registration, "token_endpoint")), data=form
        )
        document = _document(response)
        if response.status_code != 200:
            raise LoginFailed(f"identity gave no token: {str(document.get('error', response.status_code))[:60]}")
        return document

    def _assertion(self, registration: Registration) -> str:
        now = int(time.time())
        claims = {
            "iss": registration.client_id,
            "sub": registration.client_id,
            "aud": self._endpoint(registration, "token_endpoint"),
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_urlsafe(16),
        }
        return jwt.encode({"alg": "RS256", "kid": self._key.kid}, claims, self._key, algorithms=["RS256"])

    def _userinfo(self, registration: Registration, access_token: str) -> dict[str, Any]:
        endpoint = self._back(registration, self._endpoint(registration, "userinfo_endpoint"))
        response = self._send("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        if response.status_code != 200:
            raise LoginFailed(f"identity gave no user information: {response.status_code}")
        return self._verified(registration, response.text, "userinfo")

    def _verified(self, registration: Registration, token: str, what: str) -> dict[str, Any]:
        """Return the claims of a JWT signed by the issuer for us; unknown keys are looked for once more."""
        for fresh in (False, True):
            keys = self._key_set(registration, fresh=fresh)
            try:
                claims = jwt.decode(token, keys, algorithms=["RS256"]).claims
            except (JoseError, ValueError, TypeError, KeyError):
                continue
            audience = claims.get("aud")
            if claims.get("iss") != registration.issuer or registration.client_id not in (
                audience if isinstance(audience, list) else [audience]
            ):
                raise LoginFailed(f"the {what} was made by or for somebody else")
            return dict(claims)
        raise LoginFailed(f"the {what} is not signed by identity")

    def _key_set(self, registration: Registration, *, fresh: bool) -> KeySet:
        if self._keys is None or fresh:
            endpoint = self._back(registration, self._endpoint(registration, "jwks_uri"))
            self._keys = KeySet.import_key_set(_document(self._send("GET", endpoint)))  # type: ignore[arg-type]
        return self._keys

    def _endpoint(self, registration: Registration, name: str) -> str:
        if registration.issuer not in self._discovered:
            address = self._back(registration, registration.issuer.rstrip("/") + "/.well-known/openid-configuration")
            found = _document(self._send("GET", address))
            if found.get("issuer") != registration.issuer:
                raise LoginNotSetUp(
                    f"the identity provider calls itself {found.get('issuer')!r}, not {registration.issuer!r}"
                )
            self._discovered[registration.issuer] = found
        try:
            return str(self._discovered[registration.issuer][name])
        except KeyError as defect:
            raise LoginNotSetUp(f"the identity provider does not announce its {name}") from defect

    def _back(self, registration: Registration, address: str) -> str:
        issuer = registration.issuer.rstrip("/")
        if self._back_channel and address.startswith(issuer + "/"):
            return self._back_channel + address.removeprefix(issuer)
        return address

    def _send(self, method: str, address: str, **more: Any) -> requests.Response:
        try:
            return self._session.request(method, address, timeout=TIMEOUT, allow_redirects=False, **more)
        except requests.RequestException as defect:
            raise LoginNotSetUp(f"identity does not answer: {type(defect).__name__}") from defect


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        parsed = response.json()
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}


def own_key(folder: Path) -> RSAKey:
    """Return this app's key, made at the first start into a file that only it can read."""
    path = folder / "oidc-key.pem"
    if not path.exists():
        made = RSAKey.generate_key(2048, auto_kid=True)
        _write_private(path, made.as_pem(private=True))
    key = RSAKey.import_key(path.read_bytes())
    key.ensure_kid()
    return key


def own_secret(folder: Path) -> bytes:
    """Return the secret that signs this app's cookies, made at the first start."""
    path = folder / "session-secret"
    if not path.exists():
        _write_private(path, secrets.token_bytes(32))
    return path.read_bytes()


def _write_private(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
