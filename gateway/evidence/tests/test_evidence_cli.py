"""The `evidence` commands, against a real HTTP server that answers as gateways' management ports do."""

import dataclasses
import json
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from click.testing import CliRunner

from gateway.evidence.cli import evidence as command
from gateway.evidence.retrieval import write_whole
from gateway.evidence.tests.authorities import REQUEST, RESPONSE, signer_of

MESSAGE_ID = "SANDBOX-d75ea6fd-d24b-48ec-a320-53675c40fb86"
REQUEST_ID = "78b890f3-b1eb-45b2-a512-beec5d7ead23"
OTHER_ID = "0e6b7a0e-3a55-4b4a-9d0c-8c5f8a5f6a11"


class Quiet(WSGIRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def sandbox(tmp_path, authorities):
    """A data directory of two gateways; ``logs[name][side]`` holds (request id, container) that one of them keeps."""
    logs: dict[str, dict[str, list[tuple[str, bytes]]]] = {"welfare-gateway": {}, "civil-gateway": {}}

    def app(environ, start):
        name = environ["PATH_INFO"].split("/")[1]
        if environ.get("HTTP_AUTHORIZATION") != f"Bearer token of {name}":
            start("401 Unauthorized", [])
            return [b"who are you?"]
        query = parse_qs(environ["QUERY_STRING"])
        identifier = query["id"][0]
        held = [one for one in logs[name].get(query["side"][0], []) if identifier in (one[0], MESSAGE_ID)]
        if not held:
            start("404 Not Found", [("Content-Type", "application/problem+json")])
            return [b'{"code": "not_found", "detail": "contents were erased"}']
        if len(held) > 1:
            start("409 Conflict", [("Content-Type", "application/json")])
            client, service = "SANDBOX/GOV/WELFARE/CASH-TRANSFER", "SANDBOX/GOV/CIVIL/REGISTRY/registry"
            hits = [
                {"request_id": one[0], "message_id": MESSAGE_ID, "at": 1784711087123, "client": client,
                 "service": service} for one in held
            ]  # fmt: skip
            return [json.dumps({"hits": hits}).encode()]
        start("200 OK", [("Content-Type", "application/vnd.etsi.asic-e+zip")])
        return [held[0][1]]

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    members = {"welfare-gateway": "GOV/WELFARE", "civil-gateway": "GOV/CIVIL"}
    processes = [
        {"name": name, "member": member, "kind": "gateway", "url": url, "public_url": url, "health_url": url,
         "management_url": f"{url}/{name}"}
        for name, member in members.items()
    ]  # fmt: skip
    (tmp_path / "steward").mkdir()
    (tmp_path / "sandbox.json").write_text(
        json.dumps({"instance": "SANDBOX", "country": "", "transport": "direct", "processes": processes})
    )
    (tmp_path / "steward/tokens.json").write_text(json.dumps({name: f"token of {name}" for name in members}))
    (tmp_path / "anchor.json").write_bytes(authorities.anchor.render())
    yield tmp_path, logs
    server.shutdown()
    thread.join()
    server.server_close()


def run(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def kept(sandbox, evidence, authorities):
    """The request stands in both logs (each with its own time-stamp), the response in both."""
    data, logs = sandbox
    provider = dataclasses.replace(evidence, token=evidence.token)
    response = RESPONSE + f"x-road-request-id:{REQUEST_ID}\r\n".encode()
    answer = authorities.evidence(signer_of(authorities, "CIVIL"), message=response).container()
    logs["civil-gateway"] = {"request": [(REQUEST_ID, provider.container())], "response": [(REQUEST_ID, answer)]}
    logs["welfare-gateway"] = {"request": [(REQUEST_ID, evidence.container())], "response": [(REQUEST_ID, answer)]}
    return data, logs


@pytest.mark.parametrize("identifier", [MESSAGE_ID, REQUEST_ID])
@pytest.mark.parametrize("side", ["request", "response"])
def test_evidence_is_fetched_and_then_verified_without_the_gateways(kept, identifier, side):
    data, logs = kept
    output = data / "evidence.asice"
    got = run("get", identifier, f"--{side}", "--output", output, "--data", data)
    assert got.exit_code == 0, got.output
    assert f"{side} {REQUEST_ID} from the message log of GOV/WELFARE" in got.output, "the consumer's log is preferred"
    assert output.read_bytes() == logs["welfare-gateway"][side][0][1]
    verified = run("verify", output, "--data", data)
    assert verified.exit_code == 0 and "=> valid, all 17 checks hold" in verified.output


@pytest.mark.parametrize("member", ["GOV/CIVIL", "SANDBOX/GOV/CIVIL"])
def test_a_member_can_be_named(kept, member):
    data, _ = kept
    got = run("get", REQUEST_ID, "--output", data / "e.asice", "--data", data, "--member", member)
    assert got.exit_code == 0 and "message log of GOV/CIVIL" in got.output


def test_an_unknown_member_is_refused_with_those_there_are(kept):
    data, _ = kept
    got = run("get", REQUEST_ID, "--output", data / "e.asice", "--data", data, "--member", "GOV/NOBODY")
    assert got.exit_code != 0 and "GOV/CIVIL" in str(got.exception)


def test_several_requests_under_one_id_are_listed(kept, authorities, welfare):
    data, logs = kept
    other = authorities.evidence(welfare, message=REQUEST.replace(REQUEST_ID.encode(), OTHER_ID.encode())).container()
    logs["welfare-gateway"]["request"].append((OTHER_ID, other))
    got = run("get", MESSAGE_ID, "--output", data / "e.asice", "--data", data)
    assert got.exit_code == 2
    assert REQUEST_ID in got.output and OTHER_ID in got.output and "2026-07-22T09:04:47.123Z" in got.output
    assert not (data / "e.asice").exists()
    assert run("get", OTHER_ID, "--output", data / "e.asice", "--data", data).exit_code == 0


def test_the_same_id_at_two_gateways_for_two_requests_is_ambiguous_too(kept, authorities, welfare):
    data, logs = kept
    other = authorities.evidence(welfare, message=REQUEST.replace(REQUEST_ID.encode(), OTHER_ID.encode())).container()
    logs["civil-gateway"]["request"] = [(OTHER_ID, other)]
    got = run("get", MESSAGE_ID, "--output", data / "e.asice", "--data", data)
    assert got.exit_code == 2 and REQUEST_ID in got.output and OTHER_ID in got.output


def test_an_unknown_message_is_said_to_be_unknown_and_who_was_asked(sandbox):
    data, _ = sandbox
    got = run("get", REQUEST_ID, "--output", data / "e.asice", "--data", data)
    assert got.exit_code == 1
    assert f"no request '{REQUEST_ID}' in the message logs of welfare-gateway, civil-gateway" in got.output
    assert "civil-gateway: contents were erased" in got.output


def test_a_gateway_that_refuses_is_named(kept):
    data, _ = kept
    (data / "steward/tokens.json").write_text('{"welfare-gateway": "wrong", "civil-gateway": "token of civil-gateway"}')
    got = run("get", REQUEST_ID, "--output", data / "e.asice", "--data", data)
    assert got.exit_code == 0 and "note: welfare-gateway answered 401" in got.output
    got = run("get", REQUEST_ID, "--output", data / "e.asice", "--data", data, "--member", "GOV/WELFARE")
    assert got.exit_code == 1 and "welfare-gateway answered 401" in got.output


def test_an_existing_file_is_replaced_with_a_note_and_nothing_is_left_beside_it(kept):
    data, _ = kept
    (data / "out").mkdir()
    output = data / "out" / "e.asice"
    output.write_text("old")
    got = run("get", REQUEST_ID, "--output", output, "--data", data)
    assert got.exit_code == 0 and "replacing what was there" in got.output
    assert [file.name for file in output.parent.iterdir()] == ["e.asice"]


@pytest.mark.parametrize("output", ["missing/e.asice", "."])
def test_an_impossible_output_is_refused_before_anything_is_asked(kept, output):
    data, _ = kept
    got = run("get", REQUEST_ID, "--output", data / output, "--data", data)
    assert got.exit_code == 1 and "must name a file in a folder that exists" in got.output


def test_an_unwritable_output_is_a_clear_error():
    """Root may write anywhere but here."""
    with pytest.raises(OSError, match="proc"):
        write_whole(Path("/proc/e.asice"), b"x")


def test_verify_shows_each_check_and_fails_if_one_does(sandbox, evidence):
    data, _ = sandbox
    good, bad = data / "good.asice", data / "bad.asice"
    good.write_bytes(evidence.container())
    bad.write_bytes(dataclasses.replace(evidence, body=b"other").container())
    verified = run("verify", good, bad, data / "none.asice", "--anchor", data / "anchor.json")
    assert verified.exit_code == 1
    assert "ok    signature value" in verified.output and "FAIL  signature value" in verified.output
    assert "FAIL  file                  cannot be read: No such file" in verified.output
    assert "1 of 3 containers are valid" in verified.output


def test_verify_without_an_anchor_says_so(tmp_path):
    verified = run("verify", tmp_path / "x.asice", "--data", tmp_path)
    assert verified.exit_code == 1 and "no trust anchor at" in verified.output
