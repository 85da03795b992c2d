"""Accounts and what may be done with them: pure rules, no HTTP and no storage."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandroad.problems import Refusal

SETTLEMENT = "settlement:payments"
OPENING = "opening"


class OnlyPayments(Refusal):
    """Another subsystem than the payments block asked to move money or to look at accounts."""

    code = "only_payments"


class OnlyAdministrator(Refusal):
    """Accounts are opened by the institution itself."""

    code = "only_administrator"


class InstitutionDown(Refusal):
    """The lab fault `down` is on."""

    code = "institution_down"


class WrongInstitution(Refusal):
    """The call names another institution."""

    code = "wrong_institution"


class AccountDiffers(Refusal):
    """An account of this number was opened with other data."""

    code = "account_differs"


class UnknownAccount(Refusal):
    """No account of this number is kept here."""

    code = "unknown_account"


class UnknownBatch(Refusal):
    """Nothing was ever authorised under this batch id."""

    code = "unknown_batch"


class UnknownSubBatch(Refusal):
    """No sub-batch of this id ever arrived: nothing was credited for it."""

    code = "unknown_sub_batch"


class RefundTooLarge(Refusal):
    """More would be returned than was moved for the batch."""

    code = "refund_too_large"


class InstructionSeenBefore(Refusal):
    """An instruction of the sub-batch came before, in another sub-batch."""

    code = "instruction_seen_before"


class CallbackRefused(Refusal):
    """The callback address is not one of the calling subsystem."""

    code = "callback_refused"


@dataclass(frozen=True)
class Account:
    """One account; ``balance`` in minor units. ``behaviour`` is what a lesson has planted."""

    number: str
    holder_name: str
    holder_reference: str
    status: str
    currency: str
    balance: int
    behaviour: str
    behaviour_seconds: int

    def cannot_be_credited(self, currency: str) -> str:
        """Return why a credit is impossible, in the contract's word; empty if it is possible."""
        if self.status == "closed" or self.behaviour == "closed":
            return "account_closed"
        if self.status == "blocked":
            return "account_blocked"
        return "wrong_currency" if currency != self.currency else ""

    def fails_validation(self, name: str | None, currency: str | None) -> str:
        """Return why validation fails; empty if it passes. A planted later closing is not seen yet."""
        if self.status != "active":
            return f"account_{self.status}"
        if currency and currency != self.currency:
            return "wrong_currency"
        return "name_mismatch" if name and not same_name(name, self.holder_name) else ""


def same_name(one: str, other: str) -> bool:
    """Tell whether two spellings are of one name, without regard to case, accents, punctuation and spacing."""
    return _plain(one) == _plain(other)


def _plain(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(re.findall(r"\w+", letters.replace("'", "").replace("’", "")))


def checked_callback(address: str, client: str) -> str:
    """Return the address if it is a plain path of a service of ``client``; raise ``CallbackRefused``.

    Anything else would let a caller have this institution call third parties with the institution's own rights.
    """
    segments = address.split("/")
    below = address.startswith(f"/r1/{client}/") and len(segments) > 2 + client.count("/") + 1
    if not below or not re.fullmatch(r"[/A-Za-z0-9._~-]+", address) or {".", ".."} & set(segments):
        raise CallbackRefused(f"X-Callback-URL must be a path below /r1/{client}/")
    return address


def as_json(account: Account, balance: str) -> Mapping[str, Any]:
    """Return an account in the contract's spelling."""
    return {
        "account": account.number,
        "holderName": account.holder_name,
        "holderReference": account.holder_reference,
        "status": account.status,
        "currency": account.currency,
        "balance": balance,
        "behaviour": account.behaviour,
        "behaviourSeconds": account.behaviour_seconds,
    }
