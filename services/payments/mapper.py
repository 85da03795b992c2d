"""The account mapper: a source's payees, by functional id, and where they are paid."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from sandroad.clock import Clock
from sandroad.outbox import Outbox
from sandroad.storage import Database
from services.payments.domain import MODALITIES, VOUCHER, Beneficiary, FailedCase, FinancialAddress
from services.payments.requests import Answer, first_answer, keep_answer
from services.payments.tables import payees
from services.payments.wiring import Wiring

LOOKED_UP_AT_ONCE = 500
Row = Mapping[Any, Any]
Acknowledge = Callable[[int, list[FailedCase]], Answer]  # (number taken, failed cases) → first answer


class Mapper:
    """Registering, updating and looking up payees."""

    def __init__(self, database: Database, wiring: Wiring, outbox: Outbox, clock: Clock) -> None:
        self._database = database
        self._wiring = wiring
        self._outbox = outbox
        self._clock = clock

    def register(
        self, client: str, request_id: str, content: str, wanted: Sequence[Beneficiary], callback: str, say: Acknowledge
    ) -> Answer:
        """Register new payees; a payee that the source has registered before is a failed case."""

        def change(connection: Connection, beneficiaries: list[Beneficiary]) -> list[FailedCase]:
            known = look_up(connection, client, [each.payee for each in beneficiaries])
            failed, rows = [], []
            for each in beneficiaries:
                reason = "already_registered" if each.payee in known else ""
                row, reason = ({}, reason) if reason else self._row(each, None)
                if reason:
                    failed.append(_failed(each, reason))
                else:
                    rows.append({"client": client, "payee": each.payee, **row})
            if rows:
                connection.execute(insert(payees), rows)
            return failed

        return self._once(client, "register", request_id, content, wanted, callback, change, say)

    def update(
        self, client: str, request_id: str, content: str, wanted: Sequence[Beneficiary], callback: str, say: Acknowledge
    ) -> Answer:
        """Change modality, address, name or status of payees that are registered."""

        def change(connection: Connection, beneficiaries: list[Beneficiary]) -> list[FailedCase]:
            known = look_up(connection, client, [each.payee for each in beneficiaries])
            failed, rows = [], []
            for each in beneficiaries:
                before = known.get(each.payee)
                row, reason = ({}, "unknown_payee") if before is None else self._row(each, before)
                if reason:
                    failed.append(_failed(each, reason))
                else:
                    rows.append({"on": each.payee, **row})
            if rows:
                changed: dict[str, Any] = {name: bindparam(name) for name in rows[0] if name != "on"}
                mine = (payees.c.client == client) & (payees.c.payee == bindparam("on"))
                connection.execute(update(payees).where(mine).values(changed), rows)
            return failed

        return self._once(client, "update", request_id, content, wanted, callback, change, say)

    def export(self) -> Iterator[Mapping[str, Any]]:
        """Yield every payee, sorted by source and functional id."""
        with self._database.read() as connection:
            for row in connection.execute(select(payees).order_by(payees.c.client, payees.c.payee)):
                yield {
                    "client": row.client,
                    "payee": row.payee,
                    "modality": row.modality,
                    "institution": row.institution,
                    "address": f"{row.institution}:{row.account}",
                    "name": row.name,
                    "active": row.active,
                }

    def _once(
        self,
        client: str,
        operation: str,
        request_id: str,
        content: str,
        wanted: Sequence[Beneficiary],
        callback: str,
        change: Callable[[Connection, list[Beneficiary]], list[FailedCase]],
        say: Acknowledge,
    ) -> Answer:
        """Make a change, its answer and its callback in one transaction, once per request."""
        with self._database.begin() as connection:
            answered = first_answer(connection, client, operation, request_id, content)
            if answered is not None:
                return answered
            # Which of two addresses in one request is meant, nobody can tell: neither is taken.
            counts = Counter(each.payee for each in wanted)
            failed = [_failed(each, "repeated_in_request") for each in wanted if counts[each.payee] > 1]
            failed += change(connection, [each for each in wanted if counts[each.payee] == 1])
            if callback:
                self._call_back(connection, client, operation, request_id, callback, failed)
            answer = say(len(wanted) - len(failed), failed)
            return keep_answer(connection, client, operation, request_id, content, answer)

    def _call_back(
        self, connection: Connection, client: str, operation: str, request_id: str, to: str, failed: list[FailedCase]
    ) -> None:
        mark = hashlib.sha256(f"{client} {operation} {request_id}".encode()).hexdigest()[:32]
        identity = "payeeIdentity" if operation == "register" else "payeeFunctionalID"
        body = {
            "requestID": mark[:12],
            "registerRequestID": request_id,
            "numberFailedCases": len(failed),
            "failedCases": [
                {
                    identity: each.payee,
                    "bankingInstitutionCode": each.institution,
                    "paymentModality": each.modality,
                    "failureReason": each.reason,
                }
                for each in failed
            ],
        }
        self._outbox.put(
            connection, id=f"mapper-{mark}", key=mark, kind="callback", method="POST", target=to, json_body=body
        )

    def _row(self, wanted: Beneficiary, before: Row | None) -> tuple[dict[str, Any], str]:
        """Return (columns, "") or ({}, reason); what was not said stays as it was ``before``."""
        modality = wanted.modality or (before["modality"] if before else "00")
        if modality not in MODALITIES:
            return {}, "unknown_modality"
        if modality == VOUCHER:
            return {}, "modality_not_served"
        if wanted.address:
            address = FinancialAddress.parse(wanted.address, wanted.institution)
            if address is None:
                return {}, "malformed_address"
        elif before is not None:
            address = FinancialAddress(before["institution"], before["account"])
        else:
            return {}, "missing_address"
        if address.institution not in self._wiring.institutions:
            return {}, "unknown_institution"
        active = wanted.active if wanted.active is not None else (before["active"] if before else True)
        name = wanted.name if wanted.name is not None else (before["name"] if before else "")
        return {
            "modality": modality,
            "institution": address.institution,
            "account": address.account,
            "name": name,
            "active": active,
            "changed_at": self._clock().isoformat(),
        }, ""


def look_up(connection: Connection, client: str, ids: Iterable[str]) -> dict[str, Row]:
    """Return the payees of ``client`` that are registered, by functional id."""
    found: dict[str, Row] = {}
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), LOOKED_UP_AT_ONCE):
        part = wanted[start : start + LOOKED_UP_AT_ONCE]
        rows = connection.execute(select(payees).where(payees.c.client == client, payees.c.payee.in_(part)))
        found.update((row["payee"], row) for row in rows.mappings())
    return found


def why_not_payable(payee: Row | None, institutions: Mapping[str, str]) -> str:
    """Return why an instruction for this payee cannot be sent anywhere, in one word; empty if it can."""
    if payee is None:
        return "unknown_payee"
    if not payee["active"]:
        return "payee_suspended"
    return "" if payee["institution"] in institutions else "unknown_institution"


def _failed(each: Beneficiary, reason: str) -> FailedCase:
    institution = each.institution or (each.address or "").partition(":")[0][:11]
    return FailedCase(each.payee, institution, each.modality or "00", reason)
