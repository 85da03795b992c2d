"""Letters to people: short messages whose text the programme file holds, sent once each through the outbox."""

from usecases.cash_transfer.domain import fixed_id
from usecases.cash_transfer.office import Office
from usecases.cash_transfer.store import Rows

LETTER = "letter"


def write_letter(office: Office, rows: Rows, kind: str, phone: str, subject: str, /, *about: str, **words: str) -> None:
    """Put one letter into the outbox, in the transaction that causes it; ``subject`` and ``about`` make it one of a kind.

    Somebody without a phone gets none; the trace says so.
    """
    if not phone:
        return
    text = office.programme.letters[kind].format(programme=office.programme.name, **words)
    letter = fixed_id(20, "letter", kind, subject, *about)
    office.outbox.put(
        rows.connection,
        id=f"letter:{letter}",
        key=f"letter:{subject}",
        kind=LETTER,
        method="POST",
        target=f"/r1/{office.config.messaging}/send/sms/single",
        headers={"X-Road-Issue": subject},
        json_body={
            "senderInfo": {"organisationName": office.programme.sender},
            "recipientInfo": {"phone": phone},
            "smsContent": {"encoding": "UTF-8", "content": text},
            "messageType": "notification",
            "sourceTransactionId": letter,
        },
    )
