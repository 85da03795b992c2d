"""A stock OIDC client logs a person in, over real HTTP with browser-like form posts."""

import concurrent.futures
from typing import Any

import pytest
import requests
from joserfc import jwe, jwt
from joserfc.jwk import KeySet

from services.identity.tests.walking import CALLBACK, NUMBER, PERSON, Party, Provider, query_of


def keys_of(provider: Provider) -> KeySet:
    configuration = requests.get(f"{provider.url}/.well-known/openid-configuration").json()
    return KeySet.import_key_set(requests.get(configuration["jwks_uri"]).json())


def logged_in(party: Party, **asked: Any) -> tuple[Any, dict[str, Any], str]:
    """Log in with Authlib; return its session, the token response and the nonce."""
    session = party.session()
    verifier, nonce = "v" * 64, "n-0S6_WzA2Mj"
    configuration = requests.get(f"{party.provider.url}/.well-known/openid-configuration").json()
    url, _state = session.create_authorization_url(
        configuration["authorization_endpoint"], code_verifier=verifier, nonce=nonce, **asked
    )
    end = party.log_in(url)
    token = session.fetch_token(configuration["token_endpoint"], authorization_response=end, code_verifier=verifier)
    return session, token, nonce


def test_a_stock_client_logs_a_person_in(party: Party, provider: Provider) -> None:
    session, token, nonce = logged_in(party)
    keys = keys_of(provider)
    decoded = jwt.decode(token["id_token"], keys, algorithms=["RS256"])
    jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": provider.url},
        aud={"essential": True, "value": party.client_id},
        nonce={"essential": True, "value": nonce},
        acr={"essential": True, "value": "idbb:acr:generated-code"},
        sub={"essential": True},
        auth_time={"essential": True},
        at_hash={"essential": True},
    ).validate(decoded.claims)
    answer = session.get(f"{provider.url}/oidc/userinfo")
    assert answer.headers["Content-Type"] == "application/jwt"
    claims = jwt.decode(answer.text, keys, algorithms=["RS256"]).claims
    assert claims["sub"] == decoded.claims["sub"]
    assert claims["name"] == "Amina Okello" and claims["birthdate"] == "1988-03-09"
    assert claims["email"] == PERSON["email"] and claims["email_verified"] is True
    assert "phone_number" not in claims, "scope phone was not asked for"
    assert NUMBER not in answer.text and NUMBER not in str(claims)
    assert list(claims["functional_ids"]) == ["CT-01"] and len(claims["functional_ids"]["CT-01"]) == 20


def test_the_code_goes_to_the_persons_phone_through_the_own_gateway(party: Party, provider: Provider) -> None:
    logged_in(party)
    (sent,) = provider.inbox.taken
    assert sent["path"] == "/r1/SANDBOX/GOV/DIGITAL/MESSAGING/messaging/send/sms/single"
    assert sent["headers"]["X-Road-Client"] == "SANDBOX/GOV/CIVIL/IDENTITY"
    assert "X-Road-Issue" not in sent["headers"]
    assert sent["body"]["recipientInfo"] == {"phone": PERSON["phone_number"], "name": "Amina Okello"}


def test_a_person_without_a_phone_gets_the_code_by_email(party: Party, provider: Provider) -> None:
    provider.enrol({**PERSON, "individualId": "QZ1000000025", "phone_number": None})
    page = party.follow(party.authorize())
    party.submit(page, "identify", individual_id="qz 1000 000 025")
    (sent,) = provider.inbox.taken
    assert sent["path"].endswith("/messaging/send/email/single")
    assert sent["body"]["recipientInfo"]["email"] == PERSON["email"]


def test_openid_alone_asks_for_no_consent_and_shows_no_claims(party: Party, provider: Provider) -> None:
    party.scope = "openid"
    session, _token, _nonce = logged_in(party)
    claims = jwt.decode(session.get(f"{provider.url}/oidc/userinfo").text, keys_of(provider)).claims
    assert set(claims) == {"sub", "iss", "aud", "iat", "functional_ids"}


def test_sub_and_functional_id_are_stable_and_differ_between_relying_parties(
    party: Party, provider: Provider, ec_key: Any
) -> None:
    provider.register(ec_key, clientId="maternal-care", relyingPartyId="health", programmes=["PC-01"])
    other = Party(provider, ec_key, client_id="maternal-care", alg="ES256")
    seen = []
    for each in (party, party, other):
        session, _token, _nonce = logged_in(each)
        claims = jwt.decode(session.get(f"{provider.url}/oidc/userinfo").text, keys_of(provider)).claims
        seen.append((claims["sub"], claims["functional_ids"]))
    assert seen[0] == seen[1]
    assert seen[2][0] != seen[0][0] and list(seen[2][1]) == ["PC-01"]


def test_userinfo_is_encrypted_for_a_client_that_registered_for_it(provider: Provider, rsa_key: Any) -> None:
    provider.register(rsa_key, clientId="secretive", userinfoEncryptedResponseAlg="RSA-OAEP-256")
    session, _token, _nonce = logged_in(Party(provider, rsa_key, client_id="secretive"))
    nested = jwe.decrypt_compact(
        session.get(f"{provider.url}/oidc/userinfo").text, rsa_key, ["RSA-OAEP-256", "A256GCM"]
    )
    assert nested.protected["enc"] == "A256GCM" and nested.protected["cty"] == "JWT"
    assert nested.plaintext is not None
    assert jwt.decode(nested.plaintext, keys_of(provider)).claims["name"] == "Amina Okello"


def test_single_claims_can_be_asked_for_beyond_the_scope(party: Party, provider: Provider) -> None:
    party.scope = "openid"
    session, _token, _nonce = logged_in(
        party, claims='{"userinfo": {"phone_number": {"essential": true}, "gender": null}}'
    )
    claims = jwt.decode(session.get(f"{provider.url}/oidc/userinfo").text, keys_of(provider)).claims
    assert claims["phone_number"] == PERSON["phone_number"]
    assert "gender" not in claims, "gender is not among the client's registered userClaims"


def test_a_name_comes_in_the_languages_asked_for(party: Party, provider: Provider) -> None:
    body = {"request": {"id": "R-55-1", "fields": {
        "fullName": '[{"language": "eng", "value": "Amina"}, {"language": "fra", "value": "Aminata"}]',
        "phone": "+999700000055"}}}  # fmt: skip
    assert requests.put(f"{provider.url}/enrollment", json=body, headers=provider.steward).status_code == 201
    session = party.session()
    url, _ = session.create_authorization_url(
        f"{provider.url}/authorize", code_verifier="v" * 50, claims_locales="fr de"
    )
    end = party.log_in(url, person="R-55-1")
    session.fetch_token(f"{provider.url}/oauth/token", authorization_response=end, code_verifier="v" * 50)
    claims = jwt.decode(session.get(f"{provider.url}/oidc/userinfo").text, keys_of(provider)).claims
    assert claims["name"] == "Amina" and claims["name#fr"] == "Aminata" and "name#de" not in claims


def test_the_person_may_refuse_to_share(party: Party) -> None:
    url, state = party.session().create_authorization_url(f"{party.provider.url}/authorize")
    end = query_of(party.log_in(url, decision="deny"))
    assert end["error"] == "access_denied" and end["state"] == state and end["iss"] == party.provider.url


def test_a_double_click_anywhere_gives_one_message_and_one_answer(party: Party, provider: Provider) -> None:
    page = party.follow(party.authorize(scope="openid profile"))
    party.post(page, "identify", individual_id=NUMBER)
    code_page = party.submit(page, "identify", individual_id=NUMBER)
    assert len(provider.inbox.taken) == 1
    party.post(code_page, "code", code=provider.inbox.code())
    consent = party.submit(code_page, "code", code=provider.inbox.code())
    assert "Share your data?" in consent.text
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        ends = {pool.submit(party.submit, consent, "consent", decision="allow") for _ in range(4)}
        answers = {end.result() for end in ends}
    assert len(answers) == 1 and "code=" in answers.pop()


def test_the_back_button_after_the_login_does_not_present_the_code_again(party: Party) -> None:
    session = party.session()
    url, _ = session.create_authorization_url(f"{party.provider.url}/authorize", code_verifier="v" * 50)
    page = party.follow(party.browser.get(url, allow_redirects=False))
    code_page = party.submit(page, "identify", individual_id=NUMBER)
    consent = party.submit(code_page, "code", code=party.provider.inbox.code())
    end = party.submit(consent, "consent", decision="allow")
    session.fetch_token(f"{party.provider.url}/oauth/token", authorization_response=end, code_verifier="v" * 50)
    late = party.submit(consent, "consent", decision="deny")
    assert "This sign-in is over" in late.text
    assert session.get(f"{party.provider.url}/oidc/userinfo").status_code == 200
    assert "This sign-in is over" in party.follow(party.browser.get(consent.url)).text


def test_pages_need_no_foreign_files_and_are_neither_cached_nor_framed(party: Party) -> None:
    page = party.follow(party.authorize())
    assert page.headers["Cache-Control"] == "no-store" and page.headers["X-Frame-Options"] == "DENY"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert f"form-action 'self' {CALLBACK.removesuffix('/login/callback')};" in page.headers["Content-Security-Policy"]
    assert "src=" not in page.text and "<script" not in page.text and "Civil Registration Authority" in page.text


def test_a_client_name_is_text_and_not_markup(provider: Provider, rsa_key: Any) -> None:
    provider.register(rsa_key, clientId="odd", clientName="<script>alert(1)</script>")
    page = Party(provider, rsa_key, client_id="odd")
    assert "<script" not in page.follow(page.authorize()).text


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_authorisation_request_may_come_as_query_or_form(party: Party, method: str) -> None:
    given = {"client_id": party.client_id, "redirect_uri": CALLBACK, "response_type": "code", "scope": "openid"}
    sent = {"params": given} if method == "get" else {"data": given}
    reply = party.browser.request(method, f"{party.provider.url}/authorize", allow_redirects=False, **sent)  # type: ignore[arg-type]
    assert "Sign in to Cash Transfer" in party.follow(reply).text
