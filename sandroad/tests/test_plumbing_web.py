"""An app over real HTTP: who is let in, what a broken request is told, and that nothing leaks."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from sandroad.callers import caller
from sandroad.clock import BusinessClock
from sandroad.contracts import Contract, ContractBroken, Routes, body, parameters
from sandroad.faults import Faults
from sandroad.problems import Refusal
from sandroad.settings import AppConfig
from sandroad.storage import Database, StorageError
from sandroad.testing import as_client, as_steward, config_for_tests, served
from sandroad.web import create_web_app

CLIENT = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
TEXT: dict[str, Any] = {"type": "string"}
ANSWERS: dict[str, Any] = {"200": {"description": "ok"}, "4XX": {"description": "no"}, "500": {"description": "fault"}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "test", "version": "1"},
    "paths": {
        "/things/{thingId}": {
            "put": {
                "operationId": "putThing",
                "parameters": [
                    {"name": "thingId", "in": "path", "required": True, "schema": {"type": "integer", "maximum": 99}},
                    {"name": "dryRun", "in": "query", "schema": {"type": "boolean"}},
                    {"name": "X-Need", "in": "header", "required": True, "schema": TEXT | {"minLength": 2}},
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
                },
                "responses": ANSWERS,
            }
        },
        "/open": {"get": {"operationId": "open", "security": [], "responses": ANSWERS}},
    },
    "components": {
        "schemas": {
            "Thing": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": TEXT | {"maxLength": 5}},
                "additionalProperties": False,
            }
        }
    },
}


@pytest.fixture
def config(tmp_path: Path) -> AppConfig:
    return config_for_tests(AppConfig, tmp_path)


@pytest.fixture
def broken() -> list[Exception]:
    """What the health check ``other`` raises, if anything."""
    return []


@pytest.fixture
def url(config: AppConfig, broken: list[Exception]) -> Iterator[str]:
    routes = Routes(Contract(DOCUMENT))

    @routes.operation("putThing")
    def put_thing(thing_id: str) -> Any:
        return {"caller": caller().client, "body": body(), "parameters": parameters()}

    @routes.operation("open")
    def open_() -> Any:
        raise RuntimeError("a secret path: /home/someone and SELECT * FROM people")

    def other() -> None:
        for defect in broken:
            raise defect

    database = Database(config.database)
    app = create_web_app(
        config,
        routes=[routes],
        clock=BusinessClock(database),
        faults=Faults({"slow": "…"}, lab=True),
        checks={"half": lambda: None, "other": other},
        exports={"things": lambda: iter([{"name": "Zoë"}]), "health": lambda: iter([{"name": "Zoë"}])},
        max_body=1000,
    )
    with served(app) as base:
        yield base


def put(
    url: str, headers: dict[str, str], content: bytes = b'{"name": "abc"}', path: str = "/things/7?dryRun=true"
) -> requests.Response:
    return requests.put(
        url + path, data=content, headers={"Content-Type": "application/json", "X-Need": "yes", **headers}, timeout=10
    )


def test_a_call_through_the_own_gateway_is_let_in_with_typed_parameters(url: str, config: AppConfig) -> None:
    answer = put(url, as_client(config, CLIENT))
    assert answer.status_code == 200
    assert answer.json() == {
        "caller": CLIENT,
        "body": {"name": "abc"},
        "parameters": {"thingId": 7, "dryRun": True, "X-Need": "yes"},
    }


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Road-Client": CLIENT},
        {"Information-Mediator-Client": CLIENT},
        {"X-Sandroad-Gateway": "guessed", "X-Road-Client": CLIENT},
        {"Authorization": "Bearer guessed"},
        {"Authorization": "Bearer "},
    ],
)
def test_whoever_goes_past_the_gateway_is_refused_whatever_it_claims(url: str, headers: dict[str, str]) -> None:
    answer = put(url, headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "caller_unknown")


def test_the_gateway_must_say_for_whom_it_calls(url: str, config: AppConfig) -> None:
    answer = put(url, {"X-Sandroad-Gateway": config.gateway_secret, "X-Road-Client": "only-one-part"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("content", "path", "headers", "status", "where", "at"),
    [
        (b"{", "/things/7", {}, 400, "body", ""),
        (b"\xff", "/things/7", {}, 400, "body", ""),
        (b'{"name": NaN}', "/things/7", {}, 400, "body", ""),
        (b'{"name": "a", "name": "b"}', "/things/7", {}, 400, "body", ""),
        (b"[" * 900, "/things/7", {}, 400, "body", ""),
        (b"", "/things/7", {}, 400, "body", ""),
        (b'{"name": "far too long"}', "/things/7", {}, 400, "body", "/name"),
        (b'{"nom": "a"}', "/things/7", {}, 400, "body", ""),
        (b'{"name": "a"}', "/things/100", {}, 400, "path", "thingId"),
        (b'{"name": "a"}', "/things/seven", {}, 400, "path", "thingId"),
        (b'{"name": "a"}', "/things/7?dryRun=maybe", {}, 400, "query", "dryRun"),
        (b'{"name": "a"}', "/things/7", {"X-Need": "y"}, 400, "header", "X-Need"),
        (b'{"name": "a"}', "/things/7", {"Content-Type": "text/csv"}, 415, None, None),
        (b'{"name": "' + b"a" * 2000 + b'"}', "/things/7", {}, 413, None, None),
    ],
)  # fmt: skip
def test_a_broken_request_is_told_where_it_is_broken(
    url: str,
    config: AppConfig,
    content: bytes,
    path: str,
    headers: dict[str, str],
    status: int,
    where: str | None,
    at: str | None,
) -> None:
    answer = put(url, as_client(config, CLIENT) | headers, content, path)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/problem+json")
    if where is not None:
        assert (answer.json()["errors"][0]["where"], answer.json()["errors"][0]["at"]) == (where, at)


def test_a_body_far_over_the_limit_is_ended_before_it_is_spooled_to_the_disk(url: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=5) as connection:
        connection.sendall(b"PUT /things/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nx")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_fault_tells_the_caller_nothing_of_its_inside(url: str) -> None:
    answer = requests.get(url + "/open", timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_fault")
    assert "SELECT" not in answer.text
    assert "home" not in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("DELETE", "/things/7", 405)])
def test_paths_and_methods_that_do_not_exist_are_problems_too(url: str, method: str, path: str, status: int) -> None:
    answer = requests.request(method, url + path, timeout=10)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


@pytest.mark.parametrize("path", ["/-/clock", "/-/faults", "/-/outbox", "/-/export/things", "/-/export/health"])
def test_control_is_for_the_steward_only(url: str, config: AppConfig, path: str) -> None:
    assert requests.get(url + path, timeout=10).status_code == 401
    assert requests.get(url + path, headers=as_client(config, CLIENT), timeout=10).status_code == 401
    assert requests.get(url + path, headers=as_steward(config), timeout=10).status_code == 200


def test_exports_are_one_utf8_object_a_line(url: str, config: AppConfig) -> None:
    assert (
        requests.get(url + "/-/export/things", headers=as_steward(config), timeout=10).content
        == '{"name": "Zoë"}\n'.encode()
    )


@pytest.mark.parametrize(
    "sent", [b'{"offset_seconds": "1"}', b'{"offset_seconds": true}', b"[]", b"{", b'{"offset_seconds": 1e400}']
)
def test_the_clock_takes_whole_seconds_only(url: str, config: AppConfig, sent: bytes) -> None:
    assert requests.put(url + "/-/clock", data=sent, headers=as_steward(config), timeout=10).status_code == 400


def test_health_is_open_and_says_what_was_looked_at(url: str) -> None:
    assert requests.get(url + "/-/health", timeout=10).json() == {
        "name": "app-under-test",
        "healthy": True,
        "checks": {"half": "ok", "other": "ok"},
    }


def test_health_tells_our_own_words_and_of_foreign_faults_only_the_kind(url: str, broken: list[Exception]) -> None:
    broken.append(RuntimeError("SELECT name FROM people WHERE id = 'QZ0000000018' at /home/someone/people.db"))
    assert requests.get(url + "/-/health", timeout=10).json()["checks"]["other"] == "RuntimeError (see the log)"
    broken[:] = [StorageError("the database has another version")]
    answer = requests.get(url + "/-/health", timeout=10)
    assert (answer.status_code, answer.json()["checks"]["other"]) == (500, "the database has another version")


def test_an_answer_that_breaks_the_contract_is_noticed_in_tests() -> None:
    operation = Contract(DOCUMENT).operations["putThing"]
    with pytest.raises(ContractBroken, match="does not document"):
        operation.check_response(302, "text/html", b"")


def test_a_contract_that_is_not_openapi_3_1_is_refused() -> None:
    with pytest.raises(ContractBroken, match=r"3\.1"):
        Contract({"openapi": "3.0.3", "paths": {}})


def test_every_refusal_in_the_code_is_in_the_catalogue() -> None:
    """`contracts/problems.yaml` and the refusals of plumbing name the same codes."""
    from sandroad.problems import Catalogue
    from sandroad.testing import ROOT

    catalogue = set(Catalogue.load(ROOT / "contracts" / "problems.yaml"))
    assert {kind.code for kind in Refusal.__subclasses__() if kind.__module__.startswith("sandroad.")} <= catalogue
