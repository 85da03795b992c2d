"""Gateways are certified for their own member only, once per token, and never lose their certificate."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from flask import redirect, request

from gateway.central.config import Config
from gateway.central.testing import CentralUnderTest, central_under_test, token_of
from gateway.trust.enrolment import CERTIFICATE_FILE, KEY_FILE, certificate_request, enrol, make_keys, stored
from gateway.trust.refusals import CentralUnavailable, EnrolmentPending, EnrolmentRefused
from sandroad.testing import config_for_tests, served
from sandroad.web import create_web_app


def request_body(**changed: Any) -> dict[str, Any]:
    csr = certificate_request(ec.generate_private_key(ec.SECP256R1()), "civil-gateway").decode()
    body = {"gateway": "civil-gateway", "token": token_of("civil-gateway"), "csr": csr, "address": "", "queue": ""}
    return body | changed


def post(central: CentralUnderTest, body: dict[str, Any]) -> requests.Response:
    return requests.post(f"{central.url}/enrolment", json=body, timeout=10)


def test_a_gateway_is_certified_for_its_member_and_published(central: CentralUnderTest) -> None:
    enrolled = central.enrol("civil-gateway")
    entry = central.load().certificate(enrolled.x5t)
    assert entry is not None
    assert (entry.member, entry.gateway, entry.status) == ("GOV/CIVIL", "civil-gateway", "good")
    assert entry.public_key == enrolled.private_key.public_key()
    (gateway,) = central.load().gateways_of("SANDBOX/GOV/CIVIL/REGISTRY")
    assert gateway.address == "http://127.0.0.1:1/civil-gateway"
    assert gateway.queue == "gateway.civil-gateway"
    assert gateway.certificates == {enrolled.x5t}


def test_the_subject_of_the_request_is_not_believed(central: CentralUnderTest) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    wished = x509.Name(
        [
            x509.NameAttribute(NameOID.BUSINESS_CATEGORY, "GOV"),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, "WELFARE"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Ministry of Social Welfare"),
        ]
    )
    csr = x509.CertificateSigningRequestBuilder().subject_name(wished).sign(key, SHA256()).public_bytes(Encoding.PEM)
    answer = post(central, request_body(csr=csr.decode())).json()
    subject = x509.load_pem_x509_certificate(answer["certificate"].encode()).subject
    assert subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)[0].value == "CIVIL"


def test_the_same_key_gets_the_same_certificate_again_and_may_move(central: CentralUnderTest) -> None:
    first = central.enrol("civil-gateway")
    again = central.enrol("civil-gateway", address="http://127.0.0.1:2/moved")
    assert again.certificate_der == first.certificate_der
    assert central.load().gateways_of("SANDBOX/GOV/CIVIL/IDENTITY")[0].address == "http://127.0.0.1:2/moved"


def test_a_used_token_certifies_no_second_key(central: CentralUnderTest) -> None:
    first = central.enrol("civil-gateway")
    with pytest.raises(EnrolmentRefused, match="certified another key"):
        central.enrol("civil-gateway", folder="thief")
    assert list(central.load().certificates) == [first.x5t]


def test_a_token_of_one_gateway_does_not_enrol_another(central: CentralUnderTest) -> None:
    with pytest.raises(EnrolmentRefused, match="not expected here"):
        central.enrol("welfare-gateway", token=token_of("civil-gateway"))
    with pytest.raises(EnrolmentRefused, match="not expected here"):
        central.enrol("unheard-of-gateway")
    assert not central.load().gateways


def test_a_wrong_token_and_an_unknown_gateway_look_the_same(central: CentralUnderTest) -> None:
    wrong = post(central, request_body(token="wrong"))
    unknown = post(central, request_body(gateway="no-gateway"))
    assert wrong.status_code == unknown.status_code == 403
    assert wrong.json()["detail"].replace("civil", "no") == unknown.json()["detail"]


def test_a_key_of_one_gateway_is_refused_for_another(central: CentralUnderTest) -> None:
    central.enrol("civil-gateway", folder="shared")
    with pytest.raises(EnrolmentRefused, match="another gateway"):
        central.enrol("welfare-gateway", folder="shared")


def broken_signature() -> str:
    der = bytearray(x509.load_pem_x509_csr(request_body()["csr"].encode()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM).decode()


def csr_of(key: Any, algorithm: Any) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(subject)
        .sign(key, algorithm)
        .public_bytes(Encoding.PEM)
        .decode()
    )


UNUSABLE = {
    "not a request": "hello",
    "a request in pieces": "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "not signed by its key": broken_signature(),
    "a key on another curve": csr_of(ec.generate_private_key(ec.SECP384R1()), SHA256()),
    "a short RSA key": csr_of(rsa.generate_private_key(65537, 1024), SHA256()),
    "an Ed25519 key": csr_of(ed25519.Ed25519PrivateKey.generate(), None),
}


@pytest.mark.parametrize("csr", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_an_unusable_request_is_refused_and_leaves_the_token_unused(central: CentralUnderTest, csr: str) -> None:
    answer = post(central, request_body(csr=csr))
    assert (answer.status_code, answer.json()["code"]) == (400, "certificate_request_unusable")
    assert central.enrol("civil-gateway")


OUTSIDE_THE_CONTRACT = {
    "no token": {"token": None},
    "a number for a name": {"gateway": 7},
    "an address that is no URL": {"address": "javascript:alert(1)"},
    "an address with a line break": {"address": "http://a\r\nX: y"},
    "a member of its choice": {"member": "GOV/WELFARE"},
    "a huge request": {"csr": "x" * 20_000},
}


@pytest.mark.parametrize("changed", OUTSIDE_THE_CONTRACT.values(), ids=OUTSIDE_THE_CONTRACT.keys())
def test_a_request_outside_the_contract_is_refused(central: CentralUnderTest, changed: dict[str, Any]) -> None:
    answer = post(central, request_body(**changed))
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert not central.load().gateways


def test_an_rsa_gateway_is_certified_too(central: CentralUnderTest) -> None:
    make_keys(central.folder / "civil-gateway", "RS512")
    enrolled = central.enrol("civil-gateway")
    entry = central.load().certificate(enrolled.x5t)
    assert entry is not None
    assert isinstance(entry.public_key, rsa.RSAPublicKey)


def test_many_keys_at_once_with_one_token_give_one_certificate(central: CentralUnderTest) -> None:
    bodies = [request_body() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda body: post(central, body), bodies)]
    assert sorted(statuses) == [200] + [409] * 7
    assert len(central.load().certificates) == 1


def test_manual_approval_waits_for_the_steward(tmp_path: Path) -> None:
    with central_under_test(tmp_path, approval="manual") as central:
        with pytest.raises(EnrolmentPending):
            central.enrol("civil-gateway")
        assert not central.load().gateways
        assert central.control("POST", "/gateways/civil-gateway/approval").status_code == 200
        enrolled = central.enrol("civil-gateway")
        assert central.load().certificate(enrolled.x5t) is not None
        missing = central.control("POST", "/gateways/welfare-gateway/approval")
        assert (missing.status_code, missing.json()["code"]) == (404, "enrolment_unknown")


def test_an_approval_does_not_carry_over_to_another_key(tmp_path: Path) -> None:
    with central_under_test(tmp_path, approval="manual") as central:
        with pytest.raises(EnrolmentPending):
            central.enrol("civil-gateway")
        central.control("POST", "/gateways/civil-gateway/approval")
        token = central.control("POST", "/gateways/civil-gateway/token", {"member": "GOV/CIVIL"}).json()["token"]
        with pytest.raises(EnrolmentPending):
            central.enrol("civil-gateway", token=token, folder="new key")


def test_a_gateway_killed_before_it_stored_its_certificate_goes_on_with_its_key(central: CentralUnderTest) -> None:
    folder = central.folder / "civil-gateway"
    key = make_keys(folder)
    assert stored(folder) is None
    first = central.enrol("civil-gateway")
    assert first.private_key.public_key() == key.public_key()
    (folder / CERTIFICATE_FILE).unlink()
    assert central.enrol("civil-gateway").certificate_der == first.certificate_der
    kept = stored(folder)
    assert kept is not None
    assert kept.x5t == first.x5t


def test_keys_are_readable_by_their_owner_only_and_never_overwritten(central: CentralUnderTest) -> None:
    central.enrol("civil-gateway")
    key = central.folder / "civil-gateway" / KEY_FILE
    before = key.read_bytes()
    central.enrol("civil-gateway")
    assert key.read_bytes() == before
    private = [*central.folder.rglob("*.key"), *Path(central.config.data).glob("*.key")]
    assert len(private) == 5
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert not [path for path in Path(central.config.data).iterdir() if path.name.startswith(".")]


def test_two_starts_at_once_share_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(lambda _: make_keys(tmp_path).private_numbers(), range(8)))
    assert len(set(keys)) == 1


def test_a_restart_keeps_keys_certificates_and_members(tmp_path: Path) -> None:
    with central_under_test(tmp_path) as central:
        anchor, enrolled = central.anchor, central.enrol("civil-gateway")
        version = central.load().version
        central.control("PUT", "/members/COM/NEW-BANK", {"name": "New Bank", "subsystems": ["ACCOUNTS"]})
    with central_under_test(tmp_path) as central:
        assert central.anchor.ca_certificates == anchor.ca_certificates
        assert central.anchor.configuration_certificate == anchor.configuration_certificate
        configuration = central.load(minimum_version=version)
        assert configuration.certificate(enrolled.x5t) is not None
        assert configuration.knows_client("SANDBOX/COM/NEW-BANK/ACCOUNTS")
        assert central.enrol("civil-gateway").x5t == enrolled.x5t


def test_gateways_come_back_after_central_lost_its_database(tmp_path: Path) -> None:
    with central_under_test(tmp_path) as central:
        anchor = central.anchor
        central.enrol("civil-gateway")
        for number in range(20):
            central.control("PUT", f"/members/COM/B{number}", {"name": f"Bank {number}", "subsystems": []})
            version = central.load().version
    for left in (tmp_path / "central").glob("app.db*"):
        left.unlink()
    with central_under_test(tmp_path) as central:
        enrolled = central.enrol("civil-gateway")
        assert central.anchor.ca_certificates == anchor.ca_certificates
        assert central.load(minimum_version=version).certificate(enrolled.x5t) is not None


def test_a_redirect_never_carries_the_token_away(tmp_path: Path) -> None:
    app = create_web_app(config_for_tests(Config, tmp_path))
    seen: list[str] = []

    def take() -> str:
        seen.append(request.get_data(as_text=True))
        return "{}"

    app.add_url_rule("/enrolment", "elsewhere", lambda: redirect("/stolen", 307), methods=["POST"])
    app.add_url_rule("/stolen", "stolen", take, methods=["POST"])
    with served(app) as url, pytest.raises(CentralUnavailable):
        enrol(url, tmp_path / "g", gateway="civil-gateway", token="secret", address="", queue="")
    assert not seen
