"""Draft, record, signature, withdrawal and verification through the gateway's door."""

import base64
import json

import pytest
import requests
from joserfc import jws
from joserfc.errors import BadSignatureError
from joserfc.jwk import ECKey

from sandroad.contracts import Contract
from services.consent.routes import consent_routes
from services.consent.tests.conftest import AGREEMENT, AMINA, BINTA, CIVIL, DATA_AGREEMENT, WELFARE, Block, attested

RECORDS = "/service/individual/record/consent-record/"
MANAGED = {**DATA_AGREEMENT, "id": "DA-MANAGED", "managedBy": ["GOV/WELFARE/CASH-TRANSFER"]}
OF_AGREEMENT = f"/service/individual/record/data-agreement/{AGREEMENT}/"


def test_every_operation_of_the_contract_is_answered(block: Block) -> None:
    contract = Contract.load(block.config.contracts / "consent" / "openapi.yaml")
    assert consent_routes(contract).unbound() == []


def test_paper_consent_goes_from_draft_to_a_signed_record_that_verifies(block: Block) -> None:
    assert block.verified() == []
    draft = block.draft()
    assert (draft["consentRecord"]["id"], draft["signature"]["id"]) == ("", "")
    stored = block.ok("POST", RECORDS, attested(draft))
    record, signature, revision = stored["consentRecord"], stored["signature"], stored["revision"]
    assert (record["state"], record["optIn"]) == ("signed", True)
    assert (
        revision["serializedSnapshot"] == signature["verificationPayload"] == draft["signature"]["verificationPayload"]
    )
    assert signature["verificationSignedBy"] == f"registrar@welfare.qz.example ({WELFARE})"
    assert signature["verificationSignedAs"] == "delegate"
    assert block.verified(AMINA, BINTA) == [AMINA]
    assert block.integrity() == {"revisions": 3, "signatures": 1, "defects": []}


def test_a_draft_is_stored_nowhere(block: Block) -> None:
    block.draft()
    assert block.ok("GET", "/audit/consent-records/", client="")["consentRecords"] == []
    assert block.refused("GET", f"{OF_AGREEMENT}?individualId={AMINA}") == "404 consent_record_unknown"


def test_a_stock_jose_library_verifies_the_signature(block: Block) -> None:
    signature = block.grant_on_paper()["signature"]
    header, _, value = signature["signature"].split(".")
    payload = base64.urlsafe_b64encode(signature["payload"].encode()).rstrip(b"=").decode()
    key = ECKey.import_key(json.loads((block.config.data / "consent-key.json").read_text()))
    assert jws.deserialize_compact(f"{header}.{payload}.{value}", key).payload.decode() == signature["payload"]
    with pytest.raises(BadSignatureError):
        jws.deserialize_compact(f"{header}.{payload[:-1]}A.{value}", key)
    assert json.loads(signature["payload"])["verificationMethod"] == "officer-attestation"


def test_a_record_can_be_signed_after_it_was_stored(block: Block) -> None:
    draft = block.draft()
    record = block.ok("POST", RECORDS, draft)["consentRecord"]
    assert record["state"] == "unsigned"
    assert block.verified() == []
    path = f"{RECORDS}{record['id']}/signature/?individualId={AMINA}"
    waiting = block.ok("POST", path, {"signature": {}})["signature"]
    signed = block.ok("PUT", path, {"signature": attested({"consentRecord": {}, "signature": waiting})["signature"]})
    assert block.verified() == [AMINA]
    again = block.ok("PUT", path, {"signature": attested({"consentRecord": {}, "signature": waiting})["signature"]})
    assert again == signed
    assert block.integrity()["signatures"] == 1


def test_withdrawal_is_effective_at_once_and_invalidates_the_signature(block: Block) -> None:
    record = block.grant_on_paper()["consentRecord"]
    withdrawn = block.withdraw(record["id"])
    assert (withdrawn["consentRecord"]["optIn"], withdrawn["consentRecord"]["state"]) == (False, "unsigned")
    assert withdrawn["revision"]["predecessorSignature"] == record["signature"]["signature"]
    assert block.verified() == []
    assert block.withdraw(record["id"])["revision"] == withdrawn["revision"]


def test_what_was_signed_before_a_withdrawal_cannot_bring_consent_back(block: Block) -> None:
    early = block.draft()
    used = attested(block.draft())
    record = block.ok("POST", RECORDS, used)["consentRecord"]
    block.withdraw(record["id"])
    replayed = block.ok("POST", RECORDS, used)
    assert (replayed["consentRecord"]["id"], replayed["consentRecord"]["optIn"]) == (record["id"], False)
    assert block.refused("POST", RECORDS, attested(early)) == "409 consent_draft_outdated"
    path = f"{RECORDS}{record['id']}/signature/?individualId={AMINA}"
    assert block.refused("PUT", path, {"signature": used["signature"]}) == "409 consent_payload_differs"
    assert block.verified() == []


def test_consent_can_be_given_again_with_a_new_draft_on_the_same_record(block: Block) -> None:
    first = block.grant_on_paper()["consentRecord"]
    block.withdraw(first["id"])
    again = block.grant_on_paper()
    assert again["consentRecord"]["id"] == first["id"]
    assert block.verified() == [AMINA]
    assert block.refused("POST", RECORDS, attested(block.draft())) == "409 consent_record_exists"


def test_opting_in_again_needs_a_new_signature(block: Block) -> None:
    record = block.grant_on_paper()["consentRecord"]
    block.withdraw(record["id"])
    path = f"{RECORDS}{record['id']}/?individualId={AMINA}"
    block.ok("PUT", path, {"consentRecord": {"optIn": True}})
    assert block.verified() == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda sent: sent["signature"].update(verificationPayload="{}"), "409 consent_payload_differs"),
        (lambda sent: sent["signature"].update(verificationPayload="not json"), "409 consent_payload_differs"),
        (lambda sent: sent["consentRecord"]["individual"].update(id=BINTA), "409 consent_payload_differs"),
        (lambda sent: sent["consentRecord"].update(optIn=False), "409 consent_payload_differs"),
        (lambda sent: sent["consentRecord"].update(dataAgreementRevisionHash="0" * 64), "409 consent_draft_outdated"),
        (lambda sent: sent["consentRecord"]["dataAgreement"].update(id="DA-OTHER"), "404 consent_agreement_unknown"),
        (lambda sent: sent["signature"].update(verificationMethod="ES256"), "400 consent_method_not_taken"),
        (lambda sent: sent["signature"].update(verificationSignedBy=" "), "400 invalid_request"),
        (lambda sent: sent["signature"].update(verificationArtifact="a\0b"), "400 invalid_request"),
        (lambda sent: sent["signature"].update(verificationSignedBy="\ud800"), "400 invalid_request"),
        (lambda sent: sent["consentRecord"].pop("individual"), "400 invalid_request"),
        (lambda sent: sent.pop("signature"), "400 invalid_request"),
    ],
)
def test_a_record_that_is_not_exactly_what_was_drafted_is_refused_and_nothing_is_stored(block, change, refusal) -> None:
    sent = attested(block.draft())
    change(sent)
    before = block.integrity()
    assert block.refused("POST", RECORDS, sent) == refusal
    assert block.integrity() == before
    assert block.verified(AMINA, BINTA) == []


def test_a_draft_of_another_subsystem_is_not_taken(block: Block) -> None:
    draft = block.draft(client="SANDBOX/GOV/LANDS/REGISTRY")
    assert block.refused("POST", RECORDS, attested(draft)) == "409 consent_payload_differs"


def test_only_the_subsystem_that_manages_an_agreement_records_consent_to_it(block: Block) -> None:
    changed = DATA_AGREEMENT | {"managedBy": ["GOV/WELFARE/CASH-TRANSFER"]}
    block.ok("PUT", f"/config/data-agreement/{AGREEMENT}/", {"dataAgreement": changed}, client="")
    path = f"{RECORDS}draft/?individualId={AMINA}&dataAgreementId={AGREEMENT}"
    assert block.refused("POST", path, client="SANDBOX/GOV/LANDS/REGISTRY") == "403 consent_not_managed_by_caller"
    block.grant_on_paper()
    assert block.verified() == [AMINA]


def test_header_and_query_may_not_name_different_individuals(block: Block) -> None:
    block.grant_on_paper()
    by_header = block.ok("GET", OF_AGREEMENT, X_ConsentBB_IndividualId=AMINA)
    assert by_header["consentRecord"]["individual"]["id"] == AMINA
    both = block.refused("GET", f"{OF_AGREEMENT}?individualId={BINTA}", X_ConsentBB_IndividualId=AMINA)
    assert both == "400 consent_individual_ambiguous"
    assert block.refused("GET", OF_AGREEMENT) == "400 consent_individual_ambiguous"


def test_another_persons_record_is_unknown(block: Block) -> None:
    record = block.grant_on_paper()["consentRecord"]
    path = f"{RECORDS}{record['id']}/?individualId={BINTA}"
    assert block.refused("PUT", path, {"consentRecord": {"optIn": False}}) == "404 consent_record_unknown"
    assert block.verified() == [AMINA]


def test_a_record_can_be_made_unsigned_and_is_made_once(block: Block) -> None:
    first = block.ok("POST", f"{OF_AGREEMENT}?individualId={AMINA}")
    assert block.ok("POST", f"{OF_AGREEMENT}?individualId={AMINA}") == first
    assert first["consentRecord"]["state"] == "unsigned"
    assert block.verified() == []
    assert len(block.ok("GET", f"{OF_AGREEMENT}all/?individualId={AMINA}")["consentRecords"]) == 1


def test_a_provider_asks_for_one_person_with_filters(block: Block) -> None:
    record = block.grant_on_paper()["consentRecord"]
    path = "/service/verification/consent-records/"
    found = block.ok("GET", f"{path}?individualId={AMINA}&dataAgreementId={AGREEMENT}", client=CIVIL)
    assert [each["id"] for each in found["consentRecords"]] == [record["id"]]
    assert (
        block.ok("GET", f"{path}?individualId={BINTA}&dataAgreementId={AGREEMENT}", client=CIVIL)["consentRecords"]
        == []
    )
    assert len(block.ok("GET", f"{path}?individualId={AMINA}", client=CIVIL)["consentRecords"]) == 1
    assert block.refused("GET", path, client=CIVIL) == "400 invalid_request"
    assert len(block.ok("GET", path, client="")["consentRecords"]) == 1
    one = block.ok("GET", f"/service/verification/consent-record/{record['id']}/", client=CIVIL)
    assert one["revision"]["objectId"] == record["id"]


@pytest.mark.parametrize(
    "body",
    [
        {"dataAgreementId": AGREEMENT, "individualIds": []},
        {"dataAgreementId": AGREEMENT, "individualIds": [AMINA] * 1001},
        {"dataAgreementId": AGREEMENT, "individualIds": [AMINA, 7]},
        {"dataAgreementId": AGREEMENT, "individualIds": AMINA},
        {"dataAgreementId": AGREEMENT},
        {"dataAgreementId": AGREEMENT, "individualIds": [AMINA], "cached": True},
    ],
)
def test_a_batch_question_that_breaks_the_contract_is_refused(block: Block, body) -> None:
    assert block.refused("POST", "/service/verification/consent-records/", body, client=CIVIL) == "400 invalid_request"


def test_changed_terms_need_new_consent_and_a_pause_does_not(block: Block) -> None:
    path = f"/config/data-agreement/{AGREEMENT}/"
    first = block.grant_on_paper()["consentRecord"]
    block.ok("PUT", path, {"dataAgreement": DATA_AGREEMENT | {"active": False}}, client="")
    assert block.verified() == []
    block.ok("PUT", path, {"dataAgreement": DATA_AGREEMENT | {"active": True}}, client="")
    assert block.verified() == [AMINA]
    block.ok("PUT", path, {"dataAgreement": DATA_AGREEMENT | {"purpose": "Something wider"}}, client="")
    assert block.verified() == []
    second = block.grant_on_paper()["consentRecord"]
    assert second["id"] != first["id"]
    assert block.verified() == [AMINA]
    old = f"{RECORDS}{first['id']}/?individualId={AMINA}"
    assert block.refused("PUT", old, {"consentRecord": {"optIn": False}}) == "409 consent_record_superseded"


def test_a_withdrawn_person_stays_withdrawn_when_old_terms_come_back(block: Block) -> None:
    path = f"/config/data-agreement/{AGREEMENT}/"
    block.grant_on_paper()
    block.ok("PUT", path, {"dataAgreement": DATA_AGREEMENT | {"purpose": "Something wider"}}, client="")
    block.withdraw(block.grant_on_paper()["consentRecord"]["id"])
    block.ok("PUT", path, {"dataAgreement": DATA_AGREEMENT}, client="")
    assert block.verified() == []


def test_two_signers_where_two_are_required(block: Block) -> None:
    both = DATA_AGREEMENT | {"id": "DA-GUARDIAN", "signaturesRequired": 2}
    block.ok("POST", "/config/data-agreement/", {"dataAgreement": both}, client="")
    stored = block.ok("POST", RECORDS, attested(block.draft(agreement="DA-GUARDIAN")))
    record, revision = stored["consentRecord"], stored["revision"]
    assert record["state"] == "pending more signatures"
    assert block.verified(agreement="DA-GUARDIAN") == []
    path = f"{RECORDS}{record['id']}/signature/?individualId={AMINA}"
    same = attested({"consentRecord": {}, "signature": {"verificationPayloadHash": revision["serializedHash"]}})[
        "signature"
    ]
    block.ok("PUT", path, {"signature": same})
    assert block.verified(agreement="DA-GUARDIAN") == []
    other = same | {"verificationSignedBy": "guardian-officer@welfare.qz.example"}
    block.ok("PUT", path, {"signature": other})
    assert block.verified(agreement="DA-GUARDIAN") == [AMINA]


def test_the_right_to_be_forgotten_keeps_what_must_be_kept_and_drops_the_rest(block: Block) -> None:
    kept = block.grant_on_paper()["consentRecord"]
    forgettable = DATA_AGREEMENT | {"id": "DA-NEWS", "forgettable": True}
    block.ok("POST", "/config/data-agreement/", {"dataAgreement": forgettable}, client="")
    early = attested(block.draft(agreement="DA-NEWS"))
    block.ok("POST", RECORDS, attested(block.draft(agreement="DA-NEWS")))
    block.ok("DELETE", f"/service/individual/record/?individualId={AMINA}")
    left = block.ok("GET", f"{RECORDS}?individualId={AMINA}")["consentRecords"]
    assert [each["id"] for each in left] == [kept["id"]]
    assert block.verified(agreement="DA-NEWS") == []
    assert block.refused("POST", RECORDS, early) == "409 consent_draft_outdated"
    forgotten = [
        r for r in block.ok("GET", "/audit/consent-records/", client="")["consentRecords"] if r["id"] != kept["id"]
    ]
    assert AMINA not in json.dumps(forgotten)
    assert block.integrity()["defects"] == []


def test_nobody_reaches_consent_past_the_gateway(block: Block) -> None:
    body = {"dataAgreementId": AGREEMENT, "individualIds": [AMINA]}
    path = block.url + "/service/verification/consent-records/"
    assert requests.post(path, json=body, headers={"X-Road-Client": CIVIL}, timeout=10).status_code == 401


def test_the_export_lists_records_and_agreements(block: Block) -> None:
    record = block.grant_on_paper()["consentRecord"]
    answer = block.call("GET", "/-/export/consent-records", client="")
    (row,) = [json.loads(line) for line in answer.text.splitlines()]
    assert (row["id"], row["individualId"], row["optIn"], row["state"]) == (record["id"], AMINA, True, "signed")
    answer = block.call("GET", "/-/export/data-agreements", client="")
    assert [json.loads(line)["id"] for line in answer.text.splitlines()] == [AGREEMENT]


def test_answers_are_shown_to_those_who_manage_them(block: Block) -> None:
    stranger = "SANDBOX/GOV/HEALTH/MCTS"
    assert block.ok("POST", "/config/data-agreement/", {"dataAgreement": MANAGED}, client="")
    block.ok("POST", RECORDS, attested(block.draft(agreement="DA-MANAGED")))
    of_person = f"?individualId={AMINA}"
    one, all_of_it, everything = (
        f"/service/individual/record/data-agreement/DA-MANAGED/{of_person}",
        f"/service/individual/record/data-agreement/DA-MANAGED/all/{of_person}",
        f"{RECORDS}{of_person}",
    )
    for path in (one, all_of_it):
        assert block.refused("GET", path, client=stranger) == "403 consent_not_managed_by_caller"
        assert block.ok("GET", path) and block.ok("GET", path, client="")
    assert block.ok("GET", everything, client=stranger)["consentRecords"] == []
    assert len(block.ok("GET", everything)["consentRecords"]) == 1
