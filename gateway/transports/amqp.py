"""Envelopes through RabbitMQ: a durable queue per member, shared by its gateway's instances, and a reply queue per instance.

A call looks at the peer's queue first (passive declare, remembered for a second): a durable queue without a consumer
confirms every message, and the caller would wait for nothing. Requests are published ``mandatory`` and with confirms, so
what cannot be routed is known at once. There is no dead-lettering here: an expired call that is replayed later could pay twice.

The broker sees envelopes only; it can lose them, and neither read the keys nor forge a signature.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from gateway.transports import DeadlinePassed, Delivery, Handler, PeerUnreachable
from gateway.trust.configuration import GatewayEntry

log = logging.getLogger(__name__)
REMEMBERED_SECONDS = 1.0
REPLY_QUEUE_EXPIRES_MS = 120_000
FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
HEARTBEAT_SECONDS = 15


class AmqpTransport:
    """Carries envelopes for one gateway instance over one connection that comes back by itself.

    ``url`` is ``amqp://user:password@host:port/vhost``; ``queue`` is the member's queue; ``prefetch`` bounds the requests that
    have arrived and are not yet committed.
    """

    def __init__(self, url: str, queue: str, *, prefetch: int = 256, stop_seconds: float = 20.0) -> None:
        self._parameters = pika.URLParameters(url)
        self._parameters.heartbeat = HEARTBEAT_SECONDS
        self._parameters.blocked_connection_timeout = 30
        self._parameters.client_properties = {"connection_name": f"{queue} {secrets.token_hex(3)}"}
        self._queue = queue
        self._reply_queue = f"{queue}.reply.{secrets.token_hex(8)}"
        self._prefetch = prefetch
        self._stop_seconds = stop_seconds
        self._handler: Handler | None = None
        self._connection: AsyncioConnection | None = None
        self._publishing: Channel | None = None
        self._consuming: Channel | None = None
        self._looking: Channel | None = None
        self._pending: dict[str, asyncio.Future[bytes]] = {}
        self._unconfirmed: dict[int, str] = {}
        self._published = 0
        self._seen: dict[str, tuple[float, bool]] = {}
        self._look = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = asyncio.Event()
        self._lost = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._why = "not started"
        self._stopping = False

    async def start(self, handler: Handler) -> None:
        """Connect, and begin to receive; a broker that is down is tried again for ever."""
        self._handler = handler
        self._keeper = asyncio.create_task(self._keep_connected(), name="amqp-keeper")

    async def call(self, peer: GatewayEntry, envelope: bytes, timeout: float) -> bytes:
        """See ``Transport.call``."""
        deadline = time.monotonic() + timeout
        await self._wait_until_up(min(timeout, 3.0))
        if not await self._has_consumer(peer.queue):
            raise PeerUnreachable(f"no gateway listens on the queue {peer.queue}")
        key = secrets.token_hex(16)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._pending[key] = answer
        try:
            self._publish_request(peer.queue, key, envelope, timeout)
            return await asyncio.wait_for(answer, deadline - time.monotonic())
        except TimeoutError as passed:
            raise DeadlinePassed(f"no answer from {peer.member} within {timeout:.0f} s") from passed
        finally:
            self._pending.pop(key, None)

    async def answer(self, reply_to: str, key: str, envelope: bytes) -> None:
        """See ``Transport.answer``."""
        if reply_to:
            await self._wait_until_up(LONGEST_WAIT)
            self._publish_answer(reply_to, key, envelope)

    async def stop(self) -> None:
        """See ``Transport.stop``."""
        self._stopping = True
        if self._consuming is not None and self._consuming.is_open:
            self._consuming.basic_cancel(f"requests-{self._queue}")
        working = self._tasks | {asyncio.ensure_future(future) for future in self._pending.values()}
        if working:
            await asyncio.wait(working, timeout=self._stop_seconds)
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        await self._close()

    def health(self) -> str:
        """See ``Transport.health``."""
        return "ok" if self._up.is_set() else f"not connected to RabbitMQ: {self._why}"

    # -- the connection

    async def _keep_connected(self) -> None:
        """Connect, wait until the connection is lost, and again, with back-off and jitter."""
        wait = FIRST_WAIT
        while not self._stopping:
            self._lost.clear()
            try:
                await self._connect()
            except Exception as defect:
                self._why = _said(defect)
                await self._close()
                await asyncio.sleep(wait * random.uniform(0.7, 1.3))
                wait = min(LONGEST_WAIT, wait * 2)
                continue
            wait = FIRST_WAIT
            self._up.set()
            await self._lost.wait()
            self._up.clear()
            log.warning("the connection to RabbitMQ is lost: %s", self._why)
            await self._close()

    async def _connect(self) -> None:
        opened: asyncio.Future[AsyncioConnection] = asyncio.get_running_loop().create_future()
        self._connection = AsyncioConnection(
            self._parameters,
            on_open_callback=lambda connection: _settle(opened, connection),
            on_open_error_callback=lambda _connection, error: _fail(opened, error),
            on_close_callback=lambda _connection, reason: self._gone(reason),
            custom_ioloop=asyncio.get_running_loop(),
        )
        connection = await asyncio.wait_for(opened, 15)
        publishing = self._publishing = await self._channel(connection)
        publishing.add_on_return_callback(self._on_return)
        await self._done(lambda told: publishing.confirm_delivery(self._on_confirm, callback=told))
        self._published = 0
        self._unconfirmed.clear()
        self._looking = await self._channel(connection, watched=False)
        self._consuming = await self._channel(connection)
        await self._consume(self._consuming)

    async def _channel(self, connection: AsyncioConnection, *, watched: bool = True) -> Channel:
        opened: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()
        connection.channel(on_open_callback=lambda channel: _settle(opened, channel))
        channel = await asyncio.wait_for(opened, 10)
        if watched:
            channel.add_on_close_callback(lambda _channel, reason: self._gone(reason))
        return channel

    async def _consume(self, channel: Channel) -> None:
        arguments = {"x-expires": REPLY_QUEUE_EXPIRES_MS}
        await self._done(lambda told: channel.queue_declare(self._queue, durable=True, callback=told))
        await self._done(
            lambda told: channel.queue_declare(self._reply_queue, durable=True, arguments=arguments, callback=told)
        )
        await self._done(lambda told: channel.basic_qos(prefetch_count=self._prefetch, callback=told))
        await self._done(
            lambda told: channel.basic_consume(
                self._reply_queue, self._on_answer, auto_ack=True, exclusive=True, callback=told
            )
        )
        if not self._stopping:
            tag = f"requests-{self._queue}"
            await self._done(
                lambda told: channel.basic_consume(self._queue, self._on_request, consumer_tag=tag, callback=told)
            )

    async def _done(self, call: Callable[[Callable[..., None]], object]) -> None:
        """Make a call that takes a callback, and wait for it; the connection's loss ends the wait."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        call(lambda *frame: _settle(told, frame))
        lost = asyncio.ensure_future(self._lost.wait())
        try:
            await asyncio.wait({told, lost}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost.cancel()
        if not told.done():
            raise PeerUnreachable(self._why if self._lost.is_set() else "RabbitMQ does not answer")

    def _gone(self, reason: BaseException) -> None:
        """A connection or channel was closed. Answers may still come after reconnecting: the reply queue outlives it for a while."""
        self._why = _said(reason)
        self._up.clear()
        self._lost.set()

    async def _close(self) -> None:
        connection, self._connection = self._connection, None
        self._publishing = self._consuming = self._looking = None
        self._seen.clear()
        if connection is not None and not (connection.is_closed or connection.is_closing):
            closed = asyncio.Event()
            connection.add_on_close_callback(lambda *_: closed.set())
            with contextlib.suppress(Exception):
                connection.close()
                await asyncio.wait_for(closed.wait(), 3)

    async def _wait_until_up(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._up.wait(), max(0.0, seconds))
        except TimeoutError as passed:
            raise PeerUnreachable(f"not connected to RabbitMQ: {self._why}") from passed

    # -- sending

    async def _has_consumer(self, queue: str) -> bool:
        """Tell whether somebody consumes from ``queue``, as seen within the last second."""
        at, found = self._seen.get(queue, (0.0, False))
        if time.monotonic() - at < REMEMBERED_SECONDS:
            return found
        async with self._look:
            at, found = self._seen.get(queue, (0.0, False))
            if time.monotonic() - at < REMEMBERED_SECONDS:
                return found
            found = await self._look_at(queue)
            self._seen[queue] = (time.monotonic(), found)
            return found

    async def _look_at(self, queue: str) -> bool:
        if self._connection is None:
            raise PeerUnreachable(f"not connected to RabbitMQ: {self._why}")
        if self._looking is None or not self._looking.is_open:
            self._looking = await self._channel(self._connection, watched=False)
        seen: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        channel = self._looking
        channel.add_on_close_callback(lambda _channel, _reason: _settle(seen, 0))  # 404: there is no such queue
        channel.queue_declare(queue, passive=True, callback=lambda frame: _settle(seen, frame.method.consumer_count))
        try:
            return await asyncio.wait_for(seen, 5) > 0
        except TimeoutError as passed:
            raise PeerUnreachable("RabbitMQ does not answer") from passed

    def _publish_request(self, queue: str, key: str, envelope: bytes, timeout: float) -> None:
        properties = BasicProperties(
            content_type="application/vnd.sandroad.envelope",
            correlation_id=key,
            reply_to=self._reply_queue,
            expiration=str(max(1, int(timeout * 1000))),
        )
        self._publish(queue, envelope, properties, key, mandatory=True)

    def _publish_answer(self, queue: str, key: str, envelope: bytes) -> None:
        properties = BasicProperties(content_type="application/vnd.sandroad.envelope", correlation_id=key)
        self._publish(queue, envelope, properties, "", mandatory=False)

    def _publish(self, queue: str, envelope: bytes, properties: BasicProperties, key: str, *, mandatory: bool) -> None:
        if self._publishing is None or not self._publishing.is_open:
            raise PeerUnreachable(f"not connected to RabbitMQ: {self._why}")
        self._published += 1
        if key:
            self._unconfirmed[self._published] = key
        self._publishing.basic_publish("", queue, envelope, properties, mandatory=mandatory)

    def _on_confirm(self, frame: Any) -> None:
        """The broker took a message (or, rarely, refused it: then nobody will execute it)."""
        last, refused = frame.method.delivery_tag, isinstance(frame.method, Basic.Nack)
        tags = [tag for tag in self._unconfirmed if tag <= last] if frame.method.multiple else [last]
        for tag in tags:
            key = self._unconfirmed.pop(tag, "")
            if refused and key in self._pending:
                _fail(self._pending[key], PeerUnreachable("RabbitMQ refused the message"))

    def _on_return(self, _channel: Channel, method: Any, properties: BasicProperties, _body: bytes) -> None:
        """A request could not be routed: the queue has gone since we looked."""
        self._seen.pop(method.routing_key, None)
        future = self._pending.get(properties.correlation_id or "")
        if future is not None:
            _fail(future, PeerUnreachable(f"no queue {method.routing_key}"))

    # -- receiving

    def _on_answer(self, _channel: Channel, _method: Any, properties: BasicProperties, body: bytes) -> None:
        future = self._pending.get(properties.correlation_id or "")
        if future is not None:
            _settle(future, body)

    def _on_request(self, channel: Channel, method: Any, properties: BasicProperties, body: bytes) -> None:
        task = asyncio.create_task(self._work(channel, method.delivery_tag, properties, body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, channel: Channel, tag: int, properties: BasicProperties, body: bytes) -> None:
        assert self._handler is not None
        acknowledged = False
        # Without the two properties there is nobody to answer, but the handler still says what the envelope is worth.
        key, reply_to = (properties.correlation_id or "")[:200], (properties.reply_to or "")[:300]

        async def accepted() -> None:
            nonlocal acknowledged
            if not acknowledged and channel.is_open:
                channel.basic_ack(tag)
            acknowledged = True

        answer = await self._handler(Delivery(body, key or f"unkeyed-{secrets.token_hex(8)}", accepted, reply_to))
        await accepted()
        if reply_to:
            with contextlib.suppress(PeerUnreachable):
                await self.answer(reply_to, key, answer)


def _settle(future: "asyncio.Future[Any]", value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: "asyncio.Future[Any]", error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _said(defect: BaseException) -> str:
    if isinstance(defect, TimeoutError):
        return "no answer in time"
    inner = getattr(defect, "args", None)
    return f"{type(defect).__name__} {inner[0] if inner else ''}".strip()[:200]
