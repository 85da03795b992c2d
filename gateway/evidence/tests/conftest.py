"""Authorities and containers that the evidence tests share; made once, because keys take time."""

import pytest

from gateway.evidence.container import Evidence
from gateway.evidence.tests.authorities import Authorities, signer_of
from gateway.signature import Signer


@pytest.fixture(scope="session")
def authorities() -> Authorities:
    return Authorities()


@pytest.fixture(scope="session", params=["EC", "RSA"])
def signer(request, authorities) -> Signer:
    return signer_of(authorities, kind=request.param)


@pytest.fixture(scope="session")
def welfare(authorities) -> Signer:
    return signer_of(authorities)


@pytest.fixture(scope="session")
def evidence(authorities, welfare) -> Evidence:
    return authorities.evidence(welfare)
