"""Calls the services behind the own gateway: bytes as they came, the gateway's secret added, nothing retried."""

import re
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from gateway.administration import Service
from gateway.errors import SERVER_PROXY, body_too_large, missing_url, server_error
from gateway.message import Headers, Request, forwarded_headers

SECRET_HEADER = "X-Sandroad-Gateway"
CONNECT_SECONDS = 30.0
UNKNOWN = "whether the request was executed is unknown; the provider's operator should look at the service"
NOT_TEXT = re.compile(r"[^\t\x20-\x7e\x80-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered; header names and values are text, whatever their bytes were."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class ServiceClient:
    """One HTTP client for all services of a member. ``start`` in the process and loop that use it."""

    def __init__(self, max_body: int) -> None:
        self._max_body = max_body
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the connection pool."""
        self._session = aiohttp.ClientSession(
            # Short: a server that closes an idle connection at the wrong moment makes a call's fate unknown.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
            # A cookie that one client's answer sets must not go out with the next client's request.
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
        )
        # aiohttp repeats PUT, DELETE and others on a connection that broke: that would execute a request twice.
        self._session._retry_connection = False

    async def stop(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def call(self, service: Service, label: str, request: Request, body: bytes, timeout: float) -> Answer:
        """Call a service with a request; raise ``GatewayError`` if it gives no usable answer within ``timeout`` s."""
        if not service.url:
            raise missing_url(label)
        target = request.target
        query = "" if target.query is None else f"?{target.query}"
        url = URL(service.url.rstrip("/") + target.path + query, encoded=True)
        headers = CIMultiDict(forwarded_headers(request.headers))
        headers.add(SECRET_HEADER, service.secret)
        try:
            return await self._call(request.method, url, headers, body, timeout)
        except aiohttp.ClientConnectorError as failure:
            raise server_error(
                "NetworkError",
                f"Connect to {url.host}:{url.port} failed: {_cause(failure)}",
                "the service is not running or cannot be reached; it was not executed, the provider's operator must start it",
            ) from failure
        except TimeoutError as failure:
            raise server_error(
                "IOError",
                "Read timed out",
                f"the service did not answer within {timeout:.0f} s; {UNKNOWN}",
                executed="unknown",
            ) from failure
        except (aiohttp.ClientError, OSError) as failure:
            raise server_error(
                "IOError", f"The service broke off: {type(failure).__name__}", UNKNOWN, executed="unknown"
            ) from failure

    async def _call(self, method: str, url: URL, headers: CIMultiDict[str], body: bytes, timeout: float) -> Answer:
        assert self._session is not None
        timeouts = aiohttp.ClientTimeout(total=timeout, sock_connect=min(CONNECT_SECONDS, timeout))
        async with self._session.request(
            method, url, data=body or None, headers=headers, timeout=timeouts, allow_redirects=False
        ) as response:
            content = await self._read(response.content)
            raw = [(_text(name), _text(value)) for name, value in response.raw_headers]
            return Answer(
                response.status, _text((response.reason or "").encode(errors="surrogateescape")), raw, content
            )

    async def _read(self, stream: aiohttp.StreamReader) -> bytes:
        chunks, size = [], 0
        async for chunk in stream.iter_any():
            size += len(chunk)
            if size > self._max_body:
                raise body_too_large(SERVER_PROXY, self._max_body, executed="unknown")
            chunks.append(chunk)
        return b"".join(chunks)


def _text(raw: bytes) -> str:
    """Read a header as UTF-8, else as Latin-1; what cannot stand in a line of the message becomes a space."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return NOT_TEXT.sub(" ", text)


def _cause(failure: aiohttp.ClientConnectorError) -> str:
    return failure.os_error.strerror or type(failure.os_error).__name__
