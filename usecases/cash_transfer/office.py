"""What every step of the programme works with: the rules, the store, the clock and the ways to others."""

from dataclasses import dataclass, field
from datetime import datetime

from sandroad.clock import BusinessClock
from sandroad.outbox import Outbox
from usecases.cash_transfer.calls import Calls
from usecases.cash_transfer.clients import Registry
from usecases.cash_transfer.config import Config
from usecases.cash_transfer.programme import Programme
from usecases.cash_transfer.store import Store


@dataclass
class Office:
    """The programme at work."""

    config: Config
    programme: Programme
    store: Store
    calls: Calls
    clock: BusinessClock
    outbox: Outbox = field(init=False)  # made after the steps, which it tells what has arrived

    def registry(self, name: str) -> Registry:
        """Return the client of a registry: population, tax and land are others', social and beneficiary the ministry's."""
        service = getattr(self.config, name) if name in ("population", "tax", "land") else self.config.welfare_registry
        return Registry(self.calls, service, name)

    def now(self) -> datetime:
        """Return the business time."""
        return self.clock()
