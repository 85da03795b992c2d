"""X-Road's causes of an error, each produced for real, with the type and the literal text that a client sees."""

import re
import threading
import xml.etree.ElementTree as ElementTree

import pytest

from gateway.testing import CLIENT, SERVICE, Reply, raw_call

CONSUMER, PROVIDER = "Server.ClientProxy.", "Server.ServerProxy."
LABEL = f"SERVICE:{SERVICE}"
OTHER_CLIENT = "SANDBOX/GOV/CIVIL/REGISTRY"

CLIENTS = {
    "missing": (None, "InvalidClientIdentifier", "The client identifier is missing"),
    "of one part": ("SANDBOX", "InternalError", "Invalid Client Id"),
    "of five parts": ("A/B/C/D/E", "InternalError", "Invalid Client Id"),
    "with an empty part": ("SANDBOX//WELFARE/X", "InternalError", "Invalid Client Id"),
    "with a raw space": ("SANDBOX/GOV/WEL FARE/X", "InternalError", "Invalid Client Id"),
    "not UTF-8": ("SANDBOX/GOV/%FF/X", "InternalError", "Invalid Client Id"),
    "of another member": (OTHER_CLIENT, "UnknownMember", f"Client 'SUBSYSTEM:{OTHER_CLIENT}' not found"),
    "another member as a whole": (
        "SANDBOX/GOV/CIVIL",
        "UnknownMember",
        "Client 'MEMBER:SANDBOX/GOV/CIVIL' not found",
    ),
    "of no subsystem": (f"{CLIENT}X", "UnknownMember", f"Client 'SUBSYSTEM:{CLIENT}X' not found"),
    "of another instance": (f"X{CLIENT}", "UnknownMember", f"Client 'SUBSYSTEM:X{CLIENT}' not found"),
    "a member of another name": ("SANDBOX/GOV/X", "UnknownMember", "Client 'MEMBER:SANDBOX/GOV/X' not found"),
    "a member whose code hides a subsystem": (
        "SANDBOX/GOV/WELFARE%2FCASH-TRANSFER",
        "UnknownMember",
        f"Client 'MEMBER:{CLIENT}' not found",
    ),
}


@pytest.mark.parametrize(("client", "code", "message"), CLIENTS.values(), ids=CLIENTS.keys())
def test_a_client_that_this_gateway_does_not_know_is_refused(network, client, code, message):
    answer = network.welfare.call(client=client)
    assert_refused(network, answer, CONSUMER + code, message)


TARGETS = {
    "/": "Invalid request URI",
    "/r1": "Invalid request URI",
    "/r1/SANDBOX/GOV/CIVIL/REGISTRY": "Invalid request URI",
    "/r1/SANDBOX/GOV/CIVIL/REGISTRY/": "Invalid request URI",
    "/r1/SANDBOX/GOV//REGISTRY/registry": "Invalid request URI",
    "/r1/SANDBOX/GOV/CI VIL/REGISTRY/registry".replace(" ", '"'): "Invalid request URI",
    "/r1/SANDBOX/GOV/%C3/REGISTRY/registry": "Invalid request URI",
    "/r1/SANDBOX/GOV/%zz/REGISTRY/registry": "Invalid request URI",
    "/elsewhere/SANDBOX": "Invalid request URI",
    "/r2/SANDBOX/GOV/CIVIL/REGISTRY/registry": "Unsupported protocol version 2",
    "/rx/SANDBOX/GOV/CIVIL/REGISTRY/registry": "Invalid protocol version rx",
    "/r10/SANDBOX/GOV/CIVIL/REGISTRY/registry": "Invalid protocol version r10",
}


@pytest.mark.parametrize(("target", "message"), TARGETS.items())
def test_a_target_of_another_form_is_refused(network, target, message):
    assert_refused(network, raw_call(network.welfare.url, "GET", target), CONSUMER + "InternalError", message)


HEADERS = {
    "server id of three parts": (
        ("X-Road-Security-Server", "SANDBOX/GOV/CIVIL"),
        "InternalError",
        "Invalid SecurityServer Id",
    ),
    "server that nobody knows": (
        ("X-Road-Security-Server", "SANDBOX/GOV/CIVIL/other"),
        "InvalidSecurityServer",
        'Could not find security server "SANDBOX/GOV/CIVIL/other"',
    ),
    "server of another member": (
        ("X-Road-Security-Server", "SANDBOX/GOV/WELFARE/welfare-gateway"),
        "InvalidSecurityServer",
        'Invalid security server "SANDBOX/GOV/WELFARE/welfare-gateway"',
    ),
    "represented party of three parts": (
        ("X-Road-Represented-Party", "a/b/c"),
        "InternalError",
        "Invalid Represented Party",
    ),
    "not UTF-8": (("X-Name", "Fran\xe7ois"), "InternalError", "Invalid header: not UTF-8"),
}


@pytest.mark.parametrize(("header", "code", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_breaks_the_protocol_is_refused(network, header, code, message):
    assert_refused(network, network.welfare.call(headers=[header]), CONSUMER + code, message)


def test_a_server_id_chooses_among_the_providers_gateways(network):
    headers = [("X-Road-Security-Server", "SANDBOX/GOV/CIVIL/civil-gateway"), ("X-Road-Represented-Party", "COM/1")]
    assert network.welfare.call(headers=headers).status == 200


def test_a_provider_that_is_not_on_the_network_is_unknown(network):
    unknown = "SANDBOX/GOV/CIVIL/NOTHING/registry"
    answer = network.welfare.call(service=unknown)
    assert_refused(
        network,
        answer,
        CONSUMER + "UnknownMember",
        f'Could not find addresses for service provider "SERVICE:{unknown}"',
    )


def service(code: str, subsystem: str = "REGISTRY") -> str:
    return f"SANDBOX/GOV/CIVIL/{subsystem}/{code}"


def test_a_service_that_the_provider_does_not_offer_is_unknown(network):
    answer = network.welfare.call(service=service("nothing"))
    assert_refused(network, answer, PROVIDER + "UnknownService", f"Unknown service: SERVICE:{service('nothing')}")


def test_without_a_right_access_is_denied(network):
    forbidden = service("forbidden", "IDENTITY")
    answer = network.welfare.call(service=forbidden)
    assert_refused(network, answer, PROVIDER + "AccessDenied", f"Request is not allowed: SERVICE:{forbidden}")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/data/population/read", True),
        ("GET", "/open/a/b", True),
        ("GET", "/data/population/read", False),
        ("POST", "/data/a/b/read", False),
        ("POST", "/data/population/write", False),
        ("GET", "/open", False),
        ("GET", "/open/../data/x", False),
        ("GET", "/open/%2e%2E/data/x", False),
        ("GET", "/open/%252e%252e/data/x", False),
        ("GET", "/open/..;a=b/data/x", False),
        ("GET", "/open/..%5Cdata/x", False),
        ("GET", "/open/%FF", False),
        ("GET", "/open%2Fx", True),
    ],
)
def test_a_right_reaches_as_far_as_its_patterns(network, method, path, allowed):
    answer = network.welfare.call(method, path, service=service("narrow"))
    assert answer.status == (200 if allowed else 500)
    if not allowed:
        assert_refused(
            network, answer, PROVIDER + "AccessDenied", f"Request is not allowed: SERVICE:{service('narrow')}"
        )


def test_a_service_without_an_address_cannot_be_called(network):
    answer = network.welfare.call(service=service("nowhere"))
    label = f"SERVICE:{service('nowhere')}"
    assert_refused(network, answer, PROVIDER + "ServiceMissingUrl", f"Service address not specified for '{label}'")


def test_a_service_that_is_down_is_named_with_its_address(network):
    answer = network.welfare.call(service=service("down"))
    assert answer.document["message"].startswith("Connect to 127.0.0.1:9 failed: ")
    assert_refused(network, answer, PROVIDER + "NetworkError", answer.document["message"])


def test_a_service_that_is_too_slow_times_out(network):
    def hang(_seen):
        released.wait(5)
        return Reply()

    released = threading.Event()
    network.service.answer = hang
    answer = network.welfare.call(service=service("slow"))
    released.set()
    assert answer.error == PROVIDER + "IOError"
    assert answer.document["message"] == "Read timed out"
    assert "unknown" in answer.document["hint"]


def test_a_body_over_the_limit_is_refused_by_the_callers_gateway(network):
    too_large = b"x" * (10 * 1024 * 1024 + 1)
    answer = network.welfare.call(body=too_large)
    text = "LoggingFailed: Message size exceeds maximum loggable size"
    assert_refused(network, answer, CONSUMER + "IOError", text)
    assert "10485760 bytes" in answer.document["hint"]


def test_an_answer_over_the_limit_is_refused_by_the_providers_gateway(network):
    network.service.answer = lambda _seen: Reply(body=b"x" * (10 * 1024 * 1024 + 1))
    answer = network.welfare.call()
    assert answer.error == PROVIDER + "IOError"
    assert answer.document["message"] == "LoggingFailed: Message size exceeds maximum loggable size"


def test_headers_that_fill_a_message_are_refused(network):
    answer = network.welfare.call(headers=[(f"X-{number}", "x" * 60_000) for number in range(5)])
    assert_refused(network, answer, CONSUMER + "InternalError", "Invalid headers")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/xml-patch+xml", "application/json"),
        ("text/xml", "text/xml;charset=utf-8"),
        ("text/*", "text/xml;charset=utf-8"),
        ("text/html, application/xml;q=0.1, text/xml", "application/xml;charset=utf-8"),
    ],
)
@pytest.mark.parametrize("code", ["nothing", ""], ids=["the provider's", "the consumer's"])
def test_the_form_of_an_error_follows_the_first_xml_type_of_accept(network, accept, content_type, code):
    headers = [] if accept is None else [("Accept", accept)]
    answer = network.welfare.call(service=service(code or "%zz"), headers=headers)
    assert answer.values("Content-Type") == [content_type]
    if "xml" in content_type:
        error = ElementTree.fromstring(answer.body)
        assert error.tag == "error"
        assert [child.tag for child in error] == ["type", "message", "detail", "hint"]
        assert error.findtext("type") == answer.error
    else:
        assert list(answer.document) == ["type", "message", "detail", "hint"]
        assert answer.document["type"] == answer.error
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f-]{27}", answer.document["detail"])
        assert answer.document["hint"]


def assert_refused(network, answer, kind, message):
    """The caller learns type and text, and the service is not called."""
    assert (answer.error, answer.document["message"]) == (kind, message)
    assert answer.status == 500
    assert answer.document["type"] == kind
    assert network.service.seen == []
