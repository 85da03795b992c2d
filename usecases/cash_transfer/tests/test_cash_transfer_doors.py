"""Who gets in: nobody without a login, no request without the session's token, no control without the steward's."""

import stat

import pytest
import requests

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
