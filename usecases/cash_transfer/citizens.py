"""Login for everybody, and the citizen's way: log in, agree (or not) at the consent service, come back."""

import secrets
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, redirect, render_template, request, session

from sandroad.web import resource, running
from usecases.cash_transfer.config import Config
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.operations.registration import Registration as RegistrationStep
from usecases.cash_transfer.refusals import LoginFailed, LoginNotSetUp, ProviderRefused, ProviderUnavailable
from usecases.cash_transfer.relying_party import Registration, RelyingParty
from usecases.cash_transfer.sessions import begin_login, sign_in, sign_out, take_pending, without_active_content
from usecases.cash_transfer.store.relying_party import registration

citizens = Blueprint("citizens", __name__)
citizens.after_request(without_active_content)


@citizens.get("/login")
def log_in() -> Any:
    """Send an officer to identity; somebody else's login there is not used for an officer without asking."""
    where, pending = resource(RelyingParty).begin(
        _registration(), "openid profile email", prompt=request.args.get("prompt", "")
    )
    begin_login(pending, "officer")
    return redirect(where, 303)


@citizens.post("/logout")
def log_out() -> Any:
    """End the session here (identity's own session ends there)."""
    sign_out()
    return redirect("/", 303)


@citizens.get("/citizen/start/<number>")
def start(number: str) -> Any:
    """Send the citizen to identity, to bind the application to whoever logs in."""
    with resource(Office).store.read() as rows:
        rows.applications.get(number)
    where, pending = resource(RelyingParty).begin(_registration(), "openid phone")
    begin_login(pending, "citizen", number)
    return redirect(where, 303)


@citizens.get("/oidc/callback")
def come_back() -> Any:
    """Finish a login: officers to their list, citizens on to the consent page."""
    kept = take_pending()
    if kept is None:
        raise LoginFailed("no login was begun in this browser, or it was finished before; please begin again")
    pending, purpose, number = kept
    answer = {name: value for name, value in request.args.items() if len(value) <= 4096}
    claims = resource(RelyingParty).finish(_registration(), pending, answer)
    if purpose == "officer":
        sign_in(claims)
        return redirect("/", 303)
    programme = resource(Office).programme.id
    functional_id = (claims.get("functional_ids") or {}).get(programme)
    if not isinstance(functional_id, str) or not functional_id:
        raise LoginFailed(f"identity told no functional id for programme {programme}")
    resource(RegistrationStep).identify(number, functional_id, str(claims.get("phone_number") or ""))
    # A page and not one more redirect: identity's form may only end at this app (CSP form-action), not at the consent service.
    return render_template("continue.html", programme=resource(Office).programme, consent_page=_consent_page(number))


@citizens.get("/consent-return")
def consent_return() -> Any:
    """The citizen comes back from the consent page; the registry is asked at once, and decides for itself."""
    kept = session.pop("consent", None)
    if not isinstance(kept, dict) or not _is_same(request.args.get("state", ""), kept["state"]):
        raise LoginFailed("this answer does not belong to a question asked in this browser; please open the link again")
    number = kept["application"]
    agreed = request.args.get("result") == "granted"
    application = resource(RegistrationStep).answered_consent(number, agreed)
    shown = ""
    if agreed:
        try:
            application = resource(RegistrationStep).prefill(number, "")
        except (ProviderRefused, ProviderUnavailable) as refusal:
            shown = refusal.detail
    return render_template("citizen.html", application=application, programme=resource(Office).programme, refusal=shown)


def _is_same(given: str, kept: str) -> bool:
    return secrets.compare_digest(given.encode(), kept.encode())


def _consent_page(number: str) -> str:
    """Return the address of the consent page for this application; the state ties the answer to this browser."""
    config = running().config
    assert isinstance(config, Config)
    state = secrets.token_urlsafe(24)
    session["consent"] = {"state": state, "application": number}
    query = {
        "agreement": resource(Office).programme.data_agreement,
        "return": f"{config.public_url}/consent-return",
        "state": state,
    }
    return f"{config.consent_page.rstrip('/')}/grant?{urlencode(query)}"


def _registration() -> Registration:
    with resource(Office).store.read() as rows:
        known = registration(rows.connection)
    if known is None:
        raise LoginNotSetUp("identity has given this app no client id yet; the sandbox does so when it starts")
    return known
