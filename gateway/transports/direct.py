"""Envelopes over plain HTTP from gateway to gateway: the embedded default, which needs nothing installed.

One POST carries an envelope, its answer another. A caller that loses the connection asks again with the same delivery
key until its deadline, so a provider's gateway that is killed and starts again still gives its answer.
"""

import asyncio
import logging
import re
import secrets
import time

import aiohttp
from aiohttp import web

from gateway.envelope import MAX_ENVELOPE
from gateway.transports import DeadlinePassed, Delivery, Handler, PeerUnreachable
from gateway.trust.configuration import GatewayEntry

log = logging.getLogger(__name__)

PATH = "/envelope"
CONTENT_TYPE = "application/vnd.sandroad.envelope"
DELIVERY = "X-Sandroad-Delivery"
_KEY = re.compile(r"[A-Za-z0-9_\-]{16,200}")
CONNECT_SECONDS = 5.0
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0


async def _nothing() -> None:
    """Over HTTP there is nothing to acknowledge: the caller waits for the answer itself."""


class DirectTransport:
    """Listens on ``host:port`` for envelopes to the own member; calls other gateways at their ``address``."""

    def __init__(self, host: str, port: int, *, stop_seconds: float = 20.0) -> None:
        self._host = host
        self.port = port
        self._stop_seconds = stop_seconds
        self._handler: Handler | None = None
        self._runner: web.ServerRunner | None = None
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[bytes]] = set()
        self._stopping = False

    async def start(self, handler: Handler) -> None:
        """Listen; ``port`` is the real one afterwards."""
        self._handler = handler
        self._stopping = False
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        )
        server = web.Server(self._receive, access_log=None)
        self._runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=self._stop_seconds)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port, backlog=1024)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def call(self, peer: GatewayEntry, envelope: bytes, timeout: float) -> bytes:
        """Send a request to ``peer`` and return the answer's envelope. See ``Transport.call``."""
        key = secrets.token_urlsafe(24)
        deadline = time.monotonic() + timeout
        pause, delivered = FIRST_PAUSE, False
        while (left := deadline - time.monotonic()) > 0:
            try:
                return await self._post(peer.address, key, envelope, left)
            except PeerUnreachable:
                if not delivered:
                    raise
            except (aiohttp.ClientError, OSError) as failure:
                # The request may have arrived: only the peer can say, when it is back, what became of it.
                delivered = True
                log.warning("connection to gateway %s lost (%s), asking again", peer.code, type(failure).__name__)
            except TimeoutError:
                break
            await asyncio.sleep(min(pause, max(deadline - time.monotonic(), 0)))
            pause = min(pause * 2, LONGEST_PAUSE)
        raise DeadlinePassed(f"gateway {peer.code} gave no answer within {timeout:.0f} s")

    async def _post(self, address: str, key: str, envelope: bytes, left: float) -> bytes:
        if self._session is None:
            raise PeerUnreachable("the transport is not running")
        timeouts = aiohttp.ClientTimeout(total=left, sock_connect=min(CONNECT_SECONDS, left))
        headers = {"Content-Type": CONTENT_TYPE, DELIVERY: key}
        url = address.rstrip("/") + PATH
        try:
            async with self._session.post(
                url, data=envelope, headers=headers, timeout=timeouts, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    # Not a gateway's answer to an envelope: nothing that could have been executed.
                    raise PeerUnreachable(f"{address} answered {answer.status} to an envelope")
                return await _read(answer.content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as failure:
            raise PeerUnreachable(f"{address}: {type(failure).__name__}") from failure
        except aiohttp.InvalidURL as defect:
            raise PeerUnreachable(f"{address} is no URL") from defect

    async def answer(self, reply_to: str, key: str, envelope: bytes) -> None:
        """Do nothing: a caller over HTTP comes back and asks again."""

    async def stop(self) -> None:
        """Stop listening, finish what began, close the connections."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._stop_seconds)
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    def health(self) -> str:
        """Return ``ok`` while listening."""
        return "ok" if self._runner is not None and not self._stopping else "does not listen for other gateways"

    async def _receive(self, request: web.BaseRequest) -> web.Response:
        key = request.headers.get(DELIVERY, "")
        if self._stopping or self._handler is None:
            return web.Response(status=503, text="this gateway is stopping")
        if request.method != "POST" or request.raw_path != PATH:
            return web.Response(status=404, text=f"envelopes are posted to {PATH}")
        if not _KEY.fullmatch(key):
            return web.Response(status=400, text=f"{DELIVERY} is missing or not 16 to 200 characters of base64url")
        if (request.content_length or 0) > MAX_ENVELOPE:
            return web.Response(status=413, text=f"an envelope has at most {MAX_ENVELOPE} bytes")
        try:
            envelope = await _read(request.content)
        except _TooLarge:
            return web.Response(status=413, text=f"an envelope has at most {MAX_ENVELOPE} bytes")
        task = asyncio.ensure_future(self._handler(Delivery(envelope, key, _nothing)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Shielded: a caller that goes away must not stop a request half-way.
        return web.Response(body=await asyncio.shield(task), content_type=CONTENT_TYPE)


class _TooLarge(aiohttp.ClientError):
    """More bytes than an envelope can have."""


async def _read(stream: aiohttp.StreamReader) -> bytes:
    """Read a whole envelope, but never more than one can have."""
    chunks, size = [], 0
    async for chunk in stream.iter_any():
        size += len(chunk)
        if size > MAX_ENVELOPE:
            raise _TooLarge(f"more than {MAX_ENVELOPE} bytes")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
