"""SIGKILL in the middle of a batch of 2,000: each instruction is paid exactly once, and the books agree."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import requests

PROGRAM = "import json, sys; from services.{0}.app import run; run(json.load(open(sys.argv[1])))"


class Process:
    """An app in a process of its own, to be killed and started again on the same data."""

    def __init__(self, block: str, config: Any, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        values = {**asdict(config), "port": self.port, "check_responses": False, "threads": 4}
        self.settings = folder / f"{config.name}-{self.port}.json"
        plain = {f"SANDROAD_{k.upper()}": str(v) if isinstance(v, Path) else v for k, v in values.items()}
        self.settings.write_text(json.dumps(plain), encoding="utf-8")
        self.block, self.url = block, f"http://127.0.0.1:{self.port}"
        self.running: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start, and wait until the app says that it is healthy."""
        command = [sys.executable, "-c", PROGRAM.format(self.block), str(self.settings)]
        self.running = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[3], stderr=subprocess.DEVNULL)
        while True:
            assert self.running.poll() is None, f"{self.block} ended at its start"
            try:
                if requests.get(self.url + "/-/health", timeout=5).status_code == 200:
                    return
            except requests.ConnectionError:
                os.sched_yield()

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.running is not None
        os.kill(self.running.pid, signal.SIGKILL)
        self.running.wait()


@pytest.fixture
def killable(make_network: Any) -> Iterator[Any]:
    """A network in which payments and all institutions are processes of their own."""
    network = make_network(largest_sub_batch=40)
    with ExitStack() as stack:
        network.processes = {}
        for code, config in network.fsp_configs.items():
            fresh = type(config)(**{**asdict(config), "database": config.database.replace(".db", "-own.db")})
            process = network.processes[code] = Process("fsp", fresh, network.folder)
            stack.callback(process.kill)
            network.urls[code] = process.url
            network.relay.services[f"SANDBOX/{config.member}/ACCOUNTS/accounts"] = (process.url, config.gateway_secret)
        config = network.payments_config(largest_sub_batch=40)
        secrets = {"gateway_secret": network.config.gateway_secret, "management_token": network.config.management_token}
        fresh = type(config)(**{**asdict(config), **secrets, "database": config.database.replace(".db", "-own.db")})
        process = network.processes["PAYMENTS"] = Process("payments", fresh, network.folder)
        stack.callback(process.kill)
        network.url = process.url
        network.relay.services["SANDBOX/GOV/TREASURY/PAYMENTS/payments"] = (process.url, network.config.gateway_secret)
        yield network


def ongoing(network: Any) -> int:
    """Return how many instructions are open, read past payments, which may be dead."""
    with contextlib.closing(sqlite3.connect(network.folder / "payments-own.db")) as database:
        return database.execute("SELECT count(*) FROM instructions WHERE state = 'ongoing'").fetchone()[0]


@pytest.mark.timeout(170)
@pytest.mark.parametrize("victims", [["PAYMENTS"], ["KITE"], ["HARBOUR"], ["PAYMENTS", "DELTA"]], ids="-".join)
def test_a_killed_process_pays_each_instruction_once(killable: Any, victims: list[str]) -> None:
    network = killable
    network.fund("20000.00")
    network.people(2000)
    network.pay("BATCH1", list(range(1, 2001)))
    in_the_middle = 0
    for progress in (1, 400, 1100):
        network.sink.wait_for(lambda told, p=progress: any(body["completed"] >= p for _, body in told))
        for victim in victims:
            network.processes[victim].kill()
        in_the_middle += ongoing(network) > 0
        for victim in victims:
            network.processes[victim].start()
    assert in_the_middle, "the batch was over before anything was killed"
    end = network.settled("BATCH1", seconds=120)
    assert (end["completed"], end["failed"], end["completed_amount"]) == (2000, 0, 20000)
    assert network.conserved()["credited"] == 20000
    credits = [row for code in network.urls for row in network.fsp_steward(code, "GET", "/-/export/credits")]
    assert len(credits) == len({row["instructionID"] for row in credits}) == 2000
    for code in network.urls:
        for account in network.fsp_steward(code, "GET", "/-/export/accounts"):
            assert account["balance"] == ("0.00" if account["account"] == "0000000001" else "10.00")
