"""A gateway's wiring: one asyncio process, from settings to an orderly end."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Coroutine, Mapping
from typing import Any

from aiohttp import web

from gateway.administration import Administration
from gateway.config import GatewayConfig
from gateway.consumer import Consumer
from gateway.core import FAULTS, Core
from gateway.log import MessageLog
from gateway.management import Management
from gateway.monitoring import now_ms
from gateway.provider import Provider
from gateway.recovery import Recovery
from gateway.replay import forget_before
from gateway.service_client import ServiceClient
from gateway.timestamping import TimeStamping
from gateway.transports import Transport
from gateway.transports.direct import DirectTransport
from gateway.trust_client import Trust
from gateway.writer import Writer
from sandroad.faults import Faults
from sandroad.settings import read_config
from sandroad.storage import Database

log = logging.getLogger(__name__)

LONGEST_LINE = 64 * 1024
MOST_HEADERS = 512
FORGET_EVERY_SECONDS = 60.0
REMEMBERED_SECONDS = 3600


def transport_of(config: GatewayConfig) -> Transport:
    """Return the transport that the settings name."""
    if config.transport == "amqp":
        from gateway.transports.amqp import AmqpTransport  # only here: pika is not loaded where it is not used

        return AmqpTransport(config.amqp_url, config.queue, stop_seconds=config.stop_seconds)
    return DirectTransport(config.host, config.peer_port, stop_seconds=config.stop_seconds)


class Gateway:
    """One running gateway: made in the process that runs it, started and stopped in its loop."""

    def __init__(self, config: GatewayConfig) -> None:
        self.config = config
        database = Database(config.database, full_sync=True)
        message_log = MessageLog(database, config.name)
        writer = Writer(message_log)
        administration = Administration(config, database, writer)
        self.core = Core(config, message_log, writer, administration, Trust(config), Faults(FAULTS, lab=config.lab))
        self.transport = transport_of(config)
        self._services = ServiceClient(config.max_body)
        self._provider = Provider(self.core, self._services)
        self._recovery = Recovery(self.core, self._provider, self.transport)
        self._consumer = Consumer(self.core, self.transport)
        self._stamping = TimeStamping(self.core)
        self._management = Management(self.core, self.transport, self._stamping)
        self._runners: list[web.BaseRunner] = []
        self._background: list[asyncio.Task[None]] = []
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Open the database and listen; enrol and begin to receive in the background, as soon as central answers."""
        await asyncio.to_thread(self._open)
        self.core.writer.start()
        await self._services.start()
        config = self.config
        consumer = web.Server(
            self._consumer.handle,
            access_log=None,
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
            max_headers=MOST_HEADERS,
        )
        await self._listen("consumer", web.ServerRunner(consumer, handle_signals=False), config.port)
        management = web.AppRunner(self._management.app(), access_log=None, handle_signals=False)
        await self._listen("management", management, config.management_port)
        await self.core.trust.start()
        self._in_background(self._join())
        self._in_background(self._forget())
        log.info("%s serves consumers on port %d", config.name, self.ports["consumer"])

    def _open(self) -> None:
        self.config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.core.log.open()
        self.core.administration.open()

    async def _listen(self, name: str, runner: "web.BaseRunner", port: int) -> None:
        await runner.setup()
        await web.TCPSite(runner, self.config.host, port, backlog=1024).start()
        self._runners.append(runner)
        self.ports[name] = runner.addresses[0][1]

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception:
                log.exception("background work of %s ended", self.config.name)

        self._background.append(asyncio.create_task(guarded()))

    async def _join(self) -> None:
        """Take up what a crash left and receive from others, once this gateway can sign its answers."""
        await self.core.trust.ready.wait()
        await self._recovery.begin()
        await self.transport.start(self._provider.handle)
        self._recovery.go_on()
        self._in_background(self._stamping.run())
        log.info("%s receives from other gateways", self.config.name)

    async def _forget(self) -> None:
        """Keep the replay store as short as freshness allows: what is older cannot be replayed."""
        remembered = max(REMEMBERED_SECONDS, 2 * self.config.freshness_seconds) * 1000
        while True:
            self.core.writer.write_late(forget_before(now_ms() - int(remembered)))
            await asyncio.sleep(FORGET_EVERY_SECONDS)

    async def stop(self) -> None:
        """Take no new work, finish what began, write everything down."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for runner in self._runners:
            await runner.cleanup()
        await self.transport.stop()
        await self._recovery.stop()
        await self.core.trust.stop()
        await self._services.stop()
        await self.core.writer.stop()
        await asyncio.to_thread(self.core.log.database.close)


async def _serve(config: GatewayConfig) -> None:
    gateway = Gateway(config)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    try:
        await gateway.start()
        await ended.wait()
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await gateway.stop()


def run(mapping: Mapping[str, Any]) -> None:
    """Read the settings and be a gateway until SIGTERM."""
    config = read_config(GatewayConfig, mapping)
    os.umask(0o077)  # the message log holds what citizens and offices said to each other
    asyncio.run(_serve(config))
