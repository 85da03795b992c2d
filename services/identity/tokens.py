"""JWTs: client assertions that come in, ID tokens, access tokens and userinfo that go out; no storage."""

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwe, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey, import_key

from sandroad.problems import Refusal
from services.identity.domain import RelyingParty
from services.identity.keys import KeyRing

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_ALGORITHMS = {"RSA": ["RS256"], "EC": ["ES256"]}
LEEWAY = 60
LONGEST_ASSERTION = 3600
LONGEST_TEXT = 8192
PRIVATE_MEMBERS = {"d", "p", "q", "dp", "dq", "qi", "oth", "k"}


class OAuthRefusal(Refusal):
    """What the token endpoint says (RFC 6749 §5.2): ``code`` is OAuth's ``error``."""

    code = "invalid_request"


class InvalidClient(OAuthRefusal):
    """The client could not be authenticated."""

    code = "invalid_client"


class InvalidGrant(OAuthRefusal):
    """The code is unknown, used, expired or somebody else's, or the redirect URI or verifier does not fit."""

    code = "invalid_grant"


class UnsupportedGrantType(OAuthRefusal):
    code = "unsupported_grant_type"


class InvalidToken(Refusal):
    """The access token is not one of ours, has expired or was revoked (RFC 6750 §3.1)."""

    code = "invalid_token"


class InvalidPublicKey(Refusal):
    """The JWK of a client is not a public RSA (2048 bits or more) or P-256 key."""

    code = "invalid_public_key"


@dataclass(frozen=True)
class Assertion:
    """A verified client assertion; ``assertion_id`` is the digest of its jti, or of what was signed if it has none."""

    client_id: str
    assertion_id: str
    expires_at: float


@dataclass(frozen=True)
class Session:
    """What tokens say: who logged in where, when, how strongly."""

    sub: str
    client_id: str
    acr: str
    auth_time: int
    nonce: str
    scope: str


def read_public_key(jwk: Mapping[str, Any]) -> Key:
    """Return a client's key; raise ``InvalidPublicKey`` that says what is wrong with it."""
    if private := PRIVATE_MEMBERS & jwk.keys():
        raise InvalidPublicKey(f"the key contains the private member {sorted(private)[0]}: it is no secret any more")
    try:
        key = import_key({k: v for k, v in jwk.items() if isinstance(v, str)})
    except (JoseError, ValueError, TypeError, KeyError) as defect:
        raise InvalidPublicKey("the key is not a JWK of type RSA or EC") from defect
    if isinstance(key, RSAKey) and len(str(jwk["n"])) < 340:
        raise InvalidPublicKey("an RSA key has at least 2048 bits")
    if isinstance(key, ECKey) and key.curve_name != "P-256":
        raise InvalidPublicKey("an EC key is on P-256")
    if not isinstance(key, RSAKey | ECKey):
        raise InvalidPublicKey("the key is not a JWK of type RSA or EC")
    return key


def claimed_client(assertion: str) -> str:
    """Return the client that an assertion says it is from, before anything is verified, to find its key."""
    try:
        payload = assertion.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return str(claims["sub"])
    except (ValueError, IndexError, KeyError, TypeError, RecursionError) as defect:
        raise InvalidClient("client_assertion is not a JWT with a sub") from defect


def verify_assertion(assertion: str, party: RelyingParty, audiences: tuple[str, ...], now: float) -> Assertion:
    """Return the client assertion if it holds (RFC 7523 §3, GovStack `POST /oauth/token`).

    The key's type decides the algorithm, never the header: ``none`` and HS256 with the public key as secret fail here.
    """
    key = read_public_key(party.public_key)
    try:
        claims = jwt.decode(assertion, key, algorithms=ASSERTION_ALGORITHMS[key.key_type]).claims
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as defect:
        raise InvalidClient(f"client_assertion is not a JWT signed with the key of {party.client_id}") from defect
    if claims.get("iss") != party.client_id or claims.get("sub") != party.client_id:
        raise InvalidClient("iss and sub of client_assertion are the client_id")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    if not any(each in audiences for each in named):
        raise InvalidClient(f"aud of client_assertion is {audiences[0]}")
    expires_at, issued_at = _seconds(claims, "exp"), _seconds(claims, "iat")
    if expires_at <= now - LEEWAY:
        raise InvalidClient("client_assertion has expired")
    if issued_at > now + LEEWAY:
        raise InvalidClient("iat of client_assertion lies in the future: look at the clock")
    if "nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY:
        raise InvalidClient("client_assertion is not valid yet")
    if expires_at > now + LONGEST_ASSERTION + LEEWAY:
        raise InvalidClient(f"exp of client_assertion is at most {LONGEST_ASSERTION} seconds ahead")
    # Without a jti, what was signed is the id, and not the signature: that can be spelled in more than one way.
    signed = assertion.rpartition(".")[0]
    digest = hashlib.sha256(str(claims.get("jti", signed)).encode("utf-8", "replace")).hexdigest()
    return Assertion(party.client_id, digest, expires_at + LEEWAY)


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidClient(f"{name} of client_assertion is missing or not a number of seconds")
    return float(value)


class TokenMint:
    """Makes and reads the provider's own tokens."""

    def __init__(self, issuer: str, keys: KeyRing) -> None:
        self.issuer = issuer
        self._keys = keys

    def access_token(self, session: Session, token_id: str, now: float, lifetime: int) -> str:
        """Return an access token (RFC 9068). The relying party treats it as opaque."""
        claims = {"iss": self.issuer, "aud": session.client_id, "sub": session.sub, "client_id": session.client_id,
                  "iat": int(now), "exp": int(now) + lifetime, "jti": token_id, "scope": session.scope}  # fmt: skip
        return self._signed(claims, "at+jwt")

    def id_token(self, session: Session, access_token: str, now: float, lifetime: int) -> str:
        """Return an ID token (OpenID Connect Core 2)."""
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {"iss": self.issuer, "sub": session.sub, "aud": session.client_id, "exp": int(now) + lifetime,
                  "iat": int(now), "auth_time": session.auth_time, "acr": session.acr,
                  "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode()}  # fmt: skip
        if session.nonce:
            claims["nonce"] = session.nonce
        return self._signed(claims, "JWT")

    def userinfo(self, claims: Mapping[str, Any], party: RelyingParty, now: float) -> str:
        """Return userinfo as a signed JWT, inside a JWE for the client's key if it registered for that."""
        signed = self._signed({**claims, "iss": self.issuer, "aud": party.client_id, "iat": int(now)}, "JWT")
        if not party.userinfo_encryption:
            return signed
        header = {"alg": party.userinfo_encryption, "enc": "A256GCM", "cty": "JWT"}
        algorithms = [party.userinfo_encryption, "A256GCM"]
        return jwe.encrypt_compact(header, signed, read_public_key(party.public_key), algorithms)

    def read_access_token(self, token: str, now: float) -> str:
        """Return the id of an access token of ours; raise ``InvalidToken``.

        The type is checked, so an ID token, signed with the same key, does not open userinfo.
        """
        try:
            if len(token) > LONGEST_TEXT:
                raise ValueError("too long")
            header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
            key = self._keys.find(header.get("kid"))
            if key is None or header.get("typ") != "at+jwt":
                raise ValueError("not an access token of ours")
            claims = jwt.decode(token, key, algorithms=["RS256"]).claims
        except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as defect:
            raise InvalidToken("this is not an access token of this provider") from defect
        if claims.get("iss") != self.issuer or claims.get("exp", 0) <= now:
            raise InvalidToken("the access token has expired")
        return str(claims.get("jti", ""))

    def _signed(self, claims: dict[str, Any], kind: str) -> str:
        signing = self._keys.signing
        header = {"alg": "RS256", "kid": signing.kid, "typ": kind}
        return jwt.encode(header, claims, signing.key, algorithms=["RS256"], default_type=None)
