"""After a crash: every request that was received and not answered gets an answer, without being executed twice.

One that was not started yet runs now, if its caller still waits. One that was started runs again only if that cannot
do harm (GET, HEAD, a service declared idempotent); anything else is answered ``OutcomeUnknown``.
"""

import asyncio
import logging

from gateway import replay
from gateway.answers import Exchange, Subject
from gateway.core import Core
from gateway.envelope import REQUEST
from gateway.errors import GatewayError, outcome_unknown, server_error, too_late
from gateway.message import parse_request
from gateway.monitoring import PRODUCER_SIDE, Operation, now_ms
from gateway.provider import Provider, may_run_again
from gateway.replay import Known
from gateway.signature import request_hash
from gateway.transports import Transport
from gateway.verification import Signed

log = logging.getLogger(__name__)


class Recovery:
    """Brings the requests of an earlier process to their end."""

    def __init__(self, core: Core, provider: Provider, transport: Transport) -> None:
        self._core = core
        self._provider = provider
        self._transport = transport
        self._found: list[tuple[Known, asyncio.Future[bytes]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Find what is unanswered, before the transport starts: redeliveries will wait for these answers."""
        for known in await asyncio.to_thread(self._unanswered):
            future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            self._provider.running[known.client_member, known.request_id] = known.delivery, future
            self._found.append((known, future))

    def go_on(self) -> None:
        """Bring what was found to its end, in the background."""
        for known, future in self._found:
            task = asyncio.create_task(self._bring_to_end(known, future))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Wait for what was taken up."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._core.config.stop_seconds)

    def _unanswered(self) -> list[Known]:
        owner, (first, _) = self._core.config.name, self._core.log.own_range()
        with self._core.log.database.read() as connection:
            unsent = replay.perhaps_unsent(connection, owner, first, now_ms())
            return [*replay.unanswered(connection, owner), *unsent]

    async def _bring_to_end(self, known: Known, future: "asyncio.Future[bytes]") -> None:
        try:
            answer = await self._answer(known)
            future.set_result(answer)
            if known.reply_to:
                await self._transport.answer(known.reply_to, known.delivery, answer)
        except Exception as failure:
            log.exception("request %s of an earlier start was not brought to its end", known.request_id)
            if not future.done():
                future.set_exception(failure)
                future.exception()
        finally:
            del self._provider.running[known.client_member, known.request_id]

    async def _answer(self, known: Known) -> bytes:
        if known.answer is not None:
            return await self._provider.stored(known.request_id, known.answer)
        subject, exchange = await asyncio.to_thread(self._load, known)
        operation = exchange.operation if exchange else Operation(PRODUCER_SIDE, self._core.config.host)
        log.info("request %s was %s when the gateway stopped", known.request_id, known.state)
        service = self._core.administration.services.get(subject.service)
        waits = known.deadline > now_ms()
        if known.state == replay.STARTED:
            if exchange and service and waits and may_run_again(exchange.request.method, service):
                return await self._provider.start_and_call(exchange, service, (replay.STARTED,))
            return await self._provider.answer_error(subject, outcome_unknown(), operation)
        if exchange and service and waits:
            return await self._provider.start_and_call(exchange, service, (replay.RECEIVED,))
        error = not_executed() if waits else too_late()
        return await self._provider.answer_error(subject, error, operation)

    def _load(self, known: Known) -> tuple[Subject, Exchange | None]:
        """Return what an answer needs, and the request itself if its contents were kept."""
        with self._core.log.database.read() as connection:
            record = replay.record_of(connection, known.record)
            envelope = replay.envelope_of(connection, known.record, REQUEST)
        if envelope is None:
            hashed = request_hash(known.message_digest, known.body_digest)
            ids = (record["message_id"], known.request_id)
            return Subject(record["client"], known.client_member, record["service"], *ids, hashed, record["mode"]), None
        certificate = self._core.trust.own_certificate()
        assert certificate is not None  # recovery begins when the gateway can sign
        signed = Signed(envelope, known.message_digest, known.body_digest, certificate)
        operation = Operation(PRODUCER_SIDE, self._core.config.host)
        exchange = self._provider.exchange(signed, parse_request(envelope.message), operation)
        exchange.deadline = known.deadline
        return exchange.subject, exchange


def not_executed() -> GatewayError:
    """The request was received, its contents were not kept, and the gateway stopped before it was executed."""
    return server_error(
        "ServiceFailed",
        "The request was not executed",
        "the provider's gateway stopped before it called the service: the request was not executed, it may be repeated",
    )
