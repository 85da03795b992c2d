"""One published configuration for all tests of this folder: they change copies of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.central.authority import Authority
from gateway.central.testing import CentralUnderTest, central_under_test
from gateway.trust.anchor import Anchor
from gateway.trust.enrolment import Enrolled


@dataclass(frozen=True)
class PublishedOnce:
    """What central published when two gateways had enrolled, and central's own keys for the forger."""

    signed: bytes
    anchor: Anchor
    authority: Authority
    civil: Enrolled
    welfare: Enrolled
    now: datetime


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralUnderTest]:
    with central_under_test(Path(tmp_path_factory.mktemp("trust"))) as central:
        yield central


@pytest.fixture(scope="session")
def published(running: CentralUnderTest) -> PublishedOnce:
    civil, welfare = running.enrol("civil-gateway"), running.enrol("welfare-gateway")
    return PublishedOnce(running.signed(), running.anchor, running.authority, civil, welfare, datetime.now(UTC))
