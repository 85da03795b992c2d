"""How envelopes travel between gateways: one small protocol, so that every transport passes the same conformance suite.

A transport carries bytes and knows nothing of what they say. Whether a request runs is decided by the provider's side
(``gateway.provider``), which keeps every request under its id before it is acknowledged. What the transport owes it:

* Every delivery has a ``key``: the same for all redeliveries of one ``call`` (by a broker, or by a caller that lost its
  connection), another for every other ``call``. That is how a redelivery is told from a replay of the same bytes.
* ``accepted`` is awaited once ``received`` is committed. A broker's message is acknowledged then and not before.
* What the handler returns is the answer. Should the gateway die in between, its next start sends the answer by
  ``answer(reply_to, key, …)``; a transport whose callers come back and ask again (``direct``) leaves ``reply_to`` empty.

The failures say what is known about the request: ``PeerUnreachable`` means that it was not delivered and never will be.
After ``DeadlinePassed`` it may have been executed.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from gateway.trust.configuration import GatewayEntry
from sandroad.problems import Error

Accepted = Callable[[], Awaitable[None]]


class TransportError(Error):
    """An envelope could not be carried."""


class PeerUnreachable(TransportError):
    """Nobody listens at the peer: known at once, and the request was certainly not delivered."""


class DeadlinePassed(TransportError):
    """No answer came in time; whether the request was executed is unknown."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One envelope that arrived.

    ``key`` (at most 200 characters) is the same for redeliveries of one call only. ``reply_to`` (at most 300) is where
    ``Transport.answer`` can send an answer later, empty if the answer goes back along the connection alone.
    """

    envelope: bytes = field(repr=False)
    key: str
    accepted: Accepted = field(repr=False)
    reply_to: str = ""


Handler = Callable[[Delivery], Awaitable[bytes]]
"""Returns the answer's envelope; never raises but ``CancelledError``: refusals and faults are signed answers too."""


class Transport(Protocol):
    """Carries envelopes for one gateway, in both directions. Made without side effects; works between start and stop."""

    async def start(self, handler: Handler) -> None:
        """Begin to receive for the own member; each delivery runs as a task of its own."""

    async def call(self, peer: GatewayEntry, envelope: bytes, timeout: float) -> bytes:
        """Send a request to ``peer`` and return the answer's envelope.

        Raises ``PeerUnreachable`` at once if nobody listens, ``DeadlinePassed`` after ``timeout`` seconds.
        """

    async def answer(self, reply_to: str, key: str, envelope: bytes) -> None:
        """Send an answer whose delivery came before a restart; best effort, since the caller may be gone."""

    async def stop(self) -> None:
        """Take no new work, finish what began (within reason), then close."""

    def health(self) -> str:
        """Return ``ok`` or, in a few words, what is wrong."""
