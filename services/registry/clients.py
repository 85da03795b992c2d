"""The registry's two neighbours, identity and consent, asked through the own gateway; no answer is never taken for a yes."""

import logging
from collections.abc import Sequence
from typing import Any

from sandroad.gateway_client import GatewayClient, GatewayUnreachable
from services.registry.domain import ConsentUnavailable, IdentityUnavailable, Proof

log = logging.getLogger(__name__)
AT_ONCE = 500


class Identity:
    """Resolves functional ids: ``POST /functional-ids/resolve``."""

    def __init__(self, gateway: GatewayClient, service: str, timeout: float) -> None:
        self._gateway, self._service, self._timeout = gateway, service, timeout

    def resolve(self, functional_ids: Sequence[str]) -> dict[str, str | None]:
        """Return functional id → national id, None for those that identity does not know; ``IdentityUnavailable``."""
        found: dict[str, str | None] = dict.fromkeys(functional_ids)
        for chunk in _chunks(functional_ids):
            answer = self._ask(chunk)
            for each in answer:
                key, value = each.get("functionalId"), each.get("individualId")
                if key in found and isinstance(value, str) and value:
                    found[key] = value
        return found

    def _ask(self, functional_ids: Sequence[str]) -> list[dict[str, Any]]:
        body = {"functionalIds": list(functional_ids)}
        try:
            reply = self._gateway.call(
                self._service, "POST", "/functional-ids/resolve", json=body, timeout=self._timeout
            )
        except GatewayUnreachable as defect:
            raise IdentityUnavailable("identity could not be asked who this is; try again later") from defect
        answer = _listed(reply.json(), "results")
        if not reply.ok or answer is None:
            log.warning("identity gave no usable answer: %s request=%s", reply.status, reply.request_id)
            raise IdentityUnavailable("identity could not be asked who this is; try again later")
        return answer


class Consent:
    """Asks for valid signed opt-ins: ``POST /service/verification/consent-records/``. Remembers nothing."""

    def __init__(self, gateway: GatewayClient, service: str, timeout: float) -> None:
        self._gateway, self._service, self._timeout = gateway, service, timeout

    def proofs(self, agreement: str, functional_ids: Sequence[str]) -> dict[str, Proof]:
        """Return the proof of consent of each person that has one; raises ``ConsentUnavailable``."""
        found: dict[str, Proof] = {}
        for chunk in _chunks(functional_ids):
            asked = set(chunk)
            for each in self._ask(agreement, chunk):
                person, record = each.get("individualId"), each.get("consentRecordId")
                if isinstance(person, str) and person in asked and isinstance(record, str) and record:
                    found[person] = Proof(record, str(each.get("revisionId", "")))
        return found

    def _ask(self, agreement: str, functional_ids: Sequence[str]) -> list[dict[str, Any]]:
        body = {"dataAgreementId": agreement, "individualIds": list(functional_ids)}
        path = "/service/verification/consent-records/"
        try:
            reply = self._gateway.call(self._service, "POST", path, json=body, timeout=self._timeout)
        except GatewayUnreachable as defect:
            raise ConsentUnavailable("consent could not be asked; without an answer nothing is shown") from defect
        answer = _listed(reply.json(), "consentRecords")
        if not reply.ok or answer is None:
            log.warning("consent gave no usable answer: %s request=%s", reply.status, reply.request_id)
            raise ConsentUnavailable("consent could not be asked; without an answer nothing is shown")
        return answer


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE)]


def _listed(document: Any, name: str) -> list[dict[str, Any]] | None:
    """Return the list of objects under ``name``, None if the answer has another shape."""
    entries = document.get(name) if isinstance(document, dict) else None
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):
        return None
    return entries
