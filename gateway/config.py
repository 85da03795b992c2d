"""A gateway's settings."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandroad.settings import SettingsError

TRANSPORTS = ("direct", "amqp")
LOG_MODES = ("full", "metadata")
CODE = re.compile(r"[A-Za-z0-9'()+,\-.=?]+")  # pr-rest 4.8: what an administrator may name a thing
SERVICE_KEYS = {"subsystem", "code", "url", "secret", "timeout", "idempotent", "log", "contract", "concurrency"}
RIGHT_KEYS = {"subject", "service", "allow"}
ADDRESS = re.compile(r"https?://[^/\s?#]+")
MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class GatewayConfig:
    """What a gateway is told at its start.

    ``host`` and ``port`` are the consumer side, ``peer_port`` the side that other gateways call over ``direct``
    (``peer_address`` is the URL they use), ``management_port`` the steward's. ``anchor`` is a file: waited for if
    another process is still to write it; without it the anchor is fetched from central once and pinned in ``data``.
    ``metadata_only`` names services of others (``GOV/DIGITAL/MESSAGING/messaging``) whose calls are logged without
    contents on the consumer side too. ``services`` and ``rights`` fill the database at its first start only; later
    changes are made at run time.
    """

    name: str
    instance: str = "SANDBOX"
    member: str
    subsystems: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int
    peer_port: int = 0
    peer_address: str = ""
    management_port: int
    management_token: str
    database: str
    data: Path
    central_url: str
    enrolment_token: str
    anchor: Path | None = None
    transport: str = "direct"
    amqp_url: str = ""
    services: tuple[dict[str, Any], ...] = ()
    rights: tuple[dict[str, Any], ...] = ()
    metadata_only: tuple[str, ...] = ()
    max_body: int = 10 * MIB
    call_timeout: float = 60.0
    freshness_seconds: float = 300.0
    timestamp_seconds: float = 5.0
    stop_seconds: float = 20.0
    lab: bool = True

    def __post_init__(self) -> None:
        if self.transport not in TRANSPORTS:
            raise SettingsError(f"SANDROAD_TRANSPORT={self.transport!r}: expected direct or amqp")
        if self.transport == "direct" and not ADDRESS.match(self.peer_address):
            raise SettingsError(
                f"SANDROAD_PEER_ADDRESS={self.peer_address!r}: over direct, expected the URL that other gateways use"
            )
        if self.transport == "amqp" and not self.amqp_url:
            raise SettingsError("SANDROAD_AMQP_URL is not set, but SANDROAD_TRANSPORT is amqp")
        if not re.fullmatch(rf"{CODE.pattern}/{CODE.pattern}", self.member):
            raise SettingsError(f"SANDROAD_MEMBER={self.member!r}: expected CLASS/CODE, such as GOV/CIVIL")
        if not self.management_token:
            raise SettingsError("SANDROAD_MANAGEMENT_TOKEN is empty: anybody could change access rights")
        if not 1 <= self.max_body <= 32 * MIB:
            raise SettingsError(f"SANDROAD_MAX_BODY={self.max_body}: expected 1 to {32 * MIB} bytes")
        for subsystem in self.subsystems:
            if not isinstance(subsystem, str) or not CODE.fullmatch(subsystem):
                raise SettingsError(f"SANDROAD_SUBSYSTEMS: {subsystem!r} is not a subsystem code")
        for service in self.services:
            check_service(service, self.subsystems)
        for right in self.rights:
            check_right(right)

    @property
    def owner(self) -> str:
        """The member with its instance, ``SANDBOX/GOV/CIVIL``."""
        return f"{self.instance}/{self.member}"

    @property
    def queue(self) -> str:
        """The member's queue at the broker."""
        return f"gateway.{self.instance}.{self.member.replace('/', '.')}"


def check_service(service: Any, subsystems: tuple[str, ...]) -> None:
    """Raise ``SettingsError`` unless ``service`` is a service's declaration of a known subsystem."""
    label = f"SANDROAD_SERVICES: {service.get('code') if isinstance(service, dict) else service!r}"
    if not isinstance(service, dict) or not {"subsystem", "code", "url", "secret"} <= service.keys():
        raise SettingsError(f"{label}: expected an object with subsystem, code, url and secret")
    if unknown := sorted(service.keys() - SERVICE_KEYS):
        raise SettingsError(
            f"{label}: {unknown[0]} is no property of a service; known: {', '.join(sorted(SERVICE_KEYS))}"
        )
    if service["subsystem"] not in subsystems:
        raise SettingsError(f"{label}: subsystem {service['subsystem']!r} is not among SANDROAD_SUBSYSTEMS")
    if not CODE.fullmatch(str(service["code"])):
        raise SettingsError(f"{label}: a service code has letters, digits and '()+,-.=? only")
    if service["url"] and not ADDRESS.match(str(service["url"])):
        raise SettingsError(f"{label}: url {service['url']!r} is not http://host[:port][/path]")
    if service.get("log", "full") not in LOG_MODES:
        raise SettingsError(f"{label}: log is full or metadata")
    timeout, concurrency = service.get("timeout", 60), service.get("concurrency", 16)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 3600:
        raise SettingsError(f"{label}: timeout is a number of seconds up to 3600")
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 10_000:
        raise SettingsError(f"{label}: concurrency is a whole number from 1 to 10000")


def check_right(right: Any) -> None:
    """Raise ``SettingsError`` unless ``right`` is one of the topology's access rights."""
    if not isinstance(right, dict) or not right.keys() >= RIGHT_KEYS:
        raise SettingsError("SANDROAD_RIGHTS: expected objects with subject, service and allow")
    allow = right["allow"]
    if not isinstance(allow, list | tuple) or not allow or not all(isinstance(pattern, str) for pattern in allow):
        raise SettingsError(
            f"SANDROAD_RIGHTS: allow of {right['subject']} is a list of patterns such as 'POST /data/**'"
        )
