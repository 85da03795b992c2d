"""Who sits at this browser: an officer with roles, or a citizen with one application; kept in a signed cookie."""

import hmac
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from flask import Response, request, session

from sandroad.web import resource
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.refusals import CrossSite, NotAnOfficer, NotLoggedIn, RoleMissing
from usecases.cash_transfer.relying_party import Pending

TOKEN_HEADER = "X-Session-Token"
TOKEN_FIELD = "session_token"


@dataclass(frozen=True)
class SignedIn:
    """An officer at work."""

    email: str
    name: str
    roles: frozenset[str]


def begin_login(pending: Pending, purpose: str, application: str = "") -> None:
    """Remember a login that was begun: what for, and for which application."""
    session["pending"] = {**asdict(pending), "purpose": purpose, "application": application}


def take_pending() -> tuple[Pending, str, str] | None:
    """Return (pending, purpose, application) once: an answer that comes twice finds nothing."""
    kept = session.pop("pending", None)
    if not isinstance(kept, dict):
        return None
    return Pending(kept["state"], kept["nonce"], kept["verifier"]), kept["purpose"], kept["application"]


def sign_in(claims: dict[str, Any]) -> SignedIn:
    """Sign an officer in by the e-mail claim; raise ``NotAnOfficer`` for everybody whom the programme does not name."""
    email = str(claims.get("email") or "")
    roles = resource(Office).programme.roles_of(email)
    if not roles:
        raise NotAnOfficer("identity knows you, but the programme file names no officer with your e-mail address")
    session.clear()
    session["officer"] = {"email": email, "name": str(claims.get("name") or email)}
    session["token"] = secrets.token_urlsafe(24)
    return officer()


def officer() -> SignedIn:
    """Return who is signed in; raise ``NotLoggedIn``. Roles are read from the programme each time, not from the cookie."""
    kept = session.get("officer")
    if not isinstance(kept, dict):
        raise NotLoggedIn("log in at /login as an officer of the programme")
    roles = resource(Office).programme.roles_of(kept["email"])
    if not roles:
        raise NotAnOfficer("the programme no longer names you as an officer")
    return SignedIn(kept["email"], kept["name"], roles)


def acting(*roles: str) -> SignedIn:
    """Return the officer who acts; raise unless one of ``roles`` is theirs and the request comes from their own screen.

    The token proves the latter: a page of another site can make a browser send the cookie, but cannot read the token.
    """
    signed_in = officer()
    given = request.headers.get(TOKEN_HEADER) or request.form.get(TOKEN_FIELD, "")
    if not hmac.compare_digest(given.encode(), session_token().encode()):
        raise CrossSite(f"send the token of /api/session as {TOKEN_HEADER}")
    if not signed_in.roles & set(roles):
        raise RoleMissing(f"this needs the role {' or '.join(roles)}; yours: {', '.join(sorted(signed_in.roles))}")
    return signed_in


def session_token() -> str:
    """Return the token of this session."""
    return str(session.get("token") or "")


def sign_out() -> None:
    """Forget who sits here."""
    session.clear()


def without_active_content(response: Response) -> Response:
    """Nothing in what people are shown runs, is framed by others or kept in caches."""
    response.headers["Content-Security-Policy"] = (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cache-Control"] = "no-store"
    return response
