"""Settings of one institution."""

from dataclasses import dataclass

from sandroad.settings import AppConfig


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``code`` is the institution's code in financial addresses (``HARBOUR``), ``kind`` what it is for readers.

    ``payments`` is the service of the payments block (``SANDBOX/GOV/TREASURY/PAYMENTS/payments``): only its subsystem moves money.
    """

    code: str
    kind: str = "bank"
    payments: str = "SANDBOX/GOV/TREASURY/PAYMENTS/payments"

    @property
    def payments_client(self) -> str:
        """The subsystem that may move money here."""
        return self.payments.rpartition("/")[0]
