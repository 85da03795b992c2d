"""What /authorize refuses, where it says so, and what strangers cannot do with the login pages."""

import itertools
import re
from typing import Any

import requests

from services.identity.tests.walking import CALLBACK, NUMBER, Party, Provider, query_of

BY_REDIRECT: dict[str, tuple[dict[str, Any], str]] = {
    "no response type": ({"response_type": None}, "invalid_request"),
    "implicit flow": ({"response_type": "token id_token"}, "unsupported_response_type"),
    "fragment mode": ({"response_mode": "fragment"}, "invalid_request"),
    "no scope": ({"scope": None}, "invalid_scope"),
    "no openid": ({"scope": "profile"}, "invalid_scope"),
    "unknown scope": ({"scope": "openid everything"}, "invalid_scope"),
    "plain PKCE": ({"code_challenge": "x" * 43, "code_challenge_method": "plain"}, "invalid_request"),
    "PKCE without method": ({"code_challenge": "x" * 43}, "invalid_request"),
    "PKCE method alone": ({"code_challenge_method": "S256"}, "invalid_request"),
    "short challenge": ({"code_challenge": "x" * 42, "code_challenge_method": "S256"}, "invalid_request"),
    "biometrics": ({"acr_values": "idbb:acr:biometrics"}, "unmet_authentication_requirements"),
    "essential acr": (
        {"claims": '{"id_token": {"acr": {"essential": true, "values": ["idbb:acr:biometrics"]}}}'},
        "unmet_authentication_requirements",
    ),
    "silent login": ({"prompt": "none"}, "login_required"),
    "none and login": ({"prompt": "none login"}, "invalid_request"),
    "unknown prompt": ({"prompt": "hypnosis"}, "invalid_request"),
    "unknown display": ({"display": "hologram"}, "invalid_request"),
    "max_age": ({"max_age": "soon"}, "invalid_request"),
    "request object": ({"request": "e30.e30."}, "request_not_supported"),
    "request uri": ({"request_uri": "https://evil.example/r"}, "request_uri_not_supported"),
    "registration": ({"registration": "{}"}, "registration_not_supported"),
    "claims no JSON": ({"claims": "{"}, "invalid_request"),
    "claims no object": ({"claims": "[1]"}, "invalid_request"),
    "claims nested wrongly": ({"claims": '{"userinfo": {"name": 7}}'}, "invalid_request"),
    "claims nested deeply": ({"claims": "[" * 8000}, "invalid_request"),
    "long state": ({"state": "s" * 257}, "invalid_request"),
    "long nonce": ({"nonce": "n" * 513}, "invalid_request"),
    "NUL in nonce": ({"nonce": "a\0b"}, "invalid_request"),
    "repeated parameter": ({"scope": ["openid", "openid profile"]}, "invalid_request"),
}
FOREIGN_URIS = [
    "https://evil.example/login/callback",
    CALLBACK + "/",
    CALLBACK + "?next=https://evil.example",
    CALLBACK + "#fragment",
    CALLBACK.upper(),
    CALLBACK.replace("127.0.0.1", "127.0.0.1@evil.example"),
    CALLBACK.replace("/login", "/../login"),
    "//evil.example/login/callback",
    "javascript:alert(1)",
    "",
]


def test_the_relying_party_is_told_by_redirect(party: Party) -> None:
    for case, (params, error) in BY_REDIRECT.items():
        reply = party.authorize(**params)
        assert reply.status_code == 303 and reply.headers["Location"].startswith(CALLBACK + "?"), case
        told = query_of(reply.headers["Location"])
        assert told["error"] == error and told["iss"] == party.provider.url, case
        assert told.get("state") == (None if case == "long state" else "s-1"), case
        assert "code" not in told, case


def test_nobody_is_redirected_to_an_address_that_is_not_registered(party: Party) -> None:
    wrong: tuple[dict[str, Any], ...] = ({}, {"response_type": "token"}, {"prompt": "none"})
    for uri, extra in itertools.product(FOREIGN_URIS, wrong):
        reply = party.authorize(redirect_uri=uri, **extra)
        assert reply.status_code == 400 and "Location" not in reply.headers
        assert "not one that Cash Transfer has registered" in reply.text


def test_an_unknown_client_is_told_on_a_page(party: Party) -> None:
    for client_id in ("stranger", "", "a\0b", "x" * 3000, "ü", None):
        reply = party.authorize(client_id=client_id)
        assert reply.status_code == 400 and reply.headers["Content-Type"].startswith("text/html"), client_id


def test_a_client_that_was_switched_off_begins_no_login(party: Party, provider: Provider, rsa_key: Any) -> None:
    body = {"requestTime": "2026-01-01T00:00:00Z", "request": {
        "clientName": "Cash Transfer", "status": "inactive", "logoUri": "https://w.example/l.png",
        "redirectUris": [CALLBACK], "userClaims": ["name"], "authContextRefs": ["idbb:acr:generated-code"],
        "grantTypes": ["authorization_code"], "clientAuthMethods": ["private_key_jwt"]}}  # fmt: skip
    url = f"{provider.url}/client-mgmt/oidc-client/{party.client_id}"
    assert requests.put(url, json=body, headers=provider.steward).json()["errors"] == []
    assert party.authorize().status_code == 400
    body["request"]["status"] = "active"  # type: ignore[index]
    requests.put(url, json=body, headers=provider.steward)
    assert party.authorize().status_code == 303


def test_a_client_registered_without_generated_codes_is_refused(provider: Provider, rsa_key: Any) -> None:
    provider.register(rsa_key, clientId="strict", authContextRefs=["idbb:acr:biometrics"])
    reply = Party(provider, rsa_key, client_id="strict").authorize()
    assert query_of(reply.headers["Location"])["error"] == "unmet_authentication_requirements"


def test_five_wrong_codes_end_the_login(party: Party, provider: Provider) -> None:
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    right = provider.inbox.code()
    wrong = f"{(int(right) + 1) % 1_000_000:06d}"
    for _ in range(4):
        again = party.submit(page, "code", code=wrong)
        assert again.status_code == 400 and "This is not the code" in again.text
    end = party.submit(page, "code", code=wrong)
    assert query_of(end)["error"] == "access_denied"
    late = party.submit(page, "code", code=right)
    assert query_of(late)["error"] == "access_denied", "the right code comes too late"


def test_wrong_codes_count_over_several_logins_of_a_person(party: Party, provider: Provider) -> None:
    for _ in range(3):
        page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
        for _ in range(5):
            party.submit(page, "code", code="x")
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    assert query_of(party.submit(page, "code", code=provider.inbox.code()))["error"] == "access_denied"
    provider.advance(minutes=11)
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    assert "code=" in party.submit(page, "code", code=provider.inbox.code())


def test_an_expired_code_is_refused_and_a_new_one_works(party: Party, provider: Provider) -> None:
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    old = provider.inbox.code()
    provider.advance(minutes=3)
    expired = party.submit(page, "code", code=old)
    assert "This code has expired" in expired.text
    party.submit(page, "resend")
    assert len(provider.inbox.taken) == 2
    assert "code=" in party.submit(page, "code", code=f" {provider.inbox.code()[:3]} {provider.inbox.code()[3:]} ")


def test_a_new_code_makes_the_former_one_useless(party: Party, provider: Provider) -> None:
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    old = provider.inbox.code()
    provider.advance(seconds=31)
    party.submit(page, "resend")
    if old != provider.inbox.code():
        assert "This is not the code" in party.submit(page, "code", code=old).text


def test_codes_are_limited_per_login(party: Party, provider: Provider) -> None:
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    for _ in range(4):
        provider.advance(seconds=31)
        party.submit(page, "resend")
    provider.advance(seconds=31)
    refused = party.submit(page, "resend")
    assert refused.status_code == 429 and len(provider.inbox.taken) == 5


def test_a_login_that_takes_too_long_is_over(party: Party, provider: Provider) -> None:
    page = party.follow(party.authorize())
    provider.advance(minutes=16)
    assert "took too long" in party.submit(page, "identify", individual_id=NUMBER).text
    assert provider.inbox.taken == []


def test_the_pages_do_not_tell_whether_a_number_is_known(party: Party, provider: Provider) -> None:
    def seen(number: str) -> str:
        page = party.submit(party.follow(party.authorize()), "identify", individual_id=number)
        wrong = party.submit(page, "code", code="none")
        texts = page.text + wrong.text
        return re.sub(r'nonce="[^"]+"|value="[^"]{20,}"|/login/[\w-]+', "", texts)

    for typed in ("QZ9999999999", "", "   ", "ü" * 300, "a\0b", "' OR 1=1 --"):
        assert seen(typed) == seen(NUMBER), typed
        provider.advance(minutes=11)
    assert len(provider.inbox.taken) == 6, "only the known number got codes"


def test_a_code_that_cannot_be_sent_is_said_and_can_be_tried_again(party: Party, provider: Provider) -> None:
    provider.inbox.status = 500
    page = party.submit(party.follow(party.authorize()), "identify", individual_id=NUMBER)
    assert page.status_code == 503 and "could not be sent" in page.text
    provider.inbox.status = 200
    again = party.submit(page, "identify", individual_id=NUMBER)
    assert "code=" in party.submit(again, "code", code=provider.inbox.code())


def test_the_person_may_cancel_or_take_another_number(party: Party, provider: Provider) -> None:
    page = party.submit(party.follow(party.authorize()), "identify", individual_id="QZ9999999999")
    back = party.submit(page, "restart")
    assert "National id or document number" in back.text
    assert query_of(party.submit(back, "cancel"))["error"] == "access_denied"


def test_a_login_belongs_to_the_browser_that_began_it(party: Party, provider: Provider) -> None:
    page = party.follow(party.authorize())
    stranger = Party(provider, party.key)
    assert "We do not know this sign-in" in stranger.browser.get(page.url).text
    assert stranger.post(page, "identify", individual_id=NUMBER).status_code == 400
    assert provider.inbox.taken == []


def test_a_form_from_another_site_is_refused(party: Party, provider: Provider) -> None:
    page = party.follow(party.authorize())
    for token in ("", "forged", "ü"):
        reply = party.browser.post(
            page.url, data={"step": "identify", "form_token": token, "individual_id": NUMBER}, allow_redirects=False
        )
        assert reply.status_code == 400 and "cannot be used" in reply.text
    assert provider.inbox.taken == []


def test_the_consent_page_cannot_be_skipped(party: Party, provider: Provider) -> None:
    page = party.follow(party.authorize(scope="openid profile"))
    hidden = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
    forged = party.browser.post(page.url, data={**hidden, "step": "consent", "decision": "allow"})
    assert "Sign in to Cash Transfer" in forged.text


def test_an_invented_login_is_unknown(provider: Provider) -> None:
    for login_id in ("nothing", "%00", "x" * 2000):
        reply = requests.get(f"{provider.url}/login/{login_id}")
        assert reply.status_code == 400 and "We do not know this sign-in" in reply.text, login_id
