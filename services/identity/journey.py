"""The login journey: from the relying party's request over code and consent back to the relying party."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from sandroad.clock import Clock
from sandroad.storage import Database
from services.identity import login_store, store
from services.identity.authorization import (
    AuthorizationRefusal,
    AuthorizationRequest,
    LoginDenied,
    LoginRequired,
    UnknownClient,
    answer_url,
    check_redirect_uri,
    read_request,
    repeated,
)
from services.identity.clients import Messaging
from services.identity.config import Config
from services.identity.domain import CodeNotSent, Individual, RelyingParty, individual_id_of, is_individual_id
from services.identity.login import (
    FormForged,
    Login,
    LoginExpired,
    LoginUnknown,
    Outcome,
    TooManyCodes,
    begin_login,
)
from services.identity.login_store import Grant, digest

WINDOW_SECONDS = 600
SWEEP_SECONDS = 60


@dataclass(frozen=True)
class View:
    """What a page shows: the login, who asks, and for the consent page the person's programmes."""

    login: Login
    party: RelyingParty


class Journey:
    """Logins. ``now`` is security time."""

    def __init__(self, config: Config, database: Database, messaging: Messaging, now: Clock) -> None:
        self._config = config
        self._database = database
        self._messaging = messaging
        self._now: Callable[[], float] = lambda: now().timestamp()
        self._swept = 0.0

    def begin(self, pairs: Sequence[tuple[str, str]]) -> tuple[Login, str]:
        """Return a new login and the cookie that ties it to the browser.

        Raises ``UnknownClient`` and ``RedirectUriNotRegistered`` (for a page); an ``AuthorizationRefusal`` carries the
        redirect that tells it as ``extra["location"]``.
        """
        given = dict(pairs)
        party = self._active_party(given.get("client_id", ""))
        redirect_uri = check_redirect_uri(given.get("redirect_uri", ""), party)
        try:
            if name := repeated(pairs):
                raise AuthorizationRefusal(f"{name[:40]} is given more than once")
            request = read_request(given, party)
        except AuthorizationRefusal as refusal:
            state = given.get("state", "") if len(given.get("state", "")) <= 256 else ""
            refusal.extra["location"] = self._refusal_url(redirect_uri, state, refusal)
            raise
        cookie, now = secrets.token_urlsafe(24), self._now()
        login = begin_login(request, digest(cookie), now, self._config.login_seconds)
        with self._database.begin() as connection:
            if now - self._swept > SWEEP_SECONDS:
                login_store.sweep(connection, now)
                self._swept = now
            login_store.add_login(connection, login)
        return login, cookie

    def look(self, login_id: str, cookie: str) -> View:
        """Return what there is to show; raise ``LoginUnknown`` or ``LoginExpired``."""
        with self._database.read() as connection:
            login = self._own(connection, login_id, cookie)
            return View(login, self._party(connection, login))

    def identify(self, login_id: str, cookie: str, form_token: str, typed: str) -> View:
        """Take the number of a document and send a code to its holder.

        Whether anybody has that number is not told: the next page is the same.
        """
        typed_id, now = individual_id_of(typed[:200])[:40], self._now()
        typed_id = typed_id if is_individual_id(typed_id) else "-"
        person, send = digest(typed_id), None
        with self._database.begin() as connection:
            login = self._own(connection, login_id, cookie, form_token)
            party = self._party(connection, login)
            if login.state in ("started", "code_sent") and login.needs_new_code(typed_id, now):
                self._check_limits(connection, person, now)
                send = store.find_individual(connection, typed_id)
                login = login.with_code(typed_id, send.individual_id if send else "", now, self._config.code_seconds)
                login_store.put_login(connection, login)
                login_store.add_attempt(connection, person, "sent", now)
        if send is not None:
            self._send(login, send, party)
        return View(login, party)

    def resend(self, login_id: str, cookie: str, form_token: str) -> View:
        """Send another code to the same number; one that left seconds ago is not sent again."""
        view = self.look(login_id, cookie)
        return self.identify(login_id, cookie, form_token, view.login.typed_id)

    def restart(self, login_id: str, cookie: str, form_token: str) -> View:
        """Go back to typing another number."""
        with self._database.begin() as connection:
            login = self._own(connection, login_id, cookie, form_token)
            if login.state == "code_sent":
                login = login.without_code()
                login_store.put_login(connection, login)
            return View(login, self._party(connection, login))

    def enter_code(self, login_id: str, cookie: str, form_token: str, code: str) -> tuple[View, Outcome]:
        """Judge a typed code; a right one leads to consent or, if no claims are asked for, to the end."""
        now = self._now()
        with self._database.begin() as connection:
            login = self._own(connection, login_id, cookie, form_token)
            party = self._party(connection, login)
            person = digest(login.typed_id)
            recent = login_store.count_attempts(connection, person, "wrong", now - WINDOW_SECONDS)
            if recent >= self._config.wrong_codes_per_person and login.state == "code_sent":
                outcome = Outcome.EXHAUSTED
            else:
                login, outcome = login.try_code("".join(code.split()), now, self._config.code_attempts)
            if outcome in (Outcome.WRONG, Outcome.EXHAUSTED):
                login_store.add_attempt(connection, person, "wrong", now)
            if outcome is Outcome.EXHAUSTED:
                login = self._refused(login, LoginDenied("too many wrong codes"))
            if outcome is Outcome.RIGHT:
                login_store.forget_attempts(connection, person, "wrong")
                if login.state == "agreed":
                    login = self._finish(connection, login, party, now)
            login_store.put_login(connection, login)
        return View(login, party), outcome

    def decide(self, login_id: str, cookie: str, form_token: str, *, allow: bool) -> View:
        """Take the person's decision about the claims."""
        with self._database.begin() as connection:
            login = self._own(connection, login_id, cookie, form_token)
            party = self._party(connection, login)
            if login.state == "consent":
                if allow:
                    login = self._finish(connection, login, party, self._now())
                else:
                    login = self._refused(login, LoginDenied("the person did not agree to share the data"))
                login_store.put_login(connection, login)
        return View(login, party)

    def cancel(self, login_id: str, cookie: str, form_token: str) -> View:
        """End a login that the person does not want."""
        with self._database.begin() as connection:
            login = self._own(connection, login_id, cookie, form_token)
            if not login.is_over:
                login = self._refused(login, LoginDenied("the person cancelled"))
                login_store.put_login(connection, login)
            return View(login, self._party(connection, login))

    def answer(self, login: Login) -> str:
        """Return the redirect that answers the relying party, '' if it has its code already.

        A form that arrives twice gets the same answer; one that arrives after the exchange (back button) gets none,
        because presenting a used code would revoke the tokens.
        """
        if login.state == "done":
            with self._database.read() as connection:
                grant = login_store.grant_of_login(connection, login.login_id)
            if grant is None or grant.token_id is not None or grant.expires_at <= self._now():
                return ""
        return login.answer

    def _own(self, connection: Connection, login_id: str, cookie: str, form_token: str | None = None) -> Login:
        """Return a login of this browser; with ``form_token``, only if the form was ours."""
        login = login_store.find_login(connection, login_id)
        if login is None or not secrets.compare_digest(login.browser, digest(cookie)):
            raise LoginUnknown("this sign-in is unknown here, or was begun in another browser")
        if form_token is not None and not secrets.compare_digest(login.form_token.encode(), form_token.encode()):
            raise FormForged("the form does not belong to this sign-in")
        if login.expires_at <= self._now():
            raise LoginExpired("this sign-in took too long")
        return login

    def _active_party(self, client_id: str) -> RelyingParty:
        with self._database.read() as connection:
            party = store.find_party(connection, client_id)
        if party is None or not party.active:
            raise UnknownClient("the service that sent you here is not registered")
        return party

    def _party(self, connection: Connection, login: Login) -> RelyingParty:
        party = store.find_party(connection, login.request.client_id)
        if party is None or not party.active:
            raise UnknownClient("the service that sent you here is not registered any more")
        return party

    def _check_limits(self, connection: Connection, person: str, now: float) -> None:
        since = now - WINDOW_SECONDS
        if login_store.count_attempts(connection, person, "sent", since) >= self._config.codes_per_person:
            raise TooManyCodes("too many codes were asked for with this number; try again in ten minutes")

    def _send(self, login: Login, person: Individual, party: RelyingParty) -> None:
        """Send the code; if that fails, the login is as before, and the person can try again."""
        try:
            self._messaging.send_code(person, login.code, party.name, max(self._config.code_seconds // 60, 1))
        except CodeNotSent:
            with self._database.begin() as connection:
                kept = login_store.find_login(connection, login.login_id)
                if kept is not None and kept.state == "code_sent" and kept.counter == login.counter:
                    login_store.put_login(connection, kept.without_code())
            raise

    def _finish(self, connection: Connection, login: Login, party: RelyingParty, now: float) -> Login:
        """Make the person's numbers for this relying party and the code that stands for the login."""
        sub = store.subject_of(connection, party.subject_group, login.individual_id, secrets.token_urlsafe(32))
        if login.request.wanted_sub and login.request.wanted_sub != sub:
            return self._refused(login, LoginRequired("another person logged in than was asked for"))
        for programme in party.programmes:
            store.functional_ids_of(connection, programme, [login.individual_id])
        code = secrets.token_urlsafe(32)
        login_store.add_grant(
            connection,
            Grant(
                code_digest=digest(code),
                login_id=login.login_id,
                individual_id=login.individual_id,
                sub=sub,
                request=login.request,
                auth_time=login.auth_time,
                expires_at=now + self._config.authorization_code_seconds,
            ),
        )
        request = login.request
        url = answer_url(request.redirect_uri, code=code, state=request.state, iss=self._config.issuer)
        return replace(login, attempts=0).answered("done", url)

    def _refused(self, login: Login, refusal: AuthorizationRefusal) -> Login:
        request: AuthorizationRequest = login.request
        return login.answered("refused", self._refusal_url(request.redirect_uri, request.state, refusal))

    def _refusal_url(self, redirect_uri: str, state: str, refusal: AuthorizationRefusal) -> str:
        description = refusal.detail.encode("ascii", "replace").decode()
        return answer_url(
            redirect_uri, error=refusal.code, error_description=description, state=state, iss=self._config.issuer
        )
