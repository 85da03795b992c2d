"""Policies, agreements, individuals and their revisions."""

import json

import pytest

from services.consent.tests.conftest import AGREEMENT, AMINA, DATA_AGREEMENT, POLICY, Block


def test_the_administrator_chooses_ids_and_repeating_changes_nothing(empty_block: Block) -> None:
    first = empty_block.ok("POST", "/config/policy/", {"policy": POLICY}, client="")
    assert empty_block.ok("POST", "/config/policy/", {"policy": POLICY}, client="") == first
    made = empty_block.ok("POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT}, client="")
    assert made["dataAgreement"]["id"] == AGREEMENT
    assert made["dataAgreement"]["policy"]["name"] == POLICY["name"]
    assert empty_block.ok("POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT}, client="") == made
    changed = DATA_AGREEMENT | {"purpose": "another"}
    refusal = empty_block.refused("POST", "/config/data-agreement/", {"dataAgreement": changed}, client="")
    assert refusal == "409 consent_id_taken"
    assert empty_block.integrity()["revisions"] == 2


def test_others_are_given_an_id(block: Block) -> None:
    made = block.ok("POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT | {"id": "DA-MINE"}})
    assert made["dataAgreement"]["id"] not in ("DA-MINE", "")


def test_an_agreement_snapshot_holds_the_policy_that_people_saw(block: Block) -> None:
    seen = block.ok("GET", f"/service/data-agreement/{AGREEMENT}/")["revision"]
    block.ok("PUT", "/config/policy/POL-WELFARE/", {"policy": POLICY | {"dataRetentionPeriodDays": 9000}}, client="")
    assert block.ok("GET", f"/service/data-agreement/{AGREEMENT}/")["revision"] == seen
    assert json.loads(seen["serializedSnapshot"])["objectData"]["policy"]["dataRetentionPeriodDays"] == 730


def test_policy_revisions_are_chained_and_readable(block: Block) -> None:
    path = "/config/policy/POL-WELFARE/"
    block.ok("PUT", path, {"policy": POLICY | {"version": "2"}}, client="")
    listed = block.ok("GET", path + "revisions/", client="")
    first, second = listed["revisions"]
    assert listed["policy"]["version"] == "2"
    assert second["predecessorHash"] == first["serializedHash"]
    assert first["successor"]["id"] == second["id"]
    assert block.ok("GET", f"{path}?revisionId={first['id']}", client="")["policy"]["version"] == "1"
    assert block.refused("GET", f"{path}?revisionId=none", client="") == "404 consent_policy_unknown"


def test_a_policy_in_use_cannot_be_deleted(block: Block) -> None:
    assert block.refused("DELETE", "/config/policy/POL-WELFARE/", client="") == "409 consent_policy_in_use"
    block.ok("DELETE", f"/config/data-agreement/{AGREEMENT}/", client="")
    block.ok("DELETE", "/config/policy/POL-WELFARE/", client="")
    assert block.refused("GET", "/config/policy/POL-WELFARE/", client="") == "404 consent_policy_unknown"
    assert block.ok("GET", "/config/policies/", client="")["policies"] == []


def test_a_terminated_agreement_verifies_for_nobody_and_stays_in_the_audit(block: Block) -> None:
    block.grant_on_paper()
    block.ok("DELETE", f"/config/data-agreement/{AGREEMENT}/", client="")
    body = {"dataAgreementId": AGREEMENT, "individualIds": [AMINA]}
    assert block.refused("POST", "/service/verification/consent-records/", body) == "404 consent_agreement_unknown"
    assert block.ok("GET", "/service/verification/data-agreements/")["dataAgreements"] == []
    (audited,) = block.ok("GET", "/audit/data-agreements/", client="")["dataAgreements"]
    assert (audited["id"], audited["active"]) == (AGREEMENT, False)
    assert block.ok("GET", f"/audit/data-agreement/{AGREEMENT}/", client="")["dataAgreement"] == audited
    assert block.ok("GET", "/audit/consent-records/", client="")["consentRecords"][0]["state"] == "signed"


@pytest.mark.parametrize(
    "change",
    [
        {"lawfulBasis": "because"},
        {"purpose": ""},
        {"version": 1},
        {"active": "yes"},
        {"programme": "CT01"},
        {"attributes": [{"name": "x"}]},
        {"id": "has space"},
        {"policy": {"id": "POL-NONE"}},
    ],
)
def test_an_agreement_that_breaks_the_contract_is_refused(empty_block: Block, change) -> None:
    refusal = empty_block.refused(
        "POST", "/config/data-agreement/", {"dataAgreement": DATA_AGREEMENT | change}, client=""
    )
    assert refusal in ("400 invalid_request", "404 consent_policy_unknown")
    assert empty_block.ok("GET", "/config/data-agreements/", client="")["dataAgreement"] == []


def test_a_person_is_bound_once_and_listed_to_the_organisation_that_did(block: Block) -> None:
    person = {"externalId": AMINA, "externalIdType": "functional-id", "identityProviderId": "civil-identity"}
    bound = block.ok("POST", "/service/individual/", {"individual": person})
    assert bound["individual"]["id"] == AMINA
    assert block.ok("POST", "/service/individual/", {"individual": person}) == bound
    other = {"individual": person | {"id": AMINA, "externalIdType": "e-mail"}}
    assert block.refused("POST", "/service/individual/", other) == "409 consent_id_taken"
    assert block.ok("GET", "/service/individuals/")["individuals"] == [bound["individual"]]
    assert block.ok("GET", "/service/individuals/", client="SANDBOX/GOV/LANDS/REGISTRY")["individuals"] == []
    block.ok("PUT", f"/service/individual/{AMINA}/", other)
    assert block.ok("GET", f"/config/individual/{AMINA}/", client="")["individual"]["externalIdType"] == "e-mail"
    assert block.refused("GET", "/service/individual/nobody/") == "404 consent_individual_unknown"


def test_an_unknown_member_is_ignored_and_not_kept(block: Block) -> None:
    made = block.ok("POST", "/service/individual/", {"individual": {"externalId": AMINA, "nationalId": "QZ0000000001"}})
    assert "nationalId" not in made["individual"]


def test_whom_one_organisation_serves_another_neither_sees_nor_changes(block: Block) -> None:
    stranger = "SANDBOX/GOV/HEALTH/MCTS"
    block.ok("POST", "/service/individual/", {"individual": {"externalId": AMINA, "externalIdType": "functional-id"}})
    path, other = (
        f"/service/individual/{AMINA}/",
        {"individual": {"externalId": "mine", "externalIdType": "e-mail"}},
    )
    assert block.refused("GET", path, client=stranger) == "404 consent_individual_unknown"
    assert block.refused("PUT", path, other, client=stranger) == "404 consent_individual_unknown"
    assert block.ok("GET", path)["individual"]["externalId"] == AMINA
    assert block.ok("GET", path, client="")["individual"]["externalId"] == AMINA, "the member itself"
