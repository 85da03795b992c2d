"""Sending, status and the inbox, over HTTP."""

import base64
import json
import re
from typing import Any

import pytest
import requests

from sandroad.testing import as_client, as_steward
from services.messaging.tests.conftest import WELFARE, Block, until


def sms(phone: str = "+99970012345", content: str = "Your code is 482915", **more: Any) -> dict[str, Any]:
    return {"recipientInfo": {"phone": phone, "name": "Amina"}, "smsContent": {"content": content}, **more}


def email(address: str = "amina@example.com", **more: Any) -> dict[str, Any]:
    content = {"encoding": "UTF-8", "title": "Decision", "content": "You are enrolled – welcome."}
    return {"recipientInfo": {"email": address, "name": "Amina"}, "emailContent": content, **more}


def encoded(rows: Any) -> str:
    return base64.b64encode(json.dumps(rows).encode()).decode()


def batch(*phones: str) -> dict[str, Any]:
    rows = [{"recipientInfo": {"phone": phone}} for phone in phones]
    return {"recipientInfo": {"batchSmsAsBase64": encoded(rows)}, "smsContent": {"content": "Payday is Friday"}}


@pytest.mark.parametrize("base", ["", "/v1"])
def test_a_text_message_reaches_the_inbox_and_counts_as_delivered(block: Block, base: str) -> None:
    answer = block.post(base + "/send/sms/single", sms(senderInfo={"organisationName": "Ministry of Social Welfare"}))
    assert answer.status_code == 200
    uid = answer.json()["requestUid"]
    assert uid == answer.json()["requestUID"]
    assert block.wait_for(uid, "delivered") == {
        "scheduled": 0, "processing": 0, "deferred": 0, "bounced": 0, "notSent": 0, "delivered": 1,
    }  # fmt: skip
    (message,) = block.inbox("+99970012345")
    assert message["content"] == "Your code is 482915"
    assert message["from"] == "Ministry of Social Welfare"
    assert message["channel"] == "sms"
    assert message["to"] == "+99970012345"


def test_an_email_reaches_recipient_copies_and_blind_copies(block: Block) -> None:
    body = email("Amina@Example.com")
    body["recipientInfo"] |= {"emailCC": "clerk@example.com, second@example.com", "emailBCC": "audit@example.com"}
    uid = block.post("/send/email/single", body).json()["requestUid"]
    block.wait_for(uid, "delivered", channel="email")
    for address in ("amina@example.com", "clerk@example.com", "second@example.com", "audit@example.com"):
        (message,) = block.inbox(address)
        assert (message["title"], message["content"]) == ("Decision", "You are enrolled – welcome.")


def test_a_batch_reaches_everybody_once(block: Block) -> None:
    phones = [f"+9997002{number:04}" for number in range(500)]
    uid = block.post("/send/sms/batch", batch(*phones)).json()["requestUid"]
    block.wait_for(uid, "delivered", 500)
    assert {len(block.inbox(phone)) for phone in phones[::50]} == {1}


def test_a_batch_of_emails_has_the_published_form(block: Block) -> None:
    rows = [{"recipientInfo": {"email": f"p{number}@example.com", "name": "P"}} for number in range(3)]
    body = email() | {"recipientInfo": {"batchEmailAsBase64": encoded(rows)}}
    uid = block.post("/v1/send/email/batch", body).json()["requestUid"]
    block.wait_for(uid, "delivered", 3, channel="email")
    assert len(block.inbox("p2@example.com")) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("%%%not base64%%%", "base64"),
        (base64.b64encode(b"\xff\xfe").decode(), "UTF-8"),
        (encoded({"recipientInfo": {"phone": "+99970020001"}}), "is not of type"),
        (encoded([]), "batchSmsAsBase64"),
        (
            encoded([{"recipientInfo": {"phone": "+99970020001"}}, {"recipientInfo": {"phone": "x"}}]),
            "/1/recipientInfo",
        ),
    ],
)
def test_an_unreadable_batch_is_refused_whole_and_says_where(block: Block, rows: str, said: str) -> None:
    body = {"recipientInfo": {"batchSmsAsBase64": rows}, "smsContent": {"content": "x"}}
    answer = block.post("/v1/send/sms/batch", body)
    assert answer.status_code == 400
    assert said in answer.text
    assert block.inbox("+99970020001") == []


def test_the_same_message_id_sends_once_and_with_other_content_is_refused(block: Block) -> None:
    first = block.post("/send/sms/single", sms(), message_id="m-1").json()["requestUid"]
    block.wait_for(first, "delivered")
    again = block.post("/send/sms/single", sms(), message_id="m-1")
    assert again.json()["requestUid"] == first
    other = block.post("/send/sms/single", sms(content="another"), message_id="m-1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    elsewhere = block.post("/send/sms/single", sms(), client="SANDBOX/GOV/CIVIL/IDENTITY", message_id="m-1")
    assert elsewhere.json()["requestUid"] != first
    until(lambda: True if len(block.inbox("+99970012345")) == 2 else None)


def test_the_sources_own_transaction_id_makes_repetitions_harmless_under_new_message_ids(block: Block) -> None:
    body = sms(sourceTransactionId="letter-17", messageType="emergency")
    uids = {block.post("/send/sms/single", body, message_id=f"m-{n}").json()["requestUid"] for n in range(3)}
    assert len(uids) == 1


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/send/sms/single", sms(phone="not a number"), "/recipientInfo/phone"),
        ("/send/sms/single", {"smsContent": {"content": "x"}}, "recipientInfo"),
        ("/send/sms/single", sms(content=""), "/smsContent/content"),
        ("/send/sms/single", sms(content="x" * 1601), "/smsContent/content"),
        ("/send/sms/single", [], "object"),
        ("/send/email/single", email("a@b.example\r\nBcc: x@y.example"), "/recipientInfo/email"),
        ("/send/email/single", email() | {"emailContent": {"title": "a\nb", "content": "x"}}, "/emailContent/title"),
        ("/send/email/single", email() | {"emailContent": {"content": "x", "encoding": "EBCDIC"}}, "encoding"),
        ("/send/email/single", email(messageType="urgent"), "/messageType"),
    ],
)
def test_bad_input_is_refused_with_its_place(block: Block, path: str, body: Any, said: str) -> None:
    refused = block.post("/v1" + path, body)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert said in refused.text
    as_tests_want = block.post(path, body)
    assert (as_tests_want.status_code, as_tests_want.headers["Content-Type"]) == (405, "application/json")
    assert exported(block) == []


def test_a_missing_status_or_request_uid_is_named(block: Block) -> None:
    headers = as_client(block.config, WELFARE)
    bare = requests.get(block.url + "/v1/status/email", headers=headers, timeout=10)
    assert bare.status_code == 400
    assert {error["at"] for error in bare.json()["errors"]} == {"requestUid", "status"}
    on_tests_surface = requests.get(block.url + "/status/email", headers=headers, timeout=10)
    assert on_tests_surface.status_code == 405


def test_the_surface_of_the_published_tests_spells_not_sent_both_ways(block: Block) -> None:
    uid = block.post("/send/sms/single", sms()).json()["requestUid"]
    assert {"notSent", "not sent"} <= block.status(uid, base="").keys()
    assert "not sent" not in block.status(uid)


def test_only_the_counters_asked_for_are_answered(block: Block) -> None:
    uid = block.post("/send/sms/single", sms()).json()["requestUid"]
    headers = as_client(block.config, WELFARE) | {"requestUID": uid}
    answer = requests.get(block.url + "/v1/status/sms?status=delivered,bounced", headers=headers, timeout=10)
    assert answer.json().keys() == {"delivered", "bounced"}


def test_another_organisations_request_is_unknown(block: Block) -> None:
    uid = block.post("/send/sms/single", sms()).json()["requestUid"]
    headers = as_client(block.config, "SANDBOX/GOV/CIVIL/IDENTITY") | {"requestUid": uid}
    answer = requests.get(block.url + "/v1/status/sms?status=delivered", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (404, "messaging_request_unknown")


def test_nobody_sends_past_the_gateway(block: Block) -> None:
    answer = requests.post(block.url + "/send/sms/single", json=sms(), headers={"X-Road-Client": WELFARE}, timeout=10)
    assert answer.status_code == 401
    assert exported(block) == []


def test_the_inbox_page_shows_messages_as_text_and_runs_nothing(block: Block) -> None:
    uid = block.post("/send/sms/single", sms(content="<script>alert(1)</script>")).json()["requestUid"]
    block.wait_for(uid, "delivered")
    listing = requests.get(block.url + "/inbox", timeout=10)
    page = requests.get(block.url + "/inbox/+99970012345", timeout=10)
    assert '<a href="/inbox/%2B99970012345">' in listing.text
    for answer in (listing, page):
        assert "<script>" not in answer.text
        assert "&lt;script&gt;" in answer.text
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_the_inbox_tells_only_what_is_new(block: Block) -> None:
    for number in (1, 2):
        uid = block.post("/send/sms/single", sms(content=f"message {number}")).json()["requestUid"]
        block.wait_for(uid, "delivered")
    first, second = block.inbox("+99970012345")
    assert block.inbox("+99970012345", after=first["id"]) == [second]
    assert requests.get(block.url + "/inbox/x.json?after=-1", timeout=10).status_code == 400


@pytest.mark.parametrize("path", ["/inbox", "/inbox/+99970012345", "/inbox/+99970012345.json"])
def test_the_inbox_cannot_be_read_through_a_gateway(block: Block, path: str) -> None:
    answer = requests.get(block.url + path, headers=as_client(block.config, WELFARE), timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (403, "messaging_inbox_is_local")


def exported(block: Block) -> list[dict[str, Any]]:
    answer = requests.get(block.url + "/-/export/requests", headers=as_steward(block.config), timeout=10)
    assert answer.status_code == 200
    return [json.loads(line) for line in answer.text.splitlines()]


def test_the_export_holds_no_contents_and_no_contacts(block: Block) -> None:
    uid = block.post("/send/sms/single", sms(sourceTransactionId="t-1")).json()["requestUid"]
    block.wait_for(uid, "delivered")
    (row,) = exported(block)
    assert (row["requestUid"], row["client"], row["states"]) == (uid, WELFARE, {"delivered": 1})
    assert re.fullmatch("[0-9a-f]{64}", row["hash"])
    assert "99970012345" not in json.dumps(row)
    assert "482915" not in json.dumps(row)
