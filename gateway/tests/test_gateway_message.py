"""The message protocol's rules without a network: targets, identifiers, headers, the bytes of a message."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.message import (
    SKIPPED,
    BadTarget,
    BadVersion,
    Identifier,
    MessageDefect,
    client_value,
    encoded,
    parse_request,
    parse_response,
    parse_target,
    render,
    request_headers,
    response_headers,
)
from gateway.signature import request_hash
from gateway.verification import digests

CLIENT = "SANDBOX/GOV/1001/PROGRAMME"
REQUEST_ID = "78b890f3-b1eb-45b2-a512-beec5d7ead23"
MESSAGE_ID = "SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86"
TARGET = "/r1/SANDBOX/GOV/1002/CIVIL/persons/v1/exists?page=1"


def vector_message() -> bytes:
    headers = [("Content-Type", "application/json"), ("X-Road-Client", CLIENT)]
    return render("POST", TARGET, request_headers(headers, REQUEST_ID, MESSAGE_ID)[0])


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id":"QZ123"}', "pqnKMyT4HM6pHFpBv4umIp/5OayXp1jZ2TCa/RTjm/fHB8EmChfsoOnZNaazuTQf0CPjS6It9h/RWF9RYWzRKQ=="),
        (b"", "kK8vEBLooUg5Zk9FEObbu+nDzDagUTRbKoHyL2c9L4NGyVuPhCnRGd4u1+Cy2L4LLRB01ZxkQ2x6ehqHct0UvQ=="),
    ],
)
def test_message_and_hash_are_those_of_x_roads_formula(body, expected):
    message = vector_message()
    assert len(message) == 244
    assert request_hash(*digests(message, body)) == expected
    if not body:
        assert expected == base64.b64encode(hashlib.sha512(message).digest()).decode()


def test_a_request_message_is_read_as_it_was_written():
    request = parse_request(vector_message())
    assert (request.method, request.raw_target) == ("POST", TARGET)
    assert request.target.service_id == "SANDBOX/GOV/1002/CIVIL/persons"
    assert (request.target.path, request.target.query) == ("/v1/exists", "page=1")
    assert str(request.client) == CLIENT
    assert (request.message_id, request.request_id) == (MESSAGE_ID, REQUEST_ID)


def test_a_percent_encoded_slash_belongs_to_its_part():
    target = parse_target("/r1/EE/BUSINESS/producer/s%2Fub/%C3%B6%C3%A4%C3%A5/path%3B/")
    assert target.provider.parts == ("EE", "BUSINESS", "producer", "s/ub")
    assert target.service == "öäå"
    assert target.path == "/path%3B/"
    assert target.service_id == "EE/BUSINESS/producer/s%2Fub/%C3%B6%C3%A4%C3%A5"


@pytest.mark.parametrize(
    ("raw", "path", "query"),
    [
        ("/r1/I/C/M/S/x", "", None),
        ("/r1/I/C/M/S/x/", "/", None),
        ("/r1/I/C/M/S/x?", "", ""),
        ("/r1/I/C/M/S/x/a//b/?q=/?", "/a//b/", "q=/?"),
    ],
)
def test_everything_behind_the_service_stays_raw(raw, path, query):
    target = parse_target(raw)
    assert (target.path, target.query) == (path, query)


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "/",
        "r1/I/C/M/S/x",
        "/r1/I/C/M/S",
        "/r1/I/C/M/S/",
        "/r1/I//M/S/x",
        "/r1/I/C/M/S/x#f",
        "/r1/I/C/M/S/x y",
        "/r1/I/C/M/S/%F6",
    ],
)
def test_what_is_no_target_is_refused(raw):
    with pytest.raises(BadTarget):
        parse_target(raw)


@pytest.mark.parametrize("raw", ["/r2/I/C/M/S/x", "/rest/I/C/M/S/x", "/r"])
def test_another_version_is_named(raw):
    with pytest.raises(BadVersion, match=raw.split("/")[1]):
        parse_target(raw)


def test_two_different_identifiers_never_have_one_text():
    assert str(Identifier.parse("I/C/M%2FS")) == "I/C/M%2FS" != str(Identifier.parse("I/C/M/S"))
    assert Identifier.parse("I/C/M%2fS") == Identifier.parse("I/C/M%2FS")
    assert Identifier.parse("%49/C/M") == Identifier.parse("I/C/M")


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=3, max_size=4))
def test_an_identifier_is_read_as_it_was_written(parts):
    assert Identifier.parse(encoded(tuple(parts))).parts == tuple(parts)


def test_the_last_client_counts_and_an_alias_only_without_one():
    assert client_value([("X-Road-Client", "a"), ("x-road-client", "b"), ("X-GovStack-Client", "c")]) == "b"
    assert client_value([("X-GovStack-Client", "c"), ("Information-Mediator-Client", "d")]) == "d"
    assert client_value([("X-Road-Id", "1")]) is None


def test_one_client_and_one_id_go_on_where_the_last_of_them_stood():
    headers = [
        ("X-Road-Client", "a"),
        ("X-Road-Id", "1"),
        ("A", "b"),
        ("x-road-id", "2"),
        ("X-Road-Client", "c"),
        ("D", "e"),
    ]
    kept, message_id = request_headers(headers, "new", "unused")
    assert message_id == "2"
    assert kept == [("A", "b"), ("x-road-id", "2"), ("X-Road-Client", "c"), ("D", "e"), ("x-road-request-id", "new")]


def test_an_alias_becomes_x_road_client_where_it_stood():
    kept, _ = request_headers([("A", "b"), ("X-GovStack-Client", "c"), ("D", "e")], "new", "id")
    assert kept == [("A", "b"), ("X-Road-Client", "c"), ("D", "e"), ("x-road-request-id", "new"), ("x-road-id", "id")]


@pytest.mark.parametrize("name", sorted(SKIPPED))
def test_a_connection_header_neither_goes_on_nor_is_accepted(name):
    assert name not in [kept for kept, _ in request_headers([(name.upper(), "x"), ("X-Road-Client", "c")], "r", "m")[0]]
    own = response_headers(
        [(name.title(), "x")], message_id="m", client="c", service="s", request_id="r", request_hash="h"
    )
    assert len(own) == 5
    with pytest.raises(MessageDefect, match=f"Invalid header: {name.upper()}"):
        parse_request(vector_message() + f"{name.upper()}:x\r\n".encode())
    with pytest.raises(MessageDefect, match=f"Invalid header: {name}"):
        parse_response(f"200\r\nOK\r\n{name}:x\r\n".encode())


def test_a_services_date_stays_once_and_the_gateways_headers_follow_in_order():
    own = response_headers(
        [("Date", "1"), ("date", "2"), ("X-Road-Error", "forged"), ("A", "1"), ("A", "2")],
        message_id="m", client="c", service="s", request_id="r", request_hash="h",
    )  # fmt: skip
    assert own == [
        ("Date", "1"), ("A", "1"), ("A", "2"),
        ("x-road-id", "m"), ("x-road-client", "c"), ("x-road-service", "s"), ("x-road-request-id", "r"), ("x-road-request-hash", "h"),
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["a\r\nX-Road-Client: other", "a\nb", "a\rb", "a\x00b", "\x7f"])
def test_a_value_that_would_break_a_line_is_never_rendered(value):
    with pytest.raises(MessageDefect):
        render("GET", "/x", [("A", value)])


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_read_or_refused(data):
    for parse in (parse_request, parse_response):
        try:
            parse(data)
        except MessageDefect:
            continue


@given(st.text(max_size=80))
def test_text_from_anywhere_is_a_target_or_refused(text):
    for raw in (text, "/r1/" + text):
        try:
            assert parse_target(raw).provider.parts
        except MessageDefect:
            continue
