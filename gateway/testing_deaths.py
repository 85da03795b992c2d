"""Deaths planted between two lines of a gateway: each function runs in its process at the start, and SIGKILLs it later.

Nothing of the gateway is replaced but the moment at which it dies.
"""

import errno
import os
import signal
from collections.abc import Callable
from typing import Any

from gateway.log import Batch
from gateway.provider import Provider
from gateway.replay import Arrival
from gateway.service_client import ServiceClient


def die(*_args: Any, **_kwargs: Any) -> Any:
    """Be killed."""
    os.kill(os.getpid(), signal.SIGKILL)


def _set(owner: Any, name: str, value: Callable[..., Any]) -> None:
    setattr(owner, name, value)


def _before(owner: Any, name: str) -> None:
    _set(owner, name, die)


def _after(owner: Any, name: str) -> None:
    original: Callable[..., Any] = getattr(owner, name)

    async def and_die(*args: Any, **kwargs: Any) -> Any:
        await original(*args, **kwargs)
        die()

    _set(owner, name, and_die)


def before_received() -> None:
    """The request has been verified, and nothing is written."""
    _before(Arrival, "write")


def inside_the_commit() -> None:
    """The request is written, and not committed."""
    original = Batch.flush

    def flush(self: Batch) -> None:
        had_a_request = bool(self._records)
        original(self)
        if had_a_request:
            die()

    _set(Batch, "flush", flush)


def after_received() -> None:
    """The request is committed as received, and waits for a place at the service."""

    async def no_place(self: Provider, *_args: Any) -> bytes:
        die()
        return b""

    _set(Provider, "start_and_call", no_place)
    original = Provider.slot

    def full(self: Provider, service: Any) -> Any:
        slot = original(self, service)
        slot.locked = lambda: True  # type: ignore[method-assign]
        return slot

    _set(Provider, "slot", full)


def after_started() -> None:
    """The request is committed as started and acknowledged; the service has not been called."""
    _before(Provider, "call")


def after_the_service() -> None:
    """The service has answered, and nothing of that is written."""
    _after(ServiceClient, "call")


def after_answered() -> None:
    """The response is committed, and not sent."""
    _after(Provider, "_commit")


def disk_full() -> None:
    """No death: whatever is to be logged cannot be written."""

    def flush(self: Batch) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    _set(Batch, "flush", flush)


DEATHS = {
    death.__name__: death
    for death in (before_received, inside_the_commit, after_received, after_started, after_the_service, after_answered)
}
