"""What the messaging block does, without HTTP: take e-mails and text messages, say how far they are."""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sandroad.callers import Caller
from sandroad.clock import Clock
from sandroad.contracts import Contract, parse_json, pointer
from sandroad.problems import InvalidRequest
from services.messaging.domain import PRIORITIES, Letter, Submission, callback_target, counters
from services.messaging.store import MessagingStore

MOST_ERRORS = 20
LISTS = {"email": ("batchEmailAsBase64", "EmailRecipients"), "sms": ("batchSmsAsBase64", "SmsRecipients")}


class Messaging:
    """One method per kind of operation; e-mail and SMS differ only in the names of their members."""

    def __init__(self, store: MessagingStore, contract: Contract, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        schemas = contract.document["components"]["schemas"]
        self._lists = {channel: contract.schema(schemas[name]) for channel, (_, name) in LISTS.items()}

    def send_single(self, channel: str, caller: Caller, body: Mapping[str, Any]) -> str:
        """Take one message; return its request uid."""
        letter = _letter(channel, caller.client, body, body["recipientInfo"])
        return self._accept(channel, "single", caller, body, [letter])

    def send_batch(self, channel: str, caller: Caller, body: Mapping[str, Any]) -> str:
        """Take one message for many recipients, all or none; return the request uid."""
        recipients = self._recipients(channel, body["recipientInfo"][LISTS[channel][0]])
        letters = [_letter(channel, caller.client, body, each["recipientInfo"]) for each in recipients]
        return self._accept(channel, "batch", caller, body, letters)

    def status(self, channel: str, caller: Caller, request_uid: str, wanted: Sequence[str]) -> dict[str, int]:
        """Return the wanted counters of one of the caller's requests (the member itself may ask for any)."""
        counts = counters(self._store.states(request_uid, caller.client, channel, everybody=caller.is_local))
        spelled = ["notSent" if name in ("not sent", "not_sent") else name for name in wanted]
        return {name: count for name, count in counts.items() if name in spelled}

    def _accept(
        self, channel: str, kind: str, caller: Caller, body: Mapping[str, Any], letters: Sequence[Letter]
    ) -> str:
        uri = _callback_uri(body)
        digest = hashlib.sha256(json.dumps([channel, kind, body], sort_keys=True, ensure_ascii=False).encode())
        transaction_id = body.get("sourceTransactionId", "")
        return self._store.accept(
            Submission(
                client=caller.client,
                channel=channel,
                kind=kind,
                digest=digest.hexdigest(),
                idempotency_key=_idempotency_key(transaction_id, caller.message_id),
                callback=callback_target(uri, caller.client) if uri else "",
                priority=PRIORITIES[body.get("messageType", "notification")],
                transaction_id=transaction_id,
                received_at=self._clock(),
                letters=tuple(letters),
            )
        )

    def _recipients(self, channel: str, encoded: str) -> list[dict[str, Any]]:
        """Return the decoded list of recipients; every bad row is named by its place."""
        name = LISTS[channel][0]
        at = f"/recipientInfo/{name}"
        try:
            recipients = parse_json(base64.b64decode("".join(encoded.split()), validate=True))
        except (binascii.Error, ValueError) as defect:
            raise InvalidRequest(
                f'{name} is base64 of a JSON list [{{"recipientInfo": {{…}}}}]: {defect}',
                [{"where": "body", "at": at, "what": str(defect)[:300]}],
            ) from defect
        errors = []
        for error in self._lists[channel].iter_errors(recipients):
            place = pointer(error.instance_path)
            errors.append({"where": "body", "at": f"{at}{place}", "what": error.message[:300]})
            if len(errors) >= MOST_ERRORS:
                break
        if errors:
            raise InvalidRequest(f"{name}: {errors[0]['at']}: {errors[0]['what']}; nothing was sent", errors)
        return list(recipients)


def _idempotency_key(transaction_id: str, message_id: str) -> str:
    """The contract's own id where given (5.1.16: source's unique transaction id), else the gateway's message id."""
    if transaction_id:
        return f"transaction:{transaction_id}"
    return f"message:{message_id[:150]}" if message_id else ""


def _callback_uri(body: Mapping[str, Any]) -> str:
    """Return the callback's address in whichever of GovStack's spellings it came (5.5.4)."""
    for name in ("callback", "callbackURI", "callbackUri"):
        if name in body:
            return str(body[name].get("URI", body[name].get("uri", "")))
    return ""


def _letter(channel: str, client: str, body: Mapping[str, Any], recipient: Mapping[str, Any]) -> Letter:
    sender = body.get("senderInfo", {})
    name = sender.get("name") or sender.get("organisationName") or ""
    if channel == "sms":
        return Letter("", "sms", (recipient["phone"],), name or client, "", body["smsContent"]["content"])
    copies = tuple(_addresses(recipient.get("emailCC", "")))
    content = body["emailContent"]
    return Letter(
        message_id="",
        channel="email",
        to=(recipient["email"], *copies, *_addresses(recipient.get("emailBCC", ""))),
        sender=_mailbox(name, sender["email"]) if sender.get("email") else name or client,
        title=content.get("title", ""),
        content=content["content"],
        reply_to=sender.get("replyTo", ""),
        copies=copies,
    )


def _mailbox(name: str, address: str) -> str:
    """Return ``name <address>``, the name in quotes if it would be read as more than a name (RFC 5322 §3.4)."""
    if not name:
        return address
    if any(mark in '()<>[]:;@\\,."' for mark in name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def _addresses(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
