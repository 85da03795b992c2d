"""Words of payments and the rules that say no: pure, no HTTP, no storage, no clock."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandroad.money import Money, NotMoney
from sandroad.problems import Error, InvalidRequest, Refusal

SUSPENSE = "suspense"
VOUCHER = "02"
LARGEST_TOTAL = 10**15 - 1  # minor units: what the paying bank's contract can write
MODALITIES = frozenset({"00", "01", "02", "03", "04"})
ADDRESS = re.compile(r"([A-Z][A-Z0-9]{1,10}):(\+?[A-Za-z0-9-]{1,19})")


class AnswerUnusable(Error):
    """An institution's answer is not what its contract says; the call is made again."""


class NoProgramme(Refusal):
    """The calling subsystem runs no programme that the Treasury pays for, or names another one."""

    code = "no_programme"


class WrongCurrency(Refusal):
    """An instruction is not in the currency of the programme's account."""

    code = "wrong_currency"


class NotAnAmount(Refusal):
    """An amount has more decimals than its currency."""

    code = "not_an_amount"


class DuplicateInstruction(Refusal):
    """An instruction id stands twice in one batch (GovStack 5.3.4: such a file is not processed)."""

    code = "duplicate_instruction"


class InstructionPaidBefore(Refusal):
    """An instruction id came before in another batch of the same source."""

    code = "instruction_paid_before"


class BatchDiffers(Refusal):
    """A batch of this id came before with another content."""

    code = "batch_differs"


class UnknownBatch(Refusal):
    """The caller has handed over no batch of this id."""

    code = "unknown_batch"


class UnknownValidation(Refusal):
    """The caller has asked for no such validation."""

    code = "unknown_validation"


class UnknownSubBatch(Refusal):
    """No sub-batch of this id was sent to the calling institution."""

    code = "unknown_sub_batch"


class UnknownInstruction(Refusal):
    """A result names an instruction that is not in its sub-batch."""

    code = "unknown_instruction"


class ResultContradicts(Refusal):
    """A result is final already, and this one says the opposite; people have to look."""

    code = "result_contradicts"


class CallbackRefused(Refusal):
    """The callback address is not one of the calling subsystem."""

    code = "callback_refused"


@dataclass(frozen=True)
class FinancialAddress:
    """``HARBOUR:0012345678``: an institution's code and an account there; at most 30 characters."""

    institution: str
    account: str

    @classmethod
    def parse(cls, text: str, institution: str | None = None) -> "FinancialAddress | None":
        """Read an address; ``institution`` completes one that lacks its code. None if it is malformed or contradicts it."""
        whole = text if ":" in text or not institution else f"{institution}:{text}"
        found = ADDRESS.fullmatch(whole)
        if not found or len(whole) > 30 or (institution and found[1] != institution):
            return None
        return cls(found[1], found[2])

    def __str__(self) -> str:
        return f"{self.institution}:{self.account}"


@dataclass(frozen=True)
class Programme:
    """What a source pays from: the programme's code and its account at the paying bank."""

    code: str
    account: FinancialAddress


@dataclass(frozen=True)
class Instruction:
    """One credit instruction as the source wrote it; ``amount`` in minor units."""

    id: str
    payee: str
    amount: int
    currency: str
    narration: str
    payee_name: str = ""


@dataclass(frozen=True)
class Beneficiary:
    """A payee as a source registers it; None where nothing was said."""

    payee: str
    modality: str | None
    address: str | None
    institution: str | None
    name: str | None
    active: bool | None = None


@dataclass(frozen=True)
class FailedCase:
    """A payee that could not be registered or updated, and why, in one word."""

    payee: str
    institution: str
    modality: str
    reason: str


def minor_units(amount: int | float, currency: str, at: str) -> int:
    """Return an amount of a JSON body in minor units; raise ``NotAnAmount`` that says where."""
    try:
        return Money.parse(amount, currency).minor
    except NotMoney as defect:
        raise NotAnAmount(f"{at}: {defect}") from defect


def number(units: int, currency: str) -> float:
    """Return minor units as the JSON number that GovStack's contract wants; exact up to 15 digits."""
    return float(Money.from_minor(units, currency).amount)


def check_instructions(instructions: Sequence[Instruction], currency: str) -> None:
    """Raise a refusal unless ids differ, all are in ``currency`` and the sum can be paid at once."""
    for position, each in enumerate(instructions):
        if each.currency != currency:
            raise WrongCurrency(f"instruction {position} is in {each.currency}, the programme's account in {currency}")
    if sum(each.amount for each in instructions) > LARGEST_TOTAL:
        most = Money.from_minor(LARGEST_TOTAL, currency).amount
        raise NotAnAmount(f"the batch amounts to more than {most} {currency}; split it")
    if twice := repeated(each.id for each in instructions):
        raise DuplicateInstruction(f"instruction {twice} stands twice in the batch; nothing of it is processed")


def repeated(ids: Iterable[str]) -> str:
    """Return the first id that comes twice; empty if none does."""
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            return each
        seen.add(each)
    return ""


def checked_callback(address: str, client: str, allowed: Sequence[str]) -> str:
    """Return a callback address if it may be called; raise ``CallbackRefused``.

    A path must lie below a service of ``client`` itself: payments calls it with its own rights, so a source that named a
    third party's path would act with them. Absolute addresses need an entry of the allow-list.
    """
    segments = address.partition("?")[0].split("/")
    plain = re.fullmatch(r"[/A-Za-z0-9._~-]+(\?[A-Za-z0-9._~=&-]*)?", address) and not {".", ".."} & set(segments)
    if plain and address.startswith(f"/r1/{client}/") and len(segments) > 3 + client.count("/"):
        return address
    is_absolute = re.fullmatch(r"https?://[!-~]+", address) and "@" not in address and ".." not in address
    if is_absolute and any(each.endswith("/") and address.startswith(each) for each in allowed):
        return address
    raise CallbackRefused(f"X-Callback-URL must be a path below /r1/{client}/, or on the allow-list of addresses")


def spelled(body: object, names: Sequence[str]) -> object:
    """Return ``body`` with members renamed to the spelling in ``names``, whatever their case (GovStack 3.0 mixes cases)."""
    known = {name.lower(): name for name in names}
    if isinstance(body, list):
        return [spelled(item, names) for item in body]
    if not isinstance(body, dict):
        return body
    renamed = {known.get(name.lower(), name): spelled(value, names) for name, value in body.items()}
    if len(renamed) != len(body):
        raise InvalidRequest("a member stands twice in different spellings")
    return renamed
