"""Logins, codes and tokens survive the end of the process, on each database."""

from pathlib import Path
from typing import Any

import requests
from joserfc import jwt
from joserfc.jwk import KeySet

from sandroad.testing import config_for_tests, served
from services.identity.app import create_app
from services.identity.config import Config
from services.identity.tests.walking import NUMBER, PERSON, Inbox, Party, Provider, free_port


def test_a_login_goes_on_after_a_restart_at_any_step(
    tmp_path: Path, inbox: Inbox, rsa_key: Any, database_url: str
) -> None:
    port = free_port()
    config = config_for_tests(
        Config, tmp_path, member="GOV/CIVIL", subsystem="IDENTITY", port=port, database=database_url,
        public_url=f"http://127.0.0.1:{port}", gateway_url=inbox.url,
    )  # fmt: skip
    provider = Provider(config.public_url, config, inbox)
    party = Party(provider, rsa_key)
    session = party.session()
    at: dict[str, Any] = {}

    def enrol() -> None:
        provider.enrol(PERSON)
        assert provider.register(rsa_key).json()["errors"] == []

    def begin() -> None:
        at["url"], _ = session.create_authorization_url(f"{provider.url}/authorize", code_verifier="v" * 50)
        at["page"] = party.follow(party.browser.get(at["url"], allow_redirects=False))

    def identify() -> None:
        at["page"] = party.submit(at["page"], "identify", individual_id=NUMBER)

    def enter_code() -> None:
        at["page"] = party.submit(at["page"], "code", code=inbox.code())

    def consent() -> None:
        at["end"] = party.submit(at["page"], "consent", decision="allow")

    def exchange() -> None:
        session.fetch_token(f"{provider.url}/oauth/token", authorization_response=at["end"], code_verifier="v" * 50)

    def look() -> None:
        keys = KeySet.import_key_set(requests.get(f"{provider.url}/.well-known/jwks.json").json())
        claims = jwt.decode(session.get(f"{provider.url}/oidc/userinfo").text, keys).claims
        at.setdefault("numbers", []).append((claims["sub"], claims["functional_ids"]["CT-01"]))

    for step in (enrol, begin, identify, enter_code, consent, exchange, look, look):
        with served(create_app(config), port):
            step()
            provider.hang_up()
    assert at["numbers"][0] == at["numbers"][1]
    assert len(inbox.taken) == 1


def test_logs_hold_neither_codes_nor_persons(party: Party, provider: Provider, caplog: Any) -> None:
    caplog.set_level("DEBUG")
    end = party.log_in(party.authorize(scope="openid profile email").headers["Location"])
    seen = "\n".join(record.getMessage() for record in caplog.records if not record.name.startswith("urllib3"))
    assert "authorize 303" in seen
    code = end.split("code=")[1].split("&")[0]
    for secret in (provider.inbox.code(), code, NUMBER, PERSON["email"], PERSON["phone_number"], "Okello"):
        assert secret not in seen
