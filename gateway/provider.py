"""The provider's side: a request is executed at most once, and its fate is known.

Verify; check right and deadline; commit ``received`` (and ``started``, if the service has a free place at once);
acknowledge; call the service; commit the response; answer. Whatever happens between two of these, the next start finds
in the database how far a request has come (``gateway.recovery``).
"""

import asyncio
import logging

from gateway import message as rules
from gateway import replay
from gateway.administration import Service
from gateway.answers import Answers, Exchange, Subject, entry_of
from gateway.core import Core
from gateway.envelope import REQUEST
from gateway.errors import (
    SERVER_PROXY,
    GatewayError,
    access_denied,
    outcome_unknown,
    provider_not_here,
    replayed,
    server_error,
    service_disabled,
    too_late,
    unknown_service,
    unsafe_path,
)
from gateway.log import Batch
from gateway.message import MessageDefect, Request
from gateway.monitoring import PRODUCER_SIDE, Operation, now_ms
from gateway.replay import Arrival, Known
from gateway.rights import UnsafePath, plain_path
from gateway.service_client import ServiceClient
from gateway.transports import Delivery
from gateway.verification import Refused, Signed, verify_request

log = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD"})


class Provider:
    """Answers the envelopes that a transport delivers."""

    def __init__(self, core: Core, services: ServiceClient) -> None:
        self._core = core
        self._services = services
        self._answers = Answers(core)
        self._slots: dict[str, asyncio.Semaphore] = {}
        self.running: dict[tuple[str, str], tuple[str, asyncio.Future[bytes]]] = {}

    async def handle(self, delivery: Delivery) -> bytes:
        """Return the answer's envelope; refusals and faults are signed answers too."""
        operation = Operation(PRODUCER_SIDE, self._core.config.host)
        try:
            signed = await self._core.verified(delivery.envelope, REQUEST, SERVER_PROXY)
            request = verify_request(signed, self._core.config.instance)
        except (Refused, GatewayError) as refused:
            error, answer = self._answers.of_refusal(delivery.envelope, refused)
            self._core.note(operation, error.status, (error.kind, error.message))
            return answer
        exchange = self.exchange(signed, request, operation)
        try:
            return await self._answered_once(exchange, signed, delivery)
        except GatewayError as error:
            return self.failed(exchange, error)
        except Exception:
            log.exception("request %s failed", exchange.subject.request_id)
            unknown = "its operator should look at the gateway's log; whether the request was executed is unknown"
            return self.failed(exchange, server_error("InternalError", "The provider's gateway failed", unknown))

    def exchange(self, signed: Signed, request: Request, operation: Operation) -> Exchange:
        """Return what goes on about a request."""
        service = self._core.administration.services.get(request.target.service_id)
        mode = "metadata" if service is None else service.log
        client, target = request.client, request.target
        operation.client(client)
        operation.service(target, request.method)
        operation.message(request.message_id, request.request_id, len(signed.envelope.body))
        if mode == "full":
            operation.note(restPath=target.path)
            operation.personal(request.headers)
        subject = Subject(
            client=str(client),
            client_member=f"{client.instance}/{client.member}",
            service=target.service_id,
            message_id=request.message_id,
            request_id=request.request_id,
            request_hash=signed.hash,
            mode=mode,
            accept=tuple(rules.values_of(request.headers, "accept")),
        )
        latest = now_ms() + int(self._core.config.call_timeout * 1000)
        deadline = min(signed.envelope.deadline_ms or latest, latest)
        return Exchange(subject, request, signed.envelope.body, deadline, operation)

    async def _answered_once(self, exchange: Exchange, signed: Signed, delivery: Delivery) -> bytes:
        """Answer a request; a redelivery of one that is being answered here waits for the same answer."""
        key = exchange.subject.key
        running = self.running.get(key)
        if running is not None:
            if running[0] != delivery.key:
                raise replayed(exchange.subject.request_id)
            return await asyncio.shield(running[1])
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.running[key] = delivery.key, future
        try:
            answer = await self._execute(exchange, signed, delivery)
            future.set_result(answer)
            return answer
        except BaseException as failure:
            future.set_exception(failure)
            future.exception()  # retrieved: a request without a second delivery is no unnoticed failure
            raise
        finally:
            del self.running[key]

    async def _execute(self, exchange: Exchange, signed: Signed, delivery: Delivery) -> bytes:
        arrival = self._arrival(exchange, signed, delivery)
        objection = self._objection(exchange)
        if objection is not None:
            return await self._received_and_refused(exchange, arrival, delivery, objection)
        service = self._core.administration.service(exchange.subject.service)
        slot = self.slot(service)
        free = not slot.locked()
        if free:
            await slot.acquire()
        try:
            state = replay.STARTED if free else replay.RECEIVED
            known = await self._core.write(arrival.write(state), SERVER_PROXY)
            await delivery.accepted()
            if known is None and free:
                return await self.call(exchange, service)
        finally:
            if free:
                slot.release()
        if known is None:
            return await self.start_and_call(exchange, service, (replay.RECEIVED,))
        return await self._known(exchange, known, signed, delivery)

    def _arrival(self, exchange: Exchange, signed: Signed, delivery: Delivery) -> Arrival:
        subject = exchange.subject
        return Arrival(
            client_member=subject.client_member,
            delivery=delivery.key,
            reply_to=delivery.reply_to,
            owner=self._core.config.name,
            deadline=exchange.deadline,
            at=now_ms(),
            entry=entry_of("request", subject, signed),
        )

    def _objection(self, exchange: Exchange) -> GatewayError | None:
        """Return why the request is not executed, in X-Road's order: exists, allowed, enabled; then the deadline."""
        config, request = self._core.config, exchange.request
        target, label = request.target, request.target.label
        if (
            target.provider.parts[3] not in config.subsystems
            or str(target.provider) != f"{config.owner}/{_last(target)}"
        ):
            return provider_not_here(target.provider.label, config.owner)
        service = self._core.administration.services.get(target.service_id)
        if service is None:
            return unknown_service(label)
        try:
            path = plain_path(target.path)
        except UnsafePath:
            return unsafe_path(label)
        right = self._core.administration.rights.get(str(request.client), service.id)
        if right is None or not right.covers(request.method, path):
            return access_denied(label)
        if not service.enabled:
            return service_disabled(label, service.notice)
        return None if exchange.left > 0 else too_late()

    async def _received_and_refused(
        self, exchange: Exchange, arrival: Arrival, delivery: Delivery, objection: GatewayError
    ) -> bytes:
        """Keep the refused request with its answer, so that it cannot be replayed once a right is given."""
        answer = self._answers.of_error(exchange.subject, objection)
        entry = entry_of("response", exchange.subject, answer)
        known = await self._core.write(arrival.write(replay.ANSWERED, entry), SERVER_PROXY)
        await delivery.accepted()
        if known is not None and known.delivery != delivery.key:
            raise replayed(exchange.subject.request_id)
        self._core.note(exchange.operation, 500, (objection.kind, objection.message))
        return answer.envelope.encode()

    async def _known(self, exchange: Exchange, known: Known, signed: Signed, delivery: Delivery) -> bytes:
        """Answer a request that an earlier process received."""
        same = known.message_digest == signed.message_digest and known.body_digest == signed.body_digest
        if known.delivery != delivery.key or not same:
            raise replayed(exchange.subject.request_id)
        if known.state == replay.ANSWERED and known.answer is not None:
            return await self.stored(known.request_id, known.answer)
        service = self._core.administration.service(exchange.subject.service)
        if known.state == replay.RECEIVED:
            return await self.start_and_call(exchange, service, (replay.RECEIVED,))
        if known.owner == self._core.config.name and may_run_again(exchange.request.method, service):
            return await self.start_and_call(exchange, service, (replay.STARTED,))
        return await self.answer_error(exchange.subject, outcome_unknown(), exchange.operation)

    async def stored(self, request_id: str, answer: int) -> bytes:
        """Return an answer that was committed before, by its place in the log."""
        envelope = await asyncio.to_thread(self._load, answer)
        if envelope is None:
            raise server_error(
                "ServiceFailed",
                "The request was answered, and its answer is not kept",
                "this service is logged as metadata only: the request was executed, its answer was lost on the way",
                executed="yes",
            )
        log.info("request %s was answered before: its stored answer is sent again", request_id)
        return envelope

    def _load(self, answer: int) -> bytes | None:
        with self._core.log.database.read() as connection:
            envelope = replay.envelope_of(connection, answer)
        return None if envelope is None else envelope.encode()

    def slot(self, service: Service) -> asyncio.Semaphore:
        """Return a service's places: one that hangs fills its own only."""
        return self._slots.setdefault(service.id, asyncio.Semaphore(service.concurrency))

    async def start_and_call(self, exchange: Exchange, service: Service, from_states: tuple[str, ...]) -> bytes:
        """Wait for a place, mark the request as started, call the service."""
        try:
            async with asyncio.timeout(max(exchange.left, 0)):
                await self.slot(service).acquire()
        except TimeoutError:
            return await self.answer_error(exchange.subject, too_late(), exchange.operation)
        try:
            subject = exchange.subject
            start = replay.start(*subject.key, self._core.config.name, from_states)
            if not await self._core.write(start, SERVER_PROXY):
                raise replayed(subject.request_id)
            return await self.call(exchange, service)
        finally:
            self.slot(service).release()

    async def call(self, exchange: Exchange, service: Service) -> bytes:
        """Call the service for a request that is marked as started; commit and return the answer."""
        if exchange.left <= 0:
            return await self.answer_error(exchange.subject, too_late(), exchange.operation)
        label = exchange.request.target.label
        exchange.operation.note(requestOutTs=now_ms())
        try:
            timeout = min(service.timeout, exchange.left)
            answer = await self._services.call(service, label, exchange.request, exchange.body, timeout)
        except GatewayError as error:
            return await self.answer_error(exchange.subject, error, exchange.operation)
        exchange.operation.note(responseInTs=now_ms())
        try:
            signed = self._answers.of_service(exchange.subject, answer)
        except MessageDefect as defect:
            hint = f"the service answered with headers that cannot be carried ({defect}); its operator must mend it"
            invalid = server_error("InvalidResponse", "The service's answer is no valid response", hint, executed="yes")
            return await self.answer_error(exchange.subject, invalid, exchange.operation)
        return await self._commit(exchange.subject, signed, exchange.operation, answer.status)

    async def answer_error(self, subject: Subject, error: GatewayError, operation: Operation) -> bytes:
        """Commit and return the answer that a received request failed."""
        signed = self._answers.of_error(subject, error)
        return await self._commit(subject, signed, operation, error.status, (error.kind, error.message))

    async def _commit(
        self,
        subject: Subject,
        signed: Signed,
        operation: Operation,
        status: int,
        fault: tuple[str, str] | None = None,
    ) -> bytes:
        entry = entry_of("response", subject, signed)

        def write(batch: Batch) -> None:
            batch.answered(*subject.key, batch.log(entry))

        await self._core.write(write, SERVER_PROXY, "unknown")
        self._core.note(operation, status, fault, len(signed.envelope.body))
        return signed.envelope.encode()

    def failed(self, exchange: Exchange, error: GatewayError) -> bytes:
        """Return an answer that is not logged: the request's fate is (or will be) another record's."""
        self._core.note(exchange.operation, error.status, (error.kind, error.message))
        return self._answers.of_error(exchange.subject, error).envelope.encode()


def _last(target: rules.Target) -> str:
    return rules.encoded((target.provider.parts[3],))


def may_run_again(method: str, service: Service) -> bool:
    """Tell whether a request that was started may be executed once more."""
    return method in SAFE_METHODS or service.idempotent
