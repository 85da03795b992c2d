"""What this block remembers about browsers: logins that were begun, people logged in, forms handed out. Secrets as hashes only."""

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Float, MetaData, String, Table, Text, delete, insert, select, update

from sandroad.problems import Refusal
from sandroad.storage import Database

LOGIN_LIVES = 900.0


class LoginFailed(Refusal):
    """The login did not come to an end that can be trusted."""

    code = "consent_login_failed"


class FormNotOurs(Refusal):
    """The form was not handed out to this browser, or too long ago: another site may have sent it."""

    code = "consent_form_not_ours"


class FormUsed(Refusal):
    """The form was submitted before: what it did is done, and is not done again."""

    code = "consent_form_used"


@dataclass(frozen=True)
class Person:
    """Somebody logged in: ids by programme, and how and when identity recognised them."""

    issuer: str
    subject: str
    acr: str
    auth_time: int
    functional_ids: dict[str, str]


@dataclass(frozen=True)
class BegunLogin:
    """A login that is under way: what the answer must fit, and where the person wanted to go."""

    nonce: str
    verifier: str
    destination: str


@dataclass(frozen=True)
class Form:
    """A form handed out once. ``result`` is what its first submission led to; a second one leads to the same and does nothing."""

    purpose: str
    content: dict[str, Any]
    result: str


class Sessions:
    """All three with an end: what is over is removed whenever something new is written."""

    def __init__(self, database: Database, metadata: MetaData, lifetime: float) -> None:
        self._database = database
        self._lifetime = lifetime
        self._logins = _table("browser_logins", metadata, Column("content", Text, nullable=False))
        self._sessions = _table("browser_sessions", metadata, Column("content", Text, nullable=False))
        self._forms = _table(
            "browser_forms",
            metadata,
            Column("session", String(64), nullable=False),
            Column("purpose", String(20), nullable=False),
            Column("content", Text, nullable=False),
            Column("result", Text, nullable=False),
        )

    def begin_login(self, state: str, browser: str, login: BegunLogin) -> None:
        """Remember a login under its state and the browser's cookie together: neither alone finishes it."""
        with self._database.begin() as connection:
            self._add(connection, self._logins, f"{state} {browser}", LOGIN_LIVES, content=json.dumps(vars(login)))

    def finish_login(self, state: str, browser: str) -> BegunLogin:
        """Return a begun login, once; raise ``LoginFailed`` if this browser began none like it."""
        with self._database.begin() as connection:
            row = self._find(connection, self._logins, f"{state} {browser}")
            if row is None:
                raise LoginFailed("this login was not begun in this browser, or too long ago; please begin again")
            connection.execute(delete(self._logins).where(self._logins.c.key == row["key"]))
        return BegunLogin(**json.loads(row["content"]))

    def open(self, person: Person) -> str:
        """Open a session; return its secret, for the cookie."""
        token = secrets.token_urlsafe(32)
        with self._database.begin() as connection:
            self._add(connection, self._sessions, token, self._lifetime, content=json.dumps(vars(person)))
        return token

    def person(self, token: str) -> Person | None:
        """Return who is logged in with this cookie."""
        with self._database.read() as connection:
            row = self._find(connection, self._sessions, token)
        return Person(**json.loads(row["content"])) if row else None

    def close(self, token: str) -> None:
        """End a session. Its used forms still lead to their results."""
        with self._database.begin() as connection:
            connection.execute(delete(self._sessions).where(self._sessions.c.key == _hash(token)))

    def hand_out(self, token: str, purpose: str, content: Mapping[str, Any]) -> str:
        """Return the secret of a new form of a session."""
        form = secrets.token_urlsafe(24)
        with self._database.begin() as connection:
            self._add(
                connection, self._forms, form, self._lifetime,
                session=_hash(token), purpose=purpose, content=json.dumps(content), result="",
            )  # fmt: skip
        return form

    def form(self, token: str, form: str, purpose: str) -> Form:
        """Return a form that this session was given; raise ``FormNotOurs``."""
        with self._database.read() as connection:
            row = self._find(connection, self._forms, form)
        if row is None or row["session"] != _hash(token) or row["purpose"] != purpose:
            raise FormNotOurs("this form was not made for you, or too long ago; please open the page again")
        return Form(row["purpose"], json.loads(row["content"]), row["result"])

    def use(self, connection: Connection, form: str, result: str) -> None:
        """Write down, in the transaction of its effect, what a form led to; raise ``FormUsed`` if it led somewhere before."""
        table = self._forms
        changed = connection.execute(
            update(table).where(table.c.key == _hash(form), table.c.result == "").values(result=result)
        )
        if not changed.rowcount:
            raise FormUsed("this form was submitted before")

    def _add(self, connection: Connection, table: Table, secret: str, lives: float, **values: Any) -> None:
        now = time.time()
        connection.execute(delete(table).where(table.c.until < now))
        connection.execute(insert(table).values(key=_hash(secret), until=now + lives, **values))

    def _find(self, connection: Connection, table: Table, secret: str) -> Any:
        query = select(table).where(table.c.key == _hash(secret), table.c.until >= time.time())
        return connection.execute(query).mappings().first()


def _table(name: str, metadata: MetaData, *columns: Column[Any]) -> Table:
    return Table(
        name, metadata, Column("key", String(64), primary_key=True), Column("until", Float, nullable=False), *columns
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
