"""Messages, their delivery states and the counters that callers see; pure: no HTTP, no SQL, no clock."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from sandroad.problems import Refusal

CALLBACK_FORM = re.compile(r"/r1(/[A-Za-z0-9._~-]+){5}(/[A-Za-z0-9._~:@!$&'()*+,;=-]+)*/?")


class RequestUnknown(Refusal):
    """There is no request of that uid among the caller's own."""

    code = "messaging_request_unknown"


class CallbackNotAllowed(Refusal):
    """A callback goes through the gateway to the caller's own organisation, nowhere else."""

    code = "messaging_callback_not_allowed"


class GatewayNotWelcome(Refusal):
    """The inbox stands in for people's phones: it is looked at on the local port, never from another organisation."""

    code = "messaging_inbox_is_local"


class State(StrEnum):
    """Delivery states of GovStack Messaging 5.1.24.1; ``bounced`` and ``expired`` are its two ways to fail."""

    PENDING = "pending"
    QUEUED = "queued"
    SENT = "sent"
    DELIVERED = "delivered"
    ERRORED = "errored"
    BOUNCED = "bounced"
    EXPIRED = "expired"


FINAL = (State.DELIVERED, State.BOUNCED, State.EXPIRED)
COUNTERS = {
    State.PENDING: "scheduled",
    State.QUEUED: "processing",
    State.SENT: "processing",
    State.ERRORED: "deferred",
    State.BOUNCED: "bounced",
    State.EXPIRED: "notSent",
    State.DELIVERED: "delivered",
}
PRIORITIES = {"emergency": 0, "notification": 1}


@dataclass(frozen=True)
class Letter:
    """One message as it is handed to a channel: ``to`` are all addresses that get a copy, ``copies`` those named openly."""

    message_id: str
    channel: str
    to: tuple[str, ...]
    sender: str
    title: str
    content: str
    reply_to: str = ""
    copies: tuple[str, ...] = ()
    attempts: int = 0
    received: float = 0.0


@dataclass(frozen=True)
class Submission:
    """One accepted API call: ``letters`` have no ids yet; ``digest`` is the hash of the request as it came (MHASH)."""

    client: str
    channel: str
    kind: str
    digest: str
    idempotency_key: str
    callback: str
    priority: int
    transaction_id: str
    received_at: datetime
    letters: tuple[Letter, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a channel said of one letter: ``taken``, or why not, and whether trying again makes sense."""

    taken: bool
    reason: str = ""
    final: bool = False


@dataclass(frozen=True)
class InboxMessage:
    """A message as it lies in somebody's inbox."""

    id: int
    channel: str
    to: str
    sender: str
    title: str
    content: str
    at: datetime
    extra: dict[str, Any] = field(default_factory=dict)


def counters(states: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Return the API's counters from counts per state (recommended mapping, the states' names differ from the API's)."""
    found = dict.fromkeys(("scheduled", "processing", "deferred", "bounced", "notSent", "delivered"), 0)
    for state, count in states:
        found[COUNTERS[State(state)]] += count
    return found


def callback_target(uri: str, client: str) -> str:
    """Return ``uri`` if it may be called back: ``/r1/…`` to a service of the calling member; raise ``CallbackNotAllowed``.

    Otherwise a caller could make this block, with this block's access rights, call somebody else.
    """
    member = "/r1/" + "/".join(client.split("/")[:3]) + "/"
    if not CALLBACK_FORM.fullmatch(uri) or any(part in (".", "..") for part in uri.split("/")):
        raise CallbackNotAllowed(
            "a callback URI is /r1/INSTANCE/CLASS/MEMBER/SUBSYSTEM/SERVICE[/path]: it is called through the gateway"
        )
    if not uri.startswith(member):
        raise CallbackNotAllowed(f"a callback goes to the caller's own organisation: {member}…")
    return uri
