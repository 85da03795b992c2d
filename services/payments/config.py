"""Settings of the payments block."""

from dataclasses import dataclass, field
from typing import Any

from sandroad.settings import AppConfig, SettingsError


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``paying_bank`` is the member code of the bank that keeps the programmes' accounts.

    ``institutions``: code → service, ``{"HARBOUR": "SANDBOX/COM/HARBOUR-BANK/ACCOUNTS/accounts"}``. ``programmes``: calling
    subsystem → ``{"programme": "CT-01", "funding_account": "HARBOUR:0000000001"}``. Control changes both at run time.
    ``service`` is the code under which the own gateway offers this block. ``callback_allow_list``: beginnings of absolute
    callback addresses (ending in a slash) that may be called past the gateway; none by default. ``poll_after``: seconds
    without news after which an institution is asked for results. ``validation_patience``: seconds after which silent
    institutions count as unreachable. ``longest_call``: seconds after which a call that was refused or lost can no longer arrive
    from a queue on its way (the gateways' deadline and some grace); only then does "it never came" mean never.
    """

    paying_bank: str = "HARBOUR-BANK"
    institutions: dict[str, Any] = field(default_factory=dict)
    programmes: dict[str, Any] = field(default_factory=dict)
    service: str = "payments"
    callback_allow_list: tuple[str, ...] = ()
    poll_after: float = 30.0
    watch_every: float = 2.0
    longest_call: float = 90.0
    validation_patience: float = 20.0
    largest_sub_batch: int = 500

    def __post_init__(self) -> None:
        if not 1 <= self.largest_sub_batch <= 500:
            raise SettingsError(
                f"SANDROAD_LARGEST_SUB_BATCH={self.largest_sub_batch}: institutions take 1 to 500 at once"
            )
