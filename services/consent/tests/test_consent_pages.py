"""The person's own pages, with a browser's session against real HTTP and an OpenID provider."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import requests
from joserfc.jwk import RSAKey

from sandroad.testing import served
from services.consent.app import create_app
from services.consent.config import Config
from services.consent.tests.conftest import AGREEMENT, AMINA, BINTA, DATA_AGREEMENT, POLICY, Block
from services.consent.tests.openid_counterpart import ACR, CLIENT, Provider, openid_provider

ASKER = "http://127.0.0.1:1/consent-return"


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    with openid_provider() as provider:
        yield provider


@pytest.fixture
def provider(shared_provider: Provider) -> Provider:
    shared_provider.person = {"sub": "pairwise-1", "functional_ids": {"CT-01": AMINA}}
    shared_provider.changed, shared_provider.signer, shared_provider.complaints = {}, None, []
    return shared_provider


@pytest.fixture
def block(config: Config, provider: Provider) -> Iterator[Block]:
    config = replace(config, return_urls="http://127.0.0.1:1,https://welfare.qz.example/app")
    with served(create_app(config)) as url:
        served_block = Block(url, config)
        # The port is known only now; a real block is told it in its settings.
        _registered(served_block, provider)
        served_block.ok("POST", "/config/policy/", {"policy": POLICY}, client="")
        served_block.ok("POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT}, client="")
        yield served_block


def _registered(block: Block, provider: Provider) -> None:
    wish = block.ok("GET", "/-/oidc-client", client="")
    provider.client_key = wish["publicKey"]
    block.ok("PUT", "/-/oidc-client", {"clientId": CLIENT, "issuer": provider.issuer}, client="")


class Browser:
    """A browser: keeps cookies, follows redirects; the callback's host is the block's, whatever port it was given."""

    def __init__(self, block: Block) -> None:
        self.block, self.session = block, requests.Session()

    def open(self, path: str) -> requests.Response:
        return self._follow(self.session.get(self.block.url + path, allow_redirects=False, timeout=10))

    def send(self, path: str, **fields: str) -> requests.Response:
        return self._follow(self.session.post(self.block.url + path, data=fields, allow_redirects=False, timeout=10))

    def _follow(self, answer: requests.Response) -> requests.Response:
        for _ in range(10):
            target = answer.headers.get("Location", "")
            if not answer.is_redirect or target.startswith(ASKER):
                return answer
            if "/oidc/callback" in target or target.startswith("/"):
                parts = urlsplit(target)
                target = f"{self.block.url}{parts.path}?{parts.query}"
            answer = self.session.get(target, allow_redirects=False, timeout=10)
        raise AssertionError("redirected in a circle")


def question(**changed: str) -> str:
    return "/grant?" + urlencode({"agreement": AGREEMENT, "return": ASKER, "state": "xyz"} | changed)


def form_of(page: requests.Response, action: str = "/grant") -> str:
    found = re.search(rf'action="{action}">\s*<input type="hidden" name="form" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


def answer_of(response: requests.Response) -> dict[str, str]:
    assert response.status_code == 303, response.text
    return {name: values[0] for name, values in parse_qs(urlsplit(response.headers["Location"]).query).items()}


def test_a_person_reads_agrees_and_is_sent_back_with_a_signed_record(block: Block, provider: Provider) -> None:
    browser = Browser(block)
    page = browser.open(question())
    for words in (
        "Ministry of Social Welfare",
        str(DATA_AGREEMENT["purpose"]),
        "First name",
        "Treasury",
        "730 days",
        "free choice",
    ):
        assert words in page.text
    answer = answer_of(browser.send("/grant", form=form_of(page), decision="agree"))
    assert (answer["state"], answer["result"]) == ("xyz", "granted")
    assert block.verified() == [AMINA]
    record = block.ok("GET", f"/audit/consent-record/{answer['consent_record_id']}/", client="")["consentRecord"]
    assert (record["state"], record["individual"]["id"]) == ("signed", AMINA)
    signature = record["signature"]
    assert (signature["verificationMethod"], signature["verificationSignedAs"]) == ("ES256", "individual")
    signed_by = json.loads(signature["verificationSignedBy"])
    assert (signed_by["issuer"], signed_by["subject"], signed_by["acr"]) == (provider.issuer, "pairwise-1", ACR)
    assert signed_by["auth_time"] > 0
    assert provider.complaints == []
    assert block.integrity()["defects"] == []


def test_a_refusal_is_recorded_and_verifies_for_nobody(block: Block) -> None:
    browser = Browser(block)
    answer = answer_of(browser.send("/grant", form=form_of(browser.open(question())), decision="refuse"))
    assert answer["result"] == "refused"
    record = block.ok("GET", f"/audit/consent-record/{answer['consent_record_id']}/", client="")["consentRecord"]
    assert (record["optIn"], record["state"]) == (False, "signed")
    assert block.verified() == []


def test_submitting_twice_records_once_and_leads_to_the_same_page(block: Block) -> None:
    browser = Browser(block)
    form = form_of(browser.open(question()))
    first, second = (browser.send("/grant", form=form, decision="agree") for _ in range(2))
    assert first.headers["Location"] == second.headers["Location"]
    assert block.integrity()["revisions"] == 3


def test_eight_submissions_at_once_record_once(block: Block) -> None:
    browser = Browser(block)
    form, answers = form_of(browser.open(question())), []
    cookies = browser.session.cookies.get_dict()

    def submit() -> None:
        data = {"form": form, "decision": "agree"}
        answers.append(
            requests.post(block.url + "/grant", data=data, cookies=cookies, allow_redirects=False, timeout=20)
        )

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({answer.headers.get("Location") for answer in answers if answer.status_code == 303}) == 1
    assert block.integrity() == {"revisions": 3, "signatures": 1, "defects": []}


def test_an_old_form_cannot_bring_back_withdrawn_consent(block: Block) -> None:
    browser = Browser(block)
    form = form_of(browser.open(question()))
    record_id = answer_of(browser.send("/grant", form=form, decision="agree"))["consent_record_id"]
    block.withdraw(record_id)
    assert answer_of(browser.send("/grant", form=form, decision="agree"))["result"] == "granted"
    assert block.verified() == []


def test_a_person_sees_the_history_and_withdraws(block: Block) -> None:
    browser = Browser(block)
    browser.send("/grant", form=form_of(browser.open(question())), decision="agree")
    block.verified()
    page = browser.open("/mine")
    assert "You agreed" in page.text
    assert "signed by you, logged in" in page.text
    assert "SANDBOX/GOV/CIVIL/REGISTRY" in page.text
    form = form_of(page, "/mine/withdraw")
    after = browser.send("/mine/withdraw", form=form)
    assert "You said no" in after.text
    assert block.verified() == []
    again = browser.send("/mine/withdraw", form=form)
    assert again.status_code == 200
    assert block.integrity() == {"revisions": 4, "signatures": 2, "defects": []}


def test_a_person_agrees_again_after_withdrawing(block: Block) -> None:
    browser = Browser(block)
    first = answer_of(browser.send("/grant", form=form_of(browser.open(question())), decision="agree"))
    block.withdraw(first["consent_record_id"])
    second = answer_of(browser.send("/grant", form=form_of(browser.open(question())), decision="agree"))
    assert second["consent_record_id"] == first["consent_record_id"]
    assert block.verified() == [AMINA]


def test_the_login_ends_with_the_decision(block: Block, provider: Provider) -> None:
    browser = Browser(block)
    browser.send("/grant", form=form_of(browser.open(question())), decision="agree")
    provider.person = {"sub": "pairwise-2", "functional_ids": {"CT-01": BINTA}}
    page = browser.open("/mine")
    assert AMINA not in page.text
    assert "Nobody has asked you" in page.text


def test_a_form_of_another_browser_is_refused(block: Block, provider: Provider) -> None:
    victim, attacker = Browser(block), Browser(block)
    victim.open(question())
    provider.person = {"sub": "pairwise-2", "functional_ids": {"CT-01": BINTA}}
    form = form_of(attacker.open(question()))
    answer = victim.send("/grant", form=form, decision="agree")
    assert answer.status_code == 403
    for fields in ({}, {"form": "guess", "decision": "agree"}):
        assert victim.send("/grant", **fields).status_code == 403
    assert block.verified(AMINA, BINTA) == []


def test_changed_terms_are_shown_again_before_they_are_agreed_to(block: Block) -> None:
    browser = Browser(block)
    form = form_of(browser.open(question()))
    wider = DATA_AGREEMENT | {"purpose": "Something much wider"}
    block.ok("PUT", f"/config/data-agreement/{AGREEMENT}/", {"dataAgreement": wider}, client="")
    page = browser.send("/grant", form=form, decision="agree")
    assert (page.status_code, "Something much wider" in page.text) == (200, True)
    assert block.verified() == []


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/",
        "http://127.0.0.1:1@evil.example/",
        "http://127.0.0.1:12/",
        "//evil.example/",
        "javascript:alert(1)",
        "https://welfare.qz.example/application",
        "https://welfare.qz.example/app/../other",
        "https://welfare.qz.example/app/%2e%2e/other",
        "https://welfare.qz.example\\@evil.example/app",
        "https://welfare.qz.example/app#x",
        "https://welfare.qz.example:x/app",
    ],
)
def test_nobody_is_sent_to_a_page_that_is_not_on_the_list(block: Block, target: str) -> None:
    answer = Browser(block).open(question(**{"return": target}))
    assert answer.status_code == 400
    assert "This link is not allowed" in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/grant", 400),
        ("/grant?agreement=DA-NONE", 404),
        (question(state="x" * 600), 400),
        ("/oidc/callback?state=x&code=y", 400),
    ],
)
def test_a_broken_link_is_explained_on_a_page(block: Block, path: str, status: int) -> None:
    answer = Browser(block).open(path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "text/html; charset=utf-8")


@pytest.mark.parametrize("changed", [{"nonce": "x"}, {"aud": "another"}, {"iss": "http://evil.example"}, {"exp": 1}])
def test_a_token_that_is_not_for_this_login_lets_nobody_in(
    block: Block, provider: Provider, changed: dict[str, Any]
) -> None:
    provider.changed = changed
    assert Browser(block).open("/mine").status_code == 400


def test_a_token_signed_by_somebody_else_lets_nobody_in(block: Block, provider: Provider) -> None:
    provider.signer = RSAKey.generate_key(2048)
    assert Browser(block).open("/mine").status_code == 400


def test_a_login_begun_elsewhere_does_not_log_this_browser_in(block: Block) -> None:
    attacker = requests.Session()
    begun = attacker.get(block.url + "/mine", allow_redirects=False, timeout=10)
    back = attacker.get(begun.headers["Location"], allow_redirects=False, timeout=10).headers["Location"]
    victim = Browser(block)
    victim.session.cookies.set("sandroad_consent_browser", "v" * 43)
    parts = urlsplit(back)
    assert victim.open(f"{parts.path}?{parts.query}").status_code == 400


def test_somebody_without_a_number_in_the_programme_cannot_agree(block: Block, provider: Provider) -> None:
    provider.person = {"sub": "pairwise-3", "functional_ids": {}}
    answer = Browser(block).open(question())
    assert (answer.status_code, "no number of yours" in answer.text) == (404, True)


def test_what_an_agreement_says_is_shown_as_text(block: Block) -> None:
    nasty = DATA_AGREEMENT | {
        "purpose": "<script>alert(1)</script>",
        "controller": {"id": "x", "name": "<b>x</b>", "url": "javascript:alert(1)"},
    }
    block.ok("PUT", f"/config/data-agreement/{AGREEMENT}/", {"dataAgreement": nasty}, client="")
    page = Browser(block).open(question())
    assert "<script>" not in page.text
    assert "javascript:" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "form-action 'self' http://127.0.0.1:1 https://welfare.qz.example" in page.headers["Content-Security-Policy"]


def test_control_tells_identity_which_programmes_it_needs(block: Block) -> None:
    wish = block.ok("GET", "/-/oidc-client", client="")
    assert "CT-01" in wish["programmes"]
    assert wish["redirectUris"] == [f"{block.config.base_url}/oidc/callback"]
    assert wish["publicKey"]["kty"] == "RSA"
    assert "d" not in wish["publicKey"]
    for bad in ({}, {"clientId": 5, "issuer": "http://x"}, {"clientId": "x", "issuer": "ftp://x"}):
        assert block.refused("PUT", "/-/oidc-client", bad, client="") == "400 invalid_request"
