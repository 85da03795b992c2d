"""What the steward can see and change at run time, and that nobody else can."""

import re
from pathlib import Path

import pytest
import requests

from gateway.evidence.verifier import verify_container
from gateway.testing import CLIENT, SERVICE, Reply

RIGHT = {"memberClass": "GOV", "memberCode": "CIVIL", "applicationId": "REGISTRY", "serviceId": "registry"}
CONSUMER = {"memberClass": "GOV", "memberCode": "WELFARE", "applicationId": "CASH-TRANSFER"}
ALLOW, DENY = "/api/v1/rights/allow", "/api/v1/rights/deny"
ENDPOINTS = [
    ("GET", "/-/records"), ("GET", "/-/evidence"), ("GET", "/-/log"), ("GET", "/-/changes"), ("GET", "/-/faults"),
    ("PUT", "/-/faults/delay"), ("DELETE", "/-/faults/delay"), ("GET", "/-/services"), ("POST", "/-/configuration"),
    ("PUT", "/-/services/REGISTRY/registry"), ("GET", ALLOW), ("PATCH", ALLOW), ("PATCH", DENY), ("GET", "/"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
@pytest.mark.parametrize("token", [None, "Bearer wrong", "Basic x"])
def test_without_the_management_token_nothing_is_told(network, method, path, token):
    headers = {} if token is None else {"Authorization": token}
    answer = requests.request(method, network.civil.management + path, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json()["code"] == "caller_unknown"


def test_health_is_open_and_names_its_checks(network):
    answer = requests.get(f"{network.civil.management}/-/health", timeout=10)
    assert answer.status_code == 200
    assert answer.json() == {
        "name": "civil-gateway",
        "healthy": True,
        "checks": {"configuration": "ok", "certificate": "ok", "transport": "ok"},
    }


def test_a_withdrawn_right_holds_when_the_call_returns_and_comes_back_as_narrow_as_it_was(fresh_network):
    network = fresh_network
    narrow = [{**RIGHT, "serviceId": "narrow", "rights": [CONSUMER]}]
    service = SERVICE.replace("registry", "narrow")
    assert network.welfare.call(path="/data/x/read", service=service).status == 200
    assert network.civil.steward("PATCH", DENY, narrow).status_code == 200
    answer = network.welfare.call(path="/data/x/read", service=service)
    assert answer.error == "Server.ServerProxy.AccessDenied"
    assert "narrow" not in [entry["serviceId"] for entry in network.civil.steward("GET", ALLOW).json()["allowList"]]
    network.civil.kill()
    network.civil.restart()
    assert network.welfare.call(path="/data/x/read", service=service).error == "Server.ServerProxy.AccessDenied"
    assert network.civil.steward("PATCH", ALLOW, narrow).status_code == 200
    assert network.welfare.call(path="/data/x/read", service=service).status == 200
    assert network.welfare.call(path="/data/x/write", service=service).error == "Server.ServerProxy.AccessDenied"
    changes = [change["action"] for change in network.civil.steward("GET", "/-/changes").json()["changes"]]
    assert changes == ["settings taken over", "right withdrawn", "right given"]
    assert network.executed() == 2


def test_a_right_can_be_given_for_patterns_only(fresh_network):
    network = fresh_network
    entry = [
        {**RIGHT, "applicationId": "IDENTITY", "serviceId": "forbidden", "rights": [CONSUMER], "allow": ["POST /a/*"]}
    ]
    assert network.civil.steward("PATCH", ALLOW, entry).status_code == 200
    service = SERVICE.replace("REGISTRY/registry", "IDENTITY/forbidden")
    assert network.welfare.call(path="/a/b", service=service).status == 200
    assert network.welfare.call(path="/a/b/c", service=service).error == "Server.ServerProxy.AccessDenied"


def test_rights_are_listed_by_service_with_their_terms(network):
    listed = network.civil.steward("GET", ALLOW + "?serviceId=narrow").json()["allowList"]
    expected = {**CONSUMER, "allow": ["POST /data/*/read", "GET /open/**"], "data_agreement": "DA-1"}
    assert listed == [{**RIGHT, "serviceId": "narrow", "rights": [expected]}]
    first = network.civil.steward("GET", ALLOW + "?pageSize=2").json()
    assert len(first["allowList"]) == 2
    rest = network.civil.steward("GET", f"{ALLOW}?pageSize=100&nextPageToken={first['nextPageToken']}").json()
    assert "nextPageToken" not in rest
    assert len(first["allowList"] + rest["allowList"]) == len(network.civil.steward("GET", ALLOW).json()["allowList"])


BAD_RIGHTS = {
    "no list": ({}, 400),
    "not an object": (["x"], 400),
    "no service id": ([{k: v for k, v in RIGHT.items() if k != "serviceId"} | {"rights": [CONSUMER]}], 400),
    "a number for a text": ([{**RIGHT, "memberCode": 1, "rights": [CONSUMER]}], 400),
    "no consumers": ([{**RIGHT, "rights": []}], 400),
    "a consumer without a subsystem": ([{**RIGHT, "rights": [{"memberClass": "GOV", "memberCode": "X"}]}], 400),
    "a pattern of no method": ([{**RIGHT, "rights": [CONSUMER], "allow": ["FETCH /x"]}], 400),
    "no patterns": ([{**RIGHT, "rights": [CONSUMER], "allow": []}], 400),
    "a service of nobody": ([{**RIGHT, "serviceId": "nothing", "rights": [CONSUMER]}], 404),
    "a good one before a bad one": ([{**RIGHT, "rights": [{**CONSUMER, "applicationId": "NEW"}]}, {}], 400),
}


@pytest.mark.parametrize(("body", "status"), BAD_RIGHTS.values(), ids=BAD_RIGHTS.keys())
def test_a_bad_change_of_rights_changes_nothing(network, body, status):
    before = network.civil.steward("GET", ALLOW).json()
    answer = network.civil.steward("PATCH", ALLOW, body)
    assert answer.status_code == status
    assert answer.json()["detail"]
    assert network.civil.steward("GET", ALLOW).json() == before


def test_a_disabled_service_answers_with_its_notice_until_it_is_enabled(fresh_network):
    network, path = fresh_network, "/-/services/REGISTRY/registry"
    assert network.civil.steward("PUT", path, {"enabled": False, "notice": "back on Monday"}).json()["enabled"] is False
    answer = network.welfare.call()
    assert answer.error == "Server.ServerProxy.ServiceDisabled"
    assert answer.document["message"] == f"Service SERVICE:{SERVICE} is disabled: back on Monday"
    network.civil.kill()
    network.civil.restart()
    assert network.welfare.call().error == "Server.ServerProxy.ServiceDisabled"
    assert network.executed() == 0
    assert network.civil.steward("PUT", path, {"enabled": True}).status_code == 200
    assert network.welfare.call().status == 200


@pytest.mark.parametrize("body", [{}, {"enabled": "no"}, {"enabled": False}, {"enabled": False, "notice": 1}, []])
def test_a_service_is_not_switched_by_a_bad_request(network, body):
    assert network.civil.steward("PUT", "/-/services/REGISTRY/registry", body).status_code == 400
    assert network.welfare.call().status == 200


def test_secrets_of_services_are_not_shown(network):
    answer = network.civil.steward("GET", "/-/services")
    assert SERVICE in answer.text
    assert "secret" not in answer.text


def test_both_sides_keep_an_operational_record_of_a_call(network):
    headers = [
        ("X-Road-Id", "my-call"),
        ("X-Road-UserId", "QZ7"),
        ("X-Road-Issue", "case"),
        ("X-Road-Represented-Party", "COM/1"),
    ]
    answer = network.welfare.call("POST", "/data/x?name=secret", body=b"12345", headers=headers)
    request_id = answer.values("x-road-request-id")[0]
    consumer, provider = (
        next(record for record in gateway.records() if record.get("xRequestId") == request_id)
        for gateway in (network.welfare, network.civil)
    )
    for record, side in ((consumer, "Client"), (provider, "Producer")):
        assert record["securityServerType"] == side
        assert record["messageId"] == "my-call"
        assert (
            "/".join(
                record[name]
                for name in ("clientXRoadInstance", "clientMemberClass", "clientMemberCode", "clientSubsystemCode")
            )
            == CLIENT
        )
        assert (record["serviceCode"], record["restMethod"]) == ("registry", "POST")
        assert (record["requestSize"], record["responseSize"], record["statusCode"], record["succeeded"]) == (
            5,
            4,
            200,
            True,
        )
        assert record["requestInTs"] <= record["requestOutTs"] <= record["responseInTs"] <= record["responseOutTs"]
        assert (record["messageUserId"], record["messageIssue"]) == ("QZ7", "case")
        assert (record["representedPartyClass"], record["representedPartyCode"]) == ("COM", "1")
    assert provider["restPath"] == "/data/x"
    assert "restPath" not in consumer
    assert "secret" not in str(consumer) + str(provider)


def test_records_can_be_asked_from_a_moment_on(network):
    network.welfare.call()
    latest = network.welfare.records()[-1]
    since = network.welfare.steward("GET", f"/-/records?since={latest['responseOutTs']}").json()["records"]
    assert latest in since
    assert network.welfare.steward("GET", f"/-/records?since={latest['responseOutTs'] + 60_000}").json() == {
        "records": []
    }
    assert len(network.welfare.steward("GET", "/-/records?limit=1").json()["records"]) == 1
    for bad in ("since=x", "since=-1", "limit=0", "limit=100000"):
        assert network.welfare.steward("GET", f"/-/records?{bad}").status_code == 400


def test_a_failed_call_is_recorded_with_its_fault(network):
    answer = network.welfare.call(service=SERVICE.replace("registry", "nothing"))
    for gateway in (network.welfare, network.civil):
        record = next(r for r in gateway.records() if r.get("xRequestId") == answer.values("x-road-request-id")[0])
        assert record["succeeded"] is False
        assert record["faultCode"] == "Server.ServerProxy.UnknownService"


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("of", ["welfare", "civil"])
@pytest.mark.parametrize("body", [b"", b'{"a":1}'], ids=["empty", "with a body"])
def test_evidence_is_exported_at_once_and_verifies(network, side, of, body):
    network.service.answer = lambda seen: Reply(body=seen.body)
    answer = network.welfare.call(body=body)
    request_id = answer.values("x-road-request-id")[0]
    exported = getattr(network, of).steward("GET", f"/-/evidence?id={request_id}&side={side}")
    assert exported.status_code == 200, exported.text
    assert exported.headers["Content-Type"] == "application/vnd.etsi.asic-e+zip"
    checks = verify_container(exported.content, network.central.anchor)
    assert [check for check in checks if not check.ok] == []
    again = getattr(network, of).steward("GET", f"/-/evidence?id={request_id}&side={side}")
    assert again.content == exported.content


def test_evidence_of_a_refusal_exports_too(network):
    network.welfare.steward("PUT", "/-/faults/flip-bit", {"times": 1}).raise_for_status()
    answer = network.welfare.call(body=b"x")
    request_id = answer.values("x-road-request-id")[0]
    for side in ("request", "response"):
        exported = network.welfare.steward("GET", f"/-/evidence?id={request_id}&side={side}")
        checks = verify_container(exported.content, network.central.anchor)
        assert [check for check in checks if not check.ok] == []


def test_several_messages_of_one_id_are_listed(network):
    ids = [network.welfare.call(headers=[("X-Road-Id", "same")]).values("x-road-request-id")[0] for _ in range(2)]
    answer = network.welfare.steward("GET", "/-/evidence?id=same")
    assert answer.status_code == 409
    hits = answer.json()["hits"]
    assert [hit["request_id"] for hit in hits] == ids
    assert {(hit["client"], hit["service"], hit["message_id"]) for hit in hits} == {(CLIENT, SERVICE, "same")}


@pytest.mark.parametrize(("query", "status"), [("id=unknown", 404), ("", 400), ("id=", 400), ("id=x&side=both", 400)])
def test_evidence_that_there_is_not_is_said_clearly(network, query, status):
    answer = network.welfare.steward("GET", f"/-/evidence?{query}")
    assert answer.status_code == status
    assert answer.json()["detail"]


def test_what_is_logged_as_metadata_has_no_evidence_to_show(network):
    answer = network.welfare.call(service=SERVICE.replace("registry", "quiet"))
    exported = network.civil.steward("GET", f"/-/evidence?id={answer.values('x-road-request-id')[0]}")
    assert exported.status_code == 404
    assert "metadata" in exported.json()["detail"]


def test_faults_are_listed_and_unknown_ones_refused(network):
    listed = network.welfare.steward("GET", "/-/faults").json()
    assert [fault["name"] for fault in listed] == ["flip-bit", "replay", "delay"]
    assert not any(fault["on"] for fault in listed)
    assert network.welfare.steward("PUT", "/-/faults/explode", {}).status_code == 404
    assert network.welfare.steward("PUT", "/-/faults/delay", {"seconds": "long"}).status_code == 400
    assert network.welfare.steward("PUT", "/-/faults/delay", {"seconds": 0.01}).json()[2]["on"] is True
    assert network.welfare.call().status == 200
    assert network.welfare.steward("DELETE", "/-/faults/delay").json()[2]["on"] is False


def test_process_logs_hold_no_contents_and_no_persons(network):
    network.welfare.call(
        "POST", "/data/person-4711?id=4711", body=b"body-4711", headers=[("X-Road-UserId", "user-4711")]
    )
    network.welfare.call("POST", "/data/person-4711", service=SERVICE.replace("registry", "nothing"))
    network.welfare.call(client="SANDBOX/GOV/WELFARE/person-4711")
    assert not re.search("4711", network.welfare.output + network.civil.output)
    assert Path(network.civil.folder / "gateway.log").exists()
