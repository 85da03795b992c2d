"""Batches paid through the whole sandbox: from the ministry's call to the last institution's answer, against bare inserts."""

import itertools
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, event, insert

from sandroad.gateway_client import GatewayClient
from sandroad.running.client import Sandbox

CLIENT = "SANDBOX/GOV/WELFARE/CASH-TRANSFER"
PAYMENTS = "SANDBOX/GOV/TREASURY/PAYMENTS/payments"
INSTITUTIONS = {
    "HARBOUR": "harbour-bank",
    "DELTA": "delta-bank",
    "KITE": "kite-mobile",
    "SAND": "sand-mobile",
    "POSTAL": "postal-savings",
}


def measure(say: Callable[[str], None], sandbox: Sandbox, sizes: tuple[int, ...] = (1_000, 10_000)) -> None:
    """Print instructions per second for each size, and the ratio to bare SQLite inserts of as many rows in the same run."""
    treasury = GatewayClient(sandbox.gateway_of("GOV/WELFARE").url, CLIENT)
    payees = list(payees_with_accounts(max(sizes)))
    open_accounts(sandbox, payees)
    register(treasury, payees)
    for number, size in enumerate(sizes):
        bare = _bare_inserts(sandbox.data, size)
        began = time.perf_counter()
        paid, amount = _pay(treasury, payees[:size], number)
        rate = size / (time.perf_counter() - began)
        say(
            f"batch of {size:>6}: {paid} paid, {amount} XTS, {rate:.0f} instructions/s; "
            f"bare SQLite inserts {bare:.0f}/s: {rate / bare:.3f} of them"
        )


def payees_with_accounts(count: int) -> Iterator[dict[str, str]]:
    """Yield payees with accounts at the five institutions in turn."""
    for number, code in zip(range(count), itertools.cycle(INSTITUTIONS), strict=False):
        yield {"id": f"CT01-BENCH{number:010d}", "code": code, "account": f"77{number:08d}", "name": f"Payee {number}"}


def open_accounts(sandbox: Sandbox, payees: list[dict[str, str]]) -> None:
    for code, app in INSTITUTIONS.items():
        own = [{"account": p["account"], "holderName": p["name"]} for p in payees if p["code"] == code]
        for batch in _batches(own, 1000):
            sandbox.steward(app).post("/accounts/batch", {"accounts": batch})


def register(treasury: GatewayClient, payees: list[dict[str, str]]) -> None:
    for number, batch in enumerate(_batches(payees, 1000)):
        entries = [
            {"PayeeFunctionalID": p["id"], "PaymentModality": "00", "FinancialAddress": f"{p['code']}:{p['account']}"}
            for p in batch
        ]
        body = {"RequestID": f"BR{number:010d}", "SourceBBID": "CASHTRANSFER", "Beneficiaries": entries}
        _ok(treasury.call(PAYMENTS, "POST", "/register-beneficiary", json=body))


def _pay(treasury: GatewayClient, payees: list[dict[str, str]], number: int) -> tuple[int, Decimal]:
    """Hand in a batch and return (paid, amount) once nothing is under way any more."""
    batch = f"BB{number:010d}"
    instructions = [
        {
            "InstructionID": f"B{number:03d}{i:012d}",
            "PayeeFunctionalID": p["id"],
            "Amount": 12.5,
            "Currency": "XTS",
            "Narration": "bench",
        }
        for i, p in enumerate(payees)
    ]
    body = {
        "RequestID": f"BP{number:010d}",
        "SourceBBID": "CASHTRANSFER",
        "BatchID": batch,
        "CreditInstructions": instructions,
    }
    _ok(treasury.call(PAYMENTS, "POST", "/bulk-payment", json=body))
    while True:
        status = _ok(treasury.call(PAYMENTS, "GET", "/api/v1/batch", params={"batchId": batch}))
        if status["ongoing"] == 0:
            return status["completed"], Decimal(str(status["completed_amount"]))
        time.sleep(0.2)


def _bare_inserts(folder: Path, count: int) -> float:
    """Return rows per second of inserting one row after the other in one transaction of an empty SQLite file, synchronous=FULL."""
    path = folder / "bare.db"
    path.unlink(missing_ok=True)
    table = Table(
        "rows", MetaData(), Column("id", String, primary_key=True), Column("payee", String), Column("amount", Integer)
    )
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=FULL"))
    table.metadata.create_all(engine)
    began = time.perf_counter()
    with engine.begin() as connection:
        for number in range(count):
            connection.execute(insert(table).values(id=f"B{number:015d}", payee=f"CT01-{number:015d}", amount=1250))
    rate = count / (time.perf_counter() - began)
    engine.dispose()
    path.unlink()
    return rate


def _ok(reply: Any) -> Any:
    if not reply.ok or (reply.json() or {}).get("ResponseCode", "00") != "00":
        raise SystemExit(f"payments refused: {reply.reason()} {reply.content[:300]!r}")
    return reply.json()


def _batches(rows: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
