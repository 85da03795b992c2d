"""Pre-payment validation: the payees of a batch are looked up here and validated at their institutions; nothing is paid.

An institution that stays silent for longer than the configured patience counts as unreachable, so that an answer always comes.
"""

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sandroad.gateway_client import Reply
from sandroad.outbox import Entry, Outbox
from sandroad.storage import Database
from services.payments.domain import AnswerUnusable, Instruction, UnknownValidation
from services.payments.mapper import look_up, why_not_payable
from services.payments.tables import validation_failures, validation_parts, validations
from services.payments.wiring import Wiring

VALIDATED_AT_ONCE = 500
Row = Mapping[Any, Any]
Failure = tuple[int, str, str]  # position, instruction id, reason


class Validations:
    """Beginning validations, collecting answers, telling the outcome."""

    def __init__(self, database: Database, wiring: Wiring, outbox: Outbox, *, patience: float, currency: str) -> None:
        self._database = database
        self._wiring = wiring
        self._outbox = outbox
        self._patience = patience
        self._currency = currency

    def begin(
        self,
        connection: Connection,
        client: str,
        request_id: str,
        batch_id: str,
        callback: str,
        wanted: Sequence[Instruction],
    ) -> None:
        """Begin a validation in the caller's transaction."""
        validation = uuid.uuid4().hex
        values = {"id": validation, "client": client, "request_id": request_id, "batch_id": batch_id}
        connection.execute(
            insert(validations).values(values | {"callback": callback, "finished": False, "begun": time.time()})
        )
        failures, groups = self._sorted(connection, client, wanted)
        _write_failures(connection, validation, failures)
        parts = [
            (
                f"{validation}-{institution}-{start // VALIDATED_AT_ONCE}",
                institution,
                group[start : start + VALIDATED_AT_ONCE],
            )
            for institution, group in sorted(groups.items())
            for start in range(0, len(group), VALIDATED_AT_ONCE)
        ]
        for part, institution, group in parts:
            self._ask(connection, validation, part, institution, group)
        self._finish_if_answered(connection, validation)

    def outcome(self, client: str, request_id: str, batch_id: str) -> dict[str, Any] | None:
        """Return the outcome, None while institutions have not answered; raise ``UnknownValidation``."""
        with self._database.read() as connection:
            mine = (validations.c.client == client) & (validations.c.request_id == request_id)
            row = connection.execute(select(validations).where(mine)).mappings().first()
            if row is None or row["batch_id"] != batch_id:
                raise UnknownValidation(f"{client} has asked for no validation {request_id} of batch {batch_id}")
            return _result(connection, row) if row["finished"] else None

    def answered(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """An institution has answered a part (outbox kind ``validate``)."""
        answer = reply.json()
        part = _open_part(connection, entry.id)
        if part is None:
            return
        positions = {id: position for position, id in json.loads(part["instructions"])}
        if not isinstance(answer, dict) or not isinstance(answer.get("failedAccountLookups"), list):
            raise AnswerUnusable(f"the answer to validation {entry.id} has no failedAccountLookups")
        failures = [
            (positions[each["instructionID"]], each["instructionID"], str(each.get("failureReason") or "failed")[:100])
            for each in answer["failedAccountLookups"]
            if each.get("instructionID") in positions
        ]
        self._close_part(connection, part, failures)

    def refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """An institution does not validate this part at all."""
        part = _open_part(connection, entry.id)
        if part is not None:
            self._close_part(connection, part, _all_of(part, "refused_by_institution"))

    def end_overdue(self) -> None:
        """Finish validations whose institutions have been silent for too long."""
        limit = time.time() - self._patience
        overdue = select(validations.c.id).where(validations.c.finished.is_(False), validations.c.begun < limit)
        with self._database.read() as connection:
            waiting = connection.execute(overdue).scalars().all()
        for validation in waiting:
            with self._database.begin() as connection:
                unanswered = (validation_parts.c.validation == validation) & validation_parts.c.answered.is_(False)
                for part in connection.execute(select(validation_parts).where(unanswered)).mappings().all():
                    self._close_part(connection, part, _all_of(part, "institution_unreachable"))

    def _sorted(
        self, connection: Connection, client: str, wanted: Sequence[Instruction]
    ) -> tuple[list[Failure], dict[str, list[dict[str, Any]]]]:
        """Return what fails here, and the rest as contract members by institution (with the position beside)."""
        known = look_up(connection, client, (each.payee for each in wanted))
        failures: list[Failure] = []
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        seen: set[str] = set()
        for position, each in enumerate(wanted):
            payee = known.get(each.payee)
            reason = why_not_payable(payee, self._wiring.institutions)
            if each.id in seen:
                reason = "duplicate_instruction"
            elif each.currency != self._currency:
                reason = "wrong_currency"
            seen.add(each.id)
            if reason or payee is None:
                failures.append((position, each.id, reason))
                continue
            asked = {"position": position, "instructionID": each.id, "financialAddress": payee["account"]}
            name = each.payee_name or payee["name"]
            groups[payee["institution"]].append(asked | ({"payeeName": name} if name else {}))
        return failures, groups

    def _ask(
        self, connection: Connection, validation: str, part: str, institution: str, group: list[dict[str, Any]]
    ) -> None:
        ids = json.dumps([[each.pop("position"), each["instructionID"]] for each in group])
        values = {"id": part, "validation": validation, "instructions": ids, "answered": False}
        connection.execute(insert(validation_parts).values(values))
        self._outbox.put(
            connection,
            id=part,
            key=f"validate-{institution}",
            kind="validate",
            method="POST",
            target=f"/r1/{self._wiring.institutions[institution]}/beneficiaries?command=validate",
            headers={"X-Client-Correlation-ID": validation[:12]},
            json_body={"batchId": validation, "destinationDFSPID": institution, "creditInstructions": group},
        )

    def _close_part(self, connection: Connection, part: Row, failures: Sequence[Failure]) -> None:
        _write_failures(connection, part["validation"], failures)
        connection.execute(update(validation_parts).where(validation_parts.c.id == part["id"]).values(answered=True))
        self._finish_if_answered(connection, part["validation"])

    def _finish_if_answered(self, connection: Connection, validation: str) -> None:
        unanswered = (validation_parts.c.validation == validation) & validation_parts.c.answered.is_(False)
        if connection.execute(select(validation_parts.c.id).where(unanswered).limit(1)).first():
            return
        connection.execute(update(validations).where(validations.c.id == validation).values(finished=True))
        row = connection.execute(select(validations).where(validations.c.id == validation)).mappings().one()
        if row["callback"]:
            self._outbox.put(
                connection,
                id=f"validated-{validation}",
                key=f"validated-{validation}",
                kind="callback",
                method="POST",
                target=row["callback"],
                json_body=_result(connection, row),
            )


def _open_part(connection: Connection, id: str) -> Row | None:
    mine = (validation_parts.c.id == id) & validation_parts.c.answered.is_(False)
    return connection.execute(select(validation_parts).where(mine)).mappings().first()


def _all_of(part: Row, reason: str) -> list[Failure]:
    return [(position, id, reason) for position, id in json.loads(part["instructions"])]


def _write_failures(connection: Connection, validation: str, failures: Sequence[Failure]) -> None:
    if failures:
        connection.execute(
            insert(validation_failures),
            [
                {"validation": validation, "position": position, "instruction_id": id, "reason": reason}
                for position, id, reason in failures
            ],
        )


def _result(connection: Connection, row: Row) -> dict[str, Any]:
    found = connection.execute(
        select(validation_failures)
        .where(validation_failures.c.validation == row["id"])
        .order_by(validation_failures.c.position)
    )
    failed = [{"InstructionID": each.instruction_id, "FailureReason": each.reason} for each in found]
    return {
        "RequestID": row["request_id"],
        "Source_BatchID": row["batch_id"],
        "NumberFailedCases": len(failed),
        "FailedAccounts": failed,
    }
