"""Two members with their gateways and central, as processes of their own, and an echo service behind one of them."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import yaml

from sandroad.country.topology import Topology
from sandroad.running.embedded import Options, prepare, process_folder
from sandroad.running.provision import Provision
from tests.servers import free_block, free_ports

CLIENT = "BENCH/ORG/ASKS/APP"
TARGET = "/r1/BENCH/ORG/ANSWERS/APP/echo/things"


@contextlib.contextmanager
def process(command: list[str], folder: Path, name: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the end of the block, its output in a log."""
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    try:
        yield running
    finally:
        running.terminate()
        try:
            running.wait(20)
        except subprocess.TimeoutExpired:
            running.kill()


def gunicorn(port: int, factory: str) -> list[str]:
    """The command of one gevent worker."""
    return [
        sys.executable, "-m", "gunicorn", "-k", "gevent", "-w", "1", "-b", f"127.0.0.1:{port}", "--worker-connections", "2000",
        "--log-level", "warning", f"tests.bench.peers:{factory}()",
    ]  # fmt: skip


def wait_for(url: str, status: int | None = 200, seconds: float = 60) -> None:
    """Return when ``url`` answers."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(url, timeout=5)
            if status is None or answer.status_code == status:
                return
        if time.monotonic() > deadline:
            raise SystemExit(f"{url} does not answer as it should")
        time.sleep(0.1)


@contextlib.contextmanager
def echo(folder: Path) -> Iterator[str]:
    """The service that both ways end at."""
    (port,) = free_ports(1)
    with process(gunicorn(port, "echo_service"), folder, "echo"):
        wait_for(f"http://127.0.0.1:{port}/", None)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def plain_hops(folder: Path, service: str) -> Iterator[str]:
    """The baseline: the same two hops without signature, verification, log or rights."""
    first, second = free_ports(2)
    further = f"http://127.0.0.1:{second}"
    with (
        process(gunicorn(second, "proxy"), folder, "hop2", BENCH_NEXT=service),
        process(gunicorn(first, "proxy"), folder, "hop1", BENCH_NEXT=further),
    ):
        for port in (first, second):
            wait_for(f"http://127.0.0.1:{port}/", None)
        yield f"http://127.0.0.1:{first}/things"


@contextlib.contextmanager
def gateways(folder: Path, service: str, amqp: str = "", database: str = "") -> Iterator[str]:
    """Central and two gateways; yields the URL of a call through both."""
    country = folder / "country"
    country.mkdir(parents=True)
    services = {"echo": {"concurrency": 256}}
    app = {"name": "echo", "kind": "block", "subsystem": "APP", "managed": False, "url": service, "services": services}
    members = [
        {"id": "ORG/ASKS", "name": "Asks", "gateway": "asks", "subsystems": ["APP"]},
        {"id": "ORG/ANSWERS", "name": "Answers", "gateway": "answers", "subsystems": ["APP"], "apps": [app]},
    ]
    rights = [{"subject": "ORG/ASKS/APP", "service": "ORG/ANSWERS/APP/echo", "allow": ["**"]}]
    topology = {"instance": "BENCH", "members": members, "rights": rights}
    (country / "topology.yaml").write_text(yaml.safe_dump(topology), encoding="utf-8")
    read = Topology.read(country)
    options = Options(folder / "data", country, base_port=free_block(10), amqp=amqp, database=database)
    plan = prepare(options, read, Provision(amqp, database, options.data))
    (folder / "data" / "logs").mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        for each in plan:
            if each.managed:
                settings = process_folder(options.data, each.member, each.name) / "settings.json"
                stack.enter_context(
                    process([sys.executable, "-m", "sandroad", "serve", str(settings)], folder, each.name)
                )
                if each.kind == "central":
                    wait_for(each.health_url)
                    anchor = requests.get(each.url + "/anchor", timeout=10).json()
                    (options.data / "anchor.json").write_text(json.dumps(anchor), encoding="utf-8")
        for each in plan:
            if each.kind == "gateway":
                wait_for(each.health_url)
        asks = next(each for each in plan if each.name == "asks")
        _warm(asks.url + TARGET)
        yield asks.url + TARGET


def _warm(url: str) -> None:
    """Return when a call comes through: the second gateway may not know the first for a moment."""
    deadline = time.monotonic() + 60
    while True:
        answer = requests.post(url, json={}, headers={"X-Road-Client": CLIENT}, timeout=30)
        if answer.status_code == 200:
            return
        if time.monotonic() > deadline:
            raise SystemExit(f"no call comes through: {answer.text[:300]}")
        time.sleep(0.2)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder for one benchmark."""
    with tempfile.TemporaryDirectory(prefix="sandroad-bench-") as name:
        yield Path(name)
