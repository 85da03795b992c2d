"""A login from the request to the authorisation code, as states: pure, times are seconds since 1970 handed in.

``started`` → (id typed) ``code_sent`` → (code right) ``consent`` → ``done``; from each of them ``refused``. What arrives
twice or late finds the login in a later state and changes nothing, so back button and double click are harmless.
"""

import hmac
import secrets
from dataclasses import dataclass, replace
from enum import Enum

from sandroad.problems import Refusal
from services.identity.authorization import AuthorizationRequest
from services.identity.domain import one_time_code

RESEND_SECONDS = 30
MOST_SENDS = 5


class LoginUnknown(Refusal):
    """There is no such login, or it was begun in another browser."""

    code = "login_unknown"


class LoginExpired(Refusal):
    """The login was not finished in time."""

    code = "login_expired"


class FormForged(Refusal):
    """The form does not carry this login's token: another site sent it (CSRF), or the cookie is gone."""

    code = "form_forged"


class TooManyCodes(Refusal):
    """More one-time codes were asked for than a person needs."""

    code = "too_many_codes"


class Outcome(Enum):
    """What became of a typed code."""

    RIGHT = "right"
    WRONG = "wrong"
    EXPIRED = "expired"
    EXHAUSTED = "exhausted"
    LATE = "late"


@dataclass(frozen=True)
class Login:
    """One authorisation transaction. ``individual_id`` is empty if nobody has the typed number: the pages do not tell."""

    login_id: str
    browser: str
    form_token: str
    request: AuthorizationRequest
    expires_at: float
    state: str = "started"
    typed_id: str = ""
    individual_id: str = ""
    secret: bytes = b""
    counter: int = 0
    code_expires_at: float = 0.0
    sent_at: float = 0.0
    attempts: int = 0
    auth_time: int = 0
    answer: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the relying party has its answer already."""
        return self.state in ("done", "refused")

    @property
    def code(self) -> str:
        """The one-time code that was sent last."""
        return one_time_code(self.secret, self.counter)

    def needs_new_code(self, typed_id: str, now: float) -> bool:
        """Tell whether typing this id calls for a new code: not when one for the same id left seconds ago."""
        return self.state != "code_sent" or self.typed_id != typed_id or now - self.sent_at >= RESEND_SECONDS

    def with_code(self, typed_id: str, individual_id: str, now: float, lifetime: float) -> "Login":
        """Return the login with a new one-time code; a former code works no more."""
        if self.counter >= MOST_SENDS:
            raise TooManyCodes("no more codes for this sign-in; go back to the service and start again")
        return replace(
            self,
            state="code_sent",
            typed_id=typed_id,
            individual_id=individual_id,
            secret=secrets.token_bytes(20),
            counter=self.counter + 1,
            code_expires_at=now + lifetime,
            sent_at=now,
        )

    def without_code(self) -> "Login":
        """Return the login as before the code, which could not be sent."""
        return replace(self, state="started", secret=b"", code_expires_at=0.0, sent_at=0.0)

    def try_code(self, code: str, now: float, most_attempts: int) -> tuple["Login", Outcome]:
        """Return the login after a typed code and what became of it. Attempts count over all codes of a login."""
        if self.state != "code_sent":
            return self, Outcome.LATE
        if now >= self.code_expires_at:
            return self, Outcome.EXPIRED
        right = hmac.compare_digest(self.code.encode(), code.encode()) and bool(self.individual_id)
        if right:
            state = "consent" if self.request.claims else "agreed"
            return replace(self, state=state, auth_time=int(now), secret=b"", code_expires_at=0.0), Outcome.RIGHT
        tried = replace(self, attempts=self.attempts + 1)
        return tried, Outcome.WRONG if tried.attempts < most_attempts else Outcome.EXHAUSTED

    def answered(self, state: str, answer: str) -> "Login":
        """Return the login as over, with the redirect that answers the relying party."""
        return replace(self, state=state, answer=answer, secret=b"", code_expires_at=0.0)


def begin_login(request: AuthorizationRequest, browser: str, now: float, lifetime: float) -> Login:
    """Return a new login. ``browser`` is the digest of the cookie that ties it to one browser."""
    return Login(secrets.token_urlsafe(18), browser, secrets.token_urlsafe(24), request, now + lifetime)
