"""Calls to other organisations through the own gateway, each leaving a line in the trace of its case."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sandroad.gateway_client import GatewayClient, GatewayUnreachable, Reply
from usecases.cash_transfer.refusals import ProviderRefused, ProviderUnavailable
from usecases.cash_transfer.store import Store
from usecases.cash_transfer.store.trace import TraceLine


@dataclass(frozen=True)
class About:
    """Why a call is made: the case or batch, GovStack's name of the step, a title in plain words, and who wants it."""

    subject: str
    step: str
    title: str
    actor: str = ""


class Calls:
    """The gateway client with the ministry's trace around it."""

    def __init__(self, client: GatewayClient, store: Store) -> None:
        self._client = client
        self._store = store

    def ask(
        self,
        service: str,
        method: str,
        path: str,
        about: About,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Call a service and return its reply, whatever it says; raise ``ProviderUnavailable`` if the own gateway is silent.

        The case number travels as X-Road-Issue, so that the provider's log can name the reason of every read.
        """
        message_id = str(uuid.uuid4())
        headers = {"X-Road-Issue": about.subject, "X-Road-Id": message_id}
        try:
            reply = self._client.call(service, method, path, json=json, params=params, headers=headers)
        except GatewayUnreachable as defect:
            self._write(about, service, message_id, None, str(defect))
            raise ProviderUnavailable(str(defect)) from defect
        self._write(about, service, message_id, reply, "answered" if reply.ok else reply.reason())
        return reply

    def require(
        self,
        service: str,
        method: str,
        path: str,
        about: About,
        *,
        json: Any = None,
        params: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a service and return its parsed answer; raise ``ProviderRefused`` or ``ProviderUnavailable`` otherwise."""
        reply = self.ask(service, method, path, about, json=json, params=params)
        if not reply.ok:
            raise refusal_of(reply, service)
        return reply.json()

    def _write(self, about: About, service: str, message_id: str, reply: Reply | None, outcome: str) -> None:
        with self._store.begin() as rows:
            rows.trace.add(replace(line_of(about, service, reply, outcome), message_id=message_id))


def line_of(about: About, service: str, reply: Reply | None, outcome: str) -> TraceLine:
    """Return the trace line of a finished call; the message id is the one that came back."""
    return TraceLine(
        about.subject,
        about.step,
        about.title,
        about.actor,
        service,
        reply.message_id if reply else "",
        reply.status if reply else 0,
        outcome[:300],
    )


def refusal_of(reply: Reply, service: str) -> ProviderRefused | ProviderUnavailable:
    """Return the refusal that tells our own caller what another organisation said."""
    said = reply.json()
    code = str(said.get("code", "")) if isinstance(said, dict) else ""
    provider = {
        "service": service,
        "status": reply.status,
        "error": reply.gateway_error or code,
        "says": reply.reason(),
        "message_id": reply.message_id,
    }
    # X-Road answers 500 for what a gateway refused as well as for what failed; the error type tells them apart.
    refused = 400 <= reply.status < 500 or any(
        word in reply.gateway_error for word in ("AccessDenied", "InvalidSignature", "Signature", "UnknownService")
    )
    kind = ProviderRefused if refused else ProviderUnavailable
    return kind(f"{service} said: {reply.reason()}", provider=provider)
