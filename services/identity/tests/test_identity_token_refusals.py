"""What the token endpoint and userinfo refuse, with OAuth's own error codes."""

import base64
import concurrent.futures
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey

from services.identity.tests.walking import CALLBACK, NUMBER, Party, query_of

VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Asker:
    """Asks for tokens by hand, so that every part can be spoiled."""

    def __init__(self, party: Party) -> None:
        self.party = party
        self.provider = party.provider

    def code(self, pkce: bool = True) -> str:
        asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"} if pkce else {}
        page = self.party.submit(self.party.follow(self.party.authorize(**asked)), "identify", individual_id=NUMBER)
        return query_of(self.party.submit(page, "code", code=self.provider.inbox.code()))["code"]

    def assertion(self, key: Any = None, alg: str = "RS256", **changed: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.party.client_id, "sub": self.party.client_id, "exp": now + 60, "iat": now,
                  "aud": f"{self.provider.url}/oauth/token", "jti": secrets.token_hex(8), **changed}  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode({"alg": alg}, claims, key or self.party.key, algorithms=[alg])

    def ask(self, **changed: Any) -> requests.Response:
        form = {"grant_type": "authorization_code", "redirect_uri": CALLBACK, "code_verifier": VERIFIER,
                "client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(), **changed}  # fmt: skip
        form = {name: value for name, value in form.items() if value is not None}
        return requests.post(f"{self.provider.url}/oauth/token", data=form)

    def userinfo(self, token: str) -> requests.Response:
        return requests.get(f"{self.provider.url}/oidc/userinfo", headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def asker(party: Party) -> Asker:
    return Asker(party)


def segment(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def spoilt_assertions(asker: Asker) -> dict[str, str]:
    """Return client assertions, each with one defect that its name tells."""
    now, genuine = int(time.time()), asker.assertion()
    payload = genuine.split(".")[1]
    forged = f"{segment({'alg': 'HS256'})}.{payload}"
    mac = hmac.digest(asker.party.key.as_pem(private=False), forged.encode(), "sha256")
    return {
        "alg none": f"{segment({'alg': 'none'})}.{payload}.",
        "alg none, signature kept": f"{segment({'alg': 'none'})}.{payload}.{genuine.split('.')[2]}",
        "HS256 with the public key as secret": f"{forged}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}",
        "another key": asker.assertion(RSAKey.generate_key(2048)),
        "another algorithm of the same key": asker.assertion(alg="PS256"),
        "foreign audience": asker.assertion(aud="https://other.example/oauth/token"),
        "foreign audiences": asker.assertion(aud=["https://other.example", "https://third.example"]),
        "no audience": asker.assertion(aud=None),
        "audience only begins right": asker.assertion(aud=f"{asker.provider.url}/oauth/token/x"),
        "foreign iss": asker.assertion(iss="somebody"),
        "unknown client": asker.assertion(iss="somebody", sub="somebody"),
        "no sub": asker.assertion(sub=None),
        "expired": asker.assertion(exp=now - 120),
        "no exp": asker.assertion(exp=None),
        "exp is text": asker.assertion(exp="tomorrow"),
        "exp is infinite": asker.assertion(exp=float("inf")),
        "exp far away": asker.assertion(exp=now + 100_000),
        "no iat": asker.assertion(iat=None),
        "iat in the future": asker.assertion(iat=now + 600),
        "not yet valid": asker.assertion(nbf=now + 600),
        "signature cut": genuine.rsplit(".", 1)[0] + ".",
        "payload changed": ".".join([genuine.split(".")[0], segment({"sub": "cash-transfer"}), genuine.split(".")[2]]),
        "no JWT": "abc",
        "empty parts": "..",
        "very long": "a" * 9000,
    }


CASES = (
    "alg none", "alg none, signature kept", "HS256 with the public key as secret", "another key",
    "another algorithm of the same key", "foreign audience", "foreign audiences", "no audience",
    "audience only begins right", "foreign iss", "unknown client", "no sub", "expired", "no exp", "exp is text",
    "exp is infinite", "exp far away", "no iat", "iat in the future", "not yet valid", "signature cut",
    "payload changed", "no JWT", "empty parts", "very long",
)  # fmt: skip


def test_each_spoilt_client_assertion_is_refused_and_the_code_stays_good(asker: Asker) -> None:
    spoilt, code = spoilt_assertions(asker), asker.code()
    assert tuple(spoilt) == CASES
    for case, assertion in spoilt.items():
        reply = asker.ask(code=code, client_assertion=assertion)
        assert (reply.status_code, reply.json()["error"]) == (401, "invalid_client"), case
        assert reply.headers["Cache-Control"] == "no-store"
    assert asker.ask(code=code).status_code == 200


FORMS: dict[str, tuple[dict[str, Any], int, str]] = {
    "no assertion": ({"client_assertion": None}, 401, "invalid_client"),
    "assertion of another type": ({"client_assertion_type": "x"}, 401, "invalid_client"),
    "client secret": ({"client_secret": "s"}, 401, "invalid_client"),
    "another client_id": ({"client_id": "other"}, 401, "invalid_client"),
    "no grant type": ({"grant_type": None}, 400, "invalid_request"),
    "password grant": ({"grant_type": "password"}, 400, "unsupported_grant_type"),
    "refresh grant": ({"grant_type": "refresh_token"}, 400, "unsupported_grant_type"),
    "no code": ({"code": None}, 400, "invalid_request"),
    "unknown code": ({"code": "nothing"}, 400, "invalid_grant"),
    "code with NUL": ({"code": "a\0"}, 400, "invalid_grant"),
    "no redirect uri": ({"redirect_uri": None}, 400, "invalid_request"),
    "another redirect uri": ({"redirect_uri": CALLBACK + "/x"}, 400, "invalid_grant"),
    "no verifier (PKCE downgrade)": ({"code_verifier": None}, 400, "invalid_grant"),
    "wrong verifier": ({"code_verifier": "w" * 64}, 400, "invalid_grant"),
    "the challenge as verifier": ({"code_verifier": CHALLENGE}, 400, "invalid_grant"),
    "repeated code": ({"code": ["a", "b"]}, 400, "invalid_request"),
}


def test_each_spoilt_token_request_is_refused_and_the_code_stays_good(asker: Asker) -> None:
    code = asker.code()
    for case, (changed, status, error) in FORMS.items():
        reply = asker.ask(**{"code": code, **changed})
        assert (reply.status_code, reply.json()["error"]) == (status, error), case
    assert asker.ask(code=code).status_code == 200


def test_a_verifier_without_a_challenge_is_refused(asker: Asker) -> None:
    code = asker.code(pkce=False)
    assert asker.ask(code=code).json()["error"] == "invalid_grant"
    assert asker.ask(code=code, code_verifier=None).status_code == 200


def test_an_assertion_works_once(asker: Asker) -> None:
    for assertion in (asker.assertion(), asker.assertion(jti=None)):
        assert asker.ask(code="x", client_assertion=assertion).json()["error"] == "invalid_grant"
        assert asker.ask(code="x", client_assertion=assertion).json()["error"] == "invalid_client"


def test_a_code_used_twice_revokes_what_it_gave(asker: Asker) -> None:
    code = asker.code()
    token = asker.ask(code=code).json()["access_token"]
    assert asker.userinfo(token).status_code == 200
    assert asker.ask(code=code).json()["error"] == "invalid_grant"
    refused = asker.userinfo(token)
    assert refused.status_code == 401 and 'error="invalid_token"' in refused.headers["WWW-Authenticate"]


def test_of_two_exchanges_at_once_one_succeeds(asker: Asker) -> None:
    code = asker.code()
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        replies = [each.result() for each in [pool.submit(asker.ask, code=code) for _ in range(6)]]
    assert sorted(reply.status_code for reply in replies) == [200, 400, 400, 400, 400, 400]
    (token,) = [reply.json()["access_token"] for reply in replies if reply.status_code == 200]
    assert asker.userinfo(token).status_code == 401


def test_a_code_of_one_client_is_unknown_to_another_and_not_spoilt_by_it(asker: Asker, ec_key: Any) -> None:
    asker.provider.register(ec_key, clientId="thief")
    code = asker.code()
    thief = Asker(Party(asker.provider, ec_key, client_id="thief"))
    stolen = asker.ask(code=code, client_assertion=thief.assertion(ec_key, "ES256"))
    assert stolen.json()["error"] == "invalid_grant"
    assert asker.ask(code=code).status_code == 200


def test_an_expired_code_is_refused(asker: Asker) -> None:
    code = asker.code()
    asker.provider.advance(minutes=2)
    fresh = asker.assertion(exp=int(time.time()) + 300)
    assert asker.ask(code=code, client_assertion=fresh).json()["error"] == "invalid_grant"


def test_an_expired_access_token_is_refused(asker: Asker) -> None:
    token = asker.ask(code=asker.code()).json()["access_token"]
    asker.provider.advance(minutes=10)
    assert asker.userinfo(token).status_code == 401


def test_userinfo_takes_access_tokens_of_ours_and_nothing_else(asker: Asker) -> None:
    tokens = asker.ask(code=asker.code()).json()
    header, payload, signature = tokens["access_token"].split(".")
    foreign = jwt.encode({"alg": "RS256", "typ": "at+jwt"}, {"iss": asker.provider.url}, RSAKey.generate_key(2048))
    for token in (
        tokens["id_token"],
        f"{segment({'alg': 'none', 'typ': 'at+jwt'})}.{payload}.",
        f"{header}.{payload}.{signature[:-4]}AAAA",
        foreign,
        "x",
        "..",
        "a" * 9000,
    ):
        reply = asker.userinfo(token)
        assert reply.status_code == 401 and reply.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')
    bare = requests.get(f"{asker.provider.url}/oidc/userinfo")
    assert bare.status_code == 401 and bare.headers["WWW-Authenticate"] == "Bearer"
    assert asker.userinfo(tokens["access_token"]).status_code == 200


def test_a_body_that_is_no_form_is_refused_in_oauths_words(asker: Asker) -> None:
    url = f"{asker.provider.url}/oauth/token"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for body, headers in (
        (b"{}", {"Content-Type": "application/json"}),
        (b"\xff\xfe", form),
        (b"%FF=%FE", form),
        (b"", form),
    ):
        reply = requests.post(url, data=body, headers=headers)
        assert reply.status_code in (400, 415) and reply.json()["error"] == "invalid_request"
