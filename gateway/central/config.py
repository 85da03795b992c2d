"""Central's settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandroad.settings import AppConfig, SettingsError

ROOT = Path(__file__).resolve().parents[2]
APPROVALS = ("automatic", "manual")


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """What central is told at its start. It belongs to no member and stands behind no gateway.

    ``url`` is where gateways reach central; certificates, the configuration and the anchor name it.
    ``members``: ``[{"id": "GOV/CIVIL", "name": …, "subsystems": […]}]``. ``enrolment_tokens``: ``{gateway: {"member": …,
    "sha256": hex of the token's SHA-256}}``. Both are taken over at each start; nothing that is missing there is removed.
    """

    name: str = "central"
    member: str = ""
    subsystem: str = ""
    gateway_url: str = ""
    gateway_secret: str = ""
    contracts: Path = ROOT / "contracts"
    country: Path = ROOT / "country"
    url: str = ""
    country_code: str = "QZ"
    members: tuple[dict[str, Any], ...] = ()
    enrolment_tokens: dict[str, Any] = field(default_factory=dict)
    approval: str = "automatic"
    configuration_validity_seconds: int = 600
    refresh_seconds: int = 60
    ocsp_freshness_seconds: int = 3600

    def __post_init__(self) -> None:
        if self.approval not in APPROVALS:
            raise SettingsError(f"SANDROAD_APPROVAL={self.approval!r}: expected automatic or manual")
        if not (len(self.country_code) == 2 and self.country_code.isascii() and self.country_code.isupper()):
            raise SettingsError(f"SANDROAD_COUNTRY_CODE={self.country_code!r}: expected two capital letters")
        # Gateways meet a configuration when it is up to half its validity old, and then need time for a second try.
        if not 1 <= self.refresh_seconds <= self.configuration_validity_seconds / 4:
            raise SettingsError("SANDROAD_REFRESH_SECONDS is 1 to a quarter of SANDROAD_CONFIGURATION_VALIDITY_SECONDS")
        if self.ocsp_freshness_seconds < self.configuration_validity_seconds:
            raise SettingsError(
                "SANDROAD_OCSP_FRESHNESS_SECONDS is at least SANDROAD_CONFIGURATION_VALIDITY_SECONDS: "
                "the configuration carries OCSP responses that have to last as long"
            )

    @property
    def base_url(self) -> str:
        """Where gateways reach central."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def configuration_url(self) -> str:
        """Where the global configuration is published."""
        return f"{self.base_url}/configuration"

    @property
    def ocsp_url(self) -> str:
        """The OCSP responder, as certificates name it."""
        return f"{self.base_url}/ocsp"

    @property
    def timestamping_url(self) -> str:
        """The time-stamping authority."""
        return f"{self.base_url}/timestamp"
