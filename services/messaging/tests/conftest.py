"""Fixtures: the messaging block over real HTTP, and a counterpart of the own gateway that takes its callbacks."""

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import requests
from flask import Flask, request

from sandroad.testing import as_client, as_steward, config_for_tests, fresh_postgresql_database, served
from sandroad.web import Running
from services.messaging.app import create_app
from services.messaging.config import Config

T = TypeVar("T")
WELFARE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"


@dataclass
class Block:
    """A served messaging block, and calls as the own gateway makes them."""

    url: str
    config: Config

    def post(self, path: str, body: Any, *, client: str = WELFARE, message_id: str = "") -> requests.Response:
        headers = as_client(self.config, client) | ({"X-Road-Id": message_id} if message_id else {})
        return requests.post(self.url + path, json=body, headers=headers, timeout=10)

    def status(self, uid: str, channel: str = "sms", *, client: str = WELFARE, base: str = "/v1") -> dict[str, int]:
        names = ["scheduled", "processing", "deferred", "bounced", "notSent", "delivered"]
        headers = as_client(self.config, client) | {"requestUid": uid}
        answer = requests.get(
            f"{self.url}{base}/status/{channel}", params={"status": names}, headers=headers, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait_for(self, uid: str, counter: str, count: int = 1, channel: str = "sms") -> dict[str, int]:
        return until(lambda: found if (found := self.status(uid, channel))[counter] == count else None)

    def inbox(self, address: str, after: int = 0) -> list[dict[str, Any]]:
        answer = requests.get(f"{self.url}/inbox/{address}.json", params={"after": after}, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["messages"]

    def fault(self, name: str, **parameters: Any) -> None:
        answer = requests.put(
            f"{self.url}/-/faults/{name}", json=parameters, headers=as_steward(self.config), timeout=10
        )
        assert answer.status_code == 200, answer.text


def until(look: Callable[[], T | None], seconds: float = 10) -> T:
    """Look until there is something; real work is waited for, at most ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@dataclass
class OwnGateway:
    """What the block's own gateway was asked to carry."""

    url: str = ""
    calls: list[dict[str, Any]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)


@pytest.fixture
def own_gateway() -> Iterator[OwnGateway]:
    gateway, app = OwnGateway(), Flask("gateway-counterpart")

    @app.post("/r1/<path:path>")
    def carry(path: str) -> Any:
        call = {"path": "/r1/" + path, "headers": dict(request.headers), "body": json.loads(request.data)}
        gateway.calls.append(call)
        return {}, gateway.answers.pop(0) if gateway.answers else 200

    app.extensions["sandroad"] = Running(None, None)  # type: ignore[arg-type]
    with served(app) as url:
        gateway.url = url
        yield gateway


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


@pytest.fixture
def config(tmp_path: Path, own_gateway: OwnGateway) -> Config:
    return config_for_tests(
        Config, tmp_path, member="GOV/DIGITAL", subsystem="MESSAGING", gateway_url=own_gateway.url, first_wait=0.05
    )


@pytest.fixture
def block(config: Config) -> Iterator[Block]:
    with served(create_app(config)) as url:
        yield Block(url, config)
