"""Other organisations' contracts as this app uses them: one class each, called through the own gateway and traced.

What must arrive (orders to payments, letters, records) is written to the outbox by the step that causes it; here is what is
asked and answered at once. All raise ``ProviderRefused`` with the provider's words, or ``ProviderUnavailable``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from usecases.cash_transfer.calls import About, Calls
from usecases.cash_transfer.refusals import ProviderUnavailable

AT_ONCE = 500


class Registry:
    """One registry of the Digital Registries contract, version 1 of its schema."""

    def __init__(self, calls: Calls, service: str, registry: str) -> None:
        self._calls, self._service, self._path = calls, service, f"/data/{registry}/1"

    def read(self, functional_id: str, about: About) -> dict[str, Any]:
        """Return a person's record; the provider asks consent before it answers."""
        query = {"query": {"content": {"functionalId": functional_id}}}
        return _member(self._post("read", about, query), "content", dict)

    def exists(self, content: Mapping[str, Any], about: About) -> bool:
        """Return whether a record answers the conditions: yes or no, and nothing else is learned."""
        answer = _member(self._post("exists", about, {"query": {"content": dict(content)}}), "answer", dict)
        return _member(answer, "status", bool)

    def read_entries(
        self, functional_ids: Sequence[str], about: About
    ) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Return (records by functional id, reasons by functional id for those left out)."""
        records: dict[str, dict[str, Any]] = {}
        left_out: dict[str, str] = {}
        for start in range(0, len(functional_ids), AT_ONCE):
            asked = list(functional_ids[start : start + AT_ONCE])
            answer = self._post("readEntries", about, {"query": {"functionalIds": asked}})
            records |= {each["key"]: each["content"] for each in _member(answer, "entries", list)}
            left_out |= {each["key"]: each["reason"] for each in _member(answer, "leftOut", list)}
        return records, left_out

    def create(self, content: Mapping[str, Any], about: About) -> None:
        """Create a record; the same content under the same key again is the same record."""
        self._post("create", about, {"write": {"content": dict(content)}})

    def _post(self, operation: str, about: About, body: Mapping[str, Any]) -> Any:
        return self._calls.require(self._service, "POST", f"{self._path}/{operation}", about, json=body)


class Identity:
    """Functional ids for a programme's own list."""

    def __init__(self, calls: Calls, service: str) -> None:
        self._calls, self._service = calls, service

    def functional_ids(self, programme: str, individuals: Mapping[str, str], about: About) -> dict[str, str]:
        """Return reference → functional id for reference → national id; whom identity does not know is missing."""
        body = {
            "programme": programme,
            "individuals": [{"reference": ref, "individualId": number} for ref, number in individuals.items()],
        }
        answer = self._calls.require(self._service, "POST", "/functional-ids", about, json=body)
        return {
            each["reference"]: each["functionalId"]
            for each in _member(answer, "results", list)
            if each.get("functionalId")
        }


class Consent:
    """Who has agreed, for a list."""

    def __init__(self, calls: Calls, service: str) -> None:
        self._calls, self._service = calls, service

    def agreeing(self, agreement: str, functional_ids: Sequence[str], about: About) -> set[str]:
        """Return those who have a valid signed consent; no answer is an error and never a yes."""
        body = {"dataAgreementId": agreement, "individualIds": list(functional_ids)}
        path = "/service/verification/consent-records/"
        answer = self._calls.require(self._service, "POST", path, about, json=body)
        return {str(each.get("individualId")) for each in _member(answer, "consentRecords", list)} & set(functional_ids)


def _member(document: Any, name: str, kind: type) -> Any:
    """Return a member of an answer; an answer of another shape is a fault of the provider, not a fact."""
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, kind):
        raise ProviderUnavailable(f"an answer without {name!r} is none that the contract knows")
    return value
