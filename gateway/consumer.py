"""The consumer's side: takes ``/r1/…`` from the own member's systems, signs, logs, sends, verifies, logs, answers."""

import asyncio
import hashlib
import logging
import re
import uuid
from dataclasses import dataclass, field, replace

from aiohttp import web
from multidict import CIMultiDict

from gateway import message as rules
from gateway.core import Core
from gateway.envelope import REQUEST, RESPONSE, MalformedEnvelope
from gateway.errors import (
    CLIENT_PROXY,
    GatewayError,
    body_too_large,
    client_error,
    header_defect,
    invalid_client,
    invalid_uri,
    invalid_version,
    missing_client,
    unknown_client,
    unknown_provider,
    unknown_security_server,
    unreachable,
)
from gateway.log import Entry
from gateway.message import BadTarget, BadVersion, Headers, Identifier, MessageDefect, Response, Target
from gateway.monitoring import CLIENT_SIDE, Operation, now_ms
from gateway.transports import DeadlinePassed, PeerUnreachable, Transport
from gateway.trust.configuration import GatewayEntry
from gateway.verification import Expected, Refused, Signed, verify_response

log = logging.getLogger(__name__)

GRACE_SECONDS = 2.0
SECURITY_SERVER = re.compile(r"[^/]+(?:/[^/]+){3}")


class PlainResponse(web.Response):
    """A response with no header but those it is given: no ``Server``, no content type that nobody stated."""

    async def _prepare_headers(self) -> None:
        stated = "Content-Type" in self.headers
        await super()._prepare_headers()
        self.headers.pop("Server", None)
        if not stated:
            self.headers.pop("Content-Type", None)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a caller wants, as its request says it."""

    method: str
    raw_target: str
    target: Target
    client: Identifier
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A signed request and where it goes."""

    asked: Asked
    signed: Signed
    request_id: str
    message_id: str
    peers: tuple[GatewayEntry, ...]


class Consumer:
    """Answers the own member's systems. ``transport`` carries to other gateways."""

    def __init__(self, core: Core, transport: Transport) -> None:
        self._core = core
        self._transport = transport
        self._metadata_only = {f"{core.config.instance}/{service}" for service in core.config.metadata_only}

    async def handle(self, incoming: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        operation = Operation(CLIENT_SIDE, self._core.config.host)
        accept = incoming.headers.getall("Accept", [])
        try:
            return await self._answer(incoming, operation)
        except GatewayError as error:
            log.info("%s (%s)", error.kind, error.detail)
            failed = error
        except Exception:
            log.exception("a call failed")
            hint = "its operator should look at the gateway's log; whether the request was executed is unknown"
            failed = client_error("InternalError", "The consumer's gateway failed", hint, executed="unknown")
        self._core.note(operation, failed.status, (failed.kind, failed.message))
        content_type, body = failed.render(accept)
        headers = CIMultiDict({"Content-Type": content_type, "X-Road-Error": failed.kind})
        _own_ids(operation, headers)
        return web.Response(status=failed.status, headers=headers, body=body)

    async def _answer(self, incoming: web.BaseRequest, operation: Operation) -> web.StreamResponse:
        self._core.trust.current(CLIENT_PROXY)
        asked = await self._asked(incoming, operation)
        mode = "metadata" if asked.target.service_id in self._metadata_only else "full"
        outgoing = await self._outgoing(asked, operation)
        if mode == "full":
            operation.personal(asked.headers)
        # Kept before it is sent: whatever becomes of it, the caller's organisation can show what it asked for.
        request = _entry("request", outgoing, outgoing.signed, mode)
        await self._core.write(lambda batch: batch.log(request), CLIENT_PROXY)
        operation.note(requestOutTs=now_ms())
        data, expected = await self._sent(outgoing)
        operation.note(responseInTs=now_ms())
        signed, response = await self._verified(data, expected)
        answer = _entry("response", outgoing, signed, mode)
        await self._core.write(lambda batch: batch.log(answer), CLIENT_PROXY, "unknown")
        self._core.note(operation, response.status, _fault(response, signed), len(signed.envelope.body))
        return _http_response(response, signed.envelope.body, operation)

    async def _asked(self, incoming: web.BaseRequest, operation: Operation) -> Asked:
        headers = _text_headers(incoming)
        value = rules.client_value(headers)
        if value is None:
            raise missing_client()
        try:
            target = rules.parse_target(incoming.raw_path)
        except BadVersion as version:
            raise invalid_version(str(version)) from None
        except BadTarget:
            raise invalid_uri() from None
        if incoming.method not in rules.METHODS:
            raise client_error(
                "InvalidHttpMethod", f"Invalid method {incoming.method}", "the caller must use another method"
            )
        try:
            client = Identifier.parse(value)
        except MessageDefect:
            raise invalid_client() from None
        operation.client(client)
        operation.service(target, incoming.method)
        self._check_client(client)
        _check_represented_party(headers)
        body = await self._body(incoming)
        return Asked(incoming.method, incoming.raw_path, target, client, headers, body)

    def _check_client(self, client: Identifier) -> None:
        """The gateway signs in its member's name, so it does for that member's registered subsystems only."""
        config = self._core.config
        configuration = self._core.trust.current(CLIENT_PROXY)
        own = client.instance == config.instance and client.member == config.member
        if len(client.parts) == 4:
            known = client.parts[3] in config.subsystems and configuration.knows_client(str(client))
        else:
            known = client.member in configuration.members
        if not (own and known):
            raise unknown_client(client.label, config.owner)

    async def _body(self, incoming: web.BaseRequest) -> bytes:
        limit = self._core.config.max_body
        if (incoming.content_length or 0) > limit:
            raise body_too_large(CLIENT_PROXY, limit)
        chunks, size = [], 0
        async for chunk in incoming.content.iter_any():
            size += len(chunk)
            if size > limit:
                raise body_too_large(CLIENT_PROXY, limit)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _outgoing(self, asked: Asked, operation: Operation) -> Outgoing:
        peers = await self._peers(asked)
        request_id = str(uuid.uuid4())
        new_id = f"{self._core.config.instance}-{uuid.uuid4()}"
        headers, message_id = rules.request_headers(asked.headers, request_id, new_id)
        operation.message(message_id, request_id, len(asked.body))
        deadline = now_ms() + int(self._core.config.call_timeout * 1000)
        try:
            message = rules.render(asked.method, asked.raw_target, headers)
            signed = self._core.signed(REQUEST, message, asked.body, CLIENT_PROXY, deadline)
            signed.envelope.encode()
        except (MessageDefect, MalformedEnvelope) as defect:
            raise header_defect(
                CLIENT_PROXY, "Invalid headers", f"the caller must mend its headers: {defect}"
            ) from None
        return Outgoing(asked, signed, request_id, message_id, peers)

    async def _peers(self, asked: Asked) -> tuple[GatewayEntry, ...]:
        """Return the gateways that serve the provider, narrowed by ``X-Road-Security-Server``."""
        peers = await self._core.trust.gateways_of(str(asked.target.provider))
        wanted = rules.last_value(asked.headers, rules.SECURITY_SERVER)
        if wanted is not None and not SECURITY_SERVER.fullmatch(wanted):
            hint = "X-Road-Security-Server is {instance}/{memberClass}/{memberCode}/{serverCode}; the caller may leave it out"
            raise header_defect(CLIENT_PROXY, "Invalid SecurityServer Id", hint)
        if not peers:
            raise unknown_provider(asked.target.label)
        if wanted is None:
            return peers
        configuration = self._core.trust.current(CLIENT_PROXY)
        exists = any(_server_id(configuration.instance, one) == wanted for one in configuration.gateways)
        chosen = tuple(one for one in peers if _server_id(configuration.instance, one) == wanted)
        if not chosen:
            raise unknown_security_server(wanted, exists=exists)
        return chosen

    async def _sent(self, outgoing: Outgoing) -> tuple[bytes, Expected]:
        """Send the envelope to the first gateway that listens; return its answer and what that must match."""
        envelope = await self._misbehaved(outgoing.signed)
        timeout = self._core.config.call_timeout + GRACE_SECONDS
        for peer in outgoing.peers:
            try:
                answer = await self._transport.call(peer, envelope, timeout)
                if self._core.faults.take("replay") is not None:
                    answer = await self._transport.call(peer, envelope, timeout)
                return answer, _expected(outgoing, hashlib.sha512(envelope).digest())
            except PeerUnreachable as reason:
                log.warning("gateway %s: %s", peer.code, reason)
            except DeadlinePassed as reason:
                hint = (
                    f"{reason}; whether the request was executed is unknown: repeat it with the same id of its contract"
                )
                raise client_error("IOError", "Read timed out", hint, executed="unknown") from None
        raise unreachable(", ".join(peer.code for peer in outgoing.peers))

    async def _misbehaved(self, signed: Signed) -> bytes:
        """Return the envelope to send; lab faults alter or hold it after it was signed and logged."""
        envelope, faults = signed.envelope, self._core.faults
        if faults.take("flip-bit") is not None:
            if envelope.body:
                envelope = replace(envelope, body=_flipped(envelope.body))
            else:
                envelope = replace(envelope, message=_flipped(envelope.message))
        delay = faults.take("delay")
        if delay is not None:
            await asyncio.sleep(float(delay.get("seconds", 1)))
        return envelope.encode()

    async def _verified(self, data: bytes, expected: Expected) -> tuple[Signed, Response]:
        try:
            signed = await self._core.verified(data, RESPONSE, CLIENT_PROXY)
            return signed, verify_response(signed, expected)
        except Refused as refused:
            log.warning("answer to request %s refused at %s", expected.request_id, refused)
            hint = (
                f"verification step {refused.step} failed for the answer: it was altered on the way, or the operator of "
                "the provider's gateway must look at it; whether the request was executed is unknown"
            )
            raise client_error(refused.code, refused.message, hint, executed="unknown") from None


def _expected(outgoing: Outgoing, envelope_hash: bytes) -> Expected:
    target = outgoing.asked.target
    return Expected(
        client=str(outgoing.asked.client),
        message_id=outgoing.message_id,
        service=target.service_id,
        request_id=outgoing.request_id,
        request_hash=outgoing.signed.hash,
        provider_member=target.provider.member,
        envelope_hash=envelope_hash,
    )


def _entry(kind: str, outgoing: Outgoing, signed: Signed, mode: str) -> Entry:
    return Entry(
        side="consumer",
        kind=kind,
        request_id=outgoing.request_id,
        message_id=outgoing.message_id,
        client=str(outgoing.asked.client),
        service=outgoing.asked.target.service_id,
        compact=signed.envelope.compact,
        message_digest=signed.message_digest,
        body_digest=signed.body_digest,
        certificate=signed.certificate,
        mode=mode,
        message=signed.envelope.message,
        body=signed.envelope.body,
    )


def _text_headers(incoming: web.BaseRequest) -> Headers:
    try:
        return [(name.decode(), value.decode()) for name, value in incoming.raw_headers]
    except UnicodeDecodeError:
        hint = "the caller must send its headers as UTF-8: what is signed has to be readable as evidence"
        raise header_defect(CLIENT_PROXY, "Invalid header: not UTF-8", hint) from None


def _check_represented_party(headers: Headers) -> None:
    value = rules.last_value(headers, rules.REPRESENTED_PARTY)
    if value is not None and (value.count("/") > 1 or not all(value.split("/"))):
        hint = "X-Road-Represented-Party is [partyClass/]partyCode"
        raise header_defect(CLIENT_PROXY, "Invalid Represented Party", hint)


def _server_id(instance: str, gateway: GatewayEntry) -> str:
    return f"{instance}/{gateway.member}/{gateway.code}"


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _fault(response: Response, signed: Signed) -> tuple[str, str] | None:
    kind = response.value(rules.ERROR)
    return None if kind is None else (kind, f"refused by the gateway of {signed.certificate.member}")


def _http_response(response: Response, body: bytes, operation: Operation) -> web.Response:
    """Return the provider's answer as it is; what only gateways say to each other stays behind."""
    headers = CIMultiDict((name, value) for name, value in response.headers if name.lower() != rules.REFUSED)
    if rules.REQUEST_ID not in headers:  # a refusal of bytes that the provider's gateway did not read
        _own_ids(operation, headers)
    return PlainResponse(status=response.status, reason=response.reason, headers=headers, body=body or None)


def _own_ids(operation: Operation, headers: CIMultiDict[str]) -> None:
    """Tell a caller whose call failed by which ids it can be found in the message log."""
    for field_name, header in (("messageId", rules.MESSAGE_ID), ("xRequestId", rules.REQUEST_ID)):
        if field_name in operation.fields:
            headers[header] = str(operation.fields[field_name])
