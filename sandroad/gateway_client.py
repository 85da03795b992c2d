"""Calls to other organisations, which go through the own gateway and nowhere else."""

import json as jsonlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from sandroad.problems import Error

DEFAULT_TIMEOUT = 65.0


class GatewayUnreachable(Error):
    """The own gateway did not answer: whether the call was executed is unknown."""


@dataclass(frozen=True)
class Reply:
    """What came back through the gateway. ``gateway_error`` is X-Road's error type if a gateway refused or failed."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def gateway_error(self) -> str:
        """The error type, such as ``Server.ServerProxy.AccessDenied``; empty if the service itself answered."""
        return self.headers.get("X-Road-Error", "")

    @property
    def ok(self) -> bool:
        """Whether the service answered with 2xx."""
        return 200 <= self.status < 300 and not self.gateway_error

    @property
    def message_id(self) -> str:
        """X-Road-Id of the exchange."""
        return self.headers.get("x-road-id", "")

    @property
    def request_id(self) -> str:
        """X-Road-Request-Id of the exchange: the key that both message logs share."""
        return self.headers.get("x-road-request-id", "")

    def json(self) -> Any:
        """Return the parsed body, None if it is empty or no JSON."""
        try:
            return jsonlib.loads(self.content) if self.content else None
        except ValueError:
            return None

    def reason(self) -> str:
        """Return in one line why this is no success: gateway's or service's own words."""
        document = self.json()
        if isinstance(document, dict):
            for key in (
                "message",
                "detail",
                "title",
                "ResponseDescription",
                "responseDescription",
                "error_description",
            ):
                if document.get(key):
                    return f"{self.gateway_error or self.status}: {document[key]}"
        return self.gateway_error or f"HTTP {self.status}"


@dataclass(frozen=True)
class Exchange:
    """One finished call, for traces: who, what, with which result. No contents."""

    service: str
    method: str
    path: str
    reply: Reply


class GatewayClient:
    """Calls services as one subsystem (``client``, ``SANDBOX/GOV/WELFARE/CASH-TRANSFER``) through the gateway at ``url``.

    One HTTP session per thread. Never retries: only the caller knows whether a repetition is harmless.
    """

    def __init__(self, url: str, client: str, *, listener: Callable[[Exchange], None] | None = None) -> None:
        self._url = url.rstrip("/")
        self.client = client
        self._listener = listener
        self._local = threading.local()

    def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Reply:
        """Call ``service`` (``SANDBOX/GOV/CIVIL/REGISTRY/registry``) and return its reply.

        Raises ``GatewayUnreachable`` if the own gateway gives no answer at all; everything else is a ``Reply``.
        """
        target = f"/r1/{service}{path}" + (f"?{urlencode(params, doseq=True)}" if params else "")
        reply = self.send(method, target, json=json, content=content, headers=headers, timeout=timeout)
        if self._listener:
            self._listener(Exchange(service, method, path, reply))
        return reply

    def send(
        self,
        method: str,
        target: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Reply:
        """Send to a ``/r1/…`` target as it is."""
        sent = {"X-Road-Client": self.client, "Accept": "application/json", **(headers or {})}
        if json is not None:
            content = jsonlib.dumps(json, ensure_ascii=False).encode()
            sent.setdefault("Content-Type", "application/json")
        try:
            response = self._session().request(
                method, self._url + target, data=content, headers=sent, timeout=timeout, allow_redirects=False
            )
        except requests.RequestException as defect:
            raise GatewayUnreachable(f"the own gateway gave no answer to {method}: {type(defect).__name__}") from defect
        return Reply(response.status_code, response.headers, response.content)

    def _session(self) -> requests.Session:
        session = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False
        return session
