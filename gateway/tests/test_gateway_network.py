"""What a gateway does as the network changes: keys revoked, a configuration expired, central away, a gateway new."""

import threading
import time
from pathlib import Path

import pytest
import requests

from gateway.central.testing import central_under_test
from gateway.testing import GatewayUnderTest, gateway_under_test
from gateway.trust.enrolment import stored

CONSUMER, PROVIDER = "Server.ClientProxy.", "Server.ServerProxy."


def revoke(network, gateway: GatewayUnderTest) -> None:
    enrolled = stored(Path(gateway.settings["SANDROAD_DATA"]))
    assert enrolled is not None
    network.central.revoke(enrolled).raise_for_status()


def refresh(*gateways: GatewayUnderTest) -> None:
    for gateway in gateways:
        assert gateway.steward("POST", "/-/configuration").status_code == 200


def test_a_revoked_gateway_is_refused_by_its_peers(fresh_network):
    network = fresh_network
    assert network.welfare.call().status == 200
    revoke(network, network.welfare)
    refresh(network.civil)
    answer = network.welfare.call()
    assert answer.error == PROVIDER + "SignatureVerification.CertValidation"
    assert network.executed() == 1


def test_an_answer_of_a_revoked_gateway_is_not_believed(fresh_network):
    network = fresh_network
    revoke(network, network.civil)
    refresh(network.welfare)
    answer = network.welfare.call()
    assert answer.error == CONSUMER + "SignatureVerification.CertValidation"
    assert "unknown" in answer.document["hint"]
    assert network.welfare.logged() == 1


def test_a_revoked_gateway_says_so_in_its_health(fresh_network):
    revoke(fresh_network, fresh_network.civil)
    refresh(fresh_network.civil)
    health = requests.get(f"{fresh_network.civil.management}/-/health", timeout=10)
    assert health.status_code == 500
    assert "revoked" in health.json()["checks"]["certificate"]


SHORT = {"configuration_validity_seconds": 4, "refresh_seconds": 1, "ocsp_freshness_seconds": 4}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
def test_an_expired_configuration_stops_a_gateway_before_anything_else(make_network, tmp_path, restarted):
    with make_network(central=SHORT) as network:
        assert network.welfare.call().status == 200
        network.stop_central()
        wait_until(lambda: network.welfare.call().error == CONSUMER + "OutdatedGlobalConf")
        executed = network.executed()
        if restarted:
            network.welfare.kill()
            network.welfare.start()
            wait_until(lambda: network.welfare.process.is_alive() and listens(network.welfare))
        answer = network.welfare.call(client=None)
        assert answer.error == CONSUMER + "OutdatedGlobalConf"
        assert network.executed() == executed
        assert requests.get(f"{network.welfare.management}/-/health", timeout=10).status_code == 500


def wait_until(holds, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def listens(gateway: GatewayUnderTest) -> bool:
    try:
        requests.get(f"{gateway.management}/-/health", timeout=5)
    except requests.ConnectionError:
        return False
    return True


def test_a_gateway_works_on_what_it_has_while_central_is_away(fresh_network):
    network = fresh_network
    assert network.welfare.call().status == 200
    network.stop_central()
    for gateway in (network.civil, network.welfare):
        gateway.stop()
        gateway.start()
    for gateway in (network.civil, network.welfare):
        gateway.wait_until_healthy()
    assert network.welfare.call().status == 200


def test_a_gateway_that_enrols_later_is_found_without_waiting_for_the_next_refresh(tmp_path):
    with (
        central_under_test(tmp_path) as central,
        gateway_under_test("welfare-gateway", "GOV/WELFARE", central, tmp_path / "welfare") as welfare,
    ):
        assert welfare.call().error == CONSUMER + "UnknownMember"
        with gateway_under_test("civil-gateway", "GOV/CIVIL", central, tmp_path / "civil"):
            assert welfare.call().error == PROVIDER + "UnknownService"


def test_a_gateway_waits_for_approval_and_works_from_then_on(tmp_path):
    with central_under_test(tmp_path, approval="manual") as central:
        folder = tmp_path / "welfare"

        def approve():
            wait_until(lambda: central.control("GET", "/gateways").json())
            central.control("POST", "/gateways/welfare-gateway/approval").raise_for_status()

        approver = threading.Thread(target=approve)
        approver.start()
        with gateway_under_test("welfare-gateway", "GOV/WELFARE", central, folder) as gateway:
            assert requests.get(f"{gateway.management}/-/health", timeout=10).json()["healthy"]
        approver.join()


def test_keys_and_database_are_for_their_owner_only(network):
    folder = Path(network.civil.settings["SANDROAD_DATA"])
    for name in ("signing.key", "gateway.db", "configuration.signed"):
        assert (folder / name).stat().st_mode & 0o077 == 0, name
