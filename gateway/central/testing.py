"""For tests: a real central on loopback, with two members, and gateways that enrol as gateways do."""

import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from gateway.central.app import create_app
from gateway.central.authority import Authority, open_authority
from gateway.central.config import Config
from gateway.trust.anchor import Anchor
from gateway.trust.configuration import GlobalConfiguration, load
from gateway.trust.enrolment import Enrolled, enrol, fetch_configuration
from gateway.trust.signed import sign
from sandroad.testing import as_steward, config_for_tests, served

MEMBERS = (
    {"id": "GOV/CIVIL", "name": "Civil Registration Authority", "subsystems": ["REGISTRY", "IDENTITY"]},
    {"id": "GOV/WELFARE", "name": "Ministry of Social Welfare", "subsystems": ["CASH-TRANSFER"]},
)
OWNERS = {"civil-gateway": "GOV/CIVIL", "welfare-gateway": "GOV/WELFARE"}


@dataclass
class Clock:
    """The real time, moved by a test of expiry."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class CentralUnderTest:
    """A served central, and short words for what tests do with it. ``folder`` is where gateways keep their keys."""

    url: str
    config: Config
    folder: Path
    clock: Clock = field(default_factory=Clock)

    @property
    def anchor(self) -> Anchor:
        """The anchor, as central gives it out."""
        return Anchor.parse(requests.get(f"{self.url}/anchor", timeout=10).content)

    @property
    def authority(self) -> Authority:
        """Central's own keys, for tests that forge."""
        return open_authority(self.config.data, self.config.instance, self.config.country_code)

    def signed(self) -> bytes:
        """Return the configuration as published."""
        return fetch_configuration(f"{self.url}/configuration")

    def load(self, minimum_version: int = 0) -> GlobalConfiguration:
        """Return the configuration, checked."""
        return load(self.signed(), self.anchor, self.clock(), minimum_version)

    def enrol(self, gateway: str, *, token: str = "", folder: str = "", address: str = "", queue: str = "") -> Enrolled:
        """Enrol a gateway with its token and a key in its own folder."""
        return enrol(
            self.url,
            self.folder / (folder or gateway),
            gateway=gateway,
            token=token or token_of(gateway),
            address=address or f"http://127.0.0.1:1/{gateway}",
            queue=queue or f"gateway.{gateway}",
        )

    def control(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Call a control endpoint as the steward."""
        return requests.request(method, f"{self.url}/-{path}", json=body, headers=as_steward(self.config), timeout=10)

    def revoke(self, enrolled: Enrolled, reason: str = "keyCompromise") -> requests.Response:
        """Revoke a gateway's certificate."""
        return self.control("POST", f"/certificates/{enrolled.x5t.hex()}/revocation", {"reason": reason})


@contextlib.contextmanager
def central_under_test(folder: Path, **changed: Any) -> Iterator[CentralUnderTest]:
    """Serve a central whose data are in ``folder``; leaving and entering again is a restart."""
    data = folder / "central"
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    tokens = {gateway: {"member": owner, "sha256": sha256_hex(token_of(gateway))} for gateway, owner in OWNERS.items()}
    settings = {"name": "central", "port": port, "members": MEMBERS, "enrolment_tokens": tokens, **changed}
    config = config_for_tests(Config, data, **settings)
    clock = Clock()
    with served(create_app(config, clock=clock), port) as url:
        yield CentralUnderTest(url, config, folder / "gateways", clock)


def token_of(gateway: str) -> str:
    """Return the enrolment token of a gateway of the tests."""
    return f"enrolment token of {gateway}"


def sha256_hex(text: str) -> str:
    """Return a SHA-256 in hex, as the settings carry token hashes."""
    return hashlib.sha256(text.encode()).hexdigest()


def free_port() -> int:
    """Return a port that is free now; central has to know its own address before it listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def payload_of(signed: bytes) -> dict[str, Any]:
    """Return the payload of a signed configuration, unchecked."""
    payload: dict[str, Any] = json.loads(signed.split(b"\n", 1)[1])
    return payload


def signed_by(authority: Authority, payload: dict[str, Any]) -> bytes:
    """Sign a payload with central's own configuration key: what a thief of that key alone could publish."""
    signer = authority.configuration
    return sign(json.dumps(payload).encode(), signer.key, signer.certificate)
