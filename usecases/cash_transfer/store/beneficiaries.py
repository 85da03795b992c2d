"""Beneficiaries and the requests that registered them as payees."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from sandroad.money import Money
from usecases.cash_transfer.domain import Beneficiary
from usecases.cash_transfer.refusals import UnknownBeneficiary
from usecases.cash_transfer.store.tables import beneficiaries, payee_requests

# What payments said of the payee, in GovStack's words.
ONBOARDING = {"active": "OK", "failed": "FAILED", "registering": "PENDING"}


class Beneficiaries:
    """Beneficiaries within one transaction."""

    def __init__(self, connection: Connection, currency: str) -> None:
        self._connection = connection
        self._currency = currency

    def get(self, functional_id: str) -> Beneficiary:
        """Return a beneficiary or raise ``UnknownBeneficiary``."""
        found = self.find(functional_id)
        if found is None:
            raise UnknownBeneficiary(f"beneficiary {functional_id[:20]!r}")
        return found

    def find(self, functional_id: str) -> Beneficiary | None:
        """Return a beneficiary, None if there is none."""
        return next(self._select(beneficiaries.c.functional_id == functional_id), None)

    def by_source(self, sources: Sequence[str]) -> dict[str, Beneficiary]:
        """Return the beneficiaries that these applications or imported rows became."""
        return {each.source: each for each in self._select(beneficiaries.c.source.in_(sources))}

    def in_state(self, *states: str) -> list[Beneficiary]:
        """Return beneficiaries in these states, by functional id."""
        return list(self._select(beneficiaries.c.state.in_(states)))

    def listing(
        self, *, source: str | None = None, household: str | None = None, limit: int = 1000
    ) -> list[Beneficiary]:
        """Return beneficiaries by functional id, those of a source or household alone if it is named."""
        query = select(beneficiaries).order_by(beneficiaries.c.functional_id).limit(limit)
        if source is not None:
            query = query.where(beneficiaries.c.source == source)
        if household is not None:
            query = query.where(beneficiaries.c.household == household)
        return [self._beneficiary(row) for row in self._connection.execute(query).mappings()]

    def export(self) -> Iterator[dict[str, Any]]:
        """Yield every beneficiary for the consistency check."""
        for each in self._select(beneficiaries.c.functional_id != ""):
            yield {
                "functional_id": each.functional_id,
                "source": each.source,
                "state": each.state,
                "package": each.package,
                "amount": str(each.amount.amount),
                "currency": each.amount.currency,
                "financial_address": each.address,
                "onboarding": ONBOARDING.get(each.state, ""),
            } | ({"name": each.name} if each.name else {})

    def counts(self) -> dict[str, int]:
        """Return how many there are in each state."""
        query = select(beneficiaries.c.state, func.count()).group_by(beneficiaries.c.state)
        return {str(state): int(count) for state, count in self._connection.execute(query)}

    def add(self, beneficiary: Beneficiary) -> None:
        """Keep a new beneficiary."""
        self._connection.execute(insert(beneficiaries).values(**_row(beneficiary)))

    def put(self, beneficiary: Beneficiary) -> None:
        """Keep a changed beneficiary."""
        self._connection.execute(
            update(beneficiaries)
            .where(beneficiaries.c.functional_id == beneficiary.functional_id)
            .values(**_row(beneficiary))
        )

    def ask_payee(self, request_id: str, functional_ids: Iterable[str]) -> None:
        """Note that these were asked to be registered or changed as payees under ``request_id``."""
        rows = [{"request_id": request_id, "functional_id": each, "state": "asked"} for each in functional_ids]
        if rows:
            self._connection.execute(insert(payee_requests), rows)

    def asked_under(self, request_id: str) -> list[str]:
        """Return whom a request named and who has no answer yet; empty if it was answered before (or never made)."""
        query = select(payee_requests.c.functional_id).where(
            payee_requests.c.request_id == request_id, payee_requests.c.state == "asked"
        )
        return list(self._connection.execute(query).scalars())

    def answered(self, request_id: str) -> None:
        """Note that a request was answered: a repeated callback changes nothing."""
        self._connection.execute(
            update(payee_requests).where(payee_requests.c.request_id == request_id).values(state="answered")
        )

    def _select(self, condition: Any) -> Iterator[Beneficiary]:
        query = select(beneficiaries).where(condition).order_by(beneficiaries.c.functional_id)
        for row in self._connection.execute(query).mappings():
            yield self._beneficiary(row)

    def _beneficiary(self, row: Any) -> Beneficiary:
        values = dict(row)
        values["amount"] = Money.from_minor(values.pop("amount_minor"), self._currency)
        return Beneficiary(**values)


def _row(beneficiary: Beneficiary) -> dict[str, Any]:
    row = {
        column.name: getattr(beneficiary, column.name) for column in beneficiaries.c if column.name != "amount_minor"
    }
    return row | {"amount_minor": beneficiary.amount.minor}
