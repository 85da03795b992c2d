"""The institution's books: double entry, one row per movement, a balance per account that must agree with them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case, func, insert, select, text, update

from sandroad.money import Money
from sandroad.storage import Database
from services.fsp.tables import accounts, authorisations, postings

Posting = tuple[str, str, str, int]  # id, debited account, credited account, amount in minor units


def post(connection: Connection, kind: str, movements: Sequence[Posting], now: str) -> None:
    """Write movements; the same id twice is an ``IntegrityError`` and undoes the transaction."""
    if movements:
        connection.execute(
            insert(postings),
            [
                {"id": i, "kind": kind, "debit_account": d, "credit_account": c, "amount": a, "posted_at": now}
                for i, d, c, a in movements
            ],
        )


def change_balances(connection: Connection, changes: dict[str, int]) -> None:
    """Add to balances (minor units, negative to take away)."""
    if changes:
        change = case(changes, value=accounts.c.number)
        connection.execute(
            update(accounts).where(accounts.c.number.in_(changes)).values(balance=accounts.c.balance + change)
        )


def ledger(database: Database, institution: str, currency: str) -> dict[str, Any]:
    """Return the totals that reconciliation needs; ``paid_out`` is net of refunds, per programme account."""

    def shown(units: int) -> str:
        return str(Money.from_minor(units, currency).amount)

    with database.read() as connection:
        out = connection.execute(
            select(authorisations.c.account, func.sum(authorisations.c.amount - authorisations.c.refunded))
            .where(authorisations.c.status == "Y")
            .group_by(authorisations.c.account)
            .order_by(authorisations.c.account)
        ).all()
        credited = connection.execute(
            select(func.coalesce(func.sum(postings.c.amount), 0)).where(postings.c.kind == "credit")
        ).scalar_one()
        count = connection.execute(select(func.count()).select_from(accounts)).scalar_one()
        wrong = connection.execute(text(DIFFERENCES)).scalar_one()
    return {
        "institution": institution,
        "currency": currency,
        "paid_out": {account: shown(int(units)) for account, units in out},
        "credited": shown(int(credited)),
        "accounts": count,
        "balanced": wrong == 0,
    }


# Accounts whose balance is not what their movements say.
DIFFERENCES = """
SELECT count(*) FROM accounts a LEFT JOIN (
  SELECT account, sum(amount) AS amount FROM (
    SELECT credit_account AS account, amount FROM postings UNION ALL SELECT debit_account, -amount FROM postings
  ) AS movements GROUP BY account
) AS b ON b.account = a.number WHERE a.balance <> coalesce(b.amount, 0)
"""
