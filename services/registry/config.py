"""What a registry instance is told at its start."""

from dataclasses import dataclass

from sandroad.settings import AppConfig
from services.registry.described import check_described


@dataclass(frozen=True, kw_only=True)
class Config(AppConfig):
    """``registries``: the names this instance hosts, comma-separated. ``identity``, ``consent``: service ids, called through the
    own gateway to resolve functional ids and to ask for consent. ``ask_timeout``: seconds to wait for either.
    """

    registries: str
    identity: str
    consent: str
    ask_timeout: float = 15.0

    @property
    def hosted(self) -> tuple[str, ...]:
        """The names of the registries this instance hosts."""
        return tuple(name.strip() for name in self.registries.split(",") if name.strip())

    def check(self) -> None:
        """Hold the country's schemas and rights for these registries together; raise ``CountryError`` with every complaint."""
        check_described(self.country, self.name, self.hosted, self.rights)
