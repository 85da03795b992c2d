"""Fixtures: the consent block over real HTTP, and what the own gateway and the member's administrator send it."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from sandroad.testing import as_client, as_steward, config_for_tests, fresh_postgresql_database, served
from services.consent.app import create_app
from services.consent.config import Config
from services.consent.keys import OwnKeys

WELFARE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
CIVIL = "SANDBOX/GOV/CIVIL/REGISTRY"
AGREEMENT = "DA-CT01-VERIFY"
AMINA = "CT01-AAAAAAAAAAAAAA7"
BINTA = "CT01-BBBBBBBBBBBBBB7"

POLICY = {
    "id": "POL-WELFARE",
    "name": "Privacy policy of the Ministry of Social Welfare",
    "version": "1",
    "url": "https://welfare.qz.example/privacy/1",
    "dataRetentionPeriodDays": 730,
}
DATA_AGREEMENT = {
    "id": AGREEMENT,
    "version": "1.1.0",
    "controller": {"id": "GOV/WELFARE", "name": "Ministry of Social Welfare", "url": "https://welfare.qz.example"},
    "policy": {"id": "POL-WELFARE"},
    "purpose": "Find out whether your household may get the Household Support Grant",
    "lawfulBasis": "consent",
    "dpia": "https://welfare.qz.example/dpia/ct01",
    "programme": "CT-01",
    "attributes": [
        {"name": "firstName", "title": "First name", "source": "Civil Registration", "sensitivity": "low", "category": "identity"},
        {"name": "incomeBand", "title": "Your income band", "source": "Treasury", "sensitivity": "high", "category": "money"},
    ],
}  # fmt: skip


@dataclass
class Block:
    """A served consent block; every call as the own gateway or the administrator makes it."""

    url: str
    config: Config

    def call(
        self, method: str, path: str, body: Any = None, *, client: str = WELFARE, **headers: str
    ) -> requests.Response:
        sent = as_client(self.config, client) if client else as_steward(self.config)
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return requests.request(method, self.url + path, json=body, headers=sent, timeout=10)

    def ok(self, method: str, path: str, body: Any = None, *, client: str = WELFARE, **headers: str) -> Any:
        answer = self.call(method, path, body, client=client, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.content else None

    def refused(self, method: str, path: str, body: Any = None, *, client: str = WELFARE, **headers: str) -> str:
        answer = self.call(method, path, body, client=client, **headers)
        assert answer.status_code >= 400, answer.text
        assert answer.headers["Content-Type"] == "application/problem+json"
        return f"{answer.status_code} {answer.json()['code']}"

    def draft(self, individual: str = AMINA, agreement: str = AGREEMENT, *, client: str = WELFARE) -> dict[str, Any]:
        path = f"/service/individual/record/consent-record/draft/?individualId={individual}&dataAgreementId={agreement}"
        return self.ok("POST", path, client=client)

    def grant_on_paper(self, individual: str = AMINA) -> dict[str, Any]:
        return self.ok("POST", "/service/individual/record/consent-record/", attested(self.draft(individual)))

    def withdraw(self, record_id: str, individual: str = AMINA) -> dict[str, Any]:
        path = f"/service/individual/record/consent-record/{record_id}/?individualId={individual}"
        return self.ok("PUT", path, {"consentRecord": {"optIn": False}})

    def verified(self, *individuals: str, agreement: str = AGREEMENT) -> list[str]:
        body = {"dataAgreementId": agreement, "individualIds": list(individuals or [AMINA])}
        found = self.ok("POST", "/service/verification/consent-records/", body, client=CIVIL)
        return [row["individualId"] for row in found["consentRecords"]]

    def integrity(self) -> dict[str, Any]:
        return self.ok("GET", "/-/integrity", client="")


def attested(draft: dict[str, Any], officer: str = "registrar@welfare.qz.example") -> dict[str, Any]:
    """Return a draft as an officer hands it back with a paper form."""
    form = {
        "verificationMethod": "officer-attestation",
        "verificationSignedBy": officer,
        "verificationArtifact": "form CT-01/2026/17",
    }
    return {"consentRecord": draft["consentRecord"], "signature": draft["signature"] | form}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/app.db"
        return
    admin = os.environ.get("SANDROAD_TEST_POSTGRESQL")
    if not admin:
        pytest.skip("SANDROAD_TEST_POSTGRESQL names no server")
    with fresh_postgresql_database(admin) as url:
        yield url


@pytest.fixture(scope="session")
def made_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys as a first start makes them; making an RSA key for every test would take longer than the tests."""
    folder = tmp_path_factory.mktemp("keys")
    OwnKeys(folder)
    return folder


@pytest.fixture
def config(tmp_path: Path, made_keys: Path) -> Config:
    shutil.copytree(made_keys, tmp_path, dirs_exist_ok=True)
    return config_for_tests(Config, tmp_path, member="GOV/DIGITAL", subsystem="CONSENT")


@pytest.fixture
def empty_block(config: Config) -> Iterator[Block]:
    with served(create_app(config)) as url:
        yield Block(url, config)


@pytest.fixture
def block(empty_block: Block) -> Block:
    """A block in which the agreement is described."""
    empty_block.ok("POST", "/config/policy/", {"policy": POLICY}, client="")
    empty_block.ok("POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT}, client="")
    return empty_block
