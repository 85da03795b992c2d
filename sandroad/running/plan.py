"""The plan of a sandbox: every process with its address and its settings. Pure: no files, no processes."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sandroad.country.topology import App, Member, Topology
from sandroad.running.secrets import Secrets

PORTS_PER_SANDBOX = 100
CENTRAL = "central"
CENTRAL_PACKAGE = "gateway.central"
GATEWAY_PACKAGE = "gateway"


class TooManyProcesses(Exception):
    """The country needs more ports than a sandbox has."""


@dataclass(frozen=True)
class Process:
    """One process: ``run`` is the function ``module:name`` that serves it, ``settings`` what it is told (``SANDROAD_…``)."""

    name: str
    member: str
    kind: str
    run: str
    settings: Mapping[str, Any] = field(repr=False)
    url: str = ""
    public_url: str = ""
    management_url: str = ""
    health_url: str = ""
    managed: bool = True
    subsystem: str = ""


class Addresses(Protocol):
    """Where processes listen and are reached, in one shape of the sandbox."""

    host: str

    def port(self, name: str, role: str) -> int:
        """Return the port on which process ``name`` listens in this role (``main``, ``peer``, ``management``)."""

    def url(self, name: str, role: str) -> str:
        """Return the URL by which other processes reach it."""

    def public_url(self, name: str) -> str:
        """Return the URL by which a browser on this machine reaches it."""

    def data(self, member: str, name: str) -> Path:
        """Return the process's own folder, as it sees it."""

    def database(self, name: str) -> str:
        """Return the SQLAlchemy URL of the process's own database."""

    def broker(self, member: str) -> str:
        """Return the AMQP URL of a member's own user, empty on the direct transport."""

    def anchor(self) -> str:
        """Return the path of the trust anchor as gateways see it, empty if they fetch it from central."""


@dataclass(frozen=True)
class Shape:
    """How the sandbox runs, besides addresses."""

    transport: str
    contracts: Path
    country: Path
    lab: bool = True


def processes(topology: Topology, addresses: Addresses, secrets: Secrets, shape: Shape) -> list[Process]:
    """Return every process: central first, then gateways, then blocks, then use cases."""
    blocks = [_app(m, a, topology, addresses, secrets, shape) for m, a in topology.apps()]
    return [
        _central(topology, addresses, secrets, shape),
        *(_gateway(member, topology, addresses, secrets, shape) for member in topology.members),
        *(block for block in blocks if block.kind == "block"),
        *(block for block in blocks if block.kind != "block"),
    ]


def listeners(topology: Topology) -> Iterator[tuple[str, str]]:
    """Yield (process, role) of everything that listens, in the order in which ports are given out."""
    yield CENTRAL, "main"
    for role in ("main", "peer", "management"):
        for member in topology.members:
            yield member.gateway, role
    for _, app in topology.apps():
        if app.managed:
            yield app.name, "main"


def ports(topology: Topology, base: int) -> dict[tuple[str, str], int]:
    """Give out the ports of a sandbox's block of 100."""
    wanted = list(listeners(topology))
    if len(wanted) > PORTS_PER_SANDBOX:
        raise TooManyProcesses(f"this country needs {len(wanted)} ports, a sandbox has {PORTS_PER_SANDBOX}")
    return {listener: base + offset for offset, listener in enumerate(wanted)}


def _central(topology: Topology, addresses: Addresses, secrets: Secrets, shape: Shape) -> Process:
    url = addresses.url(CENTRAL, "main")
    tokens = {
        member.gateway: {
            "member": member.id,
            "sha256": hashlib.sha256(secrets.enrolment(member.gateway).encode()).hexdigest(),
        }
        for member in topology.members
    }
    settings = {
        "SANDROAD_NAME": CENTRAL,
        "SANDROAD_INSTANCE": topology.instance,
        "SANDROAD_COUNTRY_CODE": topology.country,
        "SANDROAD_HOST": addresses.host,
        "SANDROAD_PORT": addresses.port(CENTRAL, "main"),
        "SANDROAD_URL": url,
        "SANDROAD_DATABASE": addresses.database(CENTRAL),
        "SANDROAD_DATA": str(addresses.data("", CENTRAL)),
        "SANDROAD_MANAGEMENT_TOKEN": secrets.management(CENTRAL),
        "SANDROAD_CONTRACTS": str(shape.contracts),
        "SANDROAD_COUNTRY": str(shape.country),
        "SANDROAD_MEMBERS": [{"id": m.id, "name": m.name, "subsystems": list(m.subsystems)} for m in topology.members],
        "SANDROAD_ENROLMENT_TOKENS": tokens,
    }
    return Process(
        CENTRAL,
        "",
        "central",
        f"{CENTRAL_PACKAGE}.app:run",
        settings,
        url,
        addresses.public_url(CENTRAL),
        url,
        f"{url}/-/health",
    )


def _gateway(member: Member, topology: Topology, addresses: Addresses, secrets: Secrets, shape: Shape) -> Process:
    name = member.gateway
    management = addresses.url(name, "management")
    settings = {
        "SANDROAD_NAME": name,
        "SANDROAD_INSTANCE": topology.instance,
        "SANDROAD_MEMBER": member.id,
        "SANDROAD_HOST": addresses.host,
        "SANDROAD_PORT": addresses.port(name, "main"),
        "SANDROAD_PEER_PORT": addresses.port(name, "peer"),
        "SANDROAD_PEER_ADDRESS": addresses.url(name, "peer"),
        "SANDROAD_MANAGEMENT_PORT": addresses.port(name, "management"),
        "SANDROAD_DATABASE": addresses.database(name),
        "SANDROAD_DATA": str(addresses.data(member.id, name)),
        "SANDROAD_CENTRAL_URL": addresses.url(CENTRAL, "main"),
        "SANDROAD_ENROLMENT_TOKEN": secrets.enrolment(name),
        "SANDROAD_TRANSPORT": shape.transport,
        "SANDROAD_AMQP_URL": addresses.broker(member.id),
        "SANDROAD_MANAGEMENT_TOKEN": secrets.management(name),
        "SANDROAD_SUBSYSTEMS": list(member.subsystems),
        "SANDROAD_SERVICES": [
            _service(app, code, service, addresses, secrets)
            for app in member.apps
            for code, service in app.services.items()
        ],
        "SANDROAD_RIGHTS": [dict(right) for s in member.subsystems for right in topology.rights_on(member, s)],
        "SANDROAD_METADATA_ONLY": _metadata_only(topology),
        "SANDROAD_LAB": shape.lab,
    }
    if addresses.anchor():
        settings["SANDROAD_ANCHOR"] = addresses.anchor()
    return Process(
        name,
        member.id,
        "gateway",
        f"{GATEWAY_PACKAGE}.app:run",
        settings,
        addresses.url(name, "main"),
        addresses.public_url(name),
        management,
        f"{management}/-/health",
    )


def _metadata_only(topology: Topology) -> list[str]:
    """Return the services whose contents no gateway keeps, on either side: one-time codes, say."""
    return [
        f"{member.id}/{app.subsystem}/{code}"
        for member, app in topology.apps()
        for code, service in app.services.items()
        if service.get("log") == "metadata"
    ]


def _service(app: App, code: str, service: Mapping[str, Any], addresses: Addresses, secrets: Secrets) -> dict[str, Any]:
    url = addresses.url(app.name, "main") if app.managed else app.url
    return {"subsystem": app.subsystem, "code": code, "url": url, "secret": secrets.gateway(app.name), **service}


def _app(member: Member, app: App, topology: Topology, addresses: Addresses, secrets: Secrets, shape: Shape) -> Process:
    if not app.managed:
        health = app.url.rstrip("/") + app.health if app.health else ""
        return Process(app.name, member.id, app.kind, "", {}, app.url, app.url, app.url, health, managed=False)
    url, public = addresses.url(app.name, "main"), addresses.public_url(app.name)
    settings: dict[str, Any] = {
        "SANDROAD_NAME": app.name,
        "SANDROAD_INSTANCE": topology.instance,
        "SANDROAD_MEMBER": member.id,
        "SANDROAD_SUBSYSTEM": app.subsystem,
        "SANDROAD_HOST": addresses.host,
        "SANDROAD_PORT": addresses.port(app.name, "main"),
        "SANDROAD_PUBLIC_URL": public,
        "SANDROAD_DATABASE": addresses.database(app.name),
        "SANDROAD_GATEWAY_URL": addresses.url(member.gateway, "main"),
        "SANDROAD_GATEWAY_SECRET": secrets.gateway(app.name),
        "SANDROAD_MANAGEMENT_TOKEN": secrets.management(app.name),
        "SANDROAD_CONTRACTS": str(shape.contracts),
        "SANDROAD_COUNTRY": str(shape.country),
        "SANDROAD_DATA": str(addresses.data(member.id, app.name)),
        "SANDROAD_CURRENCY": topology.currency,
        "SANDROAD_LAB": shape.lab,
        "SANDROAD_RIGHTS": [dict(right) for right in topology.rights_on(member, app.subsystem)],
    }
    settings |= {f"SANDROAD_{key.upper()}": value for key, value in app.settings.items()}
    settings |= {f"SANDROAD_{key.upper()}": _used(used, topology, addresses) for key, used in app.uses.items()}
    return Process(
        app.name,
        member.id,
        app.kind,
        f"{app.package}.app:run",
        settings,
        url,
        public,
        url,
        f"{url}/-/health",
        subsystem=app.subsystem,
    )


def _used(name: str, topology: Topology, addresses: Addresses) -> str:
    """Return the browser-facing URL of a neighbour: its issuer if it is somebody else's product."""
    app = next(app for _, app in topology.apps() if app.name == name)
    return addresses.public_url(name) if app.managed else app.issuer or app.url
