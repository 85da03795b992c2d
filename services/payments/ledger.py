"""The double-entry ledger: each posting moves an amount from one account (debit) to another (credit), once by its id.

``programme:<code>`` is what came from a programme's account at the paying bank, ``suspense`` what is under way,
``institution:<code>`` what an institution has credited to payees. The sum of all balances is always zero.
"""

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, func, insert, literal, select

from sandroad.money import Money
from sandroad.storage import Database
from services.payments.domain import SUSPENSE
from services.payments.tables import batches, instructions, postings

OPEN_STATES = ("executing", "returning")


def post_funding(connection: Connection, batch: str, programme: str, amount: int, now: str) -> None:
    """The paying bank has moved the batch's funds to settlement."""
    _post(connection, f"fund:{batch}", batch, f"programme:{programme}", SUSPENSE, amount, now)


def post_return(connection: Connection, batch: str, programme: str, amount: int, now: str) -> None:
    """The paying bank has returned what was not paid."""
    _post(connection, f"return:{batch}", batch, SUSPENSE, f"programme:{programme}", amount, now)


def post_payments(connection: Connection, sub_batch: str, institution: str, ids: list[str], now: str) -> None:
    """The institution has credited these instructions of a sub-batch, all of them still ongoing."""
    rows = select(
        literal("pay:") + instructions.c.batch + ":" + instructions.c.instruction_id,
        instructions.c.batch,
        literal(SUSPENSE),
        literal(f"institution:{institution}"),
        instructions.c.amount,
        literal(now),
    ).where(
        instructions.c.sub_batch == sub_batch,
        instructions.c.state == "ongoing",
        instructions.c.instruction_id.in_(ids),
    )
    names = ["id", "batch", "debit_account", "credit_account", "amount", "posted_at"]
    connection.execute(insert(postings).from_select(names, rows))


def _post(connection: Connection, id: str, batch: str, debit: str, credit: str, amount: int, now: str) -> None:
    values = {"id": id, "batch": batch, "debit_account": debit, "credit_account": credit}
    connection.execute(insert(postings).values(values | {"amount": amount, "posted_at": now}))


def totals(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return account → (debit, credit) in minor units."""
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    pairs = select(postings.c.debit_account, postings.c.credit_account, func.sum(postings.c.amount)).group_by(
        postings.c.debit_account, postings.c.credit_account
    )
    for debit, credit, amount in connection.execute(pairs):
        found[debit][0] += int(amount)
        found[credit][1] += int(amount)
    return {account: (debit, credit) for account, (debit, credit) in sorted(found.items())}


def owed(connection: Connection) -> int:
    """Return what suspense has to hold: funded instructions that are neither paid nor returned."""
    rows = (
        select(func.coalesce(func.sum(instructions.c.amount), 0))
        .select_from(instructions.join(batches, batches.c.id == instructions.c.batch))
        .where(
            batches.c.state.in_(OPEN_STATES),
            instructions.c.sub_batch != "",
            instructions.c.state.in_(("ongoing", "failed")),
        )
    )
    return int(connection.execute(rows).scalar_one())


def ledger(database: Database, currency: str) -> dict[str, Any]:
    """Return the ledger as control shows it; ``balanced`` compares suspense with the instructions it is held for."""

    def shown(units: int) -> str:
        return str(Money.from_minor(units, currency).amount)

    with database.read() as connection:
        found = totals(connection)
        held = owed(connection)
    suspense = found.get(SUSPENSE, (0, 0))
    return {
        "currency": currency,
        "suspense": shown(suspense[1] - suspense[0]),
        "accounts": [
            {"account": account, "debit": shown(debit), "credit": shown(credit), "balance": shown(credit - debit)}
            for account, (debit, credit) in found.items()
        ],
        "balanced": suspense[1] - suspense[0] == held and sum(credit - debit for debit, credit in found.values()) == 0,
    }
