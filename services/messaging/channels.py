"""Channels: how letters leave the queue. The default one ends in the sandbox's own inbox; a mail server can be named instead."""

import smtplib
from collections.abc import Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate
from typing import Protocol

from sandroad.clock import Clock
from sandroad.faults import Faults
from services.messaging.domain import Letter, Outcome
from services.messaging.inbox import Inbox

TAKEN = Outcome(True)


class Channel(Protocol):
    """Takes letters. The same letter given again (after a crash) must not reach anybody twice where that can be known."""

    def hand_over(self, letters: Sequence[Letter]) -> dict[str, Outcome]:
        """Return, by message id, whether each letter was taken."""
        ...

    def reports(self, message_ids: Sequence[str]) -> set[str]:
        """Return the ids of taken letters that have reached their recipient, as far as the channel knows."""
        ...


class InboxChannel:
    """Stands in for the SMS aggregator and the mail server: delivers into the inbox; lab faults make it fail.

    Faults: ``<channel>-down`` (nobody takes anything) and ``bounce`` with ``address`` (that recipient is refused for good).
    """

    def __init__(self, name: str, inbox: Inbox, faults: Faults, clock: Clock) -> None:
        self._name = name
        self._inbox = inbox
        self._faults = faults
        self._clock = clock

    def hand_over(self, letters: Sequence[Letter]) -> dict[str, Outcome]:
        if self._faults.take(f"{self._name}-down") is not None:
            return {letter.message_id: Outcome(False, "the provider is down (lab fault)") for letter in letters}
        refused = (self._faults.on("bounce") or {}).get("address")
        bounced = {letter.message_id for letter in letters if refused in letter.to}
        taken = [letter for letter in letters if letter.message_id not in bounced]
        if taken:
            self._inbox.put(taken, self._clock())
        failures = {each: Outcome(False, "the recipient is refused (lab fault)", final=True) for each in bounced}
        return {letter.message_id: TAKEN for letter in taken} | failures

    def reports(self, message_ids: Sequence[str]) -> set[str]:
        return self._inbox.received(message_ids)


class SmtpChannel:
    """Gives e-mails to a mail server that the operator named (settings ``smtp_host``, ``smtp_port``).

    A crash between the server's answer and our commit sends a mail twice, under one Message-ID: SMTP cannot do better.
    What the server took counts as delivered, since nothing is heard of it afterwards.
    """

    def __init__(self, host: str, port: int, timeout: float = 20.0) -> None:
        self._host = host
        self._port = port
        self._timeout = timeout

    def hand_over(self, letters: Sequence[Letter]) -> dict[str, Outcome]:
        outcomes = {letter.message_id: Outcome(False, "the mail server cannot be reached") for letter in letters}
        try:
            with smtplib.SMTP(self._host, self._port, timeout=self._timeout) as server:
                for letter in letters:
                    outcomes[letter.message_id] = self._send(server, letter)
        except OSError as defect:
            unreached = Outcome(False, f"mail server: {type(defect).__name__}")
            return {each: said if said.taken or said.final else unreached for each, said in outcomes.items()}
        return outcomes

    def reports(self, message_ids: Sequence[str]) -> set[str]:
        return set(message_ids)

    def _send(self, server: smtplib.SMTP, letter: Letter) -> Outcome:
        try:
            server.send_message(as_mail(letter), to_addrs=list(letter.to))
        except smtplib.SMTPRecipientsRefused as refusal:
            code = max(answer[0] for answer in refusal.recipients.values())
            return Outcome(False, f"the mail server refused the recipient with {code}", final=code >= 500)
        except smtplib.SMTPResponseException as refusal:
            return Outcome(False, f"the mail server answered {refusal.smtp_code}", final=refusal.smtp_code >= 500)
        except (smtplib.SMTPNotSupportedError, ValueError, MessageError) as defect:
            # An address that SMTP cannot carry: it would be tried for ever and hold up those behind it.
            return Outcome(False, f"this cannot be sent by e-mail: {type(defect).__name__}", final=True)
        return TAKEN


def as_mail(letter: Letter) -> EmailMessage:
    """Return a letter as an internet message; blind copies are in no header."""
    mail = EmailMessage()
    mail["Message-ID"] = f"<{letter.message_id}@messaging.sandroad.example>"
    mail["Date"] = formatdate()
    mail["From"] = letter.sender if "@" in letter.sender else f'"{letter.sender}" <no-reply@messaging.sandroad.example>'
    mail["To"] = letter.to[0]
    if letter.copies:
        mail["Cc"] = ", ".join(letter.copies)
    if letter.reply_to:
        mail["Reply-To"] = letter.reply_to
    mail["Subject"] = letter.title
    mail.set_content(letter.content)
    return mail
