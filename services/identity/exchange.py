"""From an authorisation code to tokens, and from a token to the claims that were agreed to."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sandroad.clock import Clock
from sandroad.storage import Database
from services.identity import login_store, store
from services.identity.authorization import repeated, verifier_fits
from services.identity.config import Config
from services.identity.domain import RelyingParty, disclosed
from services.identity.login_store import Grant
from services.identity.tokens import (
    ASSERTION_TYPE,
    LONGEST_TEXT,
    InvalidClient,
    InvalidGrant,
    InvalidToken,
    OAuthRefusal,
    Session,
    TokenMint,
    UnsupportedGrantType,
    claimed_client,
    verify_assertion,
)


@dataclass(frozen=True)
class Tokens:
    """What a relying party gets for its code."""

    id_token: str
    access_token: str
    expires_in: int
    scope: str


class Exchange:
    """The token endpoint and userinfo. ``now`` is security time."""

    def __init__(self, config: Config, database: Database, mint: TokenMint, now: Clock) -> None:
        self._config = config
        self._database = database
        self._mint = mint
        self._now: Callable[[], float] = lambda: now().timestamp()

    def exchange(self, pairs: list[tuple[str, str]]) -> Tokens:
        """Return tokens for a code; raise an ``OAuthRefusal``. The client is authenticated before anything else."""
        given = dict(pairs)
        if name := repeated(pairs):
            raise OAuthRefusal(f"{name[:40]} is given more than once")
        party = self._authenticated(given)
        if not given.get("grant_type"):
            raise OAuthRefusal("grant_type is missing; the only one here is authorization_code")
        if given["grant_type"] != "authorization_code":
            raise UnsupportedGrantType("the only grant_type here is authorization_code")
        for name in ("code", "redirect_uri"):
            if not given.get(name):
                raise OAuthRefusal(f"{name} is missing")
        grant = self._redeem(party, given)
        now = self._now()
        request = grant.request
        session = Session(grant.sub, party.client_id, request.acr, grant.auth_time, request.nonce, request.scope)
        lifetime = self._config.token_seconds
        access_token = self._mint.access_token(session, grant.token_id or "", now, lifetime)
        id_token = self._mint.id_token(session, access_token, now, lifetime)
        return Tokens(id_token, access_token, lifetime, request.scope)

    def userinfo(self, access_token: str) -> str:
        """Return the consented claims as a JWT; raise ``InvalidToken``."""
        now = self._now()
        token_id = self._mint.read_access_token(access_token, now)
        with self._database.read() as connection:
            grant = login_store.grant_of_token(connection, token_id)
            if grant is None or grant.revoked or (grant.token_expires_at or 0) <= now:
                raise InvalidToken("the access token has expired or was revoked")
            party = store.find_party(connection, grant.request.client_id)
            person = store.find_individual(connection, grant.individual_id)
        if party is None or not party.active or person is None:
            raise InvalidToken("the access token is of no use any more")
        claims = {"sub": grant.sub, **disclosed(person, grant.request.claims, grant.request.claims_locales)}
        if party.programmes:
            claims["functional_ids"] = self._functional_ids(party, grant)
        return self._mint.userinfo(claims, party, now)

    def _functional_ids(self, party: RelyingParty, grant: Grant) -> dict[str, str]:
        """Return the person's number in each of the client's programmes; one added since the login is made now."""
        with self._database.begin() as connection:
            return {
                programme: store.functional_ids_of(connection, programme, [grant.individual_id])[grant.individual_id]
                for programme in party.programmes
            }

    def _authenticated(self, given: Mapping[str, str]) -> RelyingParty:
        """Return the client that signed the assertion, which works once (RFC 7523 §3, item 7)."""
        if given.get("client_secret"):
            raise InvalidClient("clients authenticate by private_key_jwt here, not by secret")
        assertion = given.get("client_assertion", "")
        if not assertion:
            raise InvalidClient("client_assertion is missing: clients authenticate by private_key_jwt")
        if given.get("client_assertion_type") != ASSERTION_TYPE:
            raise InvalidClient(f"client_assertion_type is {ASSERTION_TYPE}")
        if len(assertion) > LONGEST_TEXT:
            raise InvalidClient(f"client_assertion is longer than {LONGEST_TEXT} characters")
        client_id = claimed_client(assertion)
        if given.get("client_id", client_id) != client_id:
            raise InvalidClient("client_id is not the sub of client_assertion")
        with self._database.read() as connection:
            party = store.find_party(connection, client_id)
        if party is None or not party.active:
            raise InvalidClient("no active client of this id is registered")
        verified = verify_assertion(assertion, party, (self._config.token_endpoint, self._config.issuer), self._now())
        with self._database.begin() as connection:
            if not login_store.use_assertion(connection, verified):
                raise InvalidClient("this client_assertion was used before: make a new one for each request")
        return party

    def _redeem(self, party: RelyingParty, given: Mapping[str, str]) -> Grant:
        """Use a code up. A second use revokes what the first one got (RFC 6749 §4.1.2): one of the two was a thief."""
        now = self._now()
        with self._database.begin() as connection:
            grant = login_store.grant_of_code(connection, given["code"])
            if grant is None or grant.request.client_id != party.client_id:
                raise InvalidGrant("the code is unknown")
            replayed = grant.token_id is not None
            if replayed:
                login_store.put_grant(connection, replace(grant, revoked=True))
            else:
                self._check(grant, given, now)
                token_id = secrets.token_urlsafe(18)
                grant = replace(grant, token_id=token_id, token_expires_at=now + self._config.token_seconds)
                login_store.put_grant(connection, grant)
        if replayed:
            raise InvalidGrant("the code was used before; the tokens that it gave are revoked")
        return grant

    def _check(self, grant: Grant, given: Mapping[str, str], now: float) -> None:
        if grant.expires_at <= now:
            raise InvalidGrant("the code has expired")
        if given["redirect_uri"] != grant.request.redirect_uri:
            raise InvalidGrant("redirect_uri is not the one of the authorisation request")
        verifier = given.get("code_verifier")
        if grant.request.code_challenge:
            if not verifier or not verifier_fits(verifier, grant.request.code_challenge):
                raise InvalidGrant("code_verifier is missing or does not belong to the code_challenge")
        elif verifier is not None:
            # RFC 9700 §2.1.1: somebody cut the challenge out of the request, or swapped the code (PKCE downgrade).
            raise InvalidGrant("code_verifier comes for a request that had no code_challenge")
