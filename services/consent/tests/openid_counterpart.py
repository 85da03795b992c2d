"""A small OpenID provider as a counterpart: it checks what this relying party sends, and can answer badly on purpose."""

import base64
import hashlib
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from flask import Flask, Response, jsonify, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey

from sandroad.testing import served
from sandroad.web import Running

ACR = "idbb:acr:generated-code"
CLIENT = "digital-consent"


@dataclass
class Provider:
    """``person`` is whoever sits at the browser; ``changed`` replaces claims; ``complaints`` is what was wrong with requests."""

    key: RSAKey
    client_key: dict[str, Any] = field(default_factory=dict)
    issuer: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "pairwise-1", "functional_ids": {}})
    changed: dict[str, Any] = field(default_factory=dict)
    signer: RSAKey | None = None
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)

    def token(self, claims: dict[str, Any]) -> str:
        key = self.signer or self.key
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, {**claims, **self.changed}, key)


@contextmanager
def openid_provider() -> Iterator[Provider]:
    """Serve the counterpart."""
    provider, app = Provider(RSAKey.generate_key(2048, auto_kid=True)), Flask("openid-counterpart")
    app.extensions["sandroad"] = Running(None, None)  # type: ignore[arg-type]

    @app.get("/.well-known/openid-configuration")
    def discovery() -> Any:
        ends = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "oauth/token",
            "userinfo_endpoint": "oidc/userinfo",
        }
        found = {name: f"{provider.issuer}/{path}" for name, path in ends.items()}
        return jsonify(issuer=provider.issuer, jwks_uri=f"{provider.issuer}/.well-known/jwks.json", **found)

    @app.get("/.well-known/jwks.json")
    def keys() -> Any:
        return jsonify(keys=[provider.key.as_dict(private=False)])

    @app.get("/authorize")
    def authorize() -> Any:
        code = secrets.token_urlsafe(16)
        provider.codes[code] = request.args.to_dict()
        answer = {"code": code, "state": request.args["state"], "iss": provider.issuer}
        return redirect(f"{request.args['redirect_uri']}?{urlencode(answer)}", 303)

    @app.post("/oauth/token")
    def token() -> Any:
        asked = provider.codes.pop(request.form["code"], None)
        assertion = jwt.decode(
            request.form["client_assertion"], RSAKey.import_key(provider.client_key), algorithms=["RS256"]
        )
        verifier = hashlib.sha256(request.form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        sound = {
            "code": asked is not None,
            "assertion": assertion.claims["iss"] == assertion.claims["sub"] == CLIENT
            and assertion.claims["aud"] == f"{provider.issuer}/oauth/token"
            and assertion.claims["exp"] > time.time(),
            "pkce": asked is not None
            and challenge == asked["code_challenge"]
            and asked["code_challenge_method"] == "S256",
            "redirect": asked is not None and asked["redirect_uri"] == request.form["redirect_uri"],
        }
        provider.complaints += [name for name, good in sound.items() if not good]
        if not all(sound.values()) or asked is None:
            return jsonify(error="invalid_grant"), 400
        now = int(time.time())
        claims = {"iss": provider.issuer, "aud": CLIENT, "sub": provider.person["sub"], "exp": now + 60, "iat": now,
                  "nonce": asked["nonce"], "acr": ACR, "auth_time": now}  # fmt: skip
        return jsonify(id_token=provider.token(claims), access_token="opaque", token_type="Bearer", expires_in=60)

    @app.get("/oidc/userinfo")
    def userinfo() -> Any:
        claims = {"iss": provider.issuer, "aud": CLIENT, **provider.person}
        return Response(provider.token(claims), content_type="application/jwt")

    with served(app) as url:
        provider.issuer = url
        yield provider
