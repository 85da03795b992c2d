"""Funds of a batch at the paying bank: authorised and moved to settlement once, what was not paid returned once."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select, update

from sandroad.clock import Clock
from sandroad.money import Money
from sandroad.problems import IdempotencyConflict
from sandroad.storage import Database
from services.fsp import books
from services.fsp.accounts import Accounts
from services.fsp.domain import SETTLEMENT, Account, RefundTooLarge, UnknownBatch
from services.fsp.tables import authorisations, refunds


class Funds:
    """Authorising, and returning."""

    def __init__(self, database: Database, accounts: Accounts, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._clock = clock

    def authorise(self, batch_id: str, correlation_id: str, account: str, amount: Money) -> Mapping[str, Any]:
        """Decide about a batch and, if Y, move its funds to settlement; a batch that came before has its first decision."""
        wanted = {"account": account, "currency": amount.currency, "amount": amount.minor}
        with self._database.begin() as connection:
            known = _authorisation(connection, batch_id)
            if known is not None:
                if any(known[name] != value for name, value in wanted.items()):
                    raise IdempotencyConflict(f"batch {batch_id} was asked for before with another account or amount")
                return _decision(known)
            reason = _refusal(self._accounts.look_up(connection, [account]).get(account), amount)
            row = wanted | {
                "batch_id": batch_id,
                "correlation_id": correlation_id,
                "refunded": 0,
                "status": "N" if reason else "Y",
                "reason": reason,
            }
            connection.execute(insert(authorisations).values(row))
            if not reason:
                books.change_balances(connection, {account: -amount.minor})
                moved = (f"reserve:{batch_id}", account, SETTLEMENT, amount.minor)
                books.post(connection, "reserve", [moved], self._clock().isoformat())
        return _decision(row)

    def read(self, batch_id: str) -> Mapping[str, Any]:
        """Return the decision about a batch, or raise ``UnknownBatch``."""
        with self._database.read() as connection:
            known = _authorisation(connection, batch_id)
        if known is None:
            raise UnknownBatch(f"nothing was ever authorised for batch {batch_id}")
        return _decision(known)

    def refund(self, batch_id: str, refund_id: str, amount: Money) -> None:
        """Return ``amount`` of a batch to the account it came from, once per refund id."""
        with self._database.begin() as connection:
            known = _authorisation(connection, batch_id)
            if known is None or known["status"] != "Y":
                raise UnknownBatch(f"no funds were moved for batch {batch_id}")
            mine = (refunds.c.batch_id == batch_id) & (refunds.c.refund_id == refund_id)
            before = connection.execute(select(refunds).where(mine)).mappings().first()
            if before is not None:
                if (before["amount"], before["currency"]) != (amount.minor, amount.currency):
                    raise IdempotencyConflict(f"refund {refund_id} was made before with another amount")
                return
            if amount.currency != known["currency"] or known["refunded"] + amount.minor > known["amount"]:
                raise RefundTooLarge(f"batch {batch_id} moved less than {amount}, or it was returned already")
            values = {"batch_id": batch_id, "refund_id": refund_id, "amount": amount.minor, "currency": amount.currency}
            connection.execute(insert(refunds).values(values))
            connection.execute(
                update(authorisations)
                .where(authorisations.c.batch_id == batch_id)
                .values(refunded=authorisations.c.refunded + amount.minor)
            )
            books.change_balances(connection, {known["account"]: amount.minor})
            moved = (f"refund:{batch_id}:{refund_id}", SETTLEMENT, known["account"], amount.minor)
            books.post(connection, "refund", [moved], self._clock().isoformat())


def _authorisation(connection: Connection, batch_id: str) -> Mapping[Any, Any] | None:
    return connection.execute(select(authorisations).where(authorisations.c.batch_id == batch_id)).mappings().first()


def _refusal(account: Account | None, amount: Money) -> str:
    """Return why the funds cannot be moved; empty if they can."""
    if account is None:
        return "no such account"
    if account.status != "active":
        return f"the account is {account.status}"
    if account.currency != amount.currency:
        return f"the account is kept in {account.currency}"
    return "insufficient funds" if account.balance < amount.minor else ""


def _decision(row: Mapping[Any, Any]) -> Mapping[str, Any]:
    decision = {
        "clientCorrelationId": row["correlation_id"],
        "batchId": row["batch_id"],
        "status": row["status"],
        "amount": str(Money.from_minor(row["amount"], row["currency"]).amount),
        "currency": row["currency"],
    }
    return decision | ({"reason": row["reason"]} if row["reason"] else {})
