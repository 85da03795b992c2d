"""What central publishes is fresh, knows every committed change, and its versions only rise."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from openapi_spec_validator import validate

from gateway.central.authority import AuthorityMismatch, open_authority
from gateway.central.config import Config
from gateway.central.domain import Member
from gateway.central.ocsp import Responder
from gateway.central.operations import Central
from gateway.central.publication import Publisher
from gateway.central.routes import central_routes
from gateway.central.store import Directory, Store
from gateway.central.testing import CentralUnderTest, central_under_test, payload_of, token_of
from gateway.trust.configuration import load
from gateway.trust.enrolment import fetch_configuration
from gateway.trust.refusals import CentralUnavailable, ConfigurationExpired, EnrolmentRefused
from sandroad.clock import system_clock
from sandroad.contracts import Contract
from sandroad.settings import SettingsError
from sandroad.storage import Database
from sandroad.testing import ROOT, config_for_tests


def test_an_unchanged_configuration_is_published_as_it_is(central: CentralUnderTest) -> None:
    assert central.signed() == central.signed()


def test_a_new_one_appears_before_half_of_its_validity_is_over(central: CentralUnderTest) -> None:
    first = central.load()
    central.clock.ahead = timedelta(seconds=298)
    assert central.load().version == first.version
    central.clock.ahead = timedelta(seconds=301)
    second = central.load(minimum_version=first.version)
    assert second.version > first.version
    assert second.expires_at - first.expires_at > timedelta(seconds=299)


def test_a_clock_that_was_set_back_does_not_stop_publishing(central: CentralUnderTest) -> None:
    central.clock.ahead = timedelta(hours=1)
    version = central.load().version
    central.clock.ahead = timedelta(0)
    assert central.load().version == version + 1


def test_a_revocation_is_published_at_once(central: CentralUnderTest) -> None:
    enrolled = central.enrol("civil-gateway")
    version = central.load().version
    assert central.revoke(enrolled).json()["status"] == "revoked"
    configuration = central.load(minimum_version=version + 1)
    entry = configuration.certificate(enrolled.x5t)
    assert entry is not None
    assert entry.status == "revoked"
    assert configuration.gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")[0].certificates == frozenset()


def test_a_revoked_key_does_not_enrol_again_but_a_new_one_does(central: CentralUnderTest) -> None:
    old = central.enrol("civil-gateway")
    central.revoke(old)
    with pytest.raises(EnrolmentRefused, match="revoked"):
        central.enrol("civil-gateway")
    token = central.control("POST", "/gateways/civil-gateway/token", {"member": "GOV/CIVIL"}).json()["token"]
    with pytest.raises(EnrolmentRefused, match="revoked"):
        central.enrol("civil-gateway", token=token)
    new = central.enrol("civil-gateway", token=token, folder="new key")
    assert central.load().gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")[0].certificates == {new.x5t}
    with pytest.raises(EnrolmentRefused):
        central.enrol("civil-gateway", token=token_of("civil-gateway"), folder="another key")


def test_a_token_handed_out_at_run_time_survives_a_restart(tmp_path: Path) -> None:
    with central_under_test(tmp_path) as central:
        central.enrol("civil-gateway")
        token = central.control("POST", "/gateways/civil-gateway/token", {"member": "GOV/CIVIL"}).json()["token"]
    with central_under_test(tmp_path) as central:
        assert central.enrol("civil-gateway", token=token, folder="new key")


def test_a_second_revocation_changes_nothing(central: CentralUnderTest) -> None:
    enrolled = central.enrol("civil-gateway")
    first = central.revoke(enrolled, "superseded").json()
    assert central.revoke(enrolled, "keyCompromise").json() == first


def test_a_member_added_at_run_time_can_enrol_a_gateway(central: CentralUnderTest) -> None:
    member = {"name": "New Bank", "subsystems": ["ACCOUNTS"]}
    assert central.control("PUT", "/members/COM/NEW-BANK", member).status_code == 200
    token = central.control("POST", "/gateways/new-gateway/token", {"member": "COM/NEW-BANK"}).json()["token"]
    enrolled = central.enrol("new-gateway", token=token)
    (gateway,) = central.load().gateways_of("SANDBOX/COM/NEW-BANK/ACCOUNTS")
    assert gateway.certificates == {enrolled.x5t}
    central.control("PUT", "/members/COM/NEW-BANK", {"name": "New Bank", "subsystems": ["CARDS"]})
    assert central.load().members["COM/NEW-BANK"].subsystems == {"ACCOUNTS", "CARDS"}


REFUSED_CONTROL: dict[str, tuple[str, str, Any, int, str]] = {
    "a member renamed": ("PUT", "/members/GOV/CIVIL", {"name": "Other"}, 409, "member_conflict"),
    "a member without a name": ("PUT", "/members/COM/X", {}, 400, "invalid_request"),
    "a name too long for a certificate": ("PUT", "/members/COM/X", {"name": "x" * 65}, 400, "not_a_code"),
    "a name with a line break": ("PUT", "/members/COM/X", {"name": "x\ny"}, 400, "not_a_code"),
    "a code with a space": ("PUT", "/members/COM/A%20B", {"name": "x"}, 400, "not_a_code"),
    "subsystems that are a word": ("PUT", "/members/COM/X", {"name": "x", "subsystems": "A"}, 400, "invalid_request"),
    "a subsystem with a slash": ("PUT", "/members/COM/X", {"name": "x", "subsystems": ["A/B"]}, 400, "not_a_code"),
    "a token for nobody": ("POST", "/gateways/g/token", {"member": "COM/NOBODY"}, 404, "member_unknown"),
    "a token for a gateway with a space": ("POST", "/gateways/a%20b/token", {"member": "GOV/CIVIL"}, 400, "not_a_code"),
    "an unknown certificate": ("POST", f"/certificates/{'0' * 64}/revocation", {}, 404, "certificate_unknown"),
    "an unknown reason": ("POST", f"/certificates/{'0' * 64}/revocation", {"reason": "mood"}, 400, "not_a_code"),
    "an approval of nobody": ("POST", "/gateways/nobody/approval", None, 404, "enrolment_unknown"),
    "a body that is a list": ("PUT", "/members/COM/X", [1], 400, "invalid_request"),
}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"), REFUSED_CONTROL.values(), ids=REFUSED_CONTROL.keys()
)
def test_the_steward_is_told_what_cannot_be(
    central: CentralUnderTest, method: str, path: str, body: Any, status: int, code: str
) -> None:
    before = payload_of(central.signed())
    answer = central.control(method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert payload_of(central.signed()) == before


def test_control_is_for_the_steward_only(central: CentralUnderTest) -> None:
    for path in ("members", "gateways", "certificates"):
        assert requests.get(f"{central.url}/-/{path}", timeout=10).status_code == 401
    assert (
        requests.post(f"{central.url}/-/gateways/g/token", json={"member": "GOV/CIVIL"}, timeout=10).status_code == 401
    )


def test_the_lists_of_the_steward_show_no_secret(central: CentralUnderTest) -> None:
    enrolled = central.enrol("civil-gateway")
    texts = [central.control("GET", path).text for path in ("/members", "/gateways", "/certificates")]
    assert enrolled.x5t.hex() in texts[2]
    assert not any(token_of("civil-gateway") in text or "sha256" in text for text in texts)


def test_every_reader_sees_a_change_that_was_committed_before_it_asked(central: CentralUnderTest) -> None:
    """Readers in a crowd of changes: none may be served a version from before a change that it knows is there."""
    stop = threading.Event()

    def crowd() -> None:
        while not stop.is_set():
            fetch_configuration(f"{central.url}/configuration")

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(crowd) for _ in range(4)]
        try:
            for number in range(25):
                member = {"name": f"Bank {number}", "subsystems": ["ACCOUNTS"]}
                assert central.control("PUT", f"/members/COM/B{number}", member).status_code == 200
                assert central.load().knows_client(f"SANDBOX/COM/B{number}/ACCOUNTS")
        finally:
            stop.set()
        for reader in readers:
            reader.result()


class StoreWithAWriterBetween(Store):
    """A store into which another request commits right after a transaction of the publisher."""

    between: Callable[[], None] | None = None

    @contextmanager
    def begin(self) -> Iterator[Directory]:
        with super().begin() as directory:
            yield directory
        meanwhile, self.between = self.between, None
        if meanwhile is not None:
            meanwhile()


def _register(central: Central, member: Member) -> None:
    central.register_member(member)


def test_a_change_that_comes_while_a_version_is_made_is_in_the_next(tmp_path: Path) -> None:
    config = config_for_tests(Config, tmp_path)
    store, authority = StoreWithAWriterBetween(Database(config.database)), open_authority(tmp_path, "SANDBOX", "QZ")
    responder = Responder(authority, timedelta(hours=1))
    publisher = Publisher(config, store, authority, responder, system_clock)
    central = Central(config, store, authority, responder, publisher, system_clock)
    late = Member("COM/LATE", "Late Bank", ("ACCOUNTS",))
    store.between = lambda: _register(central, late)
    assert payload_of(central.configuration())["members"] == []
    assert [member["id"] for member in payload_of(central.configuration())["members"]] == ["COM/LATE"]


def test_versions_rise_over_quick_restarts(tmp_path: Path) -> None:
    versions = []
    for _ in range(4):
        with central_under_test(tmp_path) as central:
            versions.append(central.load().version)
    assert versions == sorted(set(versions))


def test_a_certificate_near_its_end_is_renewed_for_the_same_key(central: CentralUnderTest) -> None:
    first = central.enrol("civil-gateway")
    central.clock.ahead = timedelta(days=710)
    second = central.enrol("civil-gateway")
    assert second.x5t != first.x5t
    assert second.private_key.public_key() == first.private_key.public_key()
    assert central.load().gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")[0].certificates == {first.x5t, second.x5t}
    central.clock.ahead = timedelta(days=731)
    assert central.load().gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")[0].certificates == {second.x5t}


def test_a_gateway_that_was_cut_off_stops_at_the_expiry(central: CentralUnderTest) -> None:
    signed = central.signed()
    central.clock.ahead = timedelta(seconds=601)
    with pytest.raises(ConfigurationExpired):
        load(signed, central.anchor, central.clock())


def test_a_central_that_does_not_answer_is_named(central: CentralUnderTest) -> None:
    with pytest.raises(CentralUnavailable, match="404"):
        fetch_configuration(f"{central.url}/nothing")
    with pytest.raises(CentralUnavailable, match="cannot be reached"):
        fetch_configuration("http://127.0.0.1:9/configuration")


def test_the_payload_keeps_the_contract(central: CentralUnderTest) -> None:
    central.enrol("civil-gateway")
    contract = Contract.load(ROOT / "contracts" / "gateway" / "central.yaml")
    contract.schema({"$ref": "#/components/schemas/Configuration"}).validate(payload_of(central.signed()))


def test_every_operation_of_the_contract_is_answered() -> None:
    assert central_routes(ROOT / "contracts").unbound() == []
    validate(yaml.safe_load((ROOT / "contracts" / "gateway" / "central.yaml").read_text()))


def test_a_folder_of_another_instance_is_refused(tmp_path: Path) -> None:
    before = open_authority(tmp_path, "SANDBOX", "QZ")
    with pytest.raises(AuthorityMismatch, match="another data folder"):
        open_authority(tmp_path, "TEST", "QZ")
    assert open_authority(tmp_path, "SANDBOX", "QZ").ca.certificate == before.ca.certificate


@pytest.mark.parametrize("missing", ["ca.pem", "ocsp.key", "ocsp.pem", "tsa.pem", "configuration.pem"])
def test_a_start_killed_half_way_is_finished_by_the_next(tmp_path: Path, missing: str) -> None:
    names = ["ca.key", "ca.pem", "ocsp.key", "ocsp.pem", "tsa.key", "tsa.pem", "configuration.key", "configuration.pem"]
    first = open_authority(tmp_path, "SANDBOX", "QZ")
    for name in names[names.index(missing) :]:
        (tmp_path / name).unlink()
    second = open_authority(tmp_path, "SANDBOX", "QZ")
    assert second.ca.key.private_numbers() == first.ca.key.private_numbers()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "approval": {"approval": "sometimes"},
    "country_code": {"country_code": "qzz"},
    "refresh": {"refresh_seconds": 600},
    "freshness": {"ocsp_freshness_seconds": 60},
}


@pytest.mark.parametrize("values", BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_a_bad_setting_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="SANDROAD_" + next(iter(values)).upper()):
        config_for_tests(Config, tmp_path, **values)


BAD_LISTS: dict[str, dict[str, Any]] = {
    "a member without subsystems": {"members": ({"id": "A/B", "name": "x"},)},
    "a member that is text": {"members": ("A/B",)},
    "a member with a bad id": {"members": ({"id": "A", "name": "x", "subsystems": []},)},
    "a token for nobody": {"enrolment_tokens": {"g": {"member": "GOV/NOBODY", "sha256": "0" * 64}}},
    "a token in clear": {"enrolment_tokens": {"g": {"member": "GOV/CIVIL", "sha256": "secret"}}},
    "a token that is text": {"enrolment_tokens": {"g": "secret"}},
}


@pytest.mark.parametrize("values", BAD_LISTS.values(), ids=BAD_LISTS.keys())
def test_a_bad_list_in_the_settings_is_named(tmp_path: Path, values: dict[str, Any]) -> None:
    name = "SANDROAD_" + next(iter(values)).upper()
    with pytest.raises(SettingsError, match=name), central_under_test(tmp_path, **values):
        pass
