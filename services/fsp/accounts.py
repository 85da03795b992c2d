"""The accounts of an institution: opened by its administrator, looked at by payments, closed by lab faults."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, insert, select

from sandroad.faults import Faults
from sandroad.money import Money
from sandroad.storage import Database
from services.fsp import books
from services.fsp.config import Config
from services.fsp.domain import OPENING, Account, AccountDiffers, UnknownAccount, WrongInstitution, as_json
from services.fsp.tables import accounts

LOOKED_UP_AT_ONCE = 500


class Accounts:
    """Opening, reading and validating accounts."""

    def __init__(self, config: Config, database: Database, faults: Faults) -> None:
        self._config = config
        self._database = database
        self._faults = faults

    def open_accounts(self, wanted: Sequence[Mapping[str, Any]], now: str) -> tuple[int, int]:
        """Open accounts; return (created, unchanged). Raise ``AccountDiffers`` if one exists with other opening data."""
        rows = {row["number"]: row for row in map(self._row, wanted)}
        if len(rows) != len(wanted):
            raise AccountDiffers("an account number stands twice in the list")
        with self._database.begin() as connection:
            known: dict[str, str] = {}
            for part in parts(list(rows), LOOKED_UP_AT_ONCE):
                found = connection.execute(
                    select(accounts.c.number, accounts.c.opened_with).where(accounts.c.number.in_(part))
                )
                known.update((row.number, row.opened_with) for row in found)
            for number, opened_with in known.items():
                if rows[number]["opened_with"] != opened_with:
                    raise AccountDiffers(f"account {number} was opened with other data; nothing was changed")
            new = [row for number, row in rows.items() if number not in known]
            if new:
                connection.execute(insert(accounts), new)
                opened = [(f"open:{row['number']}", row["number"], row["balance"]) for row in new if row["balance"]]
                books.post(connection, "open", [(each, OPENING, to, amount) for each, to, amount in opened], now)
        return len(new), len(known)

    def read(self, number: str) -> Mapping[str, Any]:
        """Return one account in the contract's spelling."""
        with self._database.read() as connection:
            found = self.look_up(connection, [number]).get(number)
        if found is None:
            raise UnknownAccount(f"no account {number} here")
        return as_json(found, str(Money.from_minor(found.balance, found.currency).amount))

    def failures(self, institution: str, instructions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
        """Return (instruction id, reason) for each account that could not be credited, in the order given."""
        self.check_institution(institution)
        with self._database.read() as connection:
            found = self.look_up(connection, [each["financialAddress"] for each in instructions])
        failures = []
        for each in instructions:
            account = found.get(each["financialAddress"])
            name, currency = each.get("payeeName"), each.get("currency")
            reason = account.fails_validation(name, currency) if account else "no_such_account"
            if reason:
                failures.append((each["instructionID"], reason))
        return failures

    def check_institution(self, code: str) -> None:
        """Raise ``WrongInstitution`` unless ``code`` is ours."""
        if code != self._config.code:
            raise WrongInstitution(f"this is {self._config.code}, the call is for {code}")

    def look_up(self, connection: Connection, numbers: Iterable[str]) -> dict[str, Account]:
        """Return the accounts that exist, by number, with lab faults applied."""
        found: dict[str, Account] = {}
        for part in parts(sorted(set(numbers)), LOOKED_UP_AT_ONCE):
            for row in connection.execute(select(accounts).where(accounts.c.number.in_(part))).mappings():
                found[row["number"]] = self._with_faults(account_of(row))
        return found

    def export(self) -> Iterator[Mapping[str, Any]]:
        """Yield every account, sorted by number, with the ``address`` under which payers know it."""
        with self._database.read() as connection:
            for row in connection.execute(select(accounts).order_by(accounts.c.number)).mappings():
                account = account_of(row)
                balance = str(Money.from_minor(account.balance, account.currency).amount)
                yield {**as_json(account, balance), "address": f"{self._config.code}:{account.number}"}

    def _with_faults(self, account: Account) -> Account:
        opened, closed = self._faults.on("open-account"), self._faults.on("close-account")
        if opened and opened.get("account") == account.number:
            return replace(account, status="active", behaviour="normal")
        if closed and closed.get("account") == account.number:
            return replace(account, status="closed")
        return account

    def _row(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        currency = wanted.get("currency", self._config.currency)
        row = {
            "number": wanted["account"],
            "holder_name": wanted["holderName"],
            "holder_reference": wanted.get("holderReference", ""),
            "status": wanted.get("status", "active"),
            "currency": currency,
            "balance": Money.parse(wanted.get("balance", "0"), currency).minor,
            "behaviour": wanted.get("behaviour", "normal"),
            "behaviour_seconds": wanted.get("behaviourSeconds", 5),
        }
        return row | {"opened_with": hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()}


def account_of(row: Mapping[Any, Any]) -> Account:
    """Return the account of a row."""
    return Account(
        row["number"], row["holder_name"], row["holder_reference"], row["status"], row["currency"], row["balance"],
        row["behaviour"], row["behaviour_seconds"],
    )  # fmt: skip


def parts(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """Yield ``items`` in slices of ``size``."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
