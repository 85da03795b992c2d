"""Whole sandboxes for journeys: embedded alone, and embedded on a real RabbitMQ and PostgreSQL."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandroad.running.client import Sandbox
from tests.servers import free_block

SANDROAD = [sys.executable, "-m", "sandroad"]


class Journey:
    """One running sandbox and the command line that steers it."""

    def __init__(self, data: Path, environment: dict[str, str]) -> None:
        self.data = data
        self.environment = {**os.environ, **environment, "SANDROAD_DATA": str(data)}

    def run(self, *words: str, check: bool = True, timeout: float = 170) -> "subprocess.CompletedProcess[str]":
        """Run ``sandroad WORDS``; with ``check`` a failure fails the test, with all that was said."""
        done = subprocess.run(
            [*SANDROAD, *words], env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"sandroad {' '.join(words)}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
            )
        return done

    def json(self, *words: str) -> Any:
        """Run a command that prints one JSON object."""
        return json.loads(self.run(*words, "--json").stdout)

    @property
    def sandbox(self) -> Sandbox:
        return Sandbox(self.data)


def start(data: Path, **environment: str) -> Iterator[Journey]:
    """Start a sandbox; stop it at the end."""
    journey = Journey(data, environment)
    journey.run("up", "--base-port", str(free_block()))
    try:
        yield journey
    finally:
        journey.run("down", check=False)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """The default: one machine, SQLite, ``direct``."""
    yield from start(tmp_path_factory.mktemp("embedded") / "sandbox")


@pytest.fixture(scope="session")
def on_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journey]:
    """Embedded processes on RabbitMQ and PostgreSQL."""
    amqp, database = os.environ.get("SANDROAD_TEST_AMQP"), os.environ.get("SANDROAD_TEST_POSTGRESQL")
    if not amqp or not database:
        pytest.skip("no RabbitMQ or no PostgreSQL: scripts/test starts both")
    data = tmp_path_factory.mktemp("servers") / "sandbox"
    yield from start(data, SANDROAD_AMQP=amqp, SANDROAD_DATABASE=database)


@pytest.fixture(params=["embedded", "on_servers"])
def journey(request: pytest.FixtureRequest) -> Journey:
    """Both shapes, one after the other."""
    return request.getfixturevalue(request.param)
