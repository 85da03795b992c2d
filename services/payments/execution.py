"""From the paying bank's decision to the last result: every step is one transaction, may be repeated, and acts once.

Nothing here concludes from silence. Money leaves suspense only on an institution's word: `completed` posts it to the
institution, `failed` keeps it until the batch has no open instruction and the rest is returned. Where a call was refused or
given up, the receiver is asked what it knows; only "it never arrived" makes instructions fail.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from sandroad.clock import Clock
from sandroad.gateway_client import Reply
from sandroad.money import Money
from sandroad.outbox import Entry, Outbox
from sandroad.problems import AccessDenied
from sandroad.storage import Database
from services.payments import ledger
from services.payments.batches import Batches, batch_row
from services.payments.config import Config
from services.payments.domain import AnswerUnusable, ResultContradicts, UnknownInstruction, UnknownSubBatch
from services.payments.tables import batches, instructions, sub_batches
from services.payments.wiring import Wiring

log = logging.getLogger(__name__)
Row = Mapping[Any, Any]
FINAL = ("completed", "failed")


class Execution:
    """What follows the acceptance of a batch."""

    def __init__(
        self, config: Config, database: Database, wiring: Wiring, outbox: Outbox, batches: Batches, clock: Clock
    ) -> None:
        self._config = config
        self._database = database
        self._wiring = wiring
        self._outbox = outbox
        self._batches = batches
        self._clock = clock

    # The paying bank's decision

    def authorised(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The paying bank has decided (outbox kinds ``authorise`` and ``ask-decision``)."""
        batch = entry.key.removeprefix("funds-")
        decision = reply.json()
        if (
            not isinstance(decision, dict)
            or decision.get("status") not in ("Y", "N")
            or decision.get("batchId") != batch
        ):
            raise AnswerUnusable(f"the paying bank's answer about batch {batch} says neither Y nor N")
        if batch_row(connection, batch)["state"] != "authorising":
            return
        if decision["status"] == "N":
            self._refuse(connection, batch, str(decision.get("reason", ""))[:80])
            return
        self._execute(connection, batch)

    def authorisation_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The question was refused or given up. An earlier attempt may have arrived, so the bank is asked later."""
        log.warning("batch %s: the paying bank did not take the question: %s", entry.key, reply.status)

    def decision_unknown(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Asked what it knows, the bank gave no decision. Only its own "never authorised" lets the batch be refused."""
        batch = entry.key.removeprefix("funds-")
        if _code(reply) == "unknown_batch" and batch_row(connection, batch)["state"] == "authorising":
            self._refuse(connection, batch, "the paying bank does not take the question")

    def ask_again(self, connection: Connection, row: Row) -> None:
        """Nothing waits for the paying bank although the batch does: ask for its decision, or return once more.

        The return has the id that it had before, so that the bank makes it once.
        """
        if row["state"] == "returning":
            self._ask_to_return(connection, row, self._unpaid(connection, row["id"]))
            return
        self._put_for_bank(connection, row, "ask-decision", "GET", f"/batches/{row['id']}", None)

    def _refuse(self, connection: Connection, batch: str, reason: str) -> None:
        self._fail(connection, instructions.c.batch == batch, f"not authorised: {reason}")
        self._close(connection, batch, "refused", reason)

    def _execute(self, connection: Connection, batch: str) -> None:
        row = batch_row(connection, batch)
        amount = connection.execute(
            select(func.sum(instructions.c.amount)).where(instructions.c.batch == batch, instructions.c.sub_batch != "")
        ).scalar_one()
        ledger.post_funding(connection, batch, row["programme"], int(amount), self._clock().isoformat())
        connection.execute(update(batches).where(batches.c.id == batch).values(state="executing"))
        planned = connection.execute(select(sub_batches).where(sub_batches.c.batch == batch).order_by(sub_batches.c.id))
        for sub_batch in planned.mappings().all():
            self._send(connection, sub_batch, row["currency"])
        connection.execute(
            update(sub_batches).where(sub_batches.c.batch == batch).values(state="sent", heard=time.time())
        )
        self._batches.tell(connection, batch)

    def _send(self, connection: Connection, sub_batch: Row, currency: str) -> None:
        rows = connection.execute(
            select(instructions).where(instructions.c.sub_batch == sub_batch["id"]).order_by(instructions.c.position)
        )
        own = f"/r1/{self._config.client}/{self._config.service}"
        self._outbox.put(
            connection,
            id=f"credit-{sub_batch['id']}",
            key=f"institution-{sub_batch['institution']}",
            kind="sub-batch",
            method="POST",
            target=f"/r1/{sub_batch['service']}/sub-batches/{sub_batch['id']}",
            headers={"X-Callback-URL": f"{own}/callbacks/sub-batches/{sub_batch['id']}"},
            json_body={
                "batchId": sub_batch["batch"],
                "destinationDFSPID": sub_batch["institution"],
                "creditInstructions": [
                    {
                        "instructionID": row.instruction_id,
                        "financialAddress": row.account,
                        "amount": str(Money.from_minor(row.amount, currency).amount),
                        "currency": currency,
                        "narration": row.narration,
                    }
                    for row in rows
                ],
            },
        )

    # Sub-batches and their results

    def sub_batch_taken(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The institution has taken a sub-batch (202); results may even have come before."""
        self._mark(connection, entry.id.removeprefix("credit-"), "sent", "taken")

    def sub_batch_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The institution has refused a sub-batch, or it was given up: an earlier attempt may have arrived, so ask."""
        self._mark(connection, entry.id.removeprefix("credit-"), "sent", "refused")

    def receive(self, client: str, sub_batch: str, batch: str, results: Sequence[Mapping[str, Any]]) -> None:
        """Apply a callback of ``client``; raise a refusal, with nothing changed, unless it is all about its sub-batch."""
        with self._database.begin() as connection:
            row = connection.execute(select(sub_batches).where(sub_batches.c.id == sub_batch)).mappings().first()
            if row is None or row["batch"] != batch or row["state"] == "planned":
                raise UnknownSubBatch(f"no sub-batch {sub_batch[:60]} of batch {batch[:50]} was sent")
            if row["client"] != client:
                raise AccessDenied("only the institution that a sub-batch was sent to tells its results")
            self._apply(connection, row, results, strictly=True)

    def polled(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The institution was asked and has told the results so far.

        A result that contradicts a final one is logged and left out, or it would hold up the sub-batch's other payees.
        """
        answer = reply.json()
        row = self._row_of_poll(connection, entry)
        if not isinstance(answer, dict) or not isinstance(answer.get("results"), list):
            raise AnswerUnusable(f"the answer about sub-batch {row['id']} has no results")
        if row["state"] == "refused":
            self._mark(connection, row["id"], "refused", "taken")
        self._apply(connection, row, answer["results"], strictly=False)

    def poll_refused(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """Asked for results, the institution refused. If it never got a sub-batch that it also refused, that one failed."""
        row = self._row_of_poll(connection, entry)
        if _code(reply) == "unknown_sub_batch" and row["state"] == "refused":
            self._fail(connection, instructions.c.sub_batch == row["id"], "refused by the institution")
            self._mark(connection, row["id"], "refused", "finished")
            self._progress(connection, row["batch"])
            return
        log.warning("sub-batch %s: results cannot be asked for: %s", row["id"], reply.status)

    def _row_of_poll(self, connection: Connection, entry: Entry) -> Row:
        sub_batch = entry.target.rpartition("/")[2]
        return connection.execute(select(sub_batches).where(sub_batches.c.id == sub_batch)).mappings().one()

    def _apply(
        self, connection: Connection, sub_batch: Row, results: Sequence[Mapping[str, Any]], *, strictly: bool
    ) -> None:
        """Apply final results to the instructions that are still ongoing; what is known already changes nothing."""
        completed, failed = self._news(connection, sub_batch, results, strictly)
        now = self._clock().isoformat()
        mine = instructions.c.sub_batch == sub_batch["id"]
        if completed:
            ledger.post_payments(connection, sub_batch["id"], sub_batch["institution"], completed, now)
            connection.execute(
                update(instructions)
                .where(mine, instructions.c.state == "ongoing", instructions.c.instruction_id.in_(completed))
                .values(state="completed", decided_at=now)
            )
        for reason, ids in failed.items():
            self._fail(connection, mine & instructions.c.instruction_id.in_(ids), reason)
        values: dict[str, Any] = {"heard": time.time()}
        left = select(instructions.c.instruction_id).where(mine, instructions.c.state == "ongoing").limit(1)
        if connection.execute(left).first() is None:
            values["state"] = "finished"
        connection.execute(update(sub_batches).where(sub_batches.c.id == sub_batch["id"]).values(values))
        if completed or failed:
            self._progress(connection, sub_batch["batch"])

    def _news(
        self, connection: Connection, sub_batch: Row, results: Sequence[Mapping[str, Any]], strictly: bool
    ) -> tuple[list[str], dict[str, list[str]]]:
        """Return (newly completed ids, reason → newly failed ids); ``strictly`` refuses all if one result is impossible."""
        found = connection.execute(
            select(instructions.c.instruction_id, instructions.c.state).where(
                instructions.c.sub_batch == sub_batch["id"]
            )
        )
        states = {row.instruction_id: row.state for row in found}
        said: dict[str, tuple[str, str]] = {}
        doubtful: set[str] = set()
        for each in results:
            id, status = str(each.get("instructionID")), str(each.get("status"))
            if id not in states and strictly:
                raise UnknownInstruction(f"instruction {id[:16]} is not in sub-batch {sub_batch['id']}")
            if id not in states or status not in FINAL:
                continue
            before = said.setdefault(id, (status, str(each.get("failureReason") or "failed")[:100]))[0]
            if before != status or (states[id] in FINAL and states[id] != status):
                log.error("sub-batch %s: %s is %s here, and now reported %s", sub_batch["id"], id, states[id], status)
                if strictly:
                    raise ResultContradicts(f"instruction {id} has the other final result already")
                doubtful.add(id)
        new = {id: told for id, told in said.items() if states[id] == "ongoing" and id not in doubtful}
        failed: dict[str, list[str]] = defaultdict(list)
        for id, (status, reason) in new.items():
            if status == "failed":
                failed[reason].append(id)
        return [id for id, (status, _) in new.items() if status == "completed"], failed

    # The end of a batch

    def returned(self, connection: Connection, entry: Entry, reply: Reply) -> None:
        """The paying bank has returned what was not paid."""
        batch = entry.key.removeprefix("funds-")
        row = batch_row(connection, batch)
        if row["state"] != "returning":
            return
        amount = self._unpaid(connection, batch)
        ledger.post_return(connection, batch, row["programme"], amount, self._clock().isoformat())
        self._close(connection, batch, "closed", f"{Money.from_minor(amount, row['currency'])} returned")

    def _progress(self, connection: Connection, batch: str) -> None:
        """Close a batch that has no open instruction; what failed is returned first."""
        left = select(instructions.c.instruction_id).where(
            instructions.c.batch == batch, instructions.c.state == "ongoing"
        )
        row = batch_row(connection, batch)
        if row["state"] == "executing" and connection.execute(left.limit(1)).first() is None:
            unpaid = self._unpaid(connection, batch)
            if not unpaid:
                self._close(connection, batch, "closed", "")
                return
            connection.execute(update(batches).where(batches.c.id == batch).values(state="returning"))
            self._ask_to_return(connection, row, unpaid)
        self._batches.tell(connection, batch)

    def _ask_to_return(self, connection: Connection, row: Row, unpaid: int) -> None:
        body = {"currency": row["currency"], "amount": str(Money.from_minor(unpaid, row["currency"]).amount)}
        path = f"/batches/{row['id']}/refunds/{row['id']}-return"
        self._put_for_bank(connection, row, "return", "PUT", path, body)

    def _put_for_bank(
        self, connection: Connection, row: Row, kind: str, method: str, path: str, body: dict[str, str] | None
    ) -> None:
        service = self._wiring.institutions[row["funding_account"].partition(":")[0]]
        key, table = f"funds-{row['id']}", self._outbox.table
        before = connection.execute(select(func.count()).select_from(table).where(table.c.key == key)).scalar_one()
        self._outbox.put(
            connection,
            id=f"{kind}-{row['id']}-{before}",
            key=key,
            kind=kind,
            method=method,
            target=f"/r1/{service}{path}",
            json_body=body,
        )

    def _unpaid(self, connection: Connection, batch: str) -> int:
        funded_and_failed = (instructions.c.state == "failed") & (instructions.c.sub_batch != "")
        total = select(func.coalesce(func.sum(instructions.c.amount), 0))
        return int(connection.execute(total.where(instructions.c.batch == batch, funded_and_failed)).scalar_one())

    def _close(self, connection: Connection, batch: str, state: str, note: str) -> None:
        values = {"state": state, "note": note, "closed_at": self._clock().isoformat()}
        connection.execute(update(batches).where(batches.c.id == batch).values(values))
        self._batches.tell(connection, batch)

    def _fail(self, connection: Connection, which: Any, reason: str) -> None:
        connection.execute(
            update(instructions)
            .where(which, instructions.c.state == "ongoing")
            .values(state="failed", reason=reason[:100], decided_at=self._clock().isoformat())
        )

    def _mark(self, connection: Connection, sub_batch: str, before: str, after: str) -> None:
        connection.execute(
            update(sub_batches)
            .where(sub_batches.c.id == sub_batch, sub_batches.c.state == before)
            .values(state=after, heard=time.time())
        )


def _code(reply: Reply) -> str:
    """Return the refusal's code if the service itself refused, not a gateway."""
    document = reply.json()
    return str(document.get("code", "")) if isinstance(document, dict) and not reply.gateway_error else ""
