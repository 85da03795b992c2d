"""The global configuration: who is on the network and by which keys, as central signed it. Pure: bytes and a time in.

``load`` is the only way to have one, so whoever holds a ``GlobalConfiguration`` holds a checked one. It is accepted or
refused as a whole: leaving out a single bad entry would let an attacker choose which members exist. Lookups are dict
lookups, for they stand on the gateway's data path.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from cryptography import x509

from gateway.trust.anchor import Anchor
from gateway.trust.certificates import SigningKey, check_subject, issuer_of, signing_key
from gateway.trust.fields import CODE, MEMBER, Fields
from gateway.trust.ocsp import CLOCK_TOLERANCE, read_ocsp
from gateway.trust.refusals import (
    AuthorityUnknown,
    CertificateMisused,
    ConfigurationExpired,
    ConfigurationForeign,
    ConfigurationNotYetValid,
    ConfigurationRolledBack,
)
from gateway.trust.signed import open_signed


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """An organisation on the network; ``subsystems`` are codes alone."""

    name: str
    subsystems: frozenset[str]


@dataclass(frozen=True, slots=True)
class GatewayEntry:
    """Where a member's gateway is met: ``address`` is its peer URL (``direct``), ``queue`` its queue (``amqp``).

    ``certificates`` holds the x5t of those that are good now; more of its certificates may be known, as revoked.
    """

    code: str
    member: str
    address: str
    queue: str
    certificates: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """A gateway's signing certificate with its newest OCSP response; ``status`` is ``good`` or ``revoked``."""

    x5t: bytes
    der: bytes
    public_key: SigningKey
    member: str
    gateway: str
    not_before: datetime
    not_after: datetime
    ocsp_der: bytes = field(repr=False)
    ocsp_produced_at: datetime
    next_update: datetime
    status: str
    revoked_at: datetime | None

    def is_good_at(self, moment: datetime) -> bool:
        """Tell whether signatures made at ``moment`` with this key count, as far as this configuration can say."""
        return self.status == "good" and self.not_before <= moment <= self.not_after and moment <= self.next_update


@dataclass(frozen=True)
class GlobalConfiguration:
    """A checked global configuration; ``members`` is keyed ``GOV/CIVIL``, ``certificates`` by x5t. See ``load``."""

    instance: str
    country: str
    version: int
    issued_at: datetime
    expires_at: datetime
    members: Mapping[str, MemberEntry]
    gateways: tuple[GatewayEntry, ...]
    certificates: Mapping[bytes, CertificateEntry] = field(repr=False)
    ca_certificates: tuple[x509.Certificate, ...] = field(repr=False)
    tsa_certificates: tuple[x509.Certificate, ...] = field(repr=False)
    ocsp_freshness_seconds: int
    timestamping_url: str
    ocsp_url: str
    settings: Mapping[str, Any]
    _gateways_of: Mapping[str, tuple[GatewayEntry, ...]] = field(repr=False)

    def certificate(self, x5t: bytes) -> CertificateEntry | None:
        """Return what is known of the certificate whose DER has this SHA-256, good or revoked."""
        return self.certificates.get(x5t)

    def gateways_of(self, subsystem: str) -> tuple[GatewayEntry, ...]:
        """Return the gateways that serve ``SANDBOX/GOV/CIVIL/REGISTRY``; none for one that is not registered."""
        return self._gateways_of.get(subsystem, ())

    def knows_client(self, subsystem: str) -> bool:
        """Tell whether ``SANDBOX/GOV/WELFARE/CASH-TRANSFER`` is registered."""
        return subsystem in self._gateways_of

    def is_expired(self, now: datetime) -> bool:
        """Tell whether nothing may be done any more on the strength of this configuration."""
        return now >= self.expires_at


def load(signed: bytes, anchor: Anchor, now: datetime, minimum_version: int = 0) -> GlobalConfiguration:
    """Return the configuration in ``signed``, if every rule holds.

    Otherwise raises the ``ConfigurationRefused`` named for the first broken rule.
    ``now`` is the real clock's, aware. ``minimum_version`` is the highest version this gateway has ever used (the same
    version again is accepted: central publishes one until something changes or it grows old).
    """
    fields = Fields.parse(open_signed(signed, anchor.configuration_certificate))
    _check_identity(fields, anchor)
    _check_time(fields, now)
    _check_version(fields, minimum_version)
    members = _members(fields)
    gateways, certificates = _gateways(fields, anchor, members, now)
    instance = anchor.instance
    return GlobalConfiguration(
        instance=instance,
        country=fields.text("country"),
        version=fields.number("version", 1),
        issued_at=fields.instant("issued_at"),
        expires_at=fields.instant("expires_at"),
        members=MappingProxyType(members),
        gateways=gateways,
        certificates=MappingProxyType(certificates),
        ca_certificates=_authorities(fields, "ca_certificates", anchor.ca_certificates),
        tsa_certificates=_authorities(fields, "tsa_certificates", anchor.tsa_certificates),
        ocsp_freshness_seconds=_freshness(fields, anchor),
        timestamping_url=fields.text("timestamping_url"),
        ocsp_url=fields.text("ocsp_url"),
        settings=MappingProxyType(fields.settings("settings")),
        _gateways_of={
            f"{instance}/{member}/{subsystem}": tuple(one for one in gateways if one.member == member)
            for member, entry in members.items()
            for subsystem in entry.subsystems
        },
    )


def _check_identity(fields: Fields, anchor: Anchor) -> None:
    """One central may run several instances with one key: what holds in a test network must not hold in another."""
    instance = fields.text("instance", CODE)
    if instance != anchor.instance:
        raise ConfigurationForeign(f"the configuration is of instance {instance}, the anchor of {anchor.instance}")


def _check_time(fields: Fields, now: datetime) -> None:
    """Prevents an attacker who cuts a gateway off from central from keeping a revoked certificate alive on it."""
    issued_at, expires_at = fields.instant("issued_at"), fields.instant("expires_at")
    if issued_at >= expires_at:
        raise fields.refuse("expires_at is not after issued_at")
    if issued_at > now + CLOCK_TOLERANCE:
        raise ConfigurationNotYetValid(
            f"the configuration was issued at {issued_at:%FT%TZ}, now is {now:%FT%TZ}: check both clocks"
        )
    if now >= expires_at:
        raise ConfigurationExpired(f"the configuration expired at {expires_at:%FT%TZ}, now is {now:%FT%TZ}")


def _check_version(fields: Fields, minimum_version: int) -> None:
    """Prevents the replay of an older configuration, still unexpired, from before a revocation."""
    version = fields.number("version", 1)
    if version < minimum_version:
        raise ConfigurationRolledBack(
            f"the configuration has version {version}, this gateway has seen {minimum_version}"
        )


def _freshness(fields: Fields, anchor: Anchor) -> int:
    """The configuration may ask for fresher OCSP answers than the anchor, never for staler ones."""
    return min(fields.number("ocsp_freshness_seconds", 1), anchor.ocsp_freshness_seconds)


def _authorities(fields: Fields, name: str, anchored: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """Return the listed authorities, which must be the anchor's.

    A thief of the configuration key alone can then make no authority of his own: he would have to change every anchor.
    """
    listed = tuple(_certificate(der, name) for der in fields.binaries(name))
    if not listed or any(one not in anchored for one in listed):
        raise AuthorityUnknown(
            f"{name} of the configuration are not those of the anchor: fetch and compare the anchor anew"
        )
    return listed


def _members(fields: Fields) -> dict[str, MemberEntry]:
    members: dict[str, MemberEntry] = {}
    for entry in fields.objects("members"):
        member = entry.text("id", MEMBER)
        if member in members:
            raise entry.refuse(f"member {member} is listed twice")
        members[member] = MemberEntry(entry.text("name"), frozenset(entry.texts("subsystems", CODE)))
    return members


def _gateways(
    fields: Fields, anchor: Anchor, members: dict[str, MemberEntry], now: datetime
) -> tuple[tuple[GatewayEntry, ...], dict[bytes, CertificateEntry]]:
    gateways: list[GatewayEntry] = []
    certificates: dict[bytes, CertificateEntry] = {}
    checks = _Checks(anchor, fields.text("country"), timedelta(seconds=_freshness(fields, anchor)), now)
    for entry in fields.objects("gateways"):
        member, code = entry.text("member", MEMBER), entry.text("code", CODE)
        if member not in members:
            raise entry.refuse(f"gateway {code} belongs to {member}, which is not a member")
        own = [checks.entry(one, member, members[member].name, code) for one in entry.objects("certificates")]
        for certificate in own:
            # One key under two gateways would make "who signed this" ambiguous.
            if certificates.setdefault(certificate.x5t, certificate) is not certificate:
                raise entry.refuse(f"a certificate of gateway {code} is listed twice")
        good = frozenset(one.x5t for one in own if one.status == "good")
        gateways.append(GatewayEntry(code, member, entry.text("address"), entry.text("queue"), good))
    return tuple(gateways), certificates


@dataclass(frozen=True)
class _Checks:
    """What every certificate of one configuration is measured by."""

    anchor: Anchor
    country: str
    freshness: timedelta
    now: datetime

    def entry(self, fields: Fields, member: str, name: str, gateway: str) -> CertificateEntry:
        """Return one certificate, checked: path, subject, key, OCSP."""
        der, ocsp_der = fields.binary("certificate"), fields.binary("ocsp")
        certificate = _certificate(der, f"{fields.at}/certificate")
        issuer = issuer_of(certificate, self.anchor.ca_certificates, self.now, f"a certificate of {member}")
        check_subject(certificate, member, name, self.country)
        key = signing_key(certificate, member)
        answer = read_ocsp(ocsp_der, certificate, issuer, self.now, self.freshness)
        return CertificateEntry(
            x5t=sha256(der).digest(),
            der=der,
            public_key=key,
            member=member,
            gateway=gateway,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            ocsp_der=ocsp_der,
            ocsp_produced_at=answer.produced_at,
            next_update=answer.next_update,
            status=answer.status,
            revoked_at=answer.revoked_at,
        )


def _certificate(der: bytes, at: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as defect:
        raise CertificateMisused(f"{at} holds something that is not an X.509 certificate") from defect
