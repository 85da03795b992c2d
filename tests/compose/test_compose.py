"""The compose file, really started: the same story, in containers, on RabbitMQ and PostgreSQL."""

import json
import subprocess
from collections.abc import Iterator
from decimal import Decimal

import pytest

from sandroad.testing import ROOT

pytestmark = [pytest.mark.compose, pytest.mark.timeout(900)]
COMPOSE = ["docker", "compose", "--project-name", "sandroad-test"]


def compose(*words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run docker compose; with ``check`` a failure fails the test with all that was said."""
    done = subprocess.run([*COMPOSE, *words], cwd=ROOT, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"docker compose {' '.join(words)}: {done.stdout[-3000:]} {done.stderr[-3000:]}")
    return done


@pytest.fixture(scope="module")
def running() -> Iterator[None]:
    """`docker compose up --wait`, with volumes of its own, removed at the end."""
    compose("up", "--wait", "--build", "--quiet-pull", check=False)
    try:
        said = compose("ps", "--format", "{{.Service}} {{.State}} {{.Health}}").stdout
        assert "steward running healthy" in said, said + compose("logs", "--tail", "20", "steward", "provision").stdout
        yield
    finally:
        compose("down", "--volumes", "--timeout", "5", check=False)


@pytest.mark.usefixtures("running")
def test_the_story_adds_up_in_containers_again_and_again() -> None:
    for _ in range(2):
        done = compose("exec", "-T", "cash-transfer", "sandroad", "demo", "cash-transfer", "--json", check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        result = json.loads(done.stdout)
        ledger = {name: Decimal(result["ledger"][name]) for name in ("debits", "credits", "in_flight")}
        assert result["verdict"] == "ok"
        assert ledger["debits"] == ledger["credits"] + ledger["in_flight"] > 0
        assert result["evidence"]["messages"] == result["evidence"]["verified"] > 50


@pytest.mark.usefixtures("running")
def test_status_has_no_processes_of_this_machine() -> None:
    status = json.loads(compose("exec", "-T", "cash-transfer", "sandroad", "status", "--json").stdout)
    assert status["transport"] == "amqp"
    assert all(process["healthy"] for process in status["processes"])
    assert {(process["pid"], process["pss_mb"]) for process in status["processes"]} == {(None, None)}
    assert "ok: the blocks agree" in compose("exec", "-T", "cash-transfer", "sandroad", "country", "check").stdout


@pytest.mark.usefixtures("running")
def test_the_app_cannot_read_the_stewards_tokens_beside_it() -> None:
    done = compose("exec", "-T", "--user", "10001", "cash-transfer", "cat", "/steward/steward/tokens.json", check=False)
    assert done.returncode != 0
    assert "Permission denied" in done.stderr


@pytest.mark.usefixtures("running")
def test_a_block_reached_past_its_gateway_refuses() -> None:
    call = (
        "import urllib.request as u, urllib.error as e\n"
        "r = u.Request('http://civil-registry:{port}/data/population/1/read', b'{{}}', "
        "{{'X-Road-Client': 'SANDBOX/GOV/WELFARE/CASH-TRANSFER', 'Content-Type': 'application/json'}})\n"
        "try: print(u.urlopen(r, timeout=10).status)\n"
        "except e.HTTPError as refused: print(refused.code)\n"
    )
    status = json.loads(compose("exec", "-T", "cash-transfer", "sandroad", "status", "--json").stdout)
    url = next(process["url"] for process in status["processes"] if process["name"] == "civil-registry")
    done = compose("exec", "-T", "welfare-gateway", "python", "-c", call.format(port=url.rpartition(":")[2]))
    assert done.stdout.strip() == "401"


@pytest.mark.usefixtures("running")
def test_the_image_holds_no_key_and_no_token() -> None:
    names = " -o ".join(f"-name '{name}'" for name in ("*.pem", "*.key", "*.db", "tokens.json", "settings.json"))
    find = f"find /opt/sandroad /data /steward /admin {names}"
    command = ["docker", "run", "--rm", "--network", "none", "sandroad:local", "sh", "-c", f"{find} 2>/dev/null; true"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


def test_only_loopback_is_published_and_neither_broker_nor_database() -> None:
    services = json.loads(compose("config", "--format", "json").stdout)["services"]
    for name, service in services.items():
        published = service.get("ports", [])
        assert all(port["host_ip"] == "127.0.0.1" for port in published), name
        if name in ("rabbitmq", "postgresql", "init", "provision", "steward"):
            assert not published
