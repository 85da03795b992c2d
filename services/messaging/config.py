"""Settings of the messaging block."""

from dataclasses import dataclass

from sandroad.settings import AppConfig


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``smtp_host`` names a mail server that takes the e-mails instead of the sandbox's own inbox; empty: nothing leaves.

    An undelivered message is tried again, first after ``first_wait`` seconds, then after twice as long each time, at most
    ``longest_wait``, and leaves the queue ``give_up_after`` seconds after it came (GovStack Messaging 5.1.24.1: 24 hours,
    real time: moving the business clock does not make a message late).
    """

    smtp_host: str = ""
    smtp_port: int = 25
    first_wait: float = 0.5
    longest_wait: float = 300.0
    give_up_after: float = 24 * 3600.0
