"""Money: an exact amount in one currency, never a float."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

MINOR_UNITS = {"JPY": 0, "XTS": 2}


class NotMoney(ValueError):
    """The text is not an amount of this currency; says why."""


@dataclass(frozen=True, order=True)
class Money:
    """An amount with its currency. Arithmetic between currencies is a ``ValueError``."""

    amount: Decimal
    currency: str

    @classmethod
    def parse(cls, text: str | int | Decimal | float, currency: str) -> "Money":
        """Read an amount; at most as many decimals as the currency has (two unless known otherwise).

        A JSON number that arrived as a float is read by its shortest decimal spelling, so ``0.1`` is a tenth.
        """
        if isinstance(text, bool):
            raise NotMoney("true or false is not an amount")
        try:
            amount = Decimal(repr(text) if isinstance(text, float) else text)
        except (InvalidOperation, ValueError, TypeError) as defect:
            raise NotMoney(f"{str(text)[:40]!r} is not a decimal number") from defect
        if not amount.is_finite():
            raise NotMoney(f"{text} is not a finite number")
        places = MINOR_UNITS.get(currency, 2)
        unit = Decimal(1).scaleb(-places)
        if abs(amount) >= Decimal("1e18"):
            raise NotMoney(f"{str(text)[:40]} is larger than any amount of money here")
        if amount != amount.quantize(unit):
            raise NotMoney(f"{text} has more than {places} decimals, {currency} has no smaller unit")
        return cls(amount.quantize(unit), currency)

    @classmethod
    def from_minor(cls, units: int, currency: str) -> "Money":
        """Return the amount of ``units`` cents, as stores keep it."""
        return cls(Decimal(units).scaleb(-MINOR_UNITS.get(currency, 2)), currency)

    @property
    def minor(self) -> int:
        """The amount in the currency's smallest unit."""
        return int(self.amount.scaleb(MINOR_UNITS.get(self.currency, 2)))

    def __add__(self, other: "Money") -> "Money":
        return Money(self.amount + self._same(other).amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        return Money(self.amount - self._same(other).amount, self.currency)

    def __str__(self) -> str:
        return f"{self.amount} {self.currency}"

    def _same(self, other: "Money") -> "Money":
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up")
        return other
