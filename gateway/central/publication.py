"""Publishing the global configuration: from central's knowledge to signed bytes, one version at a time."""

import base64
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.central.authority import Authority
from gateway.central.config import Config
from gateway.central.domain import CertificateRecord
from gateway.central.ocsp import Responder
from gateway.central.store import Snapshot, Store
from gateway.trust.signed import sign


@dataclass(frozen=True)
class Published:
    """One published version; ``change`` is the number of changes it knows of."""

    signed: bytes
    version: int
    issued_at: datetime
    change: int


class Publisher:
    """Keeps the current configuration; makes a new one when something has changed or half of the validity is over."""

    def __init__(
        self,
        config: Config,
        store: Store,
        authority: Authority,
        responder: Responder,
        clock: Callable[[], datetime],
    ) -> None:
        self._config = config
        self._store = store
        self._authority = authority
        self._responder = responder
        self._clock = clock
        self._validity = timedelta(seconds=config.configuration_validity_seconds)
        self._change = 0
        self._change_lock = threading.Lock()
        self._making = threading.Lock()
        self._published: Published | None = None

    def changed(self) -> None:
        """Note a committed change; whoever asks from now on gets a version that has it."""
        with self._change_lock:
            self._change += 1

    def current(self) -> Published:
        """Return the current version."""
        published = self._published
        if published is not None and self._is_current(published):
            return published
        with self._making:
            published = self._published
            if published is None or not self._is_current(published):
                self._published = published = self._make()
        return published

    def _is_current(self, published: Published) -> bool:
        age = self._clock() - published.issued_at
        # A negative age: the clock was set back, and the version would seem to come from the future.
        return published.change == self._change and timedelta(0) <= age < self._validity / 2

    def _make(self) -> Published:
        # The number is read before the data: a change in between makes this version old at once, and is never missed.
        change = self._change
        moment = self._clock()
        now = moment.replace(microsecond=0)
        with self._store.begin() as directory:
            version = directory.next_version(moment)
            snapshot = directory.snapshot()
        payload = json.dumps(self._document(snapshot, version, now), ensure_ascii=False, indent=1).encode("utf-8")
        signer = self._authority.configuration
        return Published(sign(payload, signer.key, signer.certificate), version, now, change)

    def _document(self, snapshot: Snapshot, version: int, now: datetime) -> dict[str, Any]:
        return {
            "instance": self._config.instance,
            "country": self._authority.country,
            "version": version,
            "issued_at": _instant(now),
            "expires_at": _instant(now + self._validity),
            "members": [
                {"id": member.id, "name": member.name, "subsystems": list(member.subsystems)}
                for member in snapshot.members
            ],
            "gateways": self._gateways(snapshot, now),
            "ca_certificates": [_base64(_der(self._authority.ca.certificate))],
            "tsa_certificates": [_base64(_der(self._authority.tsa.certificate))],
            "ocsp_freshness_seconds": self._config.ocsp_freshness_seconds,
            "ocsp_url": self._config.ocsp_url,
            "timestamping_url": self._config.timestamping_url,
            "settings": {"refresh_seconds": self._config.refresh_seconds},
        }

    def _gateways(self, snapshot: Snapshot, now: datetime) -> list[dict[str, Any]]:
        """Return each enrolled gateway with its certificates, revoked ones too: their holders are told why."""
        certificates: dict[str, list[CertificateRecord]] = {}
        for record in snapshot.certificates:
            # One that ends while this version is in force would make gateways refuse the whole of it.
            if record.not_after > now + self._validity:
                certificates.setdefault(record.gateway, []).append(record)
        return [
            {
                "code": enrolment.gateway,
                "member": enrolment.member,
                "address": enrolment.address,
                "queue": enrolment.queue,
                "certificates": [
                    {"certificate": _base64(record.der), "ocsp": _base64(self._responder.about(record, now))}
                    for record in certificates[enrolment.gateway]
                ],
            }
            for enrolment in snapshot.enrolments
            if enrolment.gateway in certificates
        ]


def _instant(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
