"""The person's own pages: read what is asked and decide (`/grant`), see and withdraw what was given (`/mine`)."""

import contextlib
import logging
import secrets
from typing import Any

from flask import Blueprint, Response, g, jsonify, redirect, render_template, request, url_for
from sqlalchemy import Connection

from sandroad.problems import InvalidRequest, Refusal
from sandroad.web import resource, running
from services.consent.config import Config
from services.consent.domain import OWN_METHOD, DraftOutdated, Record, canonical
from services.consent.keys import OwnKeys
from services.consent.login import RelyingParty
from services.consent.records import Records
from services.consent.returning import allowed_return, origins, with_answer
from services.consent.sessions import FormUsed, Person, Sessions
from services.consent.showing import Showing
from services.consent.signatures import Signer

log = logging.getLogger(__name__)
pages = Blueprint("pages", __name__, template_folder="templates")
SESSION_COOKIE, BROWSER_COOKIE = "sandroad_consent", "sandroad_consent_browser"


@pages.get("/grant")
def show_grant() -> Any:
    """Show what is asked, to the person who is asked; log in first."""
    agreement_id, target, state = _question()
    resource(Showing).question(agreement_id)
    person = _person()
    if person is None:
        return _to_login()
    shown = resource(Showing).question(agreement_id, person)
    content = {
        "agreement": agreement_id,
        "revision": shown.revision_id,
        "individual": shown.individual_id,
        "return": target,
        "state": state,
    }
    form = resource(Sessions).hand_out(_session(), "decide", content)
    return render_template("grant.html", shown=shown, form=form)


@pages.post("/grant")
def decide() -> Any:
    """Record and sign the decision, and send the person back where they came from."""
    token, sessions = request.form.get("form", ""), resource(Sessions)
    form, decision = sessions.form(_session(), token, "decide"), request.form.get("decision")
    if decision not in ("agree", "refuse"):
        raise InvalidRequest("the decision is agree or refuse")
    if form.result:
        return redirect(form.result, 303)
    person, asked = _person(), form.content
    if person is None:
        return _to_login(
            url_for("pages.show_grant", **{name: asked[name] for name in ("agreement", "return", "state")})
        )

    def lead(connection: Connection, record: Record) -> None:
        sessions.use(connection, token, _way_back(asked, record))

    try:
        resource(Records).decide(
            asked["agreement"], asked["revision"], asked["individual"], decision == "agree", _signer(person), lead
        )
    except DraftOutdated:
        again = {name: asked[name] for name in ("agreement", "return", "state")}
        return redirect(url_for("pages.show_grant", **again), 303)
    except FormUsed:
        log.info("a decision was submitted twice at once; the first one counts")
    if asked["return"]:
        # On an officer's tablet the next hands are not the person's: the login ends with the decision.
        sessions.close(_session())
    return redirect(sessions.form(_session(), token, "decide").result, 303)


@pages.get("/mine")
def show_mine() -> Any:
    """Show the person's answers, their history, and who asked."""
    person = _person()
    if person is None:
        return _to_login()
    shown = resource(Showing).answers(person)
    forms = {
        each.record_id: resource(Sessions).hand_out(
            _session(), "withdraw", {"record": each.record_id, "individual": each.individual_id}
        )
        for each in shown
        if each.can_withdraw
    }
    return render_template("mine.html", shown=shown, forms=forms, questions=resource(Showing).questions_about(person))


@pages.post("/mine/withdraw")
def withdraw() -> Any:
    """Withdraw one consent; from this commit on nobody verifies it."""
    token, sessions = request.form.get("form", ""), resource(Sessions)
    form, person = sessions.form(_session(), token, "withdraw"), _person()
    if person is None:
        return _to_login("/mine")
    mine = url_for("pages.show_mine")
    if not form.result:
        record_id, individual_id = form.content["record"], form.content["individual"]
        with contextlib.suppress(FormUsed):
            resource(Records).withdraw(
                record_id, individual_id, _signer(person), lambda connection, _: sessions.use(connection, token, mine)
            )
    return redirect(mine, 303)


@pages.post("/logout")
def log_out() -> Any:
    """End the session here; identity's own is its business."""
    resource(Sessions).close(_session())
    return render_template("notice.html", title="You are logged out", text="You can close this page."), 200


@pages.get("/oidc/callback")
def finish_login() -> Any:
    """Come back from identity, and go where the person wanted to go."""
    answer = {name: value for name, value in request.args.items() if len(value) <= 4096}
    browser = request.cookies.get(BROWSER_COOKIE, "")
    login = resource(Sessions).finish_login(answer.get("state", ""), browser)
    token = resource(Sessions).open(resource(RelyingParty).finish(login, answer))
    response = redirect(login.destination, 303)
    _set_cookie(response, SESSION_COOKIE, token)
    return response


@pages.get("/oidc/jwks.json")
def client_keys() -> Any:
    """Show the key by which identity recognises this block."""
    return jsonify(keys=[resource(OwnKeys).client_jwk()])


@pages.get("/jwks.json")
def signing_keys() -> Any:
    """Show the key that verifies the signatures of consent records."""
    return jsonify(keys=[resource(OwnKeys).signing_jwk()])


@pages.errorhandler(Refusal)
def tell(refusal: Refusal) -> Any:
    """Tell a refusal to a person: a page and not a problem document."""
    entry = running().problems[refusal.code]
    return render_template("notice.html", title=entry.title, text=refusal.detail), entry.status


@pages.after_request
def guard(response: Response) -> Response:
    """Nothing runs, nothing frames these pages, no address leaks, nothing stays in a cache."""
    targets = f"'self' {origins(_config().return_urls)}".strip()
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'unsafe-inline'; form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response


def _question() -> tuple[str, str, str]:
    """Return agreement, return address and state of the request; raise what is wrong with them."""
    agreement_id, state = request.args.get("agreement", ""), request.args.get("state", "")
    if not agreement_id or len(agreement_id) > 100 or len(state) > 512:
        raise InvalidRequest("the address of this page is incomplete; please go back and follow the link again")
    return agreement_id, allowed_return(request.args.get("return", ""), _config().return_urls), state


def _way_back(asked: dict[str, Any], record: Record) -> str:
    """Return where the decision leads: to the page that asked, with the answer, or to the person's own page."""
    if not asked["return"]:
        return url_for("pages.show_mine")
    answer = {"result": "granted" if record.opt_in else "refused", "consent_record_id": record.id}
    answer |= {"state": asked["state"]} if asked["state"] else {}
    return with_answer(asked["return"], **answer)


def _to_login(destination: str = "") -> Any:
    """Send the browser to identity; it comes back to ``destination`` (a path of ours; the current one by default)."""
    where, state, login = resource(RelyingParty).begin(destination or request.full_path.rstrip("?"))
    browser = request.cookies.get(BROWSER_COOKIE, "")
    fresh = browser if len(browser) == 43 else secrets.token_urlsafe(32)
    resource(Sessions).begin_login(state, fresh, login)
    response = redirect(where, 303)
    _set_cookie(response, BROWSER_COOKIE, fresh)
    return response


def _set_cookie(response: Any, name: str, value: str) -> None:
    secure = _config().base_url.startswith("https://")
    response.set_cookie(name, value, httponly=True, samesite="Lax", secure=secure, path="/")


def _session() -> str:
    return request.cookies.get(SESSION_COOKIE, "")


def _person() -> Person | None:
    if "person" not in g:
        g.person = resource(Sessions).person(_session()) if _session() else None
    return g.person


def _signer(person: Person) -> Signer:
    """Return the signer that a login stands for: who, and how and when identity recognised them."""
    known = {
        "issuer": person.issuer, "subject": person.subject, "acr": person.acr, "auth_time": person.auth_time
    }  # fmt: skip
    return Signer(OWN_METHOD, canonical(known), "individual")


def _config() -> Config:
    config = running().config
    assert isinstance(config, Config)
    return config
