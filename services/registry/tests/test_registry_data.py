"""The data API over HTTP, as the member itself and its own subsystems use it."""

import pytest
import requests

DESK = "SANDBOX/GOV/CIVIL/DESK"


def problem(answer):
    """Return (status, code) of a refusal."""
    return answer.status_code, answer.json().get("code")


def list_of(registry, query, client=None):
    return registry.call("GET", f"/data/population/1?{query}", client=client)


def test_a_created_record_is_read_back_whole(registry):
    content = {"uid": "P-9", "firstName": "Dana", "lastName": "Ito", "children": 0}
    assert registry.create(content).json() == {"content": content}
    assert registry.read({"uid": "P-9"}, client=None).json() == {"content": content}


def test_an_unknown_record_is_govstacks_404(registry):
    answer = registry.read({"uid": "P-404"}, client=None)
    assert problem(answer) == (404, "record_not_found")
    assert answer.json()["detail"] == "no record found"


def test_creating_again_gives_the_same_answer_and_one_record(registry):
    content = {"uid": "P-9", "firstName": "Dana", "lastName": "Ito"}
    first, second = registry.create(content), registry.create(dict(reversed(content.items())))
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert len(registry.export()) == 4


def test_creating_again_gives_the_first_answer_even_after_a_change(registry):
    content = {"uid": "P-9", "firstName": "Dana", "lastName": "Ito"}
    registry.create(content)
    registry.call("PUT", "/data/population/1/update", {"write": {"content": {"uid": "P-9", "lastName": "Ito-Lund"}}})
    assert registry.create(content).json() == {"content": content}
    assert registry.read({"uid": "P-9"}, client=None).json()["content"]["lastName"] == "Ito-Lund"


def test_creating_other_content_under_the_same_key_is_refused(registry):
    before = registry.export()
    assert problem(registry.create({"uid": "P-1", "firstName": "X", "lastName": "Y"})) == (409, "record_exists")
    assert registry.export() == before


def test_one_bad_entry_keeps_the_whole_list_out(registry):
    entries = [{"uid": f"P-{n}", "firstName": "A", "lastName": "B"} for n in range(10, 14)]
    entries[2]["firstName"] = ""
    body = {"write": [{"content": each} for each in entries]}
    answer = registry.call("POST", "/data/population/1/createEntries", body)
    assert problem(answer) == (400, "content_invalid")
    assert answer.json()["errors"][0]["at"] == "/write/2/content/firstName"
    assert len(registry.export()) == 3


def test_two_entries_of_a_list_with_one_key_and_two_contents_are_refused(registry):
    entries = [{"uid": "P-9", "firstName": "A", "lastName": "B"}, {"uid": "P-9", "firstName": "A", "lastName": "C"}]
    body = {"write": [{"content": each} for each in entries]}
    assert problem(registry.call("POST", "/data/population/1/createEntries", body)) == (409, "record_exists")


@pytest.mark.parametrize(
    ("content", "at"),
    [
        ({"firstName": "A", "lastName": "B"}, "/write/content"),
        ({"uid": "", "firstName": "A", "lastName": "B"}, ""),
        ({"uid": "x" * 201, "firstName": "A", "lastName": "B"}, ""),
        ({"uid": "P-9", "firstName": 5, "lastName": "B"}, "/write/content/firstName"),
        ({"uid": "P-9", "firstName": "A", "lastName": "B", "birthDate": "31.12.2000"}, "/write/content/birthDate"),
        ({"uid": "P-9", "firstName": "A", "lastName": "B", "shoeSize": 41}, "/write/content"),
        ({"uid": "P-9", "firstName": "A", "lastName": "B", "hectares": 10**30}, ""),
    ],
)
def test_content_that_breaks_the_schema_is_refused_and_says_where(registry, content, at):
    answer = registry.create(content)
    assert problem(answer) == (400, "content_invalid")
    if at:
        assert answer.json()["errors"][0]["at"] == at
    assert len(registry.export()) == 3


def test_a_number_too_large_for_json_readers_is_refused(registry):
    raw = b'{"write": {"content": {"uid": "P-9", "firstName": "A", "lastName": "B", "hectares": 1e400}}}'
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {registry.config.management_token}"}
    answer = requests.post(f"{registry.url}/data/population/1/create", data=raw, headers=headers, timeout=10)
    assert answer.status_code == 400, answer.text


def test_an_update_merges_and_null_removes(registry):
    change = {"query": {"content": {"uid": "P-1"}}, "write": {"content": {"district": "East", "pin": None}}}
    answer = registry.call("PUT", "/data/population/1/update", change)
    assert (answer.status_code, answer.content) == (200, b"")
    content = registry.read({"uid": "P-1"}, client=None).json()["content"]
    assert content["district"] == "East"
    assert content["firstName"] == "Amina"
    assert "pin" not in content


def test_every_change_keeps_the_version_before_it_with_its_time_and_author(registry):
    change = {"query": {"content": {"uid": "P-1"}}, "write": {"content": {"district": "East"}}}
    for _ in range(2):
        registry.call("PUT", "/data/population/1/update", change, client=DESK, headers={"X-Road-UserId": "QZ77"})
    first, second = registry.call("GET", "/-/history/population/P-1").json()
    assert (first["version"], first["content"]["district"]) == (1, "North")
    assert (second["version"], second["content"]["district"]) == (2, "East")
    assert first["validTo"] == second["validFrom"]
    assert second["validTo"] is None
    assert (second["source"], second["actor"]) == (DESK, "QZ77")


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"query": {"content": {"uid": "P-404"}}, "write": {"content": {"district": "E"}}}, (404, "record_not_found")),
        (
            {"query": {"content": {"district": "North"}}, "write": {"content": {"alive": True}}},
            (409, "several_records_match"),
        ),
        ({"query": {"content": {"uid": "P-1"}}, "write": {"content": {"uid": "P-2"}}}, (409, "primary_key_fixed")),
        ({"query": {"content": {"uid": "P-1"}}, "write": {"content": {"firstName": None}}}, (400, "content_invalid")),
        ({"write": {"content": {"district": "E"}}}, (400, "content_invalid")),
        ({"write": {"content": {}}}, (400, "invalid_request")),
        ({"query": {"content": {"pin": "1234"}}, "write": {"content": {"district": "E"}}}, (400, "query_invalid")),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(registry, change, refusal):
    before = registry.export()
    assert problem(registry.call("PUT", "/data/population/1/update", change)) == refusal
    assert registry.export() == before


def test_update_entries_changes_all_that_match_or_none(registry):
    change = {
        "query": {"content": {"lastName": {"in": ["Okoro", "Adler"]}}},
        "write": {"content": {"district": "West"}},
    }
    assert registry.call("PUT", "/data/population/1/updateEntries", change).status_code == 200
    assert [row["district"] for row in registry.export()] == ["West", "West", "North"]
    change = {"query": {"content": {"alive": True}}, "write": {"content": {"birthDate": "never"}}}
    assert problem(registry.call("PUT", "/data/population/1/updateEntries", change)) == (400, "content_invalid")
    assert all("birthDate" not in row for row in registry.export()[:2])


def test_update_or_create_does_either(registry):
    content = {"uid": "P-9", "firstName": "Dana", "lastName": "Ito"}
    body = {"query": {"content": {"uid": "P-9"}}, "write": {"content": content}}
    assert registry.call("POST", "/data/population/1/updateOrCreate", body).json() == {"content": content}
    body["write"]["content"] = {"lastName": "Ito-Lund"}
    changed = registry.call("POST", "/data/population/1/updateOrCreate", body).json()["content"]
    assert changed == {**content, "lastName": "Ito-Lund"}


def test_a_deleted_record_is_gone_keeps_its_history_and_its_key(registry):
    for _ in range(2):
        assert registry.call("DELETE", "/data/population/1/P-2/delete").status_code == 204
    assert registry.read({"uid": "P-2"}, client=None).status_code == 404
    assert list_of(registry, "query.district=South").json()["count"] == 0
    history = registry.call("GET", "/-/history/population/P-2").json()
    assert len(history) == 1
    assert history[0]["validTo"] is not None
    again = {"uid": "P-2", "firstName": "Boris", "lastName": "Adler"}
    assert problem(registry.create(again)) == (409, "record_deleted")
    assert registry.call("DELETE", "/data/population/1/P-404/delete").status_code == 404


def test_a_list_is_paged_with_links_that_lead_on(registry):
    first = list_of(registry, "pageSize=2&query.alive=true").json()
    assert (first["count"], [row["uid"] for row in first["results"]]) == (2, ["P-1", "P-2"])
    assert "next" not in first
    page = list_of(registry, "pageSize=2").json()
    assert page["count"] == 3
    rest = registry.call("GET", "/data/population/1" + page["next"]).json()
    assert [row["uid"] for row in rest["results"]] == ["P-3"]
    assert "next" not in rest
    assert "page=1" in rest["previous"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("query.lastName=Okoro", ["P-1"]),
        ("query.children=3", ["P-1"]),
        ("query.hectares=-0.5", ["P-2"]),
        ("query.languages=fr", ["P-2"]),
        ("query.nationalId=QZ0000000034", ["P-3"]),
        ("query.functionalId=CT01-CHIPO2345678ABC", ["P-3"]),
        ("query.functionalId=CT01-NOBODY345678ABC", []),
        ("search=OKO", ["P-1", "P-3"]),
        ("search=okoro banda", ["P-3"]),
        ("search=oko&filter=firstName", []),
        ("search=...", []),
        ("ordering=descending", ["P-3", "P-2", "P-1"]),
        ("filter=firstName&ordering=descending", ["P-3", "P-2", "P-1"]),
        ("ordering=lastName", ["P-2", "P-1", "P-3"]),
        ("ordering=-hectares", ["P-1", "P-2", "P-3"]),
    ],
)
def test_lists_find_and_order(registry, query, found):
    assert [row["uid"] for row in list_of(registry, query).json()["results"]] == found


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("query.shoeSize=41", "query_invalid"),
        ("query.pin=1234", "query_invalid"),
        ("query.children=three", "query_invalid"),
        ("query.alive=yes", "query_invalid"),
        ("query.lastName=" + "x" * 201, "query_invalid"),
        ("query.lastName=a%00", "query_invalid"),
        ("query.functionalId=QZ0000000018", "query_invalid"),
        ("querry.lastName=Okoro", "invalid_request"),
        ("query.lastName=Okoro&query.lastName=Adler", "invalid_request"),
        ("page=0", "invalid_request"),
        ("pageSize=501", "invalid_request"),
        ("ordering=languages", "query_invalid"),
        ("ordering=shoeSize", "query_invalid"),
        ("search=x&filter=district", "query_invalid"),
    ],
)
def test_a_list_that_cannot_be_asked_is_refused(registry, query, code):
    assert problem(list_of(registry, query)) == (400, code)


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ({"lastName": "Okoro"}, True),
        ({"lastName": "okoro"}, False),
        ({"hectares": {">": 2}}, True),
        ({"hectares": {">": 2.5}}, False),
        ({"hectares": {">=": -1, "<": 0}, "lastName": "Adler"}, True),
        ({"hectares": {"<": -0.5}}, False),
        ({"birthDate": {"<=": "1951-03-04"}}, True),
        ({"birthDate": {"<": "1951-03-04"}}, False),
        ({"district": {"!=": "North"}}, True),
        ({"district": {"in": ["East", "West"]}}, False),
        ({"alive": False, "lastName": "Okoro-Banda"}, True),
    ],
)
def test_exists_answers_conditions(registry, content, answer):
    assert registry.exists(content, client=None).json()["answer"]["status"] is answer


@pytest.mark.parametrize(
    "content",
    [
        {"hectares": {">": "2"}},
        {"hectares": {"~": 2}},
        {"hectares": {}},
        {"hectares": {">": True}},
        {"lastName": {">": "A"}},
        {"lastName": {"in": []}},
        {"lastName": {"in": "Okoro"}},
        {"household": {"=": "HH-1"}},
        {"lastName": ["Okoro"]},
        {"hectares": 10**300},
    ],
)
def test_conditions_of_the_wrong_kind_are_refused(registry, content):
    assert problem(registry.exists(content, client=None)) == (400, "query_invalid")


def test_a_value_is_read_alone_as_json_or_text(registry):
    base = "/data/population/1/P-1/readValue"
    assert registry.call("GET", f"{base}/hectares.json").json() == {"value": 2.5}
    assert registry.call("GET", f"{base}/firstName.txt").text == "Amina"
    assert registry.call("GET", f"{base}/birthDate.json").status_code == 404
    assert registry.call("GET", f"{base}/shoeSize.json").status_code == 403
    assert registry.call("GET", f"{base}/firstName.exe").status_code == 400


def test_the_same_x_road_id_of_the_same_subsystem_gives_the_first_answer(registry):
    content = {"uid": "P-9", "firstName": "Dana", "lastName": "Ito"}
    once = {"X-Road-Id": "SANDBOX-1"}
    first = registry.create(content, client=DESK, headers=once)
    registry.call("DELETE", "/data/population/1/P-9/delete")
    assert registry.create(content, client=DESK, headers=once).json() == first.json()
    other = registry.create({**content, "uid": "P-10"}, client=DESK, headers=once)
    assert problem(other) == (409, "idempotency_conflict")
    assert len(registry.export()) == 3


def test_the_export_holds_every_live_record_in_full_by_key(registry):
    rows = registry.export()
    assert [row["uid"] for row in rows] == ["P-1", "P-2", "P-3"]
    assert rows[0]["pin"] == "1234"
    assert registry.call("GET", "/-/export/births").text == ""
    assert registry.call("GET", "/-/export/population", client=DESK).status_code == 401


def test_unknown_registries_and_versions_are_named(registry):
    query = {"query": {"content": {"uid": "P-1"}}}
    assert problem(registry.call("POST", "/data/births/1/read", query)) == (404, "registry_unknown")
    assert problem(registry.call("POST", "/data/population/7/read", query)) == (404, "registry_version_unknown")
    assert problem(registry.call("POST", "/data/population/zero/read", query)) == (400, "invalid_request")
    assert registry.call("POST", "/data/population/1.0/read", query).status_code == 200


def test_read_entries_by_key_names_what_is_missing(registry):
    body = {"query": {"keys": ["P-2", "P-404", "P-1"]}}
    answer = registry.call("POST", "/data/population/1/readEntries", body).json()
    assert [entry["key"] for entry in answer["entries"]] == ["P-2", "P-1"]
    assert answer["leftOut"] == [{"key": "P-404", "reason": "record_not_found"}]
