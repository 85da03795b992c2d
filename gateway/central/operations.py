"""Central without HTTP: enrolling gateways, answering about certificates, and what its steward may change."""

import hashlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.hazmat.primitives.serialization import Encoding

from gateway.central.authority import Authority, PublicKey, new_serial
from gateway.central.config import Config
from gateway.central.domain import (
    REASONS,
    CertificateRecord,
    CertificateUnknown,
    Enrolment,
    EnrolmentUnknown,
    Grant,
    KeyBelongsToOther,
    KeyRevoked,
    Member,
    MemberConflict,
    MemberUnknown,
    NotACode,
    grants_of,
    members_of,
    read_csr,
    token_refused,
)
from gateway.central.ocsp import Question, Responder
from gateway.central.publication import Publisher
from gateway.central.store import Directory, Snapshot, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EnrolmentRequest:
    """What a gateway sends: ``csr`` in PEM, ``address`` its peer URL, ``queue`` its queue at the broker (each may be empty)."""

    gateway: str
    token: str
    csr: str
    address: str
    queue: str


class Central:
    """The trust authority."""

    def __init__(
        self,
        config: Config,
        store: Store,
        authority: Authority,
        responder: Responder,
        publisher: Publisher,
        clock: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._store = store
        self._authority = authority
        self._responder = responder
        self._publisher = publisher
        self._clock = clock

    def take_over_settings(self) -> None:
        """Register the members and grants of the settings; what is registered already stays as it is."""
        members = members_of(self._config.members)
        grants = grants_of(self._config.enrolment_tokens, members)
        with self._store.begin() as directory:
            for member in members:
                known = directory.member(member.id)
                if known is not None and known.name != member.name:
                    log.warning("%s stays registered as %r: its certificates carry that name", member.id, known.name)
                directory.put_member(member)
            for grant in grants:
                directory.take_over_grant(grant)
        self._publisher.changed()

    def enrol(self, request: EnrolmentRequest) -> CertificateRecord | None:
        """Certify a gateway for the member that its token is bound to; None while it waits for approval.

        The same key again gets the same certificate, and may move the gateway to another address or queue.
        """
        key, key_hash = read_csr(request.csr)
        with self._store.begin() as directory:
            grant = directory.grant(request.gateway)
            if grant is None:
                raise token_refused(request.gateway)
            grant.check_token(request.token)
            grant.check_key(key_hash)
            self._check_key(directory, request.gateway, key_hash)
            enrolment = self._enrolment(directory, grant, request, key_hash)
            directory.put_grant(replace(grant, key=key_hash))
            directory.put_enrolment(enrolment)
            record = self._certified(directory, enrolment, key) if enrolment.approved else None
        self._publisher.changed()
        log.info("gateway %s of %s %s", grant.gateway, grant.member, "enrolled" if record else "waits for approval")
        return record

    def approve(self, gateway: str) -> CertificateRecord:
        """Approve an enrolment that waits; an approved one again gives the same certificate."""
        with self._store.begin() as directory:
            enrolment = directory.enrolment(gateway)
            if enrolment is None:
                raise EnrolmentUnknown(f"no gateway {gateway[:64]!r} has asked to be enrolled")
            key, _ = read_csr(enrolment.csr)
            directory.put_enrolment(replace(enrolment, approved=True))
            record = self._certified(directory, enrolment, key)
        self._publisher.changed()
        log.info("gateway %s approved", gateway)
        return record

    def revoke(self, x5t: str, reason: str) -> CertificateRecord:
        """Revoke a certificate at once; revoking it again changes nothing, not even the reason."""
        if reason not in REASONS:
            raise NotACode(f"the reason of a revocation is one of {', '.join(REASONS)}")
        with self._store.begin() as directory:
            record = directory.certificate(x5t=x5t)
            if record is None:
                raise CertificateUnknown("no certificate with this SHA-256 was issued here")
            if record.revoked_at is None:
                directory.revoke(record, self._clock(), reason)
            revoked = directory.certificate(x5t=x5t)
        self._publisher.changed()
        assert revoked is not None
        log.info("certificate %s of gateway %s revoked", revoked.x5t[:16], revoked.gateway)
        return revoked

    def register_member(self, member: Member) -> Member:
        """Register a member, or add subsystems to one; its name cannot be changed, for certificates carry it."""
        with self._store.begin() as directory:
            known = directory.member(member.id)
            if known is not None and known.name != member.name:
                raise MemberConflict(f"{member.id} is registered as {known.name!r}")
            directory.put_member(member)
            registered = directory.member(member.id)
        self._publisher.changed()
        assert registered is not None
        return registered

    def grant_token(self, gateway: str, member: str) -> str:
        """Return a new one-time token for a gateway of ``member``; the one before it is worth nothing any more."""
        token = secrets.token_urlsafe(32)
        grant = Grant(gateway, member, hashlib.sha256(token.encode()).hexdigest())
        with self._store.begin() as directory:
            if directory.member(member) is None:
                raise MemberUnknown(f"{member[:130]} is not registered here")
            directory.put_grant(grant)
        log.info("a new enrolment token for gateway %s of %s was handed out", gateway, member)
        return token

    def answer_ocsp(self, request: bytes) -> bytes:
        """Return the OCSP response to a request, both in DER."""
        question = self._responder.read(request)
        if not isinstance(question, Question):
            return self._responder.refuse(question)
        with self._store.read() as directory:
            record = directory.certificate(serial=question.serial)
        return self._responder.answer(question, record, self._clock())

    def configuration(self) -> bytes:
        """Return the signed global configuration."""
        return self._publisher.current().signed

    def directory(self) -> Snapshot:
        """Return everything that is registered."""
        with self._store.read() as directory:
            return directory.snapshot()

    def _check_key(self, directory: Directory, gateway: str, key: str) -> None:
        """One key under two names would let one gateway sign as the other; a revoked key stays revoked."""
        owner = directory.enrolment_of_key(key)
        certificates = directory.certificates_of_key(key)
        if (owner and owner.gateway != gateway) or any(one.gateway != gateway for one in certificates):
            raise KeyBelongsToOther("another gateway has enrolled with this key: each makes its own")
        if any(one.revoked_at for one in certificates):
            raise KeyRevoked(
                f"the certificate of this key of {gateway} was revoked: make a new key, ask for a new token"
            )

    def _enrolment(self, directory: Directory, grant: Grant, request: EnrolmentRequest, key: str) -> Enrolment:
        before = directory.enrolment(grant.gateway)
        approved = self._config.approval == "automatic" or (
            before is not None and before.approved and before.key == key
        )
        return Enrolment(grant.gateway, grant.member, key, request.csr, request.address, request.queue, approved)

    def _certified(self, directory: Directory, enrolment: Enrolment, key: PublicKey) -> CertificateRecord:
        """Return the certificate of an enrolment, issued now if there is none that lasts."""
        now = self._clock()
        current = [one for one in directory.certificates_of_key(enrolment.key) if one.is_current(now)]
        if current:
            return current[-1]
        member = directory.member(enrolment.member)
        assert member is not None  # a foreign key of the enrolment
        certificate = self._authority.certify(
            key, member=member.id, name=member.name, serial=new_serial(), ocsp_url=self._config.ocsp_url, now=now
        )
        record = CertificateRecord(
            serial=certificate.serial_number,
            gateway=enrolment.gateway,
            member=member.id,
            key=enrolment.key,
            der=certificate.public_bytes(Encoding.DER),
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
        )
        directory.add_certificate(record)
        return record
