"""The answers of a provider's gateway: what they say about their request, and that they are signed."""

import hashlib
import logging
from dataclasses import dataclass, field

from gateway import message as rules
from gateway.core import Core
from gateway.envelope import RESPONSE
from gateway.errors import SERVER_PROXY, GatewayError, server_error
from gateway.log import Entry
from gateway.message import Headers, Request
from gateway.monitoring import Operation, now_ms
from gateway.service_client import Answer
from gateway.verification import Refused, Signed, envelope_name

log = logging.getLogger(__name__)

REASONS = {400: "Bad Request", 500: "Internal Server Error"}


@dataclass(frozen=True, slots=True)
class Subject:
    """What an answer says about its request, and how it is logged; enough to answer without the request at hand."""

    client: str
    client_member: str
    service: str
    message_id: str
    request_id: str
    request_hash: str
    mode: str
    accept: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """What a request is known by."""
        return self.client_member, self.request_id


@dataclass(slots=True)
class Exchange:
    """One verified request that is being answered; ``deadline`` in ms since 1970."""

    subject: Subject
    request: Request
    body: bytes = field(repr=False)
    deadline: int
    operation: Operation

    @property
    def left(self) -> float:
        """Seconds until the caller gives up."""
        return (self.deadline - now_ms()) / 1000


class Answers:
    """Signs answers for the own member."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def of_service(self, subject: Subject, answer: Answer) -> Signed:
        """Return what a service answered, signed; ``MessageDefect`` if it cannot be carried."""
        return self._signed(subject, answer.status, answer.reason, answer.headers, answer.body)

    def of_error(self, subject: Subject, error: GatewayError) -> Signed:
        """Return a gateway's error as an answer to a request."""
        content_type, body = error.render(subject.accept)
        log.info("request %s: %s (%s)", subject.request_id, error.kind, error.detail)
        headers = [("Content-Type", content_type)]
        return self._signed(subject, error.status, REASONS[error.status], headers, body, error.kind)

    def _signed(
        self, subject: Subject, status: int, reason: str, headers: Headers, body: bytes, error: str | None = None
    ) -> Signed:
        own = rules.response_headers(
            headers,
            message_id=subject.message_id,
            client=subject.client,
            service=subject.service,
            request_id=subject.request_id,
            request_hash=subject.request_hash,
        )
        if error is not None:
            own.append((rules.ERROR, error))
        return self._core.signed(RESPONSE, rules.render(str(status), reason, own), body, SERVER_PROXY)

    def of_refusal(self, envelope: bytes, refused: Refused | GatewayError) -> tuple[GatewayError, bytes]:
        """Refuse what could not be verified. Nothing of it was read, so the answer names its bytes and no ids."""
        error = _told(refused)
        content_type, body = error.render(())
        name = envelope_name(hashlib.sha512(envelope).digest())
        headers = [("Content-Type", content_type), (rules.ERROR, error.kind), (rules.REFUSED, name)]
        try:
            message = rules.render(str(error.status), REASONS[error.status], headers)
            return error, self._core.signed(RESPONSE, message, body, SERVER_PROXY).envelope.encode()
        except GatewayError as unable:
            # Without a configuration nothing can be signed, and an unsigned answer would be believed by nobody.
            log.warning("no answer to a refused envelope: %s", unable)
            return error, b""


def _told(refused: Refused | GatewayError) -> GatewayError:
    if isinstance(refused, GatewayError):
        return refused
    log.warning("envelope refused at %s", refused)
    return server_error(
        refused.code,
        refused.message,
        f"verification step {refused.step} failed: the envelope was altered on the way, "
        "or the operator of the caller's gateway must look at it",
    )


def entry_of(kind: str, subject: Subject, signed: Signed) -> Entry:
    """Return a request or response as the provider's side logs it."""
    return Entry(
        side="provider",
        kind=kind,
        request_id=subject.request_id,
        message_id=subject.message_id,
        client=subject.client,
        service=subject.service,
        compact=signed.envelope.compact,
        message_digest=signed.message_digest,
        body_digest=signed.body_digest,
        certificate=signed.certificate,
        mode=subject.mode,
        message=signed.envelope.message,
        body=signed.envelope.body,
    )
