"""Makes what a sandbox needs on servers that others run: a virtual host and a user per member, a database and a role per app.

The administrator's URLs come from ``--amqp`` and ``--database``; they are used here and nowhere else, and are not kept.
"""

import hashlib
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from sandroad.country.topology import Topology
from sandroad.running.plan import CENTRAL
from sandroad.running.secrets import Secrets

ADMINISTRATOR = "needs an administrator's URL: postgresql://user:password@host:5432/postgres"


class ProvisionError(Exception):
    """The broker or the database server cannot be used as it is; the text says why and what would be right."""


class Provision:
    """``amqp`` is ``amqp://user:password@host:5672/`` (the management API is asked at port 15672, or at ``?management=URL``);
    ``database`` is ``postgresql://user:password@host:5432/postgres``. Both may be empty: nothing is made then."""

    def __init__(self, amqp: str, database: str, data: Path) -> None:
        self._amqp = _broker(amqp) if amqp else ""
        self._database = _server(database) if database else None
        self._mark = hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:8]
        self._secrets: Secrets | None = None

    @property
    def has_database(self) -> bool:
        """Whether apps use PostgreSQL."""
        return self._database is not None

    @property
    def virtual_host(self) -> str:
        """The broker's virtual host of this sandbox."""
        return f"sandroad-{self._mark}"

    def use(self, secrets: Secrets) -> None:
        """Take passwords from here, without making anything."""
        self._secrets = secrets

    def make(self, topology: Topology, secrets: Secrets) -> None:
        """Make what is missing; what is there stays as it is."""
        self._secrets = secrets
        if self._amqp:
            self._make_broker(topology, secrets)
        if self._database is not None:
            names = [
                CENTRAL,
                *(m.gateway for m in topology.members),
                *(a.name for _, a in topology.apps() if a.managed),
            ]
            self._make_databases(names, secrets, self._database)

    def broker_url(self, member: str) -> str:
        """Return the AMQP URL of a member's own user."""
        if not self._amqp or self._secrets is None:
            return ""
        parts = urlsplit(self._amqp)
        port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
        user = quote(broker_user(self._mark, member), safe="")
        password = self._secrets.password(f"broker/{member}")
        return f"{parts.scheme}://{user}:{password}@{parts.hostname}:{port}/{quote(self.virtual_host, safe='')}"

    def database_url(self, name: str) -> str:
        """Return the URL of an app's own database, with its own role."""
        if self._database is None or self._secrets is None:
            raise ProvisionError("no database server was named")
        role = self._role(name)
        url: URL = self._database.set(username=role, password=self._secrets.password(f"database/{name}"), database=role)
        return url.render_as_string(hide_password=False)

    def empty_databases(self, names: list[str]) -> None:
        """Drop the databases of these apps; they are made again, empty, at the next start."""
        if self._database is None:
            return
        engine = create_engine(self._database, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in names:
                connection.execute(text(f'DROP DATABASE IF EXISTS "{self._role(name)}" WITH (FORCE)'))
        engine.dispose()

    def _role(self, name: str) -> str:
        return f"sandroad_{self._mark}_{name.replace('-', '_')}"

    def _make_databases(self, names: list[str], secrets: Secrets, admin: URL) -> None:
        engine = create_engine(admin, isolation_level="AUTOCOMMIT", connect_args={"timeout": 10})
        try:
            with engine.connect() as connection:
                roles = set(connection.execute(text("SELECT rolname FROM pg_roles")).scalars())
                databases = set(connection.execute(text("SELECT datname FROM pg_database")).scalars())
                for name in names:
                    role, password = self._role(name), secrets.password(f"database/{name}")
                    verb = "ALTER" if role in roles else "CREATE"
                    connection.execute(text(f"{verb} ROLE \"{role}\" LOGIN PASSWORD '{password}' CONNECTION LIMIT 40"))
                    if role not in databases:
                        connection.execute(text(f'CREATE DATABASE "{role}" OWNER "{role}"'))
                    # Each time: a start that was killed before this line would leave the database open to all roles.
                    connection.execute(text(f'REVOKE CONNECT ON DATABASE "{role}" FROM PUBLIC'))
        except SQLAlchemyError as defect:
            raise ProvisionError(
                f"PostgreSQL at {admin.host}:{admin.port or 5432} as {admin.username}: {_first_line(defect)}. "
                f"--database {ADMINISTRATOR}"
            ) from defect
        finally:
            engine.dispose()

    def _make_broker(self, topology: Topology, secrets: Secrets) -> None:
        parts = urlsplit(self._amqp)
        found = re.search(r"(?:^|&)management=([^&]+)", parts.query)
        base = unquote(found[1]) if found else f"http://{parts.hostname}:15672"
        session = requests.Session()
        session.trust_env = False
        session.auth = (unquote(parts.username or "guest"), unquote(parts.password or "guest"))
        host = quote(self.virtual_host, safe="")
        self._put(session, f"{base}/api/vhosts/{host}", {"description": f"Sandroad {topology.instance}"})
        for member in topology.members:
            user = quote(broker_user(self._mark, member.id), safe="")
            password = secrets.password(f"broker/{member.id}")
            self._put(session, f"{base}/api/users/{user}", {"password": password, "tags": ""})
            self._put(session, f"{base}/api/permissions/{host}/{user}", permissions(topology.instance, member.id))

    def _put(self, session: requests.Session, url: str, body: dict[str, str]) -> None:
        try:
            response = session.put(url, json=body, timeout=10)
        except requests.RequestException as defect:
            raise ProvisionError(
                f"RabbitMQ's management API does not answer at {url.split('/api/')[0]}; enable the plugin rabbitmq_management, "
                "or name its address: amqp://…/?management=http://host:15672"
            ) from defect
        if response.status_code == 401:
            raise ProvisionError("RabbitMQ's management API refused the user of --amqp; it must be an administrator")
        if not response.ok:
            raise ProvisionError(
                f"RabbitMQ refused {url.split('/api/')[1]}: {response.status_code} {response.text[:200]}"
            )


def _broker(amqp: str) -> str:
    """Return an administrator's URL of the broker as it is, if it is one."""
    try:
        parts = urlsplit(amqp)
        usable = parts.scheme in ("amqp", "amqps") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ProvisionError("--amqp needs an administrator's URL: amqp://user:password@host:5672/")
    return amqp


def _server(database: str) -> URL:
    """Return an administrator's URL of PostgreSQL, with the driver that we use."""
    try:
        url = make_url(re.sub(r"^postgres(ql)?://", "postgresql+pg8000://", database))
    except (SQLAlchemyError, ValueError):
        url = None
    if url is None or url.drivername != "postgresql+pg8000" or not url.host:
        raise ProvisionError(f"--database {ADMINISTRATOR}")
    return url


def broker_user(mark: str, member: str) -> str:
    """Return the broker user of a member in one sandbox."""
    return f"sandroad-{mark}-{member.replace('/', '-')}"


def permissions(instance: str, member: str) -> dict[str, str]:
    """Return what a member's user may do on the broker: own its queues, read them, and publish.

    Publishing goes through the default exchange, so a gateway can put envelopes into any queue, but can neither read nor
    declare another member's.
    """
    own = re.escape(f"gateway.{instance}.{member.replace('/', '.')}") + r"(\..+)?"
    return {"configure": f"^{own}$", "write": r"^amq\.default$", "read": f"^{own}$"}


def _first_line(defect: Exception) -> str:
    """Return what the server said: its message field (PostgreSQL protocol 53.8), or the driver's first line."""
    cause = getattr(defect, "orig", None) or defect
    said = cause.args[0] if cause.args else cause
    return str(said.get("M") if isinstance(said, dict) else said).splitlines()[0][:200]
