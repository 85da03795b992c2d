"""What a gateway's administrator decides: which services there are, whether they are on, and who may call them.

Kept in the database, read from memory on every request, changed at run time; a change is in force and written down
when the call that makes it returns.
"""

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from gateway import tables
from gateway.config import GatewayConfig
from gateway.log import Batch
from gateway.rights import ANYTHING, Pattern, Right, Rights
from gateway.writer import Writer
from sandroad.problems import Refusal
from sandroad.storage import Database

SEEDED = "settings taken over"
PROFILE_KEYS = ("subject", "service", "allow")


class UnknownService(Refusal):
    """This gateway offers no such service."""

    code = "not_found"


@dataclass(frozen=True, slots=True)
class Service:
    """A service behind this gateway; ``id`` is ``SANDBOX/GOV/CIVIL/REGISTRY/registry``, ``timeout`` in seconds.

    ``secret`` is what the gateway presents to it, so that nobody else can call it in a client's name. A service
    declared ``idempotent`` may be called again with the same request after a crash.
    """

    id: str
    url: str
    secret: str = field(repr=False)
    timeout: float = 60.0
    idempotent: bool = False
    log: str = "full"
    contract: str = ""
    concurrency: int = 16
    enabled: bool = True
    notice: str = ""

    @classmethod
    def declared(cls, owner: str, declaration: Mapping[str, Any]) -> "Service":
        """Return the service that settings (already checked) declare for the member ``owner``."""
        values = {name: value for name, value in declaration.items() if name not in ("subsystem", "code")}
        return cls(f"{owner}/{declaration['subsystem']}/{declaration['code']}", **values)

    def declaration(self) -> str:
        """Return what is kept of it, without state."""
        names = ("url", "secret", "timeout", "idempotent", "log", "contract", "concurrency")
        return json.dumps({name: getattr(self, name) for name in names})


class Administration:
    """The services and access rights of one member."""

    def __init__(self, config: GatewayConfig, database: Database, writer: Writer) -> None:
        self._config = config
        self._database = database
        self._writer = writer
        self.services: dict[str, Service] = {}
        self.rights = Rights()

    def open(self) -> None:
        """Take the settings over at the first start; load what is kept."""
        with self._database.begin() as connection:
            if not _is_seeded(connection):
                _seed(connection, self._config)
        with self._database.read() as connection:
            self.services = {service.id: service for service in map(_service, _rows(connection, tables.services))}
            self.rights = Rights(map(_right, _rows(connection, tables.rights)))

    def service(self, service_id: str) -> Service:
        """Return a service, or raise ``UnknownService``."""
        if service_id not in self.services:
            raise UnknownService(
                f"no service {service_id} here; there are: {', '.join(sorted(self.services)) or 'none'}"
            )
        return self.services[service_id]

    async def switch(self, service_id: str, *, enabled: bool, notice: str) -> Service:
        """Switch a service on or off; ``notice`` is what callers are told while it is off."""
        changed = replace(self.service(service_id), enabled=enabled, notice="" if enabled else notice)

        def write(batch: Batch) -> None:
            _put_service(batch.connection, changed)
            _note(
                batch.connection,
                "service enabled" if enabled else "service disabled",
                {"service": service_id, "notice": notice},
            )

        await self._writer.write(write)
        self.services = self.services | {service_id: changed}
        return changed

    async def allow(self, wanted: Iterable[tuple[str, str, tuple[str, ...] | None]]) -> None:
        """Give rights: (subject, service, patterns).

        Without patterns a right that was withdrawn comes back as narrow as it was, and a new one covers the service.
        """
        await self._change("right given", [self._allowed(*one) for one in wanted])

    def _allowed(self, subject: str, service: str, patterns: tuple[str, ...] | None) -> Right:
        self.service(service)
        known = self.rights.get(subject, service)
        for pattern in patterns or ():
            Pattern.parse(pattern)
        if known is None:
            return Right(subject, service, patterns or (ANYTHING,))
        return replace(known, allowed=True, patterns=patterns or known.patterns)

    async def deny(self, unwanted: Iterable[tuple[str, str]]) -> None:
        """Withdraw rights: (subject, service). What is not there is as it should be."""
        found = []
        for subject, service in unwanted:
            self.service(service)
            known = self.rights.get(subject, service)
            if known is not None:
                found.append(replace(known, allowed=False))
        await self._change("right withdrawn", found)

    async def _change(self, action: str, rights: list[Right]) -> None:
        def write(batch: Batch) -> None:
            for right in rights:
                _put_right(batch.connection, right)
                _note(
                    batch.connection,
                    action,
                    {"subject": right.subject, "service": right.service, "allow": right.patterns},
                )

        await self._writer.write(write)
        self.rights.replace(rights)

    def changes(self) -> list[dict[str, Any]]:
        """Return every change that was made, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(tables.changes).order_by(tables.changes.c.id)).mappings().all()
        return [{"at": row["at"], "action": row["action"], **json.loads(row["details"])} for row in rows]


def _is_seeded(connection: Connection) -> bool:
    query = select(tables.changes.c.id).where(tables.changes.c.action == SEEDED).limit(1)
    return connection.execute(query).first() is not None


def _seed(connection: Connection, config: GatewayConfig) -> None:
    for declaration in config.services:
        _put_service(connection, Service.declared(config.owner, declaration))
    for given in config.rights:
        terms = {name: value for name, value in given.items() if name not in PROFILE_KEYS}
        subject, service = f"{config.instance}/{given['subject']}", f"{config.instance}/{given['service']}"
        for pattern in given["allow"]:
            Pattern.parse(pattern)
        _put_right(connection, Right(subject, service, tuple(given["allow"]), terms=terms))
    _note(connection, SEEDED, {"services": len(config.services), "rights": len(config.rights)})


def _rows(connection: Connection, table: Any) -> list[Any]:
    return list(connection.execute(select(table)).mappings())


def _service(row: Any) -> Service:
    return Service(row["id"], **json.loads(row["declaration"]), enabled=row["enabled"], notice=row["notice"])


def _right(row: Any) -> Right:
    patterns = tuple(json.loads(row["patterns"]))
    return Right(row["subject"], row["service"], patterns, row["allowed"], json.loads(row["terms"]))


def _put_service(connection: Connection, service: Service) -> None:
    services = tables.services
    connection.execute(delete(services).where(services.c.id == service.id))
    row = {"id": service.id, "declaration": service.declaration(), "enabled": service.enabled, "notice": service.notice}
    connection.execute(insert(services).values(row))


def _put_right(connection: Connection, right: Right) -> None:
    rights = tables.rights
    connection.execute(delete(rights).where(rights.c.subject == right.subject, rights.c.service == right.service))
    row = {
        "subject": right.subject,
        "service": right.service,
        "patterns": json.dumps(right.patterns),
        "allowed": right.allowed,
        "terms": json.dumps(dict(right.terms)),
    }
    connection.execute(insert(rights).values(row))


def _note(connection: Connection, action: str, details: Mapping[str, Any]) -> None:
    at = time.time_ns() // 1_000_000
    connection.execute(insert(tables.changes).values(at=at, action=action, details=json.dumps(details)))
