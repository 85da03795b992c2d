"""HTTP in, the contract's spelling out: one function per operation, by the contract's three parts."""

from sandroad.contracts import Contract, Routes
from services.consent.routes import audit, configuration, service


def consent_routes(contract: Contract) -> Routes:
    """Return all operations, bound."""
    routes = Routes(contract)
    for part in (configuration, service, audit):
        part.bind(routes)
    return routes
