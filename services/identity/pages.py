"""The pages that a person sees while logging in; HTML without scripts or foreign files."""

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from flask import Blueprint, Response, g, request

from sandroad.problems import Refusal
from sandroad.web import resource, running
from services.identity.authorization import AuthorizationRefusal
from services.identity.config import Config
from services.identity.domain import CLAIM_WORDS, CodeNotSent
from services.identity.journey import Journey, View
from services.identity.login import Outcome, TooManyCodes

GO_BACK = "Go back to the service that you came from and start again."
TITLES = {
    "unknown_client": ("This sign-in cannot begin", "Its administrator has to register it first."),
    "redirect_uri_not_registered": ("This sign-in cannot begin", "Its administrator has to register the address."),
    "login_unknown": ("We do not know this sign-in", GO_BACK),
    "login_expired": ("This sign-in took too long", GO_BACK),
    "form_forged": ("This form cannot be used", GO_BACK),
    "too_many_codes": ("Too many codes", "This protects you from strangers who try codes."),
    "internal_fault": ("Something went wrong on our side", "It has been noted. Try again in a moment."),
}
WORDS = {
    Outcome.WRONG: "This is not the code. Look at the newest message and try again.",
    Outcome.EXPIRED: "This code has expired. Ask for a new one.",
}
pages = Blueprint("pages", __name__)


class Screens:
    """Renders templates in the organisation's name."""

    def __init__(self, config: Config, organisation: str) -> None:
        self._config = config
        self._organisation = organisation
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True
        )

    def page(self, name: str, title: str, status: int = 200, form_target: str = "", **values: Any) -> Response:
        """Return a page that nothing caches, frames or feeds with foreign code."""
        nonce = secrets.token_urlsafe(12)
        html = self._templates.get_template(name).render(
            title=title, organisation=self._organisation, nonce=nonce, **values
        )
        response = Response(html, status, content_type="text/html; charset=utf-8")
        # A form's redirect has to be allowed too, so the relying party's origin stands beside our own.
        policy = f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self' {form_target}".rstrip()
        response.headers["Content-Security-Policy"] = policy + "; frame-ancestors 'none'; base-uri 'none'"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"
        return response

    def step(self, view: View, *, notice: str = "", status: int = 200) -> Response:
        """Return the page that belongs to the state of a login."""
        login, party = view.login, view.party
        parts = urlsplit(login.request.redirect_uri)
        shown: dict[str, Any] = {
            "login": login, "party": party, "notice": notice, "action": f"{self.path}/login/{login.login_id}",
            "form_target": f"{parts.scheme}://{parts.netloc}",
        }  # fmt: skip
        if login.state == "started":
            return self.page("identify.html", f"Sign in to {party.name}", status, **shown)
        if login.state == "code_sent":
            minutes = max(self._config.code_seconds // 60, 1)
            return self.page("code.html", "Type the code", status, minutes=minutes, **shown)
        if login.state == "consent":
            claims = in_words(login.request.claims)
            return self.page("consent.html", "Share your data?", status, claims=claims, **shown)
        return self.notice("This sign-in is over", f"{party.name} has its answer.", "You can close this page.", status)

    def notice(self, title: str, detail: str, advice: str, status: int) -> Response:
        """Return a page with nothing to do on it."""
        return self.page("notice.html", title, status, detail=detail, advice=advice)

    def refusal(self, refusal: Refusal) -> Response:
        """Return the page of a refusal, or the redirect that tells it to the relying party."""
        if isinstance(refusal, AuthorizationRefusal) and "location" in refusal.extra:
            return to(refusal.extra["location"])
        entry = running().problems[refusal.code]
        title, advice = TITLES.get(refusal.code, (entry.title, GO_BACK))
        detail = refusal.detail[:1].upper() + refusal.detail[1:] + "." if refusal.detail else ""
        return self.notice(title, detail, advice, entry.status)

    @property
    def path(self) -> str:
        """The path part of the public URL, for a provider behind a prefix."""
        return urlsplit(self._config.issuer).path.rstrip("/")

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this provider by HTTPS."""
        return self._config.issuer.startswith("https://")


def in_words(claims: Sequence[str]) -> list[str]:
    """Return what a person reads on the consent page; "…verified" is left out beside the thing that was verified."""
    return [CLAIM_WORDS[c] for c in claims if not (c.endswith("_verified") and c.removesuffix("_verified") in claims)]


def render_as_page(refusal: Refusal) -> Response:
    """Answer a refusal as a person can read it."""
    return resource(Screens).refusal(refusal)


def to(location: str) -> Response:
    """Return a redirect by GET that nothing caches."""
    response = Response(status=303, headers={"Location": location, "Cache-Control": "no-store"})
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def begin_login() -> Response:
    """Judge an authorisation request and send the browser to the login page."""
    pairs = list((request.form if request.method == "POST" else request.args).items(multi=True))
    login, cookie = resource(Journey).begin(pairs)
    screens, config = resource(Screens), running().config
    assert isinstance(config, Config)
    response = to(f"{config.issuer}/login/{login.login_id}")
    response.set_cookie(
        "sandroad_login", cookie, max_age=config.login_seconds, path=f"{screens.path}/login/{login.login_id}",
        httponly=True, samesite="Lax", secure=screens.is_secure,
    )  # fmt: skip
    return response


@pages.before_request
def _as_pages() -> None:
    g.render = render_as_page


@pages.get("/login/<login_id>")
def show_login(login_id: str) -> Response:
    """Show where the login stands: reloading and the back button are harmless."""
    view = resource(Journey).look(login_id, request.cookies.get("sandroad_login", ""))
    return resource(Screens).step(view)


@pages.post("/login/<login_id>")
def continue_login(login_id: str) -> Response:
    """Take one step: a form of one of the pages."""
    form, journey = request.form, resource(Journey)
    own = (login_id, request.cookies.get("sandroad_login", ""), form.get("form_token", ""))
    step = form.get("step", "")
    if step in ("identify", "resend"):
        return _send_code(own, form)
    if step == "code":
        view, outcome = journey.enter_code(*own, form.get("code", "")[:40])
        if outcome in WORDS:
            return resource(Screens).step(view, notice=WORDS[outcome], status=400)
    elif step == "consent" and form.get("decision") in ("allow", "deny"):
        view = journey.decide(*own, allow=form["decision"] == "allow")
    elif step == "cancel":
        view = journey.cancel(*own)
    elif step == "restart":
        view = journey.restart(*own)
    else:
        view = journey.look(*own[:2])
    return _next(view)


def _send_code(own: tuple[str, str, str], form: Mapping[str, str]) -> Response:
    journey = resource(Journey)
    try:
        typed = form.get("individual_id", "")
        view = journey.resend(*own) if form["step"] == "resend" else journey.identify(*own, typed)
    except (CodeNotSent, TooManyCodes) as refusal:
        words = {"code_not_sent": "The code could not be sent. Try again in a moment."}
        notice = words.get(refusal.code, refusal.detail[:1].upper() + refusal.detail[1:] + ".")
        status = running().problems[refusal.code].status
        return resource(Screens).step(journey.look(*own[:2]), notice=notice, status=status)
    return _next(view)


def _next(view: View) -> Response:
    """Redirect after each form: to the next page, or to the relying party with its answer."""
    if view.login.is_over and (answer := resource(Journey).answer(view.login)):
        return to(answer)
    return to(f"{resource(Screens).path}/login/{view.login.login_id}")
