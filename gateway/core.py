"""What both sides of a gateway share: settings, trust, the message log's writer, what the administrator decided."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from gateway.administration import Administration
from gateway.config import GatewayConfig
from gateway.envelope import Envelope, Kind
from gateway.errors import logging_failed, not_enrolled
from gateway.log import Batch, MessageLog
from gateway.monitoring import Operation, now_ms
from gateway.trust_client import Trust
from gateway.verification import Lookup, Signed, UnknownCertificate, digests, verify_signed
from gateway.writer import Writer
from sandroad.faults import Faults

log = logging.getLogger(__name__)
T = TypeVar("T")

FAULTS = {
    "flip-bit": "the consumer side flips one bit of the body (of the message, if there is none) after signing",
    "replay": "the consumer side sends each envelope twice; the caller is shown the answer to the second",
    "delay": "the consumer side holds each signed request for `seconds` before it is sent",
}


@dataclass(frozen=True)
class Core:
    """The shared parts of one running gateway."""

    config: GatewayConfig
    log: MessageLog
    writer: Writer
    administration: Administration
    trust: Trust
    faults: Faults = field(repr=False)

    def signed(self, kind: Kind, message: bytes, body: bytes, prefix: str, deadline_ms: int = 0) -> Signed:
        """Sign a message for the own member, now. Raises if there is no certificate yet."""
        signer = self.trust.own_signer(prefix)
        certificate = self.trust.current(prefix).certificate(signer.x5t)
        if certificate is None:
            # Nobody could verify it, and no evidence could be made of it.
            raise not_enrolled(prefix)
        message_digest, body_digest = digests(message, body)
        compact = signer.sign(message_digest, body_digest, now_ms())
        return Signed(Envelope(kind, compact, message, body, deadline_ms), message_digest, body_digest, certificate)

    async def verified(self, data: bytes, kind: Kind, prefix: str) -> Signed:
        """Verify an envelope's signature; an unknown certificate causes one refetch of the configuration.

        Raises ``Refused``, or ``OutdatedGlobalConf`` of the side ``prefix``.
        """
        try:
            return self._verify(data, kind, prefix)
        except UnknownCertificate:
            await self.trust.refetch()
            return self._verify(data, kind, prefix)

    def _verify(self, data: bytes, kind: Kind, prefix: str) -> Signed:
        lookup: Lookup = self.trust.current(prefix).certificate
        return verify_signed(data, kind, lookup, self.trust.now(), self.config.freshness_seconds)

    async def write(self, write: Callable[[Batch], T], prefix: str, executed: str = "no") -> T:
        """Commit a write, or raise ``LoggingFailed``: what cannot be proved later does not happen."""
        try:
            return await self.writer.write(write)
        except Exception as failure:
            log.exception("the message log cannot be written")
            raise logging_failed(prefix, executed) from failure

    def note(
        self, operation: Operation, status: int | None, fault: tuple[str, str] | None = None, size: int = 0
    ) -> None:
        """Keep an operational record, with the next commit."""
        at, fields = now_ms(), operation.finish(status, fault=fault, size=size)
        self.writer.write_late(lambda batch: batch.operation(at, fields))
