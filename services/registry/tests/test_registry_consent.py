"""Consent, purpose and the record of every read, enforced at the provider."""

import pytest
import requests

WELFARE = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
STATISTICS = "SANDBOX/GOV/STATISTICS/OFFICE"
DESK = "SANDBOX/GOV/CIVIL/DESK"
AMINA, BORIS, CHIPO = "CT01-AMINA2345678ABC", "CT01-BORIS2345678ABC", "CT01-CHIPO2345678ABC"
NATIONAL_ID = "QZ0000000018"


def problem(answer):
    return answer.status_code, answer.json().get("code")


def test_with_consent_the_fields_of_the_right_are_shown_and_no_national_id(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    answer = registry.read({"functionalId": AMINA})
    assert answer.json()["content"] == {
        "functionalId": AMINA,
        "firstName": "Amina",
        "lastName": "Okoro",
        "alive": True,
        "hectares": 2.5,
        "household": {"id": "HH-1", "members": [{}]},
    }
    assert NATIONAL_ID not in answer.text


def test_without_consent_the_provider_refuses_and_the_attempt_is_recorded(registry, neighbours):
    assert problem(registry.read({"functionalId": AMINA})) == (403, "consent_required")
    (entry,) = registry.usage(NATIONAL_ID)
    assert (entry["outcome"], entry["operation"], entry["dataAgreementId"]) == (
        "consent_required",
        "read",
        "DA-CT01-VERIFY",
    )
    assert entry["consentRecordId"] == ""


def test_withdrawal_counts_from_the_next_request(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    assert registry.read({"functionalId": AMINA}).status_code == 200
    del neighbours.opted_in[AMINA]
    assert problem(registry.read({"functionalId": AMINA})) == (403, "consent_required")
    neighbours.opted_in[AMINA] = "CR-2"
    assert registry.read({"functionalId": AMINA}).status_code == 200


@pytest.mark.parametrize("defect", ["silent", "garbled"])
def test_no_usable_answer_from_consent_is_a_refusal(registry, neighbours, defect):
    neighbours.opted_in[AMINA] = "CR-1"
    getattr(neighbours, defect).add("consent")
    assert problem(registry.read({"functionalId": AMINA})) == (503, "consent_unavailable")
    assert problem(registry.exists({"functionalId": AMINA, "alive": True})) == (503, "consent_unavailable")
    getattr(neighbours, defect).clear()
    assert registry.read({"functionalId": AMINA}).status_code == 200


@pytest.mark.parametrize("defect", ["silent", "garbled"])
def test_no_usable_answer_from_identity_is_a_refusal(registry, neighbours, defect):
    neighbours.opted_in[AMINA] = "CR-1"
    getattr(neighbours, defect).add("identity")
    assert problem(registry.read({"functionalId": AMINA})) == (503, "identity_unavailable")


def test_a_person_with_consent_and_without_a_record_is_a_clean_404(registry, neighbours):
    ghost = "CT01-GHOST2345678ABC"
    neighbours.opted_in[ghost] = "CR-9"
    assert problem(registry.read({"functionalId": ghost})) == (404, "record_not_found")
    neighbours.people[ghost] = "QZ0000000999"
    assert problem(registry.read({"functionalId": ghost})) == (404, "record_not_found")
    assert registry.exists({"functionalId": ghost, "alive": True}).json()["answer"]["status"] is False


def test_exists_tells_yes_or_no_and_nothing_else(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    assert registry.exists({"functionalId": AMINA, "hectares": {">": 2}}).json()["answer"]["status"] is True
    assert registry.exists({"functionalId": AMINA, "hectares": {">": 3}}).json()["answer"]["status"] is False
    entries = registry.usage(NATIONAL_ID)
    assert [entry["operation"] for entry in entries] == ["exists", "exists"]
    assert set(entries[0]["fields"]) == {"functionalId", "hectares"}
    assert entries[0]["consentRecordId"] == "CR-1"


@pytest.mark.parametrize("field", ["district", "pin", "nationalId", "uid"])
def test_a_condition_outside_the_right_is_refused_and_recorded(registry, neighbours, field):
    neighbours.opted_in[AMINA] = "CR-1"
    assert problem(registry.exists({"functionalId": AMINA, field: "x"})) == (403, "field_not_allowed")
    assert registry.usage(AMINA)[0]["outcome"] == "field_not_allowed"


def test_under_an_agreement_nobody_fishes(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    assert problem(registry.exists({"lastName": "Okoro"})) == (403, "person_not_named")
    assert problem(registry.call("GET", "/data/population/1", client=WELFARE)) == (403, "person_not_named")
    keys = {"query": {"keys": ["P-1"]}}
    assert problem(registry.call("POST", "/data/population/1/readEntries", keys, WELFARE)) == (403, "person_not_named")
    value = "/data/population/1/P-1/readValue/firstName.json"
    assert problem(registry.call("GET", value, client=WELFARE)) == (403, "person_not_named")
    assert neighbours.asked == []


def test_a_functional_id_of_another_programme_is_refused(registry, neighbours):
    foreign = "MC03-AMINA2345678ABC"
    neighbours.opted_in[foreign] = "CR-1"
    neighbours.people[foreign] = NATIONAL_ID
    assert problem(registry.read({"functionalId": foreign})) == (403, "functional_id_foreign")


def test_a_right_under_an_agreement_changes_nothing(registry):
    content = {"uid": "P-9", "firstName": "A", "lastName": "B"}
    assert problem(registry.create(content, client=WELFARE)) == (403, "access_denied")
    assert len(registry.export()) == 3


@pytest.mark.parametrize(
    ("client", "method", "path"),
    [
        ("SANDBOX/GOV/TREASURY/PAYMENTS", "POST", "/data/population/1/read"),
        (WELFARE, "PUT", "/data/population/1/update"),
        (WELFARE, "GET", "/databases"),
        (WELFARE + "-OTHER", "POST", "/data/population/1/read"),
        ("SANDBOX/GOV/WELFARE", "POST", "/data/population/1/read"),
        ("ELSEWHERE/GOV/WELFARE/CASH-TRANSFER", "POST", "/data/population/1/read"),
        ("SANDBOX/GOV/CIVIL/IDENTITY", "POST", "/data/population/1/read"),
    ],
)
def test_a_caller_without_a_right_is_denied_by_default(registry, neighbours, client, method, path):
    neighbours.opted_in[AMINA] = "CR-1"
    content = {"content": {"functionalId": AMINA}}
    answer = registry.call(method, path, {"query": content, "write": content} if method != "GET" else None, client)
    assert problem(answer) == (403, "access_denied")


def test_a_list_asks_consent_once_leaves_out_and_names_those_without(registry, neighbours):
    neighbours.opted_in |= {AMINA: "CR-1", CHIPO: "CR-3"}
    ghost = "CT01-GHOST2345678ABC"
    neighbours.opted_in[ghost] = "CR-9"
    body = {"query": {"functionalIds": [CHIPO, BORIS, ghost, AMINA]}}
    answer = registry.call("POST", "/data/population/1/readEntries", body, WELFARE)
    assert [(entry["key"], entry["content"]["firstName"]) for entry in answer.json()["entries"]] == [
        (CHIPO, "Chipo"),
        (AMINA, "Amina"),
    ]
    assert answer.json()["leftOut"] == [
        {"key": BORIS, "reason": "consent_required"},
        {"key": ghost, "reason": "record_not_found"},
    ]
    assert [name for name, _ in neighbours.asked] == ["identity", "consent"]
    assert "QZ00" not in answer.text
    assert [registry.usage(each)[0]["outcome"] for each in (AMINA, BORIS, CHIPO)] == [
        "answered",
        "consent_required",
        "answered",
    ]


def test_a_list_and_a_value_by_functional_id_need_consent_too(registry, neighbours):
    listing = f"/data/population/1?query.functionalId={AMINA}"
    value = f"/data/population/1/{AMINA}/readValue/firstName.json"
    for path in (listing, value):
        assert problem(registry.call("GET", path, client=WELFARE)) == (403, "consent_required")
    neighbours.opted_in[AMINA] = "CR-1"
    assert registry.call("GET", listing, client=WELFARE).json()["results"][0]["functionalId"] == AMINA
    assert registry.call("GET", value, client=WELFARE).json() == {"value": "Amina"}
    pin = f"/data/population/1/{AMINA}/readValue/pin.json"
    assert problem(registry.call("GET", pin, client=WELFARE)) == (403, "field_not_allowed")


@pytest.mark.parametrize("operation", ["update", "updateEntries", "updateOrCreate"])
def test_a_change_that_looks_for_a_person_is_recorded_as_a_look(registry, operation):
    body = {"query": {"content": {"firstName": "Amina"}}, "write": {"content": {"district": "North"}}}
    method = "POST" if operation == "updateOrCreate" else "PUT"
    assert registry.call(method, f"/data/population/1/{operation}", body, DESK).status_code == 200
    (look,) = registry.usage(NATIONAL_ID)
    assert (look["operation"], look["readerInstitutionId"], look["outcome"]) == (
        operation,
        "SANDBOX/GOV/CIVIL",
        "answered",
    )
    assert ("lastName" in look["fields"]) == (operation == "updateOrCreate"), "only this one shows the record"


def test_a_page_beyond_the_last_is_a_look_too_for_it_tells_how_many_there_are(registry):
    path = "/data/population/1?query.lastName=Okoro&page=2"
    assert registry.call("GET", path, client=STATISTICS).json()["count"] == 1
    assert [each["operation"] for each in registry.usage(NATIONAL_ID)] == ["list"]


def test_a_list_that_does_not_show_the_person_named_is_an_answer_about_them(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    path = f"/data/population/1?query.functionalId={AMINA}&query.firstName=Zoe"
    assert registry.call("GET", path, client=WELFARE).json()["count"] == 0
    assert [(each["operation"], each["consentRecordId"]) for each in registry.usage(AMINA)] == [("list", "CR-1")]


def test_a_right_for_a_programme_reaches_only_persons_named_by_that_programme(registry):
    by_name = {"query": {"content": {"lastName": "Okoro"}}}
    change = {"query": {"content": {"functionalId": AMINA}}, "write": {"content": {"district": "East"}}}
    for method, path, body, refusal in [
        ("GET", "/data/population/1?query.lastName=Okoro", None, "person_not_named"),
        ("POST", "/data/population/1/read", by_name, "person_not_named"),
        ("POST", "/data/population/1/exists", by_name, "person_not_named"),
        ("POST", "/data/population/1/readEntries", {"query": {"keys": ["P-1"]}}, "person_not_named"),
        ("GET", "/data/population/1/P-1/readValue/firstName.json", None, "person_not_named"),
        ("PUT", "/data/population/1/updateEntries", {**by_name, "write": change["write"]}, "person_not_named"),
        ("PUT", "/data/population/1/update", change, "functional_id_foreign"),
    ]:
        answer = registry.call(method, path, body, "SANDBOX/GOV/HEALTH/MCTS")
        assert problem(answer)[1] == refusal, (path, answer.text)
    assert registry.export()[0]["district"] == "North"


def test_the_names_of_a_refused_question_are_not_kept_at_any_length(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    registry.exists({"functionalId": AMINA, "x" * 100_000: 1})
    (attempt,) = registry.usage(AMINA)
    assert max(len(name) for name in attempt["fields"]) <= 100


def test_another_member_without_an_agreement_still_sees_no_secret_and_no_national_id(registry):
    answer = registry.call("GET", "/data/population/1?query.lastName=Okoro", client=STATISTICS)
    (row,) = answer.json()["results"]
    assert row["district"] == "North"
    assert "pin" not in answer.text
    assert NATIONAL_ID not in answer.text
    assert problem(registry.call("GET", f"/data/population/1?query.nationalId={NATIONAL_ID}", client=STATISTICS)) == (
        403,
        "field_not_allowed",
    )


def test_the_person_sees_who_read_what_and_on_which_grounds(registry, neighbours):
    neighbours.opted_in[AMINA] = "CR-1"
    headers = {"X-Road-UserId": "OFFICER.SEVEN", "X-Road-Request-Id": "req-1", "X-Road-Id": "msg-1"}
    query = {"query": {"content": {"functionalId": AMINA}}}
    registry.call("POST", "/data/population/1/read", query, WELFARE, headers=headers)
    registry.call("GET", "/data/population/1?query.lastName=Okoro", client=STATISTICS)
    by_functional_id, by_national_id = registry.usage(AMINA, client=WELFARE), registry.usage(NATIONAL_ID)
    assert by_functional_id == by_national_id
    listed, read = by_national_id
    assert listed["readerInstitutionId"] == "SANDBOX/GOV/STATISTICS"
    assert read["readerId"] == "OFFICER.SEVEN"
    assert read["readerInitials"] == "OS"
    assert read["readerInstitutionName"] == "Ministry of Social Welfare"
    assert read["readerApplicationName"] == "CASH-TRANSFER"
    assert read["refrences"] == [{"ReferenceId": "req-1"}, {"ReferenceId": "msg-1"}]
    assert (read["dataAgreementId"], read["consentRecordId"]) == ("DA-CT01-VERIFY", "CR-1")
    assert set(read["fields"]) == {"firstName", "lastName", "birthDate", "alive", "hectares", "household"}


def test_the_usage_report_is_asked_by_functional_id_and_only_with_a_right(registry):
    path = "/data/mypersonalDataUsage"
    for user_id, client, refusal in [
        (NATIONAL_ID, WELFARE, (403, "access_denied")),
        (AMINA, STATISTICS, (403, "access_denied")),
        (AMINA, WELFARE, (403, "consent_required")),
        ("not an id", None, (400, "invalid_request")),
        ("QZ0000000099", None, (404, "not_found")),
    ]:
        answer = registry.call("GET", path, client=client, params={"userId": user_id, "databaseId": "population"})
        assert problem(answer) == refusal, (user_id, client)


def test_a_call_past_the_gateway_is_refused_whatever_client_it_names(registry):
    answer = requests.post(
        f"{registry.url}/data/population/1/read",
        json={"query": {"content": {"uid": "P-1"}}},
        headers={"X-Road-Client": "SANDBOX/GOV/CIVIL/DESK"},
        timeout=10,
    )
    assert problem(answer) == (401, "caller_unknown")
