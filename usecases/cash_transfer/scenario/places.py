"""Where everything is: the story's words (the population registry, messaging) mapped to the processes that play them."""

from collections.abc import Mapping
from typing import Any

from sandroad.country.topology import Topology
from sandroad.running.client import Running, Sandbox, Steward

PACKAGE = "usecases.cash_transfer"


class Places:
    """The organisations that the ministry's app works with, by the settings that the topology gives it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.topology = Topology.read(sandbox.country)
        member, app = next((m, a) for m, a in self.topology.apps() if a.package == PACKAGE)
        self.settings: Mapping[str, Any] = app.settings
        self.client = f"{self.topology.instance}/{member.id}/{app.subsystem}"
        self.ministry: Running = sandbox.process(app.name)
        self.identity: Running = sandbox.process(app.uses["identity_issuer"])
        self.names = {member.id: member.name for member in self.topology.members}

    def app(self, setting: str) -> Running:
        """Return the process behind one of the app's settings, such as ``population``."""
        _, member_class, member_code, subsystem, service = str(self.settings[setting]).split("/")
        for member, app in self.topology.apps():
            if member.id == f"{member_class}/{member_code}" and app.subsystem == subsystem and service in app.services:
                return self.sandbox.process(app.name)
        raise LookupError(f"nobody runs {self.settings[setting]}")

    def gateway_of(self, setting: str) -> Steward:
        """Return the steward's access to the gateway before a service."""
        gateway = self.sandbox.gateway_of("/".join(str(self.settings[setting]).split("/")[1:3]))
        return self.sandbox.steward(gateway.name)

    @property
    def own_gateway(self) -> Running:
        """The ministry's gateway."""
        return self.sandbox.gateway_of("/".join(self.client.split("/")[1:3]))

    @property
    def addresses(self) -> dict[str, str]:
        """Addresses as pages show them → as this process reaches them (they differ in containers)."""
        return {p.public_url: p.url for p in self.sandbox.processes if p.public_url and p.public_url != p.url}

    def contract_of(self, service: str) -> str:
        """Return which contract a service keeps, such as ``payments``; empty if nobody here offers it."""
        for member, app in self.topology.apps():
            for code, terms in app.services.items():
                if service == f"{self.topology.instance}/{member.id}/{app.subsystem}/{code}":
                    return str(terms.get("contract", ""))
        return ""

    def member_name(self, identifier: str) -> str:
        """Return an organisation's name for an X-Road identifier."""
        return self.names.get("/".join(identifier.split("/")[1:3]), identifier)
