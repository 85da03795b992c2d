"""Asks the gateways of a sandbox for the evidence of one message and decides which message is meant.

Consumer and provider both keep a message, so one request is found twice; and an X-Road-Id is the client's to choose, so it
may name several requests. Only the request id, which the gateway makes, tells them apart: it is read from the signed message.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.evidence import archive
from gateway.evidence.container import MESSAGE
from gateway.signature import LATEST_TIME_MS, render_time
from sandroad.running.client import Running, Sandbox, SandboxError

CONTAINER_TYPE = "application/vnd.etsi.asic-e+zip"


class NotFound(Exception):
    """No gateway that was asked has the message; the text says who was asked."""


class Ambiguous(Exception):
    """The id names several requests: ``hits`` lists them."""

    def __init__(self, message: str, hits: "list[Hit]") -> None:
        super().__init__(message)
        self.hits = hits


@dataclass(frozen=True)
class Hit:
    """One request that an id names, as one gateway knows it; with its container unless the gateway named several."""

    request_id: str
    at: str
    client: str
    service: str
    member: str
    container: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Found:
    """The one container that was meant, the member whose log it is from, and what else is worth knowing."""

    request_id: str
    member: str
    container: bytes = field(repr=False)
    warnings: list[str]


def fetch(sandbox: Sandbox, identifier: str, side: str, member: str | None = None) -> Found:
    """Return the container of the message ``identifier``; ``side`` is ``request`` or ``response``.

    Raises ``NotFound`` or ``Ambiguous``, and ``SandboxError`` if a gateway refuses.
    """
    asked = [sandbox.gateway_of(member)] if member else sandbox.gateways()
    hits: list[Hit] = []
    warnings: list[str] = []
    absent: list[str] = []
    for gateway in asked:
        try:
            hits += _ask(sandbox, gateway, identifier, side, absent)
        except SandboxError as error:
            warnings.append(str(error))
    if not hits:
        whom = ", ".join(gateway.name for gateway in asked)
        raise NotFound("\n".join([f"no {side} {identifier!r} in the message logs of {whom}", *absent, *warnings]))
    requests = {hit.request_id: hit for hit in reversed(hits)}
    if len(requests) > 1:
        listed = sorted(requests.values(), key=lambda hit: (hit.at, hit.request_id))
        raise Ambiguous(f"{identifier!r} names {len(requests)} requests, name one by its request id:", listed)
    return _chosen(sandbox.instance, hits, warnings)


def _chosen(instance: str, hits: list[Hit], warnings: list[str]) -> Found:
    """Prefer the consumer's log: it is the one whose owner sent the request."""
    held = [(hit, hit.container) for hit in hits if hit.container is not None]
    if not held:
        raise Ambiguous("a gateway lists this request more than once:", hits)
    consumers = [one for one in held if _is_member(one[0].client, instance, one[0].member)]
    hit, container = (consumers or held)[0]
    return Found(hit.request_id, hit.member, container, warnings)


def _is_member(subsystem: str, instance: str, member: str) -> bool:
    return f"{subsystem}/".startswith(f"{instance}/{member}/")


def _ask(sandbox: Sandbox, gateway: Running, identifier: str, side: str, absent: list[str]) -> list[Hit]:
    """Return a gateway's hits; if it has none, add to ``absent`` what it says about it (contents erased, not kept …)."""
    path = "/-/evidence"
    answer = sandbox.steward(gateway.name).request("GET", path, params={"id": identifier, "side": side})
    if answer.status_code == 404:
        detail = _detail(answer.text)
        if not detail.startswith(f"no {side} with this id"):  # the plain case needs no line of its own
            absent.append(f"{gateway.name}: {detail}")
        return []
    if answer.status_code == 409:
        return _listed(gateway, answer.json())
    if answer.status_code != 200 or not answer.headers.get("Content-Type", "").startswith(CONTAINER_TYPE):
        raise SandboxError(f"{gateway.name} answered {answer.status_code} to {path}: {_said(answer.text)}")
    return [_held(gateway, identifier, answer.content)]


def _detail(text: str) -> str:
    """Return the sentence of a problem document, or what else was said."""
    try:
        return _said(str(json.loads(text)["detail"]))
    except (ValueError, KeyError, TypeError):
        return _said(text)


def _said(text: str) -> str:
    return "".join(character for character in text[:300] if character.isprintable())


def _listed(gateway: Running, answer: Any) -> list[Hit]:
    return [
        Hit(
            request_id=str(hit.get("request_id", "")),
            at=_moment(hit.get("at")),
            client=str(hit.get("client", "")),
            service=str(hit.get("service", "")),
            member=gateway.member,
        )
        for hit in answer["hits"]
    ]


def _moment(at: object) -> str:
    """Render a time in ms as people write it."""
    return render_time(at).decode() if isinstance(at, int) and 0 <= at <= LATEST_TIME_MS else str(at or "")


def _held(gateway: Running, identifier: str, container: bytes) -> Hit:
    """Read from a container's message which request it belongs to; only a refusal of unread bytes does not say so."""
    try:
        message = archive.read(container)[MESSAGE].decode()
    except (ValueError, KeyError) as error:
        raise SandboxError(f"{gateway.name} answered with something that is no container: {error}") from None
    lines = message.split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(":") for line in lines[2:])}
    service = headers.get("x-road-service") or "/".join(lines[1].split("?")[0].split("/")[2:7])
    request_id = headers.get("x-road-request-id", identifier)
    return Hit(request_id, "", headers.get("x-road-client", ""), service, gateway.member, container)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that at every moment either nothing (or the old file) or all of it is there."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
