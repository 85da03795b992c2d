"""Login at identity: this block as an OpenID Connect relying party (code flow, PKCE, private_key_jwt, signed userinfo)."""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import Column, MetaData, String, Table, delete, insert, select

from sandroad.problems import Refusal
from sandroad.storage import Database
from services.consent.keys import OwnKeys
from services.consent.sessions import BegunLogin, LoginFailed, Person

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY = 60
TIMEOUT = 15


class LoginNotSetUp(Refusal):
    """Identity and this block do not know each other yet, or identity does not answer."""

    code = "consent_login_not_set_up"


@dataclass(frozen=True)
class Registration:
    """What identity knows this block by."""

    client_id: str
    issuer: str


class Registrations:
    """The registration that control set, else the one from the settings."""

    def __init__(self, database: Database, metadata: MetaData, settings: Registration) -> None:
        self._database = database
        self._settings = settings
        self._table = Table(
            "registration",
            metadata,
            Column("client_id", String(100), primary_key=True),
            Column("issuer", String(500), nullable=False),
        )

    def get(self) -> Registration:
        """Return the registration; raise ``LoginNotSetUp`` if there is none."""
        with self._database.read() as connection:
            row = connection.execute(select(self._table)).first()
        found = Registration(row[0], row[1]) if row else self._settings
        if not found.client_id or not found.issuer:
            raise LoginNotSetUp("this service is not registered at identity yet")
        return found

    def put(self, registration: Registration) -> None:
        """Keep a registration in place of the one before."""
        with self._database.begin() as connection:
            connection.execute(delete(self._table))
            connection.execute(insert(self._table).values(**vars(registration)))


class RelyingParty:
    """``back_channel`` is where this process reaches identity, if browsers use another address (containers)."""

    def __init__(self, registrations: Registrations, keys: OwnKeys, redirect_uri: str, back_channel: str) -> None:
        self._registrations = registrations
        self._keys = keys
        self.redirect_uri = redirect_uri
        self._back_channel = back_channel.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False

    def begin(self, destination: str) -> tuple[str, str, BegunLogin]:
        """Return (where to send the browser, state, what has to be remembered)."""
        party = self._registrations.get()
        login = BegunLogin(secrets.token_urlsafe(24), secrets.token_urlsafe(48), destination)
        state = secrets.token_urlsafe(24)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": party.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": "openid",
            "state": state,
            "nonce": login.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._metadata(party)['authorization_endpoint']}?{urlencode(query)}", state, login

    def finish(self, login: BegunLogin, answer: Mapping[str, str]) -> Person:
        """Return who logged in, from the answer that the browser brought; raise ``LoginFailed``."""
        party = self._registrations.get()
        # RFC 9207: an answer of another provider must not be mixed in.
        if answer.get("iss") not in (None, party.issuer):
            raise LoginFailed("the answer comes from another identity provider")
        if "error" in answer:
            raise LoginFailed(f"identity answered: {answer['error'][:60]}")
        tokens = self._tokens(party, login, answer.get("code", ""))
        identity = self._claims(party, str(tokens.get("id_token", "")), "ID token")
        if not secrets.compare_digest(str(identity.get("nonce", "")), login.nonce):
            raise LoginFailed("the ID token belongs to another login")
        if not isinstance(identity.get("exp"), int | float) or identity["exp"] < time.time() - LEEWAY:
            raise LoginFailed("the ID token has expired")
        known = self._userinfo(party, str(tokens.get("access_token", "")))
        # OpenID Connect Core 5.3.2: another person's userinfo must not be slipped in.
        if not identity.get("sub") or known.get("sub") != identity["sub"]:
            raise LoginFailed("userinfo is about somebody else than the ID token")
        ids = known.get("functional_ids") or {}
        if not isinstance(ids, dict) or not all(isinstance(each, str) for each in ids.values()):
            raise LoginFailed("identity told functional ids in a form that is not known here")
        return Person(
            party.issuer, str(identity["sub"]), str(identity.get("acr", "")), int(identity.get("auth_time") or 0), ids
        )

    def _tokens(self, party: Registration, login: BegunLogin, code: str) -> dict[str, Any]:
        endpoint = self._metadata(party)["token_endpoint"]
        now = int(time.time())
        assertion = {
            "iss": party.client_id, "sub": party.client_id, "aud": endpoint, "iat": now, "exp": now + 120,
            "jti": secrets.token_urlsafe(16),
        }  # fmt: skip
        header = {"alg": "RS256", "kid": self._keys.client_id}
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": party.client_id,
            "redirect_uri": self.redirect_uri,
            "code_verifier": login.verifier,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": jwt.encode(header, assertion, self._keys.client, algorithms=["RS256"]),
        }
        response = self._send("POST", self._back(party, endpoint), data=form)
        if response.status_code != 200:
            raise LoginFailed(f"identity gave no token: {str(_document(response).get('error', 'no reason'))[:60]}")
        return _document(response)

    def _userinfo(self, party: Registration, access_token: str) -> dict[str, Any]:
        endpoint = self._back(party, self._metadata(party)["userinfo_endpoint"])
        response = self._send("GET", endpoint, headers={"Authorization": f"Bearer {access_token}"})
        if response.status_code != 200:
            raise LoginFailed(f"identity gave no user information ({response.status_code})")
        return self._claims(party, response.text, "userinfo")

    def _claims(self, party: Registration, token: str, what: str) -> dict[str, Any]:
        """Return the claims of a JWT that the issuer signed (RS256, no other) for us."""
        document = _document(self._send("GET", self._back(party, self._metadata(party)["jwks_uri"])))
        try:
            keys = KeySet.import_key_set(document)  # type: ignore[arg-type]
            claims = dict(jwt.decode(token, keys, algorithms=["RS256"]).claims)
        except (JoseError, ValueError, TypeError, KeyError) as defect:
            raise LoginFailed(f"the {what} is not signed by identity") from defect
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != party.issuer or party.client_id not in audiences:
            raise LoginFailed(f"the {what} was made by or for somebody else")
        return claims

    def _metadata(self, party: Registration) -> dict[str, str]:
        """Return the provider's metadata (asked each time: logins are rare, and a provider may be replaced)."""
        address = self._back(party, party.issuer.rstrip("/") + "/.well-known/openid-configuration")
        found = _document(self._send("GET", address))
        needed = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri")
        if found.get("issuer") != party.issuer or not all(isinstance(found.get(name), str) for name in needed):
            raise LoginNotSetUp("the identity provider does not describe itself as the one that is set up here")
        return found

    def _back(self, party: Registration, address: str) -> str:
        issuer = party.issuer.rstrip("/")
        if self._back_channel and address.startswith(issuer + "/"):
            return self._back_channel + address.removeprefix(issuer)
        return address

    def _send(self, method: str, address: str, **more: Any) -> requests.Response:
        try:
            return self._session.request(method, address, timeout=TIMEOUT, allow_redirects=False, **more)
        except requests.RequestException as defect:
            raise LoginNotSetUp(f"identity does not answer ({type(defect).__name__}); please try again") from defect


def _document(response: requests.Response) -> dict[str, Any]:
    try:
        parsed = response.json()
    except ValueError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}
