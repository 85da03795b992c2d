"""Logins, grants (codes and the tokens they became) and used assertions in the database; a connection is one transaction."""

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from services.identity.authorization import AuthorizationRequest
from services.identity.login import Login
from services.identity.store import PRINTABLE
from services.identity.tables import assertions, attempts, grants, logins
from services.identity.tokens import Assertion

KEEP_SECONDS = 3600.0


@dataclass(frozen=True)
class Grant:
    """What an authorisation code stands for, and the token it became."""

    code_digest: str
    login_id: str
    individual_id: str
    sub: str
    request: AuthorizationRequest
    auth_time: int
    expires_at: float
    token_id: str | None = None
    token_expires_at: float | None = None
    revoked: bool = False


def digest(text: str) -> str:
    """Return the SHA-256 digest under which secrets and typed numbers are kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def add_login(connection: Connection, login: Login) -> None:
    """Keep a new login."""
    connection.execute(insert(logins).values(**_login_row(login)))


def find_login(connection: Connection, login_id: str) -> Login | None:
    """Return a login."""
    if not PRINTABLE.fullmatch(login_id):
        return None
    row = connection.execute(select(logins).where(logins.c.login_id == login_id)).mappings().one_or_none()
    if row is None:
        return None
    return Login(
        **{**row, "request": AuthorizationRequest.from_json(row["request"]), "secret": b64decode(row["secret"])}
    )


def put_login(connection: Connection, login: Login) -> None:
    """Keep a changed login."""
    connection.execute(update(logins).where(logins.c.login_id == login.login_id).values(**_login_row(login)))


def count_attempts(connection: Connection, person: str, kind: str, since: float) -> int:
    """Return how often something happened to a person lately."""
    where = (attempts.c.person == person, attempts.c.kind == kind, attempts.c.at > since)
    return int(connection.execute(select(func.count()).select_from(attempts).where(*where)).scalar_one())


def add_attempt(connection: Connection, person: str, kind: str, at: float) -> None:
    """Note that something happened to a person."""
    connection.execute(insert(attempts).values(person=person, kind=kind, at=at))


def forget_attempts(connection: Connection, person: str, kind: str) -> None:
    """Forget, after a success."""
    connection.execute(delete(attempts).where(attempts.c.person == person, attempts.c.kind == kind))


def add_grant(connection: Connection, grant: Grant) -> None:
    """Keep a new grant."""
    connection.execute(insert(grants).values(**_grant_row(grant)))


def grant_of_code(connection: Connection, code: str) -> Grant | None:
    """Return what a code stands for, used or not."""
    return _grant(connection, grants.c.code_digest == digest(code))


def grant_of_login(connection: Connection, login_id: str) -> Grant | None:
    """Return the grant that a login ended in."""
    return _grant(connection, grants.c.login_id == login_id)


def grant_of_token(connection: Connection, token_id: str) -> Grant | None:
    """Return the grant of an access token."""
    return _grant(connection, grants.c.token_id == token_id)


def put_grant(connection: Connection, grant: Grant) -> None:
    """Keep a changed grant."""
    connection.execute(update(grants).where(grants.c.code_digest == grant.code_digest).values(**_grant_row(grant)))


def use_assertion(connection: Connection, assertion: Assertion) -> bool:
    """Note that an assertion was used; False if it was before."""
    where = (assertions.c.client_id == assertion.client_id, assertions.c.assertion_id == assertion.assertion_id)
    if connection.execute(select(assertions.c.client_id).where(*where)).first():
        return False
    connection.execute(insert(assertions).values(**vars(assertion)))
    return True


def sweep(connection: Connection, now: float) -> None:
    """Forget what nobody can use any more."""
    old = now - KEEP_SECONDS
    connection.execute(delete(logins).where(logins.c.expires_at < old))
    connection.execute(delete(attempts).where(attempts.c.at < old))
    connection.execute(delete(assertions).where(assertions.c.expires_at < now))
    unused = or_(grants.c.token_expires_at.is_(None), grants.c.token_expires_at < old)
    connection.execute(delete(grants).where(grants.c.expires_at < old, unused))


def _login_row(login: Login) -> dict[str, Any]:
    return {**vars(login), "request": login.request.to_json(), "secret": b64encode(login.secret).decode()}


def _grant_row(grant: Grant) -> dict[str, Any]:
    return {**vars(grant), "request": grant.request.to_json()}


def _grant(connection: Connection, where: Any) -> Grant | None:
    row = connection.execute(select(grants).where(where)).mappings().one_or_none()
    return Grant(**{**row, "request": AuthorizationRequest.from_json(row["request"])}) if row else None
