"""Two gateways, central and a service, all real: one network for most tests, fresh ones for those that break things."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.central.testing import CentralUnderTest, central_under_test
from gateway.testing import SECRET, GatewayUnderTest, Reply, ServiceUnderTest, gateway_under_test
from sandroad.country.topology import Topology
from sandroad.running.provision import Provision
from sandroad.running.secrets import Secrets
from sandroad.testing import ROOT

SERVICES: list[dict[str, Any]] = [
    {"subsystem": "REGISTRY", "code": "registry"},
    {"subsystem": "REGISTRY", "code": "quiet", "log": "metadata"},
    {"subsystem": "REGISTRY", "code": "slow", "timeout": 0.3, "concurrency": 2},
    {"subsystem": "REGISTRY", "code": "repeatable", "idempotent": True},
    {"subsystem": "REGISTRY", "code": "named"},
    {"subsystem": "REGISTRY", "code": "narrow"},
    {"subsystem": "IDENTITY", "code": "forbidden"},
]
OPEN = [service["code"] for service in SERVICES if service["code"] not in ("narrow", "forbidden")]


@dataclass
class Network:
    """What the tests play with."""

    central: CentralUnderTest
    civil: GatewayUnderTest
    welfare: GatewayUnderTest
    service: ServiceUnderTest
    stop_central: Callable[[], None]

    def executed(self, method: str = "POST") -> int:
        """Return how often the service was called."""
        return sum(seen.method == method for seen in self.service.seen)


def provider_settings(url: str) -> dict[str, Any]:
    """Return services and rights of the provider."""
    by_name = url.replace("127.0.0.1", "localhost")
    services = [
        {"url": by_name if service["code"] == "named" else url, "secret": SECRET, **service} for service in SERVICES
    ]
    services += [
        {"subsystem": "REGISTRY", "code": "down", "url": "http://127.0.0.1:9", "secret": SECRET},
        {"subsystem": "REGISTRY", "code": "nowhere", "url": "", "secret": SECRET},
    ]
    subject = "GOV/WELFARE/CASH-TRANSFER"
    rights = [
        {"subject": subject, "service": f"GOV/CIVIL/REGISTRY/{code}", "allow": ["**"]}
        for code in [*OPEN, "down", "nowhere"]
    ]
    rights.append(
        {
            "subject": subject,
            "service": "GOV/CIVIL/REGISTRY/narrow",
            "allow": ["POST /data/*/read", "GET /open/**"],
            "data_agreement": "DA-1",
        }
    )
    return {"services": services, "rights": rights}


@contextlib.contextmanager
def running_network(
    folder: Path,
    *,
    central: dict[str, Any] | None = None,
    over: Callable[[str], dict[str, Any]] = lambda _member: {},
    **changed: Any,
) -> Iterator[Network]:
    """Run everything; ``central`` changes central's settings, ``changed`` both gateways', ``over`` each member's."""
    service = ServiceUnderTest()
    with contextlib.ExitStack() as stack:
        stack.callback(service.close)
        running_central = stack.enter_context(contextlib.ExitStack())
        authority = running_central.enter_context(central_under_test(folder, **(central or {})))
        provider = provider_settings(service.url) | changed
        civil = gateway_under_test(
            "civil-gateway", "GOV/CIVIL", authority, folder / "civil", **provider, **over("GOV/CIVIL")
        )
        welfare = gateway_under_test(
            "welfare-gateway", "GOV/WELFARE", authority, folder / "welfare", **changed, **over("GOV/WELFARE")
        )
        civil_gateway, welfare_gateway = stack.enter_context(civil), stack.enter_context(welfare)
        yield Network(authority, civil_gateway, welfare_gateway, service, running_central.close)


@pytest.fixture(scope="session")
def shared_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with running_network(tmp_path_factory.mktemp("network")) as network:
        yield network


@pytest.fixture
def network(shared_network: Network) -> Network:
    """The shared network with a service that has seen nothing and answers ``done``."""
    shared_network.service.seen.clear()
    shared_network.service.answer = lambda _seen: Reply()
    return shared_network


@pytest.fixture
def fresh_network(tmp_path: Path) -> Iterator[Network]:
    with running_network(tmp_path) as network:
        yield network


@pytest.fixture(params=["direct", "amqp"])
def network_over(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Network]:
    """A fresh network over each transport."""
    if request.param == "direct":
        with running_network(tmp_path) as network:
            yield network
        return
    provision = Provision(request.getfixturevalue("amqp_admin_url"), "", tmp_path)
    provision.make(Topology.read(ROOT / "country"), Secrets(tmp_path / "steward"))

    def over(member: str) -> dict[str, Any]:
        return {"transport": "amqp", "amqp_url": provision.broker_url(member), "peer_address": ""}

    with running_network(tmp_path, over=over) as network:
        yield network


MakeNetwork = Callable[..., contextlib.AbstractContextManager[Network]]


@pytest.fixture
def make_network(tmp_path: Path) -> MakeNetwork:
    return lambda **changed: running_network(tmp_path, **changed)
