"""Datasets for the steward's consistency check: beneficiaries and instructions, by functional id only."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from usecases.cash_transfer import show
from usecases.cash_transfer.store import Store

Export = Callable[[], Iterable[Mapping[str, Any]]]


def exports_of(store: Store) -> dict[str, Export]:
    """Return what ``/-/export/<name>`` offers."""

    def beneficiaries() -> list[Mapping[str, Any]]:
        with store.read() as rows:
            return list(rows.beneficiaries.export())

    def instructions() -> list[Mapping[str, Any]]:
        with store.read() as rows:
            batches = rows.batches.listing()
            return [
                {"batch": batch.id, "cycle": batch.cycle, **each}
                for batch in sorted(batches, key=lambda found: found.id)
                for each in show.instructions(rows.batches.content(batch.id))
            ]

    return {"beneficiaries": beneficiaries, "instructions": instructions}
