"""What passes through two gateways: bytes as they came, and X-Road's headers in both directions."""

import http.client
import re
import threading
import time

import pytest

from gateway.message import METHODS
from gateway.signature import request_hash
from gateway.testing import CLIENT, SECRET, SERVICE, Reply, Seen
from gateway.verification import digests

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
EVERY_BYTE = bytes(range(256)) * 40


@pytest.mark.parametrize(
    ("sent", "arrived"),
    [
        ("/data/a%2Fb", "/data/a%2Fb"),
        ("/data/%C3%B6%C3%A4%C3%A5/path%3B/", "/data/%C3%B6%C3%A4%C3%A5/path%3B/"),
        ("/", "/"),
        ("", "/"),
        ("/a//b/./c", "/a//b/./c"),
        ("/data?x=1&y=%20a+b&x=2&&z", "/data?x=1&y=%20a+b&x=2&&z"),
        ("?only=query", "/?only=query"),
        ("/data/*~!$&'()+,=:@", "/data/*~!$&'()+,=:@"),
        ('/data/["a"]|{b}?q=<c>^`d`', '/data/["a"]|{b}?q=<c>^`d`'),
    ],
)
def test_path_and_query_arrive_as_they_were_sent(network, sent, arrived):
    assert network.welfare.call("GET", sent).status == 200
    assert network.service.seen[-1].target == arrived


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("body", [b"", b"x", EVERY_BYTE], ids=["empty", "one byte", "every byte"])
def test_every_method_passes_with_and_without_a_body(network, method, body):
    network.service.answer = lambda seen: Reply(body=b"echo:" + seen.body)
    answer = network.welfare.call(method, "/data/x", body=body)
    assert answer.status == 200
    assert network.service.seen[-1].method == method
    assert network.service.seen[-1].body == body
    assert answer.body == (b"" if method == "HEAD" else b"echo:" + body)


def test_a_body_of_several_megabytes_passes(network):
    body = EVERY_BYTE * 400
    network.service.answer = lambda seen: Reply(body=seen.body)
    assert network.welfare.call(body=body).body == body


def test_a_compressed_body_is_not_unpacked_on_the_way(network):
    squeezed = b"\x1f\x8b not really gzip"
    network.service.answer = lambda _seen: Reply(headers=[("Content-Encoding", "gzip")], body=squeezed)
    answer = network.welfare.call(body=squeezed, headers=[("Content-Encoding", "gzip")])
    assert network.service.seen[-1].body == squeezed
    assert answer.body == squeezed
    assert answer.values("Content-Encoding") == ["gzip"]


def test_repeated_headers_keep_their_order_and_case(network):
    sent = [("X-A", "1"), ("x-b", "ä"), ("X-A", "2"), ("Cookie", "a=b"), ("Authorization", "Bearer t")]
    network.welfare.call(headers=[(name, value.encode().decode("latin-1")) for name, value in sent])
    seen = network.service.seen[-1]
    arrived = [(name, value.encode("latin-1").decode()) for name, value in seen.headers]
    assert [pair for pair in arrived if pair in sent] == sent


@pytest.mark.parametrize(
    "header",
    ["Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "TE", "Trailer", "User-Agent", "Server"],
)
def test_connection_headers_of_the_caller_stay_behind(network, header):
    network.welfare.call(headers=[(header, "of the caller")])
    assert network.service.seen[-1].values(header) == []


def test_a_body_that_comes_in_chunks_is_one_body(network):
    connection = http.client.HTTPConnection(network.welfare.url.removeprefix("http://"), timeout=10)
    chunks = iter([b"one ", b"", b"two"])
    headers = {"X-Road-Client": CLIENT, "Transfer-Encoding": "chunked", "Expect": "100-continue"}
    connection.request("POST", f"/r1/{SERVICE}/data/x", body=chunks, headers=headers, encode_chunked=True)
    assert connection.getresponse().read() == b"done"
    connection.close()
    seen = network.service.seen[-1]
    assert seen.body == b"one two"
    assert seen.values("Transfer-Encoding") == seen.values("Expect") == []


def test_a_service_sees_who_calls_and_by_which_ids(network):
    answer = network.welfare.call(
        headers=[("X-Road-Id", "my-id"), ("X-Road-UserId", "QZ1"), ("X-Road-Issue", "case 7")]
    )
    seen = network.service.seen[-1]
    assert seen.values("X-Road-Client") == [CLIENT]
    assert seen.values("X-Road-Id") == ["my-id"]
    assert seen.values("X-Road-UserId") == ["QZ1"]
    assert seen.values("X-Road-Issue") == ["case 7"]
    assert seen.values("X-Road-Request-Id") == answer.values("x-road-request-id")
    assert seen.values("X-Road-Service") == []
    assert re.fullmatch(UUID, seen.values("X-Road-Request-Id")[0])


def test_an_id_is_made_where_the_caller_gives_none(network):
    assert re.fullmatch(f"SANDBOX-{UUID}", network.welfare.call().values("x-road-id")[0])


def test_ids_that_only_the_gateway_may_set_are_dropped(network):
    forged = [("X-Road-Request-Id", "forged"), ("X-Road-Request-Hash", "forged"), ("X-Sandroad-Gateway", "forged")]
    network.welfare.call(headers=forged)
    seen = network.service.seen[-1]
    assert "forged" not in seen.values("X-Road-Request-Id")
    assert seen.values("X-Road-Request-Hash") == []
    assert seen.values("X-Sandroad-Gateway") == [SECRET]


def test_of_several_clients_the_last_one_counts_and_goes_on_alone(network):
    network.welfare.call(client="SANDBOX/GOV/CIVIL/REGISTRY", headers=[("X-Road-Client", CLIENT)])
    assert network.service.seen[-1].values("X-Road-Client") == [CLIENT]


@pytest.mark.parametrize("alias", ["Information-Mediator-Client", "X-GovStack-Client"])
def test_govstacks_client_headers_stand_for_x_road_client(network, alias):
    assert network.welfare.call(client=None, headers=[(alias, CLIENT)]).status == 200
    assert network.service.seen[-1].values("X-Road-Client") == [CLIENT]
    assert network.service.seen[-1].values(alias) == []


def test_the_response_carries_x_roads_headers_in_their_order(network):
    network.service.answer = lambda _seen: Reply(
        headers=[("Content-Type", "text/plain"), ("X-Own", "1"), ("X-Own", "2")]
    )
    answer = network.welfare.call("POST", "/data/x?page=1", body=b'{"a":1}', headers=[("Content-Type", "text/x")])
    names = [name for name, _ in answer.headers]
    assert names[:8] == [
        "Content-Type", "X-Own", "X-Own",
        "x-road-id", "x-road-client", "x-road-service", "x-road-request-id", "x-road-request-hash",
    ]  # fmt: skip
    assert answer.values("x-road-client") == [CLIENT]
    assert answer.values("x-road-service") == [SERVICE]


def test_the_request_hash_is_that_of_the_signed_bytes(network):
    answer = network.welfare.call("POST", "/data/x?page=1", body=b'{"a":1}', headers=[("Content-Type", "text/x")])
    message = (
        f"POST\r\n/r1/{SERVICE}/data/x?page=1\r\nX-Road-Client:{CLIENT}\r\nContent-Type:text/x\r\n"
        f"x-road-request-id:{answer.values('x-road-request-id')[0]}\r\nx-road-id:{answer.values('x-road-id')[0]}\r\n"
    )
    assert answer.values("x-road-request-hash") == [request_hash(*digests(message.encode(), b'{"a":1}'))]


def test_a_service_cannot_speak_in_a_gateways_name(network):
    forged = [
        (name, "forged")
        for name in (
            "X-Road-Error", "x-road-service", "X-Road-Id", "x-road-client", "x-road-request-id", "x-road-request-hash",
            "x-sandroad-refused",
        )
    ]  # fmt: skip
    network.service.answer = lambda _seen: Reply(headers=forged)
    answer = network.welfare.call()
    assert answer.status == 200
    assert answer.error == ""
    assert "forged" not in [value for _, value in answer.headers]


@pytest.mark.parametrize("status", [201, 204, 301, 302, 304, 400, 404, 409, 500, 503])
def test_status_and_reason_are_the_services(network, status):
    headers = [("Location", "http://elsewhere.example/")] if status in (301, 302) else []
    network.service.answer = lambda _seen: Reply(status=status, headers=headers, reason="As I say")
    answer = network.welfare.call()
    assert (answer.status, answer.reason) == (status, "As I say")
    assert answer.error == ""
    assert [value for name, value in answer.headers if name == "Location"] == [value for _, value in headers]


def test_a_date_stands_once_and_no_content_type_is_invented(network):
    dates = [("Date", "Tue, 01 Jan 2030 00:00:00 GMT"), ("Date", "Wed, 02 Jan 2030 00:00:00 GMT")]
    network.service.answer = lambda _seen: Reply(headers=dates)
    answer = network.welfare.call()
    assert answer.values("Date") == ["Tue, 01 Jan 2030 00:00:00 GMT"]
    assert answer.values("Content-Type") == []
    assert answer.values("Server") == []


def test_a_cookie_goes_back_to_its_caller_and_to_nobody_else(network):
    named = SERVICE.replace("registry", "named")  # an HTTP client keeps cookies of hosts with a name, not of addresses
    network.service.answer = lambda _seen: Reply(headers=[("Set-Cookie", "session=of-one"), ("Set-Cookie", "b=2")])
    assert network.welfare.call(service=named).values("Set-Cookie") == ["session=of-one", "b=2"]
    network.welfare.call(service=named)
    assert network.service.seen[-1].values("Cookie") == []


def test_a_latin_1_header_of_a_service_becomes_utf_8(network):
    network.service.answer = lambda _seen: Reply(headers=[("X-Name", "Fran\xe7ois")])
    assert network.welfare.call().values("X-Name") == ["Fran\xc3\xa7ois"]


def test_a_service_that_hangs_delays_no_other(network):
    released, before = threading.Event(), network.civil.logged()

    def answer(seen: Seen) -> Reply:
        if seen.target == "/hang":
            released.wait(10)
        return Reply()

    network.service.answer = answer
    slow = SERVICE.replace("registry", "repeatable")
    hanging = [
        threading.Thread(target=network.welfare.call, args=("GET", "/hang"), kwargs={"service": slow})
        for _ in range(20)
    ]
    for thread in hanging:
        thread.start()
    while len(network.service.seen) < 16:  # its places: the others wait in the gateway
        time.sleep(0.01)
    began = time.monotonic()
    assert network.welfare.call().status == 200
    assert time.monotonic() - began < 5
    while network.civil.logged() < before + 22:  # all twenty have been received, and one request and its answer
        time.sleep(0.01)
    assert sum(seen.target == "/hang" for seen in network.service.seen) == 16
    released.set()
    for thread in hanging:
        thread.join(20)
    assert len(network.service.seen) == 21
