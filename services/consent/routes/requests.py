"""What several operations read from a request: the page, the individual, the caller."""

from sandroad.contracts import parameters
from services.consent.domain import IndividualAmbiguous

MOST = 1000
USUAL = 100


def page() -> tuple[int, int]:
    """Return offset and limit."""
    return parameters().get("offset", 0), parameters().get("limit", USUAL)


def individual_id() -> str:
    """Return the individual, from header or query (GovStack Consent 6.7.1); raise ``IndividualAmbiguous``."""
    named = {parameters()[name] for name in ("X-ConsentBB-IndividualId", "individualId") if name in parameters()}
    if len(named) != 1:
        raise IndividualAmbiguous(
            "the header X-ConsentBB-IndividualId and the query individualId name different individuals"
            if named
            else "name the individual in the header X-ConsentBB-IndividualId or the query individualId"
        )
    return str(named.pop())
