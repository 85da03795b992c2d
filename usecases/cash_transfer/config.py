"""What the ministry's app is told at its start: which services it calls, which programme it runs, where people log in."""

from dataclasses import dataclass

from sandroad.settings import AppConfig
from usecases.cash_transfer.programme import read_programme
from usecases.cash_transfer.programme_country import check_against_country


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """Services are X-Road identifiers, ``SANDBOX/GOV/CIVIL/REGISTRY/registry``; ``programme`` is a path in the country's folder.

    ``identity_issuer`` and ``consent_page`` are URLs for browsers. ``identity_url`` is where this app itself reaches identity,
    if that differs (containers).
    """

    identity: str
    population: str
    tax: str
    land: str
    welfare_registry: str
    consent: str
    payments: str
    messaging: str
    programme: str
    identity_issuer: str = ""
    identity_url: str = ""
    consent_page: str = ""
    oidc_client_id: str = "cash-transfer"

    @property
    def own_service(self) -> str:
        """The path by which others call back through their own gateway."""
        return f"/r1/{self.client}/cash-transfer"

    def check(self) -> None:
        """Read the programme and hold it to the country; raise ``CountryError`` with every complaint about it."""
        read_programme(self.country / self.programme)
        check_against_country(self.country / self.programme, self.country, self.currency)
