"""The queue: states, retries, callbacks, restarts; on SQLite and PostgreSQL."""

import base64
import json
import os
import signal
import socketserver
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes, policy
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, text

from sandroad.testing import as_client, served
from services.messaging.app import create_app
from services.messaging.config import Config
from services.messaging.domain import CallbackNotAllowed, callback_target
from services.messaging.tests.conftest import WELFARE, Block, OwnGateway, until

PHONE = "+99970012345"
CALLBACK = "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/cash-transfer/callbacks/messages"


def sms(content: str = "hello", phone: str = PHONE, **more: Any) -> dict[str, Any]:
    return {"recipientInfo": {"phone": phone}, "smsContent": {"content": content}, **more}


@pytest.fixture
def store_block(config: Config, database_url: str) -> Iterator[Block]:
    config = replace(config, database=database_url)
    with served(create_app(config)) as url:
        yield Block(url, config)


def rows(block: Block, query: str) -> list[Any]:
    engine = create_engine(block.config.database.replace("postgresql://", "postgresql+pg8000://"))
    with engine.connect() as connection:
        found = list(connection.execute(text(query)))
    engine.dispose()
    return found


def test_eight_senders_at_once_with_one_id_send_once(store_block: Block) -> None:
    uids: list[str] = []

    def send() -> None:
        uids.append(store_block.post("/send/sms/single", sms(), message_id="same").json()["requestUid"])

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(uids), len(set(uids))) == (8, 1)
    store_block.wait_for(uids[0], "delivered")
    assert len(store_block.inbox(PHONE)) == 1


def test_contents_and_contacts_are_sealed_while_waiting_and_gone_afterwards(store_block: Block) -> None:
    store_block.fault("sms-down")
    uid = store_block.post("/send/sms/single", sms("the secret code is 482915")).json()["requestUid"]
    store_block.wait_for(uid, "deferred")
    (waiting,) = rows(store_block, "SELECT sealed FROM messages")
    assert len(waiting[0]) > 100
    assert b"482915" not in bytes(waiting[0])
    requests.delete(store_block.url + "/-/faults/sms-down", headers=_steward(store_block), timeout=10)
    store_block.wait_for(uid, "delivered")
    assert [bytes(row[0]) for row in rows(store_block, "SELECT sealed FROM messages")] == [b""]
    key = store_block.config.data / "queue.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def _steward(block: Block) -> dict[str, str]:
    return {"Authorization": f"Bearer {block.config.management_token}"}


def test_a_provider_that_is_down_is_tried_again_until_it_takes_the_message(store_block: Block) -> None:
    store_block.fault("sms-down", times=2)
    uid = store_block.post("/send/sms/single", sms()).json()["requestUid"]
    store_block.wait_for(uid, "delivered")
    assert [row[0] for row in rows(store_block, "SELECT attempts FROM messages")] == [2]
    assert len(store_block.inbox(PHONE)) == 1


def test_a_refused_recipient_bounces_and_holds_nobody_up(store_block: Block) -> None:
    store_block.fault("bounce", address=PHONE)
    body = [{"recipientInfo": {"phone": phone}} for phone in (PHONE, "+99970000002")]
    encoded = base64.b64encode(json.dumps(body).encode()).decode()
    sent = {"recipientInfo": {"batchSmsAsBase64": encoded}, "smsContent": {"content": "x"}}
    uid = store_block.post("/send/sms/batch", sent).json()["requestUid"]
    assert store_block.wait_for(uid, "bounced")["delivered"] == 1
    assert store_block.inbox(PHONE) == []


def test_a_message_that_nobody_takes_in_time_is_given_up(config: Config) -> None:
    config = replace(config, give_up_after=0.4)
    with served(create_app(config)) as url:
        block = Block(url, config)
        block.fault("sms-down")
        uid = block.post("/send/sms/single", sms()).json()["requestUid"]
        assert block.wait_for(uid, "notSent")["deferred"] == 0


def test_emergencies_leave_the_queue_first(block: Block) -> None:
    block.fault("sms-down")
    uids = [block.post("/send/sms/single", sms(f"{n}")).json()["requestUid"] for n in range(3)]
    urgent = block.post("/send/sms/single", sms("urgent", messageType="emergency")).json()["requestUid"]
    for uid in [*uids, urgent]:
        block.wait_for(uid, "deferred")
    delivery_order = [row[0] for row in rows(block, "SELECT priority FROM messages ORDER BY priority, position")]
    assert delivery_order == [0, 1, 1, 1]


def test_the_sender_is_called_back_once_when_everything_is_decided(block: Block, own_gateway: OwnGateway) -> None:
    own_gateway.answers = [503]
    body = sms(callback={"URI": CALLBACK})
    uid = block.post("/send/sms/single", body, message_id="m").json()["requestUid"]
    until(lambda: own_gateway.calls[1:] or None)
    block.post("/send/sms/single", body, message_id="m")
    call = own_gateway.calls[1]
    assert (call["path"], call["headers"]["Requestuid"]) == (CALLBACK, uid)
    assert call["headers"]["X-Road-Client"] == block.config.client
    told = json.loads(base64.b64decode(call["body"]["content"]))
    assert (call["body"]["meta"], told["requestUid"], told["status"]["delivered"]) == ("status", uid, 1)
    outbox = until(lambda: found if (found := _outbox(block))["done"] == 1 else None)
    assert outbox["waiting"] == 0
    assert len(own_gateway.calls) == 2


def _outbox(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(block.url + "/-/outbox", headers=_steward(block), timeout=10).json()
    return found


@pytest.mark.parametrize("name", ["callback", "callbackURI", "callbackUri"])
@pytest.mark.parametrize("member", ["URI", "uri"])
def test_every_spelling_of_a_callback_is_read(block: Block, own_gateway: OwnGateway, name: str, member: str) -> None:
    block.post("/send/sms/single", sms() | {name: {member: CALLBACK}})
    until(lambda: own_gateway.calls or None)


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/callback",
        "http://127.0.0.1:1/",
        "/callbacks",
        "/r1/SANDBOX/GOV/TREASURY/PAYMENTS/payments/batchtransactions",
        "/r1/SANDBOX/GOV/WELFARE/../TREASURY/PAYMENTS/payments",
        "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/x/../../../../TREASURY/PAYMENTS/payments",
        "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/%2e%2e/x",
        "/r1/SANDBOX/GOV/WELFARE-OTHER/CASH-TRANSFER/x",
        "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/x?y=z",
        "/r1/SANDBOX/GOV/WELFARE/CASH-TRANSFER/x\r\nX-Road-Client: y",
    ],
)
def test_a_callback_goes_to_the_callers_own_organisation_or_nowhere(uri: str) -> None:
    with pytest.raises(CallbackNotAllowed):
        callback_target(uri, WELFARE)


def test_a_callback_that_is_not_allowed_is_refused_and_nothing_is_sent(block: Block) -> None:
    answer = block.post("/v1/send/sms/single", sms(callback={"URI": "https://example.com/x"}))
    assert (answer.status_code, answer.json()["code"]) == (400, "messaging_callback_not_allowed")
    assert rows(block, "SELECT * FROM messages") == []


SERVER = """
import sys, json
from services.messaging.app import run
run(json.loads(sys.argv[1]))
"""


def test_a_killed_process_loses_nothing_and_sends_nothing_twice(config: Config, own_gateway: OwnGateway) -> None:
    port = _free_port()
    settings = {
        "SANDROAD_NAME": "messaging", "SANDROAD_MEMBER": "GOV/DIGITAL", "SANDROAD_SUBSYSTEM": "MESSAGING",
        "SANDROAD_PORT": port, "SANDROAD_DATABASE": config.database, "SANDROAD_GATEWAY_URL": own_gateway.url,
        "SANDROAD_GATEWAY_SECRET": config.gateway_secret, "SANDROAD_MANAGEMENT_TOKEN": config.management_token,
        "SANDROAD_CONTRACTS": str(config.contracts), "SANDROAD_COUNTRY": str(config.country),
        "SANDROAD_DATA": str(config.data),
    }  # fmt: skip
    block = Block(f"http://127.0.0.1:{port}", config)
    phones = [f"+99971{number:06}" for number in range(3000)]
    encoded = base64.b64encode(json.dumps([{"recipientInfo": {"phone": each}} for each in phones]).encode()).decode()
    body = {"recipientInfo": {"batchSmsAsBase64": encoded}, "smsContent": {"content": "payday"}}
    with _process(settings) as process:
        until(lambda: _healthy(block), 30)
        uid = block.post("/send/sms/batch", body, message_id="batch").json()["requestUid"]
        until(lambda: True if block.status(uid)["delivered"] > 0 else None, 30)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with _process(settings):
        until(lambda: _healthy(block), 30)
        assert block.post("/send/sms/batch", body, message_id="batch").json()["requestUid"] == uid
        until(lambda: True if block.status(uid)["delivered"] == len(phones) else None, 60)
    assert rows(block, "SELECT count(*), count(DISTINCT address) FROM inbox") == [(len(phones), len(phones))]


@contextmanager
def _process(settings: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", SERVER, json.dumps(settings)])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def _healthy(block: Block) -> bool | None:
    try:
        return True if requests.get(block.url + "/-/health", timeout=5).status_code == 200 else None
    except requests.ConnectionError:
        return None


def _free_port() -> int:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as server:
        return int(server.server_address[1])


class MailServer(socketserver.ThreadingTCPServer):
    """As much of an SMTP server (RFC 5321) as is needed to take a mail or to refuse its recipient."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), MailSession)
        self.mails: list[tuple[list[str], bytes]] = []
        self.refused: dict[str, int] = {}


class MailSession(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 mail.example ready")
        recipients: list[str] = []
        while line := self.rfile.readline().decode().strip():
            command = line.split(" ", 1)[0].upper()
            if command in ("EHLO", "HELO"):
                self._say("250 mail.example")
            elif command == "RCPT":
                address = line.split("<", 1)[1].split(">", 1)[0]
                code = self.server.refused.get(address, 250)
                recipients += [address] if code == 250 else []
                self._say(f"{code} recipient")
            elif command == "DATA":
                self._say("354 go on")
                content = b""
                while (part := self.rfile.readline()) != b".\r\n":
                    content += part
                self.server.mails.append((recipients, content))
                recipients = []
                self._say("250 taken")
            elif command == "QUIT":
                return self._say("221 bye")
            else:
                self._say("250 fine")
        return None

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@pytest.fixture
def mail_server() -> Iterator[MailServer]:
    with MailServer() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_named_mail_server_gets_the_emails(config: Config, mail_server: MailServer) -> None:
    config = replace(config, smtp_host="127.0.0.1", smtp_port=mail_server.server_address[1])
    mail_server.refused = {"gone@example.com": 550, "later@example.com": 451}
    with served(create_app(config)) as url:
        block = Block(url, config)
        body: dict[str, Any] = {
            "senderInfo": {"name": "Welfare, Ministry", "email": "no-reply@welfare.qz.example", "replyTo": "desk@welfare.qz.example"},
            "recipientInfo": {"email": "a@example.com", "emailCC": "b@example.com", "emailBCC": "c@example.com"},
            "emailContent": {"title": "Décision", "content": "Vous êtes inscrit.\n.\nFin"},
        }  # fmt: skip
        uid = block.post("/send/email/single", body).json()["requestUid"]
        block.wait_for(uid, "delivered", channel="email")
        ((recipients, content),) = mail_server.mails
        mail = message_from_bytes(content, policy=policy.default)
        assert recipients == ["a@example.com", "b@example.com", "c@example.com"]
        assert (mail["To"], mail["Cc"], mail["Bcc"]) == ("a@example.com", "b@example.com", None)
        assert (mail["Subject"], mail["Reply-To"]) == ("Décision", "desk@welfare.qz.example")
        (sender,) = mail["From"].addresses
        assert (sender.display_name, sender.addr_spec) == ("Welfare, Ministry", "no-reply@welfare.qz.example")
        assert "Vous êtes inscrit." in mail.get_content()
        for address, counter in (("gone@example.com", "bounced"), ("later@example.com", "deferred")):
            body["recipientInfo"] = {"email": address}
            uid = block.post("/send/email/single", body).json()["requestUid"]
            block.wait_for(uid, counter, channel="email")
        mail_server.refused = {}
        block.wait_for(uid, "delivered", channel="email")
        body["recipientInfo"] = {"email": "döner@example.com"}
        uid = block.post("/send/email/single", body).json()["requestUid"]
        block.wait_for(uid, "bounced", channel="email")
        assert block.inbox("a@example.com") == []


def test_a_mail_server_that_is_gone_defers(config: Config) -> None:
    config = replace(config, smtp_host="127.0.0.1", smtp_port=_free_port())
    with served(create_app(config)) as url:
        block = Block(url, config)
        body = {"recipientInfo": {"email": "a@example.com"}, "emailContent": {"content": "x"}}
        uid = block.post("/send/email/single", body).json()["requestUid"]
        block.wait_for(uid, "deferred", channel="email")
        health = requests.get(url + "/-/health", timeout=10)
        assert health.status_code == 200


def test_a_lost_key_is_told_by_the_health_check_and_loses_no_message(config: Config) -> None:
    app = create_app(config)
    headers = as_client(config, WELFARE)
    uid = app.test_client().post("/send/sms/single", json=sms(), headers=headers).get_json()["requestUid"]
    key = (config.data / "queue.key").read_bytes()
    (config.data / "queue.key").unlink()
    with served(create_app(config)) as url:
        said = until(lambda: found if "InvalidToken" in (found := _health(url)) else None)
        assert "messages are not delivered" in said
    (config.data / "queue.key").write_bytes(key)
    with served(create_app(config)) as url:
        Block(url, config).wait_for(uid, "delivered")


def _health(url: str) -> str:
    return requests.get(url + "/-/health", timeout=10).text


def test_the_worker_finds_work_that_was_there_before_it_started(config: Config) -> None:
    app = create_app(config)
    client = app.test_client()
    headers = as_client(config, WELFARE)
    uid = client.post("/send/sms/single", json=sms(), headers=headers).get_json()["requestUid"]
    started = time.monotonic()
    with served(app) as url:
        Block(url, config).wait_for(uid, "delivered")
    assert time.monotonic() - started < 10
