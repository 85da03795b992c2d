"""What central has answered it keeps, on SQLite and PostgreSQL, over restarts and SIGKILL."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec

from gateway.central.testing import CentralUnderTest, central_under_test, free_port, sha256_hex, token_of
from gateway.trust.anchor import Anchor
from gateway.trust.configuration import load
from gateway.trust.enrolment import certificate_request, enrol, fetch_configuration
from gateway.trust.refusals import CentralUnavailable, EnrolmentRefused
from sandroad.clock import system_clock

GATEWAYS = [f"gateway-{number}" for number in range(40)]
ROUNDS = 4


def test_a_life_of_central_on_each_database(tmp_path: Path, database: str) -> None:
    with central_under_test(tmp_path, database=database) as central:
        old, other = central.enrol("civil-gateway"), central.enrol("welfare-gateway")
        central.revoke(old)
        token = central.control("POST", "/gateways/civil-gateway/token", {"member": "GOV/CIVIL"}).json()["token"]
        new = central.enrol("civil-gateway", token=token, folder="new key")
        central.control("PUT", "/members/COM/NEW-BANK", {"name": "New Bank", "subsystems": ["ACCOUNTS"]})
        version = central.load().version
    with central_under_test(tmp_path, database=database) as central:
        configuration = central.load(minimum_version=version + 1)
        statuses = {x5t: entry.status for x5t, entry in configuration.certificates.items()}
        assert statuses == {old.x5t: "revoked", other.x5t: "good", new.x5t: "good"}
        assert configuration.knows_client("SANDBOX/COM/NEW-BANK/ACCOUNTS")
        with pytest.raises(EnrolmentRefused):
            central.enrol("civil-gateway", folder="third key")


def test_one_of_many_keys_wins_on_each_database(tmp_path: Path, database: str) -> None:
    with central_under_test(tmp_path, database=database) as central, ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: _enrolment_status(central), range(16)))
        assert sorted(statuses) == [200] + [409] * 15
        assert len(central.load().certificates) == 1


def test_a_certificate_that_was_answered_survives_sigkill(tmp_path: Path) -> None:
    """Central is killed in a crowd of enrolments, several times, each time at another moment, and started again."""
    port = free_port()
    answered: dict[str, bytes] = {}
    for number in range(ROUNDS):
        with _central_process(tmp_path, port) as process:
            _kill_while_enrolling(process, port, tmp_path, answered, after=1 + number * len(GATEWAYS) // (ROUNDS + 1))
    assert answered
    with _central_process(tmp_path, port):
        anchor = Anchor.parse(requests.get(f"http://127.0.0.1:{port}/anchor", timeout=10).content)
        configuration = load(fetch_configuration(anchor.configuration_url), anchor, system_clock())
    published = {entry.gateway: entry.der for entry in configuration.certificates.values()}
    assert answered.items() <= published.items()
    assert len(configuration.certificates) == len(published), "a key was certified twice"


def _kill_while_enrolling(
    process: "subprocess.Popen[bytes]", port: int, folder: Path, answered: dict[str, bytes], after: int
) -> None:
    """Enrol all gateways at once; kill central as soon as ``after`` of them have an answer."""
    enough = threading.Event()
    count = iter(range(1, len(GATEWAYS) + 1))

    def one(gateway: str) -> None:
        try:
            enrolled = enrol(
                f"http://127.0.0.1:{port}",
                folder / gateway,
                gateway=gateway,
                token=token_of(gateway),
                address="",
                queue="",
            )
        except CentralUnavailable:
            return
        first = answered.setdefault(gateway, enrolled.certificate_der)
        assert first == enrolled.certificate_der, f"{gateway} was given a second certificate"
        if next(count) >= after:
            enough.set()

    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(one, gateway) for gateway in GATEWAYS]
        assert enough.wait(60)
        os.kill(process.pid, signal.SIGKILL)
    for each in running:
        each.result()


@contextmanager
def _central_process(folder: Path, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run central as the supervisor does, in a process of its own."""
    settings = {
        "SANDROAD_PORT": port,
        "SANDROAD_DATABASE": f"sqlite:///{folder}/central.db",
        "SANDROAD_DATA": str(folder / "central"),
        "SANDROAD_MANAGEMENT_TOKEN": "steward",
        "SANDROAD_MEMBERS": [{"id": "GOV/CIVIL", "name": "Civil Registration Authority", "subsystems": ["REGISTRY"]}],
        "SANDROAD_ENROLMENT_TOKENS": {
            gateway: {"member": "GOV/CIVIL", "sha256": sha256_hex(token_of(gateway))} for gateway in GATEWAYS
        },
    }
    program = "import json, sys; from gateway.central.app import run; run(json.loads(sys.argv[1]))"
    process = subprocess.Popen([sys.executable, "-c", program, json.dumps(settings)])
    try:
        _until_healthy(process, port)
        yield process
    finally:
        process.kill()
        process.wait(20)


def _until_healthy(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "central ended"
        try:
            if requests.get(f"http://127.0.0.1:{port}/-/health", timeout=5).json()["healthy"]:
                return
        except requests.RequestException:
            time.sleep(0.05)
    raise AssertionError("central did not become healthy")


def _enrolment_status(central: CentralUnderTest) -> int:
    csr = certificate_request(ec.generate_private_key(ec.SECP256R1()), "civil-gateway").decode()
    body = {"gateway": "civil-gateway", "token": token_of("civil-gateway"), "csr": csr, "address": "", "queue": ""}
    return requests.post(f"{central.url}/enrolment", json=body, timeout=30).status_code
