"""Who gets in: nobody without a login, no request without the session's token, no control without the steward's."""

import stat
import time
from dataclasses import replace
from datetime import timedelta
from unittest import mock

import pytest
import requests
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import TimestampSigner

from usecases.cash_transfer.app import create_app
from usecases.cash_transfer.relying_party import own_key


@pytest.mark.parametrize("path", ["/api/session", "/api/applications", "/api/batches", "/api/beneficiaries"])
def test_the_api_answers_nobody_who_has_not_logged_in(app, path):
    answer = requests.get(app.url + path, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (401, "login_needed")


def test_a_forged_cookie_is_worth_nothing(app):
    cookie = {
        "cash-transfer-session": "eyJvZmZpY2VyIjp7ImVtYWlsIjoicmVnaXN0cmFyQHdlbGZhcmUucXouZXhhbXBsZSJ9fQ.aaaaaa.bbbb"
    }
    assert requests.get(f"{app.url}/api/session", cookies=cookie, timeout=20).status_code == 401


def signed_cookie(app, content, age=timedelta(0)):
    """Return the cookie that the app would have made of ``content`` that long ago."""
    flask_app = create_app(app.config)
    signing = SecureCookieSessionInterface().get_signing_serializer(flask_app)
    assert signing is not None
    with mock.patch.object(TimestampSigner, "get_timestamp", lambda _: int(time.time() - age.total_seconds())):
        return {flask_app.config["SESSION_COOKIE_NAME"]: signing.dumps(content)}


@pytest.mark.parametrize(("hours", "status"), [(7, 200), (9, 401)])
def test_a_session_lasts_a_working_day_and_a_stolen_cookie_no_longer(app, hours, status):
    content = {"officer": {"email": "registrar@welfare.qz.example", "name": "R"}, "token": "t"}
    cookies = signed_cookie(app, content, timedelta(hours=hours))
    assert requests.get(f"{app.url}/api/session", cookies=cookies, timeout=20).status_code == status


@pytest.mark.parametrize(("public_url", "secure"), [("https://grants.example", True), ("http://127.0.0.1:1", False)])
def test_the_cookie_travels_only_over_https_where_the_app_is_reached_by_it(app, public_url, secure):
    behind = create_app(replace(app.config, public_url=public_url))
    assert behind.config["SESSION_COOKIE_SECURE"] is secure


@pytest.mark.parametrize("path", ["/consent-return?state=\u00e9", "/oidc/callback?code=x&state=\u00e9"])
def test_an_answer_with_a_strange_state_is_refused_and_no_fault(app, path):
    app.steward("PUT", "/oidc-client", json={"clientId": "ct", "issuer": "http://id"})
    pending = {"state": "s", "nonce": "n", "verifier": "v", "purpose": "officer", "application": ""}
    cookies = signed_cookie(app, {"pending": pending, "consent": {"state": "s", "application": "A"}})
    answer = requests.get(app.url + path, cookies=cookies, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (401, "login_failed")


@pytest.mark.parametrize("path", ["/", "/citizen/start/AAAAAAAAAAAAAAAA", "/consent-return", "/api/applications"])
def test_nothing_about_people_is_framed_run_or_kept_in_a_cache(app, path):
    headers = requests.get(app.url + path, timeout=20).headers
    assert headers.get("Cache-Control") == "no-store"
    assert "frame-ancestors 'none'" in headers.get("Content-Security-Policy", "")
    assert headers.get("X-Content-Type-Options") == "nosniff"


@pytest.mark.parametrize("path", ["/-/oidc-client", "/-/import", "/-/trace", "/-/export/beneficiaries", "/-/outbox"])
def test_control_is_the_stewards_alone(app, path):
    method = "POST" if path == "/-/import" else "GET"
    assert requests.request(method, app.url + path, timeout=20).status_code == 401


def test_the_front_page_shows_the_door_and_no_case(app):
    page = requests.get(app.url + "/", timeout=20)
    assert page.status_code == 200
    assert "Log in" in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_a_login_before_the_registration_at_identity_says_so(app):
    answer = requests.get(f"{app.url}/login", timeout=20)
    assert answer.json()["code"] == "login_not_set_up"


def test_an_answer_to_a_login_that_nobody_began_is_refused(app):
    answer = requests.get(f"{app.url}/oidc/callback", params={"code": "x", "state": "y"}, timeout=20)
    assert answer.json()["code"] == "login_failed"
    assert (
        requests.get(f"{app.url}/consent-return", params={"state": "y", "result": "granted"}, timeout=20).status_code
        == 401
    )


def test_an_unknown_application_has_no_citizen_link(app):
    assert requests.get(f"{app.url}/citizen/start/AAAAAAAAAAAAAAAA", timeout=20).status_code == 404


def test_what_identity_needs_is_told_to_the_steward_without_the_private_key(app):
    told = app.steward("GET", "/oidc-client").json()
    assert told["programmes"] == ["CT-01"]
    assert told["publicKey"]["kty"] == "RSA"
    assert "d" not in told["publicKey"]
    assert app.steward("PUT", "/oidc-client", json={"clientId": "ct", "issuer": "http://id"}).json()["clientId"] == "ct"
    assert app.steward("PUT", "/oidc-client", json={"clientId": 5}).status_code == 400
    assert app.steward("GET", "/oidc-client").json()["clientId"] == "ct"


def test_keys_are_made_once_and_only_the_app_can_read_them(app):
    folder = app.config.data
    for name in ("oidc-key.pem", "session-secret"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert own_key(folder).as_dict() == own_key(folder).as_dict()


def test_a_list_that_cannot_be_read_is_refused_before_anything_is_done(app):
    answer = app.steward("POST", "/import", data=b"external_reference;national_id\n")
    assert (answer.status_code, answer.json()["code"]) == (400, "list_defective")
    assert "commas" in answer.json()["detail"]


def test_an_import_without_a_reachable_gateway_stops_and_says_so(app):
    header = "external_reference,national_id,package,payment_modality,financial_address,lawful_basis\n"
    answer = app.steward(
        "POST", "/import", data=(header + "L-1,QZ0000000265,TPA,bank,DELTA:0000009005,public_task\n").encode()
    )
    lines = answer.text.splitlines()
    assert "stopped" in lines[0]
    assert app.waiting("payee") == []
