"""Central's tables: members, grants to enrol, enrolments, certificates, and the last published version."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)

from gateway.central.domain import CertificateRecord, Enrolment, Grant, Member
from sandroad.storage import Database

VERSION = "central-1"
METADATA = MetaData()

members = Table(
    "members", METADATA, Column("id", String(130), primary_key=True), Column("name", String(64), nullable=False)
)
subsystems = Table(
    "subsystems",
    METADATA,
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("code", String(64), primary_key=True),
)
grants = Table(
    "grants",
    METADATA,
    Column("gateway", String(64), primary_key=True),
    Column("member", ForeignKey("members.id"), nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("key", String(64)),
    # The settings' token that was last taken over: a token handed out later at run time survives a restart.
    Column("settings_sha256", String(64)),
)
enrolments = Table(
    "enrolments",
    METADATA,
    Column("gateway", String(64), primary_key=True),
    Column("member", ForeignKey("members.id"), nullable=False),
    Column("key", String(64), nullable=False, unique=True),
    Column("csr", Text, nullable=False),
    Column("address", String(300), nullable=False),
    Column("queue", String(255), nullable=False),
    Column("approved", Boolean, nullable=False),
)
certificates = Table(
    "certificates",
    METADATA,
    Column("serial", String(40), primary_key=True),
    Column("x5t", String(64), nullable=False, unique=True),
    Column("gateway", String(64), nullable=False, index=True),
    Column("member", ForeignKey("members.id"), nullable=False),
    Column("key", String(64), nullable=False, index=True),
    Column("der", LargeBinary, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    Column("not_after", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Column("revocation_reason", String(32), nullable=False),
)
publication = Table("publication", METADATA, Column("version", BigInteger, nullable=False))


@dataclass(frozen=True)
class Snapshot:
    """Everything that is published, read in one transaction."""

    members: tuple[Member, ...]
    enrolments: tuple[Enrolment, ...]
    certificates: tuple[CertificateRecord, ...]


class Directory:
    """Central's knowledge within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def members(self) -> tuple[Member, ...]:
        """Return all members with their subsystems."""
        codes: dict[str, list[str]] = {}
        for row in self._connection.execute(select(subsystems).order_by(subsystems.c.member, subsystems.c.code)):
            codes.setdefault(row.member, []).append(row.code)
        rows = self._connection.execute(select(members).order_by(members.c.id))
        return tuple(Member(row.id, row.name, tuple(codes.get(row.id, ()))) for row in rows)

    def member(self, member: str) -> Member | None:
        """Return one member."""
        return next((one for one in self.members() if one.id == member), None)

    def put_member(self, member: Member) -> None:
        """Register a member with its subsystems, or add subsystems to one."""
        known = self.member(member.id)
        if known is None:
            self._connection.execute(insert(members).values(id=member.id, name=member.name))
        for code in member.subsystems:
            if known is None or code not in known.subsystems:
                self._connection.execute(insert(subsystems).values(member=member.id, code=code))

    def grant(self, gateway: str) -> Grant | None:
        """Return the right of a gateway to enrol."""
        row = self._connection.execute(select(grants).where(grants.c.gateway == gateway)).one_or_none()
        return Grant(row.gateway, row.member, row.token_sha256, row.key) if row else None

    def put_grant(self, grant: Grant) -> None:
        """Keep a grant in the place of an earlier one of the same gateway."""
        values = {"member": grant.member, "token_sha256": grant.token_sha256, "key": grant.key}
        changed = self._connection.execute(update(grants).where(grants.c.gateway == grant.gateway).values(values))
        if changed.rowcount == 0:
            self._connection.execute(insert(grants).values(gateway=grant.gateway, **values))

    def take_over_grant(self, grant: Grant) -> None:
        """Keep a grant of the settings, unless these have not changed since it was last taken over."""
        seen = select(grants.c.settings_sha256).where(grants.c.gateway == grant.gateway)
        if self._connection.execute(seen).scalar_one_or_none() == grant.token_sha256:
            return
        self.put_grant(grant)
        marked = update(grants).where(grants.c.gateway == grant.gateway).values(settings_sha256=grant.token_sha256)
        self._connection.execute(marked)

    def enrolments(self) -> tuple[Enrolment, ...]:
        """Return all enrolments."""
        return tuple(map(_enrolment, self._connection.execute(select(enrolments).order_by(enrolments.c.gateway))))

    def enrolment(self, gateway: str) -> Enrolment | None:
        """Return the enrolment of a gateway."""
        return self._one_enrolment(enrolments.c.gateway == gateway)

    def enrolment_of_key(self, key: str) -> Enrolment | None:
        """Return the enrolment that a key belongs to."""
        return self._one_enrolment(enrolments.c.key == key)

    def put_enrolment(self, enrolment: Enrolment) -> None:
        """Keep an enrolment in the place of an earlier one of the same gateway."""
        self._connection.execute(delete(enrolments).where(enrolments.c.gateway == enrolment.gateway))
        self._connection.execute(insert(enrolments).values(**enrolment.__dict__))

    def certificates(self) -> tuple[CertificateRecord, ...]:
        """Return all certificates ever issued, oldest first."""
        ordered = select(certificates).order_by(certificates.c.not_before, certificates.c.serial)
        return tuple(map(_certificate, self._connection.execute(ordered)))

    def certificates_of_key(self, key: str) -> tuple[CertificateRecord, ...]:
        """Return the certificates of one public key, oldest first."""
        ordered = select(certificates).where(certificates.c.key == key).order_by(certificates.c.not_before)
        return tuple(map(_certificate, self._connection.execute(ordered)))

    def certificate(self, *, serial: int | None = None, x5t: str | None = None) -> CertificateRecord | None:
        """Return the certificate with a serial number, or with the SHA-256 ``x5t`` in hex."""
        wanted = certificates.c.x5t == x5t if x5t is not None else certificates.c.serial == _hex(serial or 0)
        row = self._connection.execute(select(certificates).where(wanted)).one_or_none()
        return _certificate(row) if row else None

    def add_certificate(self, record: CertificateRecord) -> None:
        """Keep a certificate just issued."""
        values = {
            "serial": _hex(record.serial),
            "x5t": record.x5t,
            "gateway": record.gateway,
            "member": record.member,
            "key": record.key,
            "der": record.der,
            "not_before": _seconds(record.not_before),
            "not_after": _seconds(record.not_after),
            "revocation_reason": record.revocation_reason,
        }
        self._connection.execute(insert(certificates).values(values))

    def revoke(self, record: CertificateRecord, at: datetime, reason: str) -> None:
        """Mark a certificate as revoked."""
        values = {"revoked_at": _seconds(at), "revocation_reason": reason}
        self._connection.execute(
            update(certificates).where(certificates.c.serial == _hex(record.serial)).values(values)
        )

    def next_version(self, now: datetime) -> int:
        """Return the version to publish next and keep it before anybody sees it.

        At least the clock's milliseconds: versions go on rising after the database was lost, and gateways that remember
        the last one are not locked out.
        """
        last = self._connection.execute(select(publication.c.version)).scalar_one_or_none()
        version = max((last or 0) + 1, int(now.timestamp() * 1000))
        changed = insert(publication) if last is None else update(publication)
        self._connection.execute(changed.values(version=version))
        return version

    def snapshot(self) -> Snapshot:
        """Return everything that is published."""
        return Snapshot(self.members(), self.enrolments(), self.certificates())

    def _one_enrolment(self, wanted: Any) -> Enrolment | None:
        row = self._connection.execute(select(enrolments).where(wanted)).one_or_none()
        return _enrolment(row) if row else None


class Store:
    """Central's database."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.create(METADATA, VERSION)

    @contextmanager
    def begin(self) -> Iterator[Directory]:
        """One writing transaction."""
        with self.database.begin() as connection:
            yield Directory(connection)

    @contextmanager
    def read(self) -> Iterator[Directory]:
        """One reading transaction."""
        with self.database.read() as connection:
            yield Directory(connection)


def _enrolment(row: Row[Any]) -> Enrolment:
    return Enrolment(row.gateway, row.member, row.key, row.csr, row.address, row.queue, row.approved)


def _certificate(row: Row[Any]) -> CertificateRecord:
    return CertificateRecord(
        serial=int(row.serial, 16),
        gateway=row.gateway,
        member=row.member,
        key=row.key,
        der=bytes(row.der),
        not_before=datetime.fromtimestamp(row.not_before, UTC),
        not_after=datetime.fromtimestamp(row.not_after, UTC),
        revoked_at=datetime.fromtimestamp(row.revoked_at, UTC) if row.revoked_at is not None else None,
        revocation_reason=row.revocation_reason,
    )


def _hex(serial: int) -> str:
    return f"{serial:040x}"


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
